"""The gate: what differs is refused and leaves nothing."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from transformers import BertConfig, BertModel

from pretune.base.errors import NoParity
from pretune.base.log import Log
from pretune.export.bundle import write_bundle
from pretune.export.exporter import Job
from pretune.export.onnx_bundle import Onnx
from pretune.export.parity import Parity, Thresholds, rounded_up, same_tokens
from pretune.infer.classify import TextClassifier
from pretune.infer.compare import TEXTS, compare_rows, compare_written, longest_prompt, prompts_of
from pretune.infer.load import open_bundle
from pretune.infer.predictor import Difference
from pretune.infer.sampling import Sampling
from pretune.model.generate import open_folder
from pretune.testing.folders import BERT, write_model

EXACT = Thresholds(1e-3, 1.0)
GRAPH = "onnx/model.onnx"


def export(folder: Path, out: Path, **settings: Any) -> Any:
    """Export without data, as the stage does; bundle.json and what parity.json says of onnx."""
    out.mkdir(exist_ok=True)
    exporter = Onnx(kind="onnx", prompts=4, tokens=8, **settings)
    write_bundle([exporter], Job(folder, open_folder(folder), None, out), Log(quiet=True))
    told, parity = (json.loads((out / f"{name}.json").read_text(encoding="utf-8")) for name in ("bundle", "parity"))
    return told, parity["onnx"]


def damage(graph: Path, initializer: str) -> None:
    """Move one weight of a graph by a tenth of its size."""
    model = onnx.load(graph)
    found = next(t for t in model.graph.initializer if t.name == initializer)
    found.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(found) * np.float32(1.1), initializer))
    onnx.save(model, graph)


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
def test_a_bundle_writes_the_greedy_tokens_of_the_torch_model(
    kind: str, model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = model_folder(kind)
    export(folder, tmp_path / "out")
    bundle, model = open_bundle(tmp_path / "out"), open_folder(folder)
    prompts = [model.text_prompt(text) for text in TEXTS]
    assert bundle.generate_many(prompts, 12) == model.generate_many(prompts, 12)
    found = compare_written(model, bundle, prompts, num_tokens=12)
    assert (found.texts, found.different, Parity(found, EXACT).is_same) == (20, 0, True)
    assert found.max_logit_difference < 1e-5


def test_a_chat_bundle_answers_like_its_folder(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = model_folder("qwen3", chat=True)
    told, _ = export(folder, tmp_path / "out")
    assert (told["task"], told["answers"]) == ("chat", "text")
    message = [{"role": "user", "content": "the cat 你好 <eos>"}]
    sampling = Sampling(max_tokens=10, temperature=0)
    assert open_bundle(tmp_path / "out").reply(message, sampling) == open_folder(folder).reply(message, sampling)


def test_prompts_without_data_are_twenty_and_leave_room_for_the_answer(model_folder: Callable[..., Path]) -> None:
    model = open_folder(model_folder("qwen3", chat=True))
    prompts = prompts_of(model, TEXTS, most=20, num_tokens=60)
    assert len(prompts) == 20
    assert max(len(p) for p in prompts) == 96 - 60


def test_dialogues_that_the_template_refuses_are_compared_by_their_last_message(
    model_folder: Callable[..., Path],
) -> None:
    folder = model_folder("qwen3", chat=True)
    path = folder / "chat_template.jinja"
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    path.write_text(refuses + path.read_text(encoding="utf-8"), encoding="utf-8")
    model = open_folder(folder)
    asked = [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}] for text in TEXTS[:3]]
    assert prompts_of(model, asked, most=3, num_tokens=8) == [model.text_prompt(text) for text in TEXTS[:3]]


def test_a_damaged_decoder_graph_is_refused(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = model_folder("qwen3")
    export(folder, tmp_path / "out")
    damage(tmp_path / "out" / GRAPH, "model.layers.1.mlp.down_proj.weight.T")
    model, bundle = open_folder(folder), open_bundle(tmp_path / "out")
    found = compare_written(model, bundle, [[9, 8, 7]], num_tokens=4)
    with pytest.raises(NoParity, match="the export differs from its model"):
        Parity(found, EXACT).demand()


def test_a_refusal_names_the_first_prompt_and_token_that_differ_and_both_texts(
    model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = model_folder("qwen3")
    export(folder, tmp_path / "out")
    model, bundle = open_folder(folder), open_bundle(tmp_path / "out")
    prompts = [model.text_prompt(text) for text in TEXTS[:3]]
    written = model.generate_many(prompts, 6)
    path = tmp_path / "out" / GRAPH
    for _ in range(4):  # until a choice differs
        damage(path, "model.layers.1.self_attn.v_proj.weight.T")
    spoilt = open_bundle(tmp_path / "out")
    found = compare_written(model, spoilt, prompts, num_tokens=6)
    others = spoilt.generate_many(prompts, 6)
    number = next(k for k in range(3) if written[k] != others[k])
    token = next(k for k in range(6) if written[number][k] != others[number][k])
    first = found.first
    assert (first["input"], first["token"]) == (number, token)
    assert first["prompt"] == TEXTS[number]
    assert (first["model"], first["export"]) == tuple(
        one.text_of(prompts[number], ids[number]) for one, ids in ((model, written), (bundle, others))
    )
    with pytest.raises(NoParity, match=f"first at input {number}, token {token}, prompt"):
        Parity(found, EXACT).demand()


def test_a_bundle_scores_rows_in_one_pass_and_one_of_before_step_by_step_as_torch_does(
    model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = model_folder("qwen3")
    export(folder, tmp_path / "out")
    ids = np.random.default_rng(0).integers(6, 283, (3, 20))
    expected = open_folder(folder).engine.whole(ids, 7)
    np.testing.assert_allclose(open_bundle(tmp_path / "out").engine.whole(ids, 7), expected, atol=1e-5)
    graph = onnx.load(tmp_path / "out" / GRAPH)
    del graph.graph.input[-1]  # num_logits: its default is a constant then
    onnx.save(graph, tmp_path / "out" / GRAPH)
    np.testing.assert_allclose(open_bundle(tmp_path / "out").engine.whole(ids, 7), expected, atol=1e-5)


def test_a_bundle_whose_tokenizer_was_spoilt_is_refused(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = model_folder("qwen3")
    _, parity = export(folder, tmp_path / "out")
    assert parity["tokens"] == {"texts": 51, "words": 283, "is_same": True}
    path = tmp_path / "out" / "tokenizer.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["model"]["merges"] = tree["model"]["merges"][:-20]
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(NoParity, match="other ids for"):
        same_tokens(folder, tmp_path / "out")


def test_a_damaged_classifier_graph_is_refused(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = model_folder("bert-labels")
    export(folder, tmp_path / "out")
    damage(tmp_path / "out" / GRAPH, "bert.encoder.layer.0.attention.self.value.weight.T")
    model, bundle = open_folder(folder), open_bundle(tmp_path / "out")
    with pytest.raises(NoParity):
        Parity(compare_rows(model, bundle, TEXTS), EXACT).demand()


VALUES = "bert.encoder.layer.1.attention.self.value.weight.T"


class Spoilt(Onnx):
    """A graph that is damaged before it is proven."""

    def prove(self, job: Job) -> Any:
        damage(job.out / "model.onnx", VALUES)
        return super().prove(job)


def test_a_spoilt_embedder_whose_numbers_are_all_small_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(5)
    model: Any = BertModel(BertConfig(**BERT), add_pooling_layer=False).eval()
    model.config.pretune = {"pooling": "mean", "normalize": False}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for parameter in model.encoder.layer[-1].output.LayerNorm.parameters():
            parameter.mul_(1e-3)
    folder = write_model(tmp_path / "model", tmp_path / "words", "", model=model)
    export(folder, tmp_path / "out")
    damage(tmp_path / "out" / GRAPH, VALUES)
    reference, spoilt = open_folder(folder), open_bundle(tmp_path / "out")
    theirs, ours = (one.vectors(TEXTS) for one in (reference, spoilt))
    lengths = np.linalg.norm(theirs, axis=1) * np.linalg.norm(ours, axis=1)
    assert np.abs(ours - theirs).max() < 1e-3 and 0.9 < ((theirs * ours).sum(axis=1) / lengths).min() < 0.9999
    assert reference.compare(spoilt, TEXTS).different == 0
    (tmp_path / "again").mkdir()
    job = Job(folder, reference, None, tmp_path / "again")
    with pytest.raises(NoParity, match="0 of 21 vectors differ, logits by up to"):
        write_bundle([Spoilt(kind="onnx")], job, Log(quiet=True))


def test_one_input_is_as_long_as_the_model_reads(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    told = {kind: export(model_folder(kind), tmp_path / f"out-{kind}")[1] for kind in ("qwen3", "bert-labels")}
    assert told["qwen3"]["longest"] == 95  # 96 positions, one of them for the answer
    assert told["bert-labels"]["longest"] == 64  # the tokenizer's model_max_length
    assert told["bert-labels"]["texts"] == len(TEXTS)


def test_a_bundle_whose_table_of_positions_is_too_short_is_refused(
    model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = model_folder("gpt2")
    export(folder, tmp_path / "out")
    graph = onnx.load(tmp_path / "out" / GRAPH)
    table = next(t for t in graph.graph.initializer if t.name == "transformer.wpe.weight")
    table.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(table)[:60], table.name))
    onnx.save(graph, tmp_path / "out" / GRAPH)
    model, bundle = open_folder(folder), open_bundle(tmp_path / "out")
    short = prompts_of(model, TEXTS, most=20, num_tokens=8)
    short = [ids[:40] for ids in short]
    assert Parity(compare_written(model, bundle, short, num_tokens=8), EXACT).is_same
    with pytest.raises(NoParity, match="fails on an input of 95 tokens, which its model reads"):
        compare_written(model, bundle, [*short, longest_prompt(model)], num_tokens=8)


def test_a_model_like_roberta_gives_the_same_labels_for_a_text_longer_than_it_reads(
    model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = model_folder("roberta-labels")
    config = folder / "tokenizer_config.json"
    config.write_text(config.read_text(encoding="utf-8").replace("64", "1000000000"), encoding="utf-8")
    told, parity = export(folder, tmp_path / "out")
    assert (told["max_length"], parity["longest"]) == (94, 94)
    texts = ["the cat and the hat 你好 " * 40, "the cat"]
    ours, theirs = open_bundle(tmp_path / "out").answer(texts), open_folder(folder).answer(texts)
    for one, other in zip(ours, theirs, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)


def test_a_refused_export_leaves_no_files_of_its_format(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(NoParity, match="logits by up to"):
        export(model_folder("qwen3"), tmp_path / "out", max_logit_difference=1e-12)
    assert not (tmp_path / "out/onnx").exists()


def test_nan_logits_and_labels_in_another_order_are_never_the_same(
    model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    assert not Parity(Difference("labels", 1, 1, 0, 0, float("nan")), Thresholds(None, 0.1)).is_same
    folder = model_folder("bert-labels")
    export(folder, tmp_path / "out")
    path = tmp_path / "out" / "bundle.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**tree, "labels": tree["labels"][::-1]}), encoding="utf-8")
    found = compare_rows(open_folder(folder), open_bundle(tmp_path / "out"), TEXTS)
    assert not Parity(found, EXACT).is_same


def test_the_input_whose_label_differs_is_told_not_the_one_whose_logits_are_furthest_apart(
    model_folder: Callable[..., Path],
) -> None:
    model = open_folder(model_folder("bert-labels"))
    assert isinstance(model, TextClassifier)
    rows = {tuple(row): k for k, row in enumerate(model.rows(TEXTS))}

    @dataclass(frozen=True)
    class Off:
        """Of the third text other logits with the same best label, of the sixth another best label."""

        max_length: int = model.facts.max_length

        def logits(self, asked: Sequence[Sequence[int]]) -> list[np.ndarray]:
            found = [logits_C.copy() for logits_C in model.encoder.logits(asked)]
            for row, logits_C in zip(asked, found, strict=True):
                if rows.get(tuple(row)) == 2:
                    logits_C[logits_C.argmax()] += 100
                if rows.get(tuple(row)) == 5:
                    logits_C[logits_C.argmin()] += logits_C.max() - logits_C.min() + 1
            return found

    found = compare_rows(model, replace(model, encoder=Off()), TEXTS)
    assert found.first is not None and found.worst is not None
    assert (found.different, found.first["input"], found.worst["input"]) == (1, 5, 2)


def test_agreement_below_its_threshold_is_refused_and_at_it_is_kept() -> None:
    def found(different: int) -> bool:
        return Parity(Difference("labels", 10, 10, different, 0, 5.0), Thresholds(None, 0.9)).is_same

    assert found(1)
    assert not found(2)


def test_differences_are_told_rounded_up_to_one_digit() -> None:
    assert [rounded_up(x) for x in (1.19e-6, 2e-5, 0.0, 9.2e-4, 17.0)] == [2e-6, 2e-5, 0.0, 1e-3, 20.0]
