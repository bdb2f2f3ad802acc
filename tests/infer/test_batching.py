"""Answers that are written together are those of each alone, whoever joins, leaves or waits; memory, prefixes, turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from pretune.base.errors import TooLong
from pretune.infer.batching import Batching, Job
from pretune.infer.draft import Draft
from pretune.infer.language import LanguageModel
from pretune.infer.load import open_model
from pretune.infer.ort import OrtState
from pretune.infer.sampling import Sampling
from pretune.infer.streaming import Piece
from pretune.model.generate import from_objects
from pretune.testing.folders import write_model
from tests.infer.test_torch_engine import HEADS, TINY, causal

PROMPTS = [[5, 6, 7], [9] * 20, [200, 201, 202, 203], [30, 31], [5, 6, 7], list(range(40, 65))]
SETTINGS = [
    Sampling(max_tokens=12),
    Sampling(temperature=1.2, seed=3, max_tokens=9),
    Sampling(temperature=0.8, top_k=30, top_p=0.9, seed=4, max_tokens=20),
    Sampling(repetition_penalty=1.3, max_tokens=15),
    Sampling(temperature=2.0, seed=9, max_tokens=30, stop=("e",)),
    Sampling(max_tokens=100),
]


@pytest.fixture(scope="module", params=["qwen3", "llama", "gpt2", "gemma3", "onnx"])
def model(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """In float64 on torch; Qwen3 in float32 on onnxruntime."""
    if request.param == "onnx":
        return on_onnxruntime(tmp_path_factory.mktemp("onnx"))
    made = from_objects(causal(request.param).double(), folder)
    assert isinstance(made, LanguageModel)
    return made


def on_onnxruntime(folder: Path) -> LanguageModel:
    pytest.importorskip("onnx", reason="extra export is not installed")
    from tests.export.test_parity import export

    export(write_model(folder / "model", folder / "words", "qwen3"), folder / "bundle")
    opened = open_model(folder / "bundle")
    assert isinstance(opened, LanguageModel)
    return opened


@dataclass
class Heard:
    """What one client hears."""

    pieces: list[Piece] = field(default_factory=list)
    error: Exception | None = None

    def tell(self, item: Piece | Exception) -> None:
        if isinstance(item, Exception):
            self.error = item
        else:
            self.pieces.append(item)

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


def by_hand(model: LanguageModel, **settings: Any) -> Batching:
    return Batching(model, own_thread=False, **settings)


def ask(engine: Batching, prompt: list[int], sampling: Sampling, tell: Callable[[Any], object], client: Any = 0) -> Job:
    return engine.ask(engine.model.draft(prompt, sampling), tell, client=client)


def finish(engine: Batching, watch: Callable[[], object] = lambda: None) -> None:
    while engine.active or engine.waiting or engine.inbox:
        engine.step()
        watch()


def test_answers_that_join_and_leave_one_another_are_those_of_each_alone(model: LanguageModel) -> None:
    engine = by_hand(model, read_at_once=7)
    jobs, together = [], []
    for prompt, sampling in zip(PROMPTS, SETTINGS, strict=True):
        heard = Heard()
        jobs.append((ask(engine, prompt, sampling, heard.tell, client=len(jobs)), heard))
        engine.step()
        engine.step()
        together.append(len(engine.rows))
    finish(engine, lambda: together.append(len(engine.rows)))
    assert max(together) > 2
    for (job, heard), prompt, sampling in zip(jobs, PROMPTS, SETTINGS, strict=True):
        alone = list(model.stream(prompt, sampling))
        assert [(p.text, p.finish) for p in heard.pieces] == [(p.text, p.finish) for p in alone]
        assert heard.error is None and job.draft.written[: len(prompt)] == prompt


def test_what_has_to_wait_for_room_goes_on_with_the_same_draws_and_memory_stays_below_the_cap(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretune.infer.batching.AHEAD", 2)
    size = model.engine.position_bytes  # type: ignore[attr-defined]
    engine, heard, taken = by_hand(model, max_bytes=130 * size, read_at_once=16), [], []
    plain = engine._take_out
    engine._take_out = lambda job: (taken.append(job), plain(job))[1]  # type: ignore[method-assign,assignment]
    settings = [Sampling(temperature=1.1, seed=k, max_tokens=35) for k in range(6)]
    for prompt, sampling in zip(PROMPTS, settings, strict=True):
        heard.append(Heard())
        ask(engine, prompt, sampling, heard[-1].tell, client=len(heard))
    largest = []
    finish(engine, lambda: largest.append(held_bytes(engine)))
    assert taken and 60 * size < max(largest) <= 130 * size
    for one, prompt, sampling in zip(heard, PROMPTS, settings, strict=True):
        assert one.text == model.write(prompt, sampling).text and one.pieces[-1].finish


def held_bytes(engine: Batching) -> int:
    """Bytes of all keys and values that the engine holds."""
    states = [engine.state, *engine.kept.values(), *(job.state for job in (*engine.reading, *engine.read))]
    return sum(part.nbytes for state in states if state is not None for part in parts_of(state))


def parts_of(state: Any) -> list[Any]:
    """Keys and values of every layer."""
    if isinstance(state, OrtState):
        return [value.numpy() for value in state.cache.values()]
    return [part for layer in state.cache.layers for part in (layer.keys, layer.values) if part is not None]


def test_a_prompt_and_answer_that_no_memory_holds_are_refused_at_once(model: LanguageModel) -> None:
    engine = by_hand(model, max_bytes=20 * model.engine.position_bytes)  # type: ignore[attr-defined]
    ask(engine, [5] * 10, Sampling(max_tokens=10), print)
    with pytest.raises(TooLong, match="10 tokens and 11 of an answer need"):
        ask(engine, [5] * 10, Sampling(max_tokens=11), print)


def test_who_has_left_is_gone_by_the_next_round_and_frees_the_slot(model: LanguageModel) -> None:
    engine, heard = by_hand(model, max_rows=2), [Heard() for _ in range(3)]
    jobs = [ask(engine, [5, 6 + k], Sampling(max_tokens=20), heard[k].tell, client=k) for k in range(3)]
    engine.step()
    assert engine.rows == jobs[:2] and engine.num_waiting == 1
    engine.leave(jobs[0])
    told = len(heard[0].pieces)
    engine.step()
    assert engine.rows == jobs[1:] and len(heard[0].pieces) == told
    finish(engine)
    assert heard[2].text == model.write([5, 8], Sampling(max_tokens=20)).text


def test_the_next_turn_of_a_chat_reads_only_what_is_new(model: LanguageModel) -> None:
    engine, first, second = by_hand(model), Heard(), Heard()
    job = ask(engine, PROMPTS[1], Sampling(max_tokens=8), first.tell)
    finish(engine)
    assert engine.num_fed == len(PROMPTS[1])
    turn = [*job.draft.written, 70, 71, 72]
    ask(engine, turn, Sampling(max_tokens=8), second.tell)
    finish(engine)
    # The last token of an answer was chosen, but not read.
    assert engine.num_fed == len(PROMPTS[1]) + 4 and engine.num_shared == len(turn) - 4
    assert second.text == model.write(turn, Sampling(max_tokens=8)).text


def test_choices_of_one_prompt_read_it_once(model: LanguageModel) -> None:
    engine, heard = by_hand(model), [Heard() for _ in range(4)]
    settings = [Sampling(temperature=1.5, seed=k, max_tokens=6) for k in range(4)]
    for one, sampling in zip(heard, settings, strict=True):
        ask(engine, PROMPTS[1], sampling, one.tell)
    finish(engine)
    assert engine.num_fed == len(PROMPTS[1]) + 3
    assert [one.text for one in heard] == [model.write(PROMPTS[1], sampling).text for sampling in settings]


def test_a_long_prompt_is_read_in_pieces_between_the_tokens_of_the_others(model: LanguageModel) -> None:
    engine, short, long = by_hand(model, read_at_once=5), Heard(), Heard()
    ask(engine, [5, 6], Sampling(max_tokens=20), short.tell, client="short")
    engine.step()
    ask(engine, [9] * 20, Sampling(max_tokens=2), long.tell, client="long")
    told = []
    while not long.pieces:
        engine.step()
        told.append(len(short.pieces))
    assert len(told) == 4 and told == list(range(told[0], told[0] + 4))


def test_a_client_with_many_answers_gives_one_up_for_a_client_with_none(model: LanguageModel) -> None:
    engine, many, other = by_hand(model, max_rows=3), [Heard() for _ in range(6)], Heard()
    settings = [Sampling(temperature=1.0, seed=k, max_tokens=15) for k in range(6)]
    for one, sampling in zip(many, settings, strict=True):
        ask(engine, [5, 6, 7], sampling, one.tell, client="many")
    engine.step()
    engine.step()
    assert len(engine.rows) == 3
    ask(engine, [8, 9], Sampling(max_tokens=3), other.tell, client="other")
    engine.step()
    assert [job.client for job in engine.rows].count("many") == 2 and other.pieces
    finish(engine)
    assert [one.text for one in many] == [model.write([5, 6, 7], sampling).text for sampling in settings]


def test_no_answer_is_given_up_where_that_makes_too_little_room(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretune.infer.batching.AHEAD", 2)
    size = model.engine.position_bytes  # type: ignore[attr-defined]
    engine, many, other = by_hand(model, max_bytes=60 * size), [Heard() for _ in range(3)], Heard()
    settings = [Sampling(temperature=1.0, seed=k, max_tokens=12) for k in range(3)]
    for one, sampling in zip(many, settings, strict=True):
        ask(engine, [5, 6, 7], sampling, one.tell, client="many")
    engine.step()
    ask(engine, [9] * 40, Sampling(max_tokens=5), other.tell, client="other")
    engine.step()
    assert len(engine.rows) == 3 and not other.pieces
    finish(engine)
    assert [one.text for one in many] == [model.write([5, 6, 7], sampling).text for sampling in settings]
    assert other.text == model.write([9] * 40, Sampling(max_tokens=5)).text


def test_an_error_in_one_answer_ends_that_one_alone(model: LanguageModel) -> None:
    engine, good, bad = by_hand(model), Heard(), []

    def breaks(item: Piece | Exception) -> None:
        bad.append(item)
        if len(bad) == 3:
            raise RuntimeError("the socket is gone")

    ask(engine, [5, 6], Sampling(max_tokens=10), breaks, client=1)
    ask(engine, [7, 8], Sampling(max_tokens=10), good.tell, client=2)
    finish(engine)
    assert len(bad) == 4 and isinstance(bad[-1], RuntimeError)
    assert good.text == model.write([7, 8], Sampling(max_tokens=10)).text


def test_a_panic_ends_every_answer_with_an_error_and_the_next_request_is_answered(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Panic(BaseException):
        """What Rust raises in Python, which is no Exception."""

    def panics(draft: Draft, logits_V: np.ndarray) -> Piece:
        raise Panic

    engine, heard, done = Batching(model), [Heard() for _ in range(3)], threading.Semaphore(0)

    def begin(k: int) -> None:
        def tell(item: Piece | Exception) -> None:
            heard[k].tell(item)
            if isinstance(item, Exception) or item.finish:
                done.release()

        ask(engine, [5, 6 + k], Sampling(max_tokens=5), tell, client=k)

    with monkeypatch.context() as patch:
        patch.setattr(Draft, "take", panics)
        begin(0)
        begin(1)
        assert all(done.acquire(timeout=20) for _ in range(2))
    assert all(isinstance(one.error, RuntimeError) for one in heard[:2])
    begin(2)
    assert done.acquire(timeout=20)
    assert heard[2].text == model.write([5, 8], Sampling(max_tokens=5)).text


def test_an_answer_counts_as_begun_while_its_prompt_is_read(model: LanguageModel) -> None:
    engine, seen = by_hand(model), []
    job = ask(engine, [5, 6], Sampling(max_tokens=2), lambda _: seen.append(engine.active))
    finish(engine)
    assert seen and all(active == [job] for active in seen)


def test_many_threads_may_ask_and_the_one_that_owns_the_model_ends_when_idle(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretune.infer.batching.IDLE_SECONDS", 0.01)
    engine, heard, done = Batching(model), [Heard() for _ in range(6)], threading.Semaphore(0)

    def begin(k: int) -> None:
        def tell(item: Piece | Exception) -> None:
            heard[k].tell(item)
            if isinstance(item, Exception) or item.finish:
                done.release()

        ask(engine, PROMPTS[k], SETTINGS[k], tell, client=k)

    for k in range(6):
        threading.Thread(target=begin, args=(k,)).start()
    assert all(done.acquire(timeout=20) for _ in range(6))
    assert [one.text for one in heard] == [model.write(p, s).text for p, s in zip(PROMPTS, SETTINGS, strict=True)]
    for thread in threading.enumerate():
        if thread.name == "pretune-batching":
            thread.join(timeout=20)
    assert not engine.is_running


def test_joined_rows_have_the_logits_of_each_alone_and_cut_ones_too(model: LanguageModel) -> None:
    engine: Any = model.engine
    alone = [engine.feed(engine.start(), np.array([prompt])) for prompt in PROMPTS[:3]]
    state = engine.join([state for _, state in alone])
    fresh = np.array([[7], [8], [9]])
    found, state = engine.feed(state, fresh)
    wanted = [engine.feed(engine.start(), np.array([[*p, int(f)]]))[0][0] for p, f in zip(PROMPTS, fresh[:, 0])]  # noqa: B905
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    part = engine.cut(state, 1, 12)
    np.testing.assert_allclose(
        engine.feed(part, np.array([[50, 51]]))[0],
        engine.feed(engine.start(), np.array([[*PROMPTS[1][:12], 50, 51]]))[0],
        rtol=1e-5,
        atol=1e-5,
    )
    two = engine.select(state, np.array([2, 0]))
    assert two.lengths_B.tolist() == [5, 4] and parts_of(two)[0].shape[2] == 5
    found, _ = engine.feed(two, np.array([[3], [4]]))
    wanted = [engine.feed(engine.start(), np.array([row]))[0][0] for row in ([*PROMPTS[2], 9, 3], [*PROMPTS[0], 7, 4])]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_row_that_is_cut_out_keeps_nothing_of_the_others_in_memory(model: LanguageModel) -> None:
    engine: Any = model.engine
    _, state = engine.feed(engine.start(), np.array([[5, 6, 7], [8, 9, 10]]))
    parts = zip(parts_of(state), parts_of(engine.cut(state, 1, 3)), strict=True)
    assert not any(np.shares_memory(np.asarray(whole), np.asarray(part)) for whole, part in parts)


def test_rows_whose_rotation_the_longest_of_them_chooses_are_not_written_together(folder: Path) -> None:
    turning = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [9.0] * 4}
    config = {**TINY, **HEADS, "rope_parameters": {**turning, "original_max_position_embeddings": 16}}
    torch.manual_seed(0)
    llama = LlamaForCausalLM(LlamaConfig(**config)).double()
    for parameter in llama.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    made = from_objects(llama, folder)
    assert isinstance(made, LanguageModel) and not Batching(made).joining
    alone = [made.text_of(prompt, made.generate_many([prompt], 8)[0]) for prompt in PROMPTS]
    together = made.generate_many(PROMPTS, 8)
    assert [made.text_of(p, ids) for p, ids in zip(PROMPTS, together, strict=True)] == alone


def test_the_likeliest_answers_of_prompts_of_any_length_are_those_of_each_alone(model: LanguageModel) -> None:
    together = model.generate_many(PROMPTS, 10)
    for prompt, ids in zip(PROMPTS, together, strict=True):
        assert len(ids) <= 10 and not {*ids} & {*model.eos_ids}
        alone = list(model.stream(prompt, Sampling(max_tokens=10)))
        assert model.text_of(prompt, ids) == "".join(piece.text for piece in alone)


def test_an_answer_that_may_have_no_token_is_empty(model: LanguageModel) -> None:
    nothing = Sampling(max_tokens=0)
    assert model.generate_many(PROMPTS[:2], 0) == [[], []]
    assert list(by_hand(model).stream(PROMPTS[0], nothing)) == list(model.stream(PROMPTS[0], nothing))


def test_a_stream_of_the_engine_is_that_of_the_model_and_a_second_one_reads_what_is_new(model: LanguageModel) -> None:
    engine = by_hand(model)
    for prompt in (PROMPTS[1], [*PROMPTS[1], 3, 4]):
        found, wanted = (list(one.stream(prompt, SETTINGS[1])) for one in (engine, model))
        assert found == wanted
    assert engine.num_fed == len(PROMPTS[1]) + 2
    assert not engine.active


def test_a_decoder_whose_states_do_not_join_writes_one_answer_after_the_other(
    tokenizer: Tokenizer, table: type
) -> None:
    model = LanguageModel(table(300), tokenizer, (0,))
    engine, heard = by_hand(model), [Heard() for _ in PROMPTS]
    for one, prompt, sampling in zip(heard, PROMPTS, SETTINGS, strict=True):
        ask(engine, prompt, sampling, one.tell)
    finish(engine)
    assert engine.most_rows == 1 and not engine.kept
    assert [one.text for one in heard] == [model.write(p, s).text for p, s in zip(PROMPTS, SETTINGS, strict=True)]
