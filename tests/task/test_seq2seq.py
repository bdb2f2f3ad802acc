"""Texts made of others, end to end on tiny models of our own: learnt, saved, opened again, judged, exported, served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

import pretune
from pretune.api import Loaded
from pretune.base.errors import NoTarget, NotSupported
from pretune.infer.answers import Text
from pretune.infer.language import LanguageModel, source_frame
from pretune.infer.load import open_model
from pretune.infer.searching import Search
from pretune.serve.app import create_app
from pretune.task.seq2seq import Seq2Seq
from pretune.testing.folders import build, write_model
from pretune.text.dataset.example import Pair
from pretune.tokens.encode.tokenizer import encode_text, load_tokenizer

WORDS = {"cat": "chat", "hat": "chapeau", "你好": "salut", "🙂": ":)"}


def row(k: int) -> dict[str, Any]:
    """the cat ▶ chat!"""
    (word, becomes), split = list(WORDS.items())[k % 4], {0: "validation", 1: "test"}.get(k // 4 % 8, "train")
    targets = [f"{becomes}!", f"{becomes} {k}"] if k % 8 == 3 else [f"{becomes}!"]
    return {"source": f"{'the ' * (k % 3)}{word} {k % 7}", "targets": targets, "split": split}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seq2seq")
    for name in ("qwen3", "t5"):
        write_model(folder / name, folder / "words", name, model=build(name, spread=False))
    write_model(folder / "chats", folder / "said", "qwen3", chat=True, model=build("qwen3", spread=False))
    lines = "\n".join(json.dumps(row(k), ensure_ascii=False) for k in range(128))
    (folder / "pairs.jsonl").write_text(lines, encoding="utf-8")
    return folder


def tuned(world: Path, base: str, name: str, **settings: Any) -> Loaded:
    common: dict[str, Any] = {"optim": {"kind": "adamw", "learning_rate": 1e-2}, "max_length": 48, "batch": 8}
    common |= {
        "task": "seq2seq",
        "precision": "float32",
        "epochs": 20,
        "patience": 50,
        "evaluate_every": 10,
        "quiet": True,
    }
    made = world / "full.dataset"
    data = made if made.exists() else world / "pairs.jsonl"
    return pretune.fine_tune(world / base, data, out=world / name, **common | settings)


BEAMS = {"kind": "seq2seq", "beams": 3, "length_penalty": 0.5, "no_repeat_ngram": 4}
ASKED = [row(k)["source"] for k in range(4, 10)]


@pytest.fixture(scope="module")
def full(world: Path) -> Loaded:
    return tuned(world, "qwen3", "full", task=BEAMS)


@pytest.fixture(scope="module")
def translator(world: Path, full: Loaded) -> Loaded:
    return tuned(world, "t5", "translator", task=BEAMS)


def said(answers: Any) -> list[str]:
    return [answer.text for answer in answers]


def test_a_decoder_learns_to_answer_a_source_with_its_target(world: Path, full: Loaded) -> None:
    assert full.metrics["validation_exact"] > 0.9
    assert full.metrics["examples"] == 96
    assert said(full.predict(["the cat 3", "hat 1"])) == ["chat!", "chapeau!"]
    config = json.loads((full.path / "config.json").read_text(encoding="utf-8"))
    line = encode_text(load_tokenizer(full.path), "\n")
    assert config["pretune"] == {"source": {"before": [], "after": line}}
    generation = json.loads((full.path / "generation_config.json").read_text(encoding="utf-8"))
    assert {"num_beams": 3, "length_penalty": 0.5, "no_repeat_ngram_size": 4}.items() <= generation.items()
    opened = open_model(full.path)
    assert isinstance(opened, LanguageModel) and opened.search == Search(3, 0.5, 4)
    assert opened.facts.task == "seq2seq"


def test_plain_transformers_writes_the_same_answers_from_the_folder(full: Loaded) -> None:
    from transformers import AutoModelForCausalLM

    opened, model = open_model(full.path), AutoModelForCausalLM.from_pretrained(full.path).eval()
    assert isinstance(opened, LanguageModel)
    prompt = opened.prompt(ASKED[0])
    written = model.generate(torch.tensor([prompt]), max_new_tokens=30)[0, len(prompt) :].tolist()
    assert opened.generate_many([prompt], 30) == [written[: written.index(1)] if 1 in written else written]


def test_adapters_keep_the_frame_of_a_source_and_the_search(world: Path, full: Loaded) -> None:
    for base, task in (("qwen3", "seq2seq"), ("chats", "chat")):
        found = tuned(world, base, f"{base}-lora", method="lora", epochs=None, steps=2, task=BEAMS)
        opened = open_model(found.path)
        assert isinstance(opened, LanguageModel)
        assert (opened.facts.task, opened.search) == (task, Search(3, 0.5, 4))


def test_an_encoder_decoder_learns_it_too_and_answers_from_its_bundle(world: Path, translator: Loaded) -> None:
    assert translator.metrics["validation_rouge_l"] > 0.8
    bundle = translator.export(out=world / "t5-bundle", quiet=True)
    assert bundle.predict(ASKED) == translator.predict(ASKED)


def test_report_and_bundle_answer_as_the_model_does(world: Path, full: Loaded) -> None:
    data = world / "full.dataset"
    report = full.evaluate(data, out=world / "report")
    wanted = {"rouge_l", "exact", "bleu", "chrf", "length_ratio", "copy_rouge_l", "nearest_pair_rouge_l"}
    assert wanted <= report.metrics.keys()
    assert report.metrics["exact"] > 0.9 and report.metrics["copy_rouge_l"] < 0.6
    assert "chapeau!" in (report.path / "report.html").read_text(encoding="utf-8")
    bundle = full.export(out=world / "bundle", data=str(data), quiet=True)
    assert said(bundle.predict(ASKED)) == said(full.predict(ASKED))
    served = open_model(bundle.path)
    assert served.facts == open_model(full.path).facts


def test_the_server_answers_a_source_at_completions(full: Loaded) -> None:
    client = TestClient(create_app({"fr": open_model(full.path)}), base_url="http://localhost")
    found = client.post("/v1/completions", json={"prompt": ASKED, "max_tokens": 64}).json()["choices"]
    assert [one["text"] for one in found] == said(full.predict(ASKED))
    assert {one["finish_reason"] for one in found} == {"stop"}


# ---- rows ---------------------------------------------------------------------------------------


def pair(source: str, *targets: str) -> Pair:
    return Pair(source, targets, "a.jsonl#7")


def learnt(world: Path, base: str, pairs: list[Pair], max_length: int, told: list[str]) -> list[Any]:
    config = json.loads((world / base / "config.json").read_text(encoding="utf-8"))
    task = Seq2Seq(kind="seq2seq").for_model(config)
    return task.rows(pairs, world / base, None, max_length=max_length, warn=told.append)


def test_only_the_first_target_and_its_end_are_learnt_behind_what_predict_reads(world: Path) -> None:
    (found,) = learnt(world, "qwen3", [pair("the cat", "你好", "other")], 40, [])
    opened, tokenizer = open_model(world / "qwen3"), load_tokenizer(world / "qwen3")
    frame = source_frame(world / "qwen3", apart=False)
    assert isinstance(opened, LanguageModel)
    prompt = [*encode_text(tokenizer, "the cat"), *encode_text(tokenizer, "\n")]
    assert frame.after == tuple(encode_text(tokenizer, "\n"))
    target = [*encode_text(tokenizer, "你好"), 1]
    assert found["ids"][: len(prompt) + len(target)].tolist() == prompt + target
    assert np.flatnonzero(found["targets"]).tolist() == list(range(len(prompt), len(prompt) + len(target)))


def test_with_a_chat_template_the_pair_is_a_dialogue(world: Path) -> None:
    (found,) = learnt(world, "chats", [pair("the cat", "hat")], 40, [])
    text = load_tokenizer(world / "chats").decode(
        found["ids"][found["segments"] == 0].tolist(), skip_special_tokens=False
    )
    assert text == "<user>the cat<bot>hat<eos>"


def test_an_encoder_decoder_reads_the_source_and_writes_the_target(world: Path) -> None:
    told: list[str] = []
    tokenizer = load_tokenizer(world / "t5")
    rows = learnt(world, "t5", [pair("the cat", "hat"), pair("the hat and " * 9, "the cat and " * 9)], 12, told)
    assert list(rows[0]["ids"]) == [*encode_text(tokenizer, "the cat"), 1]
    assert rows[0]["labels"].tolist() == [*encode_text(tokenizer, "hat"), 1]
    assert [len(rows[1]["ids"]), rows[1]["ids"][-1], len(rows[1]["labels"])] == [12, 1, 12]
    assert told == [
        "of 2 pairs 1 lose the end of their source, 1 lose the end of their target: they are longer than max_length=12"
    ]


def test_pairs_of_whose_target_nothing_is_left_are_counted_and_said(world: Path) -> None:
    told: list[str] = []
    pairs = [pair("cat", "hat"), pair("the hat and " * 9, "cat"), pair("cat", "the cat and the hat " * 9)]
    rows = learnt(world, "qwen3", pairs, 20, told)
    assert sum(row["targets"].any() for row in rows) == 2
    assert told == [
        "1 of 3 pairs are left out: nothing of their target fits into max_length=20",
        "of 3 pairs 1 lose the end of their target: they are longer than max_length=20",
    ]
    with pytest.raises(NoTarget, match="max_length=20"):
        learnt(world, "qwen3", pairs[1:2], 20, told)


def test_a_pair_without_a_second_is_refused_by_its_place() -> None:
    with pytest.raises(NotSupported, match=r"1 of 2 pairs have no target, a\.jsonl#7 first"):
        Seq2Seq(kind="seq2seq").check([pair("a", "b"), pair("a", " ")], None)


def test_the_loss_is_that_of_transformers_for_the_same_pairs(world: Path) -> None:
    from pretune.objective.written import Written
    from pretune.tokens.rows import Vocabulary

    model, objective = build("t5").double(), Written(kind="written")
    rows = learnt(world, "t5", [pair("the cat", "hat"), pair("hat", "the cat and the hat")], 30, [])
    batch = objective.collate(rows, Vocabulary(size=300, pad=0))
    ours = objective.sums(model, batch)["loss"] / objective.counts(batch)["loss"]
    assert abs(ours.item() - model(**batch).loss.item()) < 1e-12


def test_answers_are_texts(full: Loaded) -> None:
    assert all(isinstance(answer, Text) and answer.finish == "stop" for answer in full.predict(ASKED))
