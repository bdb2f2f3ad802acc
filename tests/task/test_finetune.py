"""Fine-tuning end to end on a tiny model of our own: what is saved is what was trained, for every task x method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import pretune
from pretune.api import Loaded

SENTENCES = [
    "the red fox runs",
    "a blue bird sings",
    "你好 世界 🙂",
    "green trees grow tall",
    "the small dog barks loudly",
]
TINY = {"layers": 2, "width": 32, "heads": 2, "kv_heads": 1, "head_width": 16, "hidden": 48}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text, a tiny decoder and a tiny encoder pretrained on it, labelled texts, dialogues."""
    folder = tmp_path_factory.mktemp("finetune")
    (folder / "text").mkdir()
    for i in range(8):
        (folder / "text" / f"{i}.txt").write_text("\n".join(SENTENCES * 6) + f"\n{i}", encoding="utf-8")
    common: dict[str, Any] = {"length": 32, "batch": 4, "steps": 4, "quiet": True}
    # The texts are repeated on purpose.
    common |= {"tokenizer": {"vocab_size": 320}, "corpus": {"filters": [], "max_overlap": None}}
    pretune.pretrain(folder / "text", out=folder / "decoder", model={"kind": "qwen3", **TINY}, **common)
    bert = {"kind": "bert", "layers": 2, "width": 32, "heads": 2, "hidden": 48}
    pretune.pretrain(folder / "text", out=folder / "encoder", model=bert, objective="masked", **common)
    rows = [
        {"text": f"{SENTENCES[i % 5]} {i} {i * 7} {i * i}", "label": "one" if i % 5 < 2 else "two"} for i in range(60)
    ]
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pairs = [
        {"instruction": f"say {w}", "input": "", "output": f"{w} {w}"} for w in ["fox", "bird", "dog", "tree", "red"]
    ]
    (folder / "pairs.json").write_text(json.dumps(pairs), encoding="utf-8")
    return folder


def tuned(world: Path, base: str, data: str, name: str, **settings: Any) -> Loaded:
    settings = {"optim": {"kind": "adamw", "learning_rate": 3e-3}, "max_length": 32, "batch": 8, **settings}
    # For each length of rows oneDNN makes its bfloat16 kernels again, which is most of the time of models so small.
    settings.setdefault("precision", "auto" if settings.get("method") == "full" else "float32")
    return pretune.fine_tune(world / base, world / data, out=world / name, quiet=True, **settings)


@pytest.mark.parametrize("base", ["decoder", "encoder"])
@pytest.mark.parametrize("method", ["full", "head", "lora"])
def test_a_classifier_learns_and_its_folder_gives_the_logits_of_plain_transformers(
    world: Path, base: str, method: str
) -> None:
    # Twelve: LoRA on the encoder still calls everything "two" after six, which is 6 of 7 of the validation split.
    found = tuned(world, base, "labels.jsonl", f"clf-{base}-{method}", task="classify", method=method, epochs=12)
    assert found.metrics["validation_accuracy"] >= (0.9 if method != "head" else 0.4)
    texts = [s + " 🙂" for s in SENTENCES]
    ours = [label.scores for label in found.predict(texts)]
    theirs = plain_transformers(world, base, found.path, texts, found.model.facts.more["temperature"])
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def plain_transformers(
    world: Path, base: str, folder: Path, texts: list[str], temperature: float = 1.0
) -> list[dict[str, float]]:
    """Probabilities by transformers (and peft) alone, one text at a time."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if (folder / "adapter_config.json").exists():
        from peft import PeftModel

        from pretune.model.methods.by_peft import quiet_peft

        labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        plain = AutoModelForSequenceClassification.from_pretrained(
            world / base, num_labels=len(labels), pad_token_id=tokenizer.pad_token_id
        )
        with quiet_peft():
            model = PeftModel.from_pretrained(plain, folder)
        names = dict(enumerate(labels))
    else:
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        names = model.config.id2label
    model.eval()
    rows = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        framed = (
            [tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]
            if base == "encoder"
            else [*ids, tokenizer.eos_token_id]
        )
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([framed])).logits[0]
        rows.append({names[i]: float(p) for i, p in enumerate((logits / temperature).softmax(-1))})
    return rows


def test_head_and_lora_leave_the_base_as_it_was(world: Path) -> None:
    from safetensors.torch import load_file

    tuned(world, "decoder", "labels.jsonl", "clf-head", task="classify", method="head", steps=2)
    base, head = load_file(world / "decoder/model.safetensors"), load_file(world / "clf-head/model.safetensors")
    shared = [name for name in base if name in head]
    assert len(shared) > 10
    assert all(torch.equal(base[name], head[name]) for name in shared)
    adapter = tuned(world, "decoder", "labels.jsonl", "clf-lora", task="classify", method="lora", steps=2)
    assert (
        sum(p.stat().st_size for p in adapter.path.glob("*.safetensors"))
        < (world / "decoder/model.safetensors").stat().st_size
    )


@pytest.mark.parametrize("method", ["full", "lora"])
def test_after_overfitting_replies_generation_says_them_and_stops_by_itself(world: Path, method: str) -> None:
    rate = {"kind": "adamw", "learning_rate": 1e-2}
    found = tuned(
        world, "decoder", "pairs.json", f"chat-{method}", task="chat", method=method, optim=rate, steps=250,
        dataset={"validation": 0, "test": 0},
    )  # fmt: skip
    answers = found.predict(["say fox", "say dog"], max_tokens=30)
    assert [answer.text for answer in answers] == ["fox fox", "dog dog"]


def test_the_best_weights_on_validation_are_kept_not_the_last(world: Path) -> None:
    found = tuned(
        world, "decoder", "labels.jsonl", "clf-best", task="classify", epochs=6, evaluate_every=2, patience=50,
        optim={"kind": "adamw", "learning_rate": 3e-2},
    )  # fmt: skip
    log = [json.loads(line) for line in (found.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    seen = [(row["validation_accuracy"], -row["validation_loss"]) for row in log if "validation_accuracy" in row]
    assert (found.metrics["validation_accuracy"], -found.metrics["validation_loss"]) == max(seen)


def test_a_reply_that_does_not_fit_is_refused_not_trained_on_as_nothing(world: Path) -> None:
    from pretune.base.errors import NoTarget

    with pytest.raises(NoTarget, match="max_length=4"):
        tuned(world, "decoder", "pairs.json", "chat-short", task="chat", max_length=4, steps=1)


def test_dialogues_that_do_not_fit_are_not_counted_as_learnt_and_do_not_stop_the_run(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = world / "long"
    folder.mkdir()
    long = "the small dog barks loudly " * 9

    def write(split: str, asked: list[str]) -> None:
        rows = [json.dumps({"prompt": q, "completion": f"fox {k}"}) for k, q in enumerate(asked)]
        (folder / f"{split}.jsonl").write_text("\n".join(rows), encoding="utf-8")

    write("train", ["say fox", "say dog", "say bird"] + [f"{k} {long}" for k in range(2)])
    write("dev", [long])
    settings: dict[str, Any] = {"task": "chat", "max_length": 32, "steps": 2, "batch": 2, "out": world / "chat-long"}
    found = pretune.fine_tune(world / "decoder", folder, **settings)
    assert (found.metrics["examples"], found.metrics["examples_left_out"]) == (3, 2)
    told = capsys.readouterr().err
    assert "warning: 2 of 5 dialogues are left out: no reply fits into max_length=32" in told
    assert "nothing of the validation split can be scored, so the last weights are kept: no reply fits" in told
    assert "    3 examples, " in told


def test_the_wrong_task_for_the_data_is_told(world: Path) -> None:
    from pretune.base.errors import WrongKind

    with pytest.raises(WrongKind, match="needs dialogue examples"):
        tuned(world, "decoder", "labels.jsonl", "wrong", task="chat", steps=1)


def test_a_pretrained_folder_gives_the_logits_of_plain_transformers(world: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

    from pretune.infer.language import LanguageModel
    from pretune.infer.load import open_model

    ours = open_model(world / "decoder")
    assert isinstance(ours, LanguageModel)
    tokenizer = AutoTokenizer.from_pretrained(world / "decoder")
    ids = tokenizer("the red fox 你好 🙂", add_special_tokens=False)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(world / "decoder").eval()
    with torch.no_grad():
        theirs = model(torch.tensor([ids])).logits[0, -1].numpy()
    import numpy as np

    logits, _ = ours.decoder.feed(ours.decoder.start(), np.array([ids]))
    assert np.allclose(logits[0], theirs, atol=1e-5)
    assert AutoModelForMaskedLM.from_pretrained(world / "encoder").config.model_type == "bert"
    assert ours.tokenizer.encode("the red fox 你好 🙂", add_special_tokens=False).ids == ids


def test_saved_weights_are_float32_with_one_metadata_entry_and_no_path(world: Path) -> None:
    from safetensors import safe_open

    for name in ("decoder", "encoder"):
        with safe_open(world / name / "model.safetensors", framework="pt") as file:
            assert file.metadata() == {"format": "pt"}
            assert {str(file.get_slice(k).get_dtype()) for k in file.keys()} == {"F32"}  # noqa: SIM118
    for path in world.rglob("*.json"):
        if path.name != "artifact.json" and ".scratch" not in path.parent.name:
            assert str(world) not in path.read_text(encoding="utf-8"), path


def test_class_weights_of_the_dataset_reach_the_loss_unless_the_task_says_none(world: Path) -> None:
    def scores(name: str, task: Any, balance: str | None) -> list[dict[str, float]]:
        found = tuned(world, "encoder", "labels.jsonl", name, task=task, steps=2, dataset={"balance": balance})
        return [label.scores for label in found.predict(SENTENCES)]

    alike = scores("clf-alike", "classify", None)
    assert scores("clf-none", {"kind": "classify", "class_weights": "none"}, "weights") == alike
    assert scores("clf-weights", "classify", "weights") != alike


def test_a_chat_model_is_asked_at_each_evaluation_and_ends_with_what_it_answers(world: Path) -> None:
    model = tuned(world, "decoder", "pairs.json", "asked", task="chat", steps=4, evaluate_every=2, prompts=["say fox"])
    lines = [json.loads(line) for line in (world / "asked/samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(one["step"], one["prompt"]) for one in lines] == [(2, "say fox"), (4, "say fox")]
    assert model.artifact.card.metrics["best_step"] == 4
    (answer,) = model.predict(["say fox"], max_tokens=40)
    assert lines[-1]["text"] == answer.text


def test_a_model_like_roberta_learns_and_labels_texts_that_are_longer_than_it_reads(tmp_path: Path) -> None:
    from pretune.testing.folders import write_model

    base = write_model(tmp_path / "base", tmp_path / "words", "roberta-labels")
    rows = [{"text": f"{i} the cat {'and the hat ' * 60}", "label": "ab"[i % 2]} for i in range(20)]
    (tmp_path / "long.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = pretune.fine_tune(
        base, tmp_path / "long.jsonl", out=tmp_path / "clf", task="classify", max_length=96, steps=2, quiet=True
    )
    assert json.loads((found.path / "tokenizer_config.json").read_text(encoding="utf-8"))["model_max_length"] == 94
    assert {label.name for label in found.predict([row["text"] for row in rows])} <= {"a", "b"}


@pytest.mark.parametrize(
    ("base", "method", "figure"), [("decoder", "lora", "bits_per_byte"), ("encoder", "full", "loss")]
)
def test_general_text_is_replayed_and_what_is_forgotten_of_it_is_told_by_the_heads_of_the_base(
    world: Path, base: str, method: str, figure: str
) -> None:
    text = str(world / f"{base}.tokens")
    found = tuned(
        world, base, "labels.jsonl", f"watched-{base}", task="classify", method=method, steps=6, precision="float32",
        watch=[text], remember={"kind": "replay", "data": [text], "weight": 0.5},
    ).metrics  # fmt: skip
    before, after = (found[when][f"{base}.tokens"] for when in ("before", "after"))
    known = pretune.load(world / base).metrics[f"validation_{figure}"]
    assert before[figure] == pytest.approx(known, rel=1e-4)
    assert found["forgotten"] == {f"{base}.tokens": pytest.approx(after[figure] - before[figure])}
    assert abs(after[figure] - before[figure]) > 1e-4, "the body has moved under the head"


def test_training_goes_on_from_an_adapter_as_from_the_model_that_it_is_merged_into(world: Path) -> None:
    from safetensors.torch import load_file

    from pretune.base.errors import NotSupported
    from pretune.model.methods.adapter import write_merged

    settings: dict[str, Any] = {"task": "classify", "steps": 2, "precision": "float32"}
    tuned(world, "encoder", "labels.jsonl", "first", method="lora", **settings)
    write_merged(world / "first", world / "whole")
    for start in ("first", "whole"):
        tuned(world, start, "labels.jsonl", f"{start}-on", method="full", **settings)
    one, other = (load_file(world / f"{start}-on" / "model.safetensors") for start in ("first", "whole"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(NotSupported, match=r"learns next to one base(?s:.*)to=huggingface"):
        tuned(world, "first", "labels.jsonl", "second", method="lora", **settings)
