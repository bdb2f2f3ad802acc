"""Answers in a context end to end on tiny models of our own: learnt, saved, opened again, judged, exported, served."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import pretune
from pretune.api import Loaded
from pretune.base.errors import BadFile, NoTarget
from pretune.infer.answers import Span
from pretune.infer.load import open_model
from pretune.task.answer import Extract
from pretune.testing.folders import build, write_model
from pretune.text.dataset.example import Answer, Question

WORDS = ["cat", "hat", "the cat", "你好", "🙂 hat"]
FILLING = "and the hat and the cat and the "


def row(k: int) -> dict[str, Any]:
    """`<N WORD>` somewhere in a context, long ones read in windows; every fifth has none."""
    word, split = WORDS[k % 5], {0: "validation", 1: "test"}.get(k // 5 % 8, "train")
    before = FILLING * (k % 4)
    if k % 5 == 3:
        return {"question": f"what {k}", "context": f"{before}and {k} the", "answers": [], "split": split}
    context = f"{before}x{k}<{word}> {FILLING}"
    answer = {"text": word, "answer_start": context.index("<") + 1}
    return {"question": f"what {k}", "context": context, "answers": [answer], "split": split}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answer")
    write_model(folder / "encoder", folder / "words", "bert-labels", model=build("bert-labels", spread=False))
    write_model(folder / "decoder", folder / "words", "qwen3", model=build("qwen3", spread=False))
    lines = "\n".join(json.dumps(row(k), ensure_ascii=False) for k in range(160))
    (folder / "questions.jsonl").write_text(lines, encoding="utf-8")
    return folder


def tuned(world: Path, base: str, name: str, **settings: Any) -> Loaded:
    common: dict[str, Any] = {"optim": {"kind": "adamw", "learning_rate": 5e-3}, "max_length": 48, "batch": 16}
    common |= {
        "task": {"kind": "answer", "stride": 12},
        "precision": "float32",
        "epochs": 12,
        "patience": 50,
        "quiet": True,
    }
    return pretune.fine_tune(world / base, world / "questions.jsonl", out=world / name, **common | settings)


@pytest.fixture(scope="module")
def full(world: Path) -> Loaded:
    return tuned(world, "encoder", "full")


ASKED = [{"question": row(k)["question"], "context": row(k)["context"]} for k in range(40, 50)]


def test_pieces_of_the_users_text_are_learnt_and_what_is_not_there_too(world: Path, full: Loaded) -> None:
    assert full.metrics["validation_f1"] > 0.8
    assert full.metrics["examples"] == 120
    config = json.loads((full.path / "config.json").read_text(encoding="utf-8"))
    assert config["pretune"] == {"stride": 12, "no_answer": full.metrics["validation_no_answer"]}
    assert json.loads((full.path / "tokenizer_config.json").read_text(encoding="utf-8"))["model_max_length"] == 48
    for asked, answer in zip(ASKED, full.predict(ASKED), strict=True):
        assert isinstance(answer, Span)
        if answer.text:
            assert asked["context"][answer.start :].startswith(answer.text)


def test_the_folder_gives_the_logits_of_plain_transformers(full: Loaded) -> None:
    from transformers import AutoModelForQuestionAnswering

    ready: Any = open_model(full.path)
    model = AutoModelForQuestionAnswering.from_pretrained(full.path).eval()
    for window in ready.reader.windows(ASKED[:1])[0]:
        with torch.no_grad():
            theirs = model(input_ids=torch.tensor([window.ids]))
        (ours,) = ready.encoder.logits([window.ids])
        assert torch.allclose(
            torch.from_numpy(ours), torch.stack([theirs.start_logits[0], theirs.end_logits[0]], -1), atol=1e-5
        )


def test_report_bundle_and_int8_answer_as_the_model_does(world: Path, full: Loaded) -> None:
    data = world / "full.dataset"
    report = full.evaluate(data, out=world / "report")
    assert report.metrics["f1"] >= report.metrics["exact"] > 0.5
    assert {"has_answer_f1", "no_answer_f1", "sentence_f1", "always_empty_f1", "baseline_beaten"} <= {*report.metrics}
    page = (report.path / "report.html").read_text(encoding="utf-8")
    assert "<mark>" in page and "Answers in a context" in page
    bundle = full.export(out=world / "bundle", data=str(data), quiet=True)
    parity = json.loads((bundle.path / "parity.json").read_text(encoding="utf-8"))["onnx"]
    assert (parity["compared"], parity["agreement"], parity["longest"]) == ("starts and ends", 1.0, 48)
    texts = [(a.text, a.start) for a in full.predict(ASKED) if isinstance(a, Span)]
    assert [(a.text, a.start) for a in bundle.predict(ASKED) if isinstance(a, Span)] == texts


def test_compressed_and_exported_without_data_it_keeps_its_threshold(
    world: Path, full: Loaded, run: Callable[..., Any]
) -> None:
    data = str(world / "full.dataset")
    made = run(
        small={"kind": "compress", "model": str(full.path), "data": data},
        served={"kind": "export", "model": "$small"},
    )
    assert made["small"].card.metrics["quality_before"]["f1"] > 0.8
    ready, bundle = open_model(full.path), open_model(made["served"].path)
    assert bundle.facts.more == ready.facts.more and bundle.facts.more["no_answer"] is not None


def test_a_decoder_that_finds_answers_is_exported_and_finds_the_same(world: Path) -> None:
    found = tuned(world, "decoder", "decoder-onnx", steps=1, epochs=None)
    bundle = open_model(found.export(out=world / "decoder-bundle", quiet=True).path)
    asked = [{"question": "what", "context": "the pond has a green frog"}]
    (answer,), (wanted,) = bundle.answer(asked), open_model(found.path).answer(asked)
    assert isinstance(answer, Span) and isinstance(wanted, Span)
    assert (answer.text, answer.start) == (wanted.text, wanted.start)
    assert answer.score == pytest.approx(wanted.score, abs=1e-5)


# ---- rows ---------------------------------------------------------------------------------------


def question(context: str, text: str, start: int) -> Question:
    return Question("what", context, (Answer(text, start),) if text else (), "a.jsonl#7")


def test_every_window_with_the_whole_answer_points_at_it_and_the_others_at_the_first_place(world: Path) -> None:
    context = f"{FILLING * 4}<你好 🙂> {FILLING * 4}"
    asked = question(context, "你好 🙂", context.index("你"))
    rows = Extract(kind="answer", stride=12).rows([asked], world / "encoder", None, max_length=40)
    from pretune.tokens.encode.tokenizer import encode_text, load_tokenizer

    wanted = encode_text(load_tokenizer(world / "encoder"), "你好 🙂")
    spans = [row["span"] for row in rows]
    assert len(rows) > 2 and any(span != (0, 0) for span in spans)
    for found in rows:
        first, last = found["span"]
        holds = any([*found["ids"][k : k + len(wanted)]] == wanted for k in range(len(found["ids"])))
        assert holds == (first > 0)
        assert not holds or [*found["ids"][first : last + 1]] == wanted
    assert {found["example"] for found in rows} == {0}


def test_an_answer_that_no_window_holds_is_left_out_and_told(world: Path) -> None:
    told: list[str] = []
    long, short = question(FILLING * 8, FILLING * 7, 0), question("the cat", "cat", 4)
    task = Extract(kind="answer")
    rows = task.rows([long, short], world / "encoder", None, max_length=24, warn=told.append)
    assert {found["example"] for found in rows} == {1}
    assert told == ["1 of 2 questions are left out: no window holds the whole answer (max_length=24)"]
    with pytest.raises(NoTarget, match="max_length=24"):
        task.rows([long], world / "encoder", None, max_length=24)


def test_bad_questions_are_refused_before_a_model_is_loaded() -> None:
    task = Extract(kind="answer")
    with pytest.raises(BadFile, match=r"a\.jsonl#7: the answer 'cat' is not at character 3") as error:
        task.check([question("the cat", "cat", 3)], None)
    assert "pretune dataset" in str(error.value.hint)
    with pytest.raises(NoTarget, match="no question has an answer"):
        task.check([question("the cat", "", 0)], None)
