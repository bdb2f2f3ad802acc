"""Preferences: learnt by every loss, counted from the start, judged next to length, and answered alike everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pretune
from pretune.api import Loaded
from pretune.base.errors import NoTarget, NotSupported
from pretune.infer.answers import Score, Text
from pretune.infer.load import open_model
from pretune.task.preferences import fitted_pairs, pairs, reply_row, verdicts
from pretune.task.task import TASK
from pretune.testing.bench import has_saved
from pretune.testing.folders import write_model
from pretune.text.dataset.example import Message, Preference

WORDS = ("fox", "bird", "dog", "tree", "sun", "世界")
ROWS = [
    {"prompt": f"say {word} {k}", "chosen": f"{word} {word}", "rejected": f"no {word}{'!' * (k % 3)} 🙂"}
    for word in WORDS
    for k in range(6)
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefer")
    write_model(folder / "base", folder / "words", "qwen3", chat=True)
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    return folder


def tuned(world: Path, name: str, task: Any, **settings: Any) -> Loaded:
    settings = {
        "optim": {"kind": "adamw", "learning_rate": 1e-3},
        "max_length": 48,
        "batch": 8,
        "micro_batch": 8,
        **settings,
    }
    settings = {"precision": "float32", "prompts": [], "dataset": {"validation": 0.2, "test": 0.2}, **settings}
    return pretune.fine_tune(world / "base", world / "rows.jsonl", out=world / name, task=task, quiet=True, **settings)


def preferred(chosen: str, rejected: str, prompt: str = "say fox") -> Preference:
    return Preference((Message("user", prompt),), chosen, rejected, "rows#0")


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_kept_and_a_live_reference_learn_the_same_and_what_comes_out_is_a_chat_model(
    world: Path, method: str
) -> None:
    kept, live = (
        tuned(world, f"{method}-{name}", {"kind": "prefer", "loss": {"kind": "dpo", "reference": name}}, epochs=3, method=method)
        for name in ("kept", "live")
    )  # fmt: skip
    assert kept.metrics["validation_accuracy"] == 1.0
    assert live.metrics["validation_margin"] == pytest.approx(kept.metrics["validation_margin"], rel=1e-4)
    (answer,) = kept.predict(["say fox 1"], max_tokens=5)
    assert isinstance(answer, Text) and kept.model.facts.task == "chat"
    assert json.loads((kept.path / "tokenizer_config.json").read_text(encoding="utf-8"))["model_max_length"] == 96


def test_a_report_says_how_much_the_model_has_gained_and_what_length_alone_would_tell(world: Path) -> None:
    import pyarrow.parquet as pq

    found = tuned(world, "reported", "prefer", epochs=3)
    report = found.evaluate(world / "reported.dataset", out=world / "report")
    rows = pq.read_table(report.path / "predictions.parquet").to_pylist()
    start = open_model(world / "base")
    for row in rows[:2]:
        sums = [
            [told(model, row["prompt"], row[name]) for name in ("chosen", "rejected")] for model in (found.model, start)
        ]
        assert row["margin"] == pytest.approx(sums[0][0] - sums[0][1], abs=1e-4)
        assert row["gain"] == pytest.approx(row["margin"] - (sums[1][0] - sums[1][1]), abs=1e-4)
    longer = [0.5 if a == b else float(a > b) for a, b in ((len(r["chosen"]), len(r["rejected"])) for r in rows)]
    metrics = report.metrics
    assert metrics["length_accuracy"] == pytest.approx(np.mean(longer), abs=1e-6)
    assert metrics["shorter_accuracy"] == pytest.approx(1 - np.mean(longer), abs=1e-6)
    assert metrics["win_rate"] == np.mean([row["gain"] > 0 for row in rows]) == 1.0
    assert {"start_accuracy", "accuracy_per_token"} <= metrics.keys()
    page = (report.path / "report.html").read_text(encoding="utf-8")
    before = pretune.load(world / "base").evaluate(world / "reported.dataset", out=world / "before").metrics
    assert before["accuracy"] == metrics["start_accuracy"] and "win_rate" not in before
    assert "before fine-tuning" in page and "the longer reply" in page and "🙂" in page


def told(model: Any, prompt: str, reply: str) -> float:
    """log p of a reply, one token after the other, by the cache that writes."""
    ids = model.chat_prompt([{"role": "user", "content": prompt}])
    written = [*model.tokenizer.encode(reply, add_special_tokens=False).ids, model.eos_ids[0]]
    state, total = model.engine.start(), 0.0
    for fresh, token in zip([ids, *([one] for one in written)], written, strict=False):
        logits, state = model.engine.feed(state, np.array([fresh]))
        wide = logits[0].astype(np.float64)
        total += wide[token] - np.log(np.exp(wide - wide.max()).sum()) - wide.max()
    return float(total)


def served(model: Loaded, asked: Any) -> Any:
    """What the route for scores says."""
    from starlette.testclient import TestClient

    from pretune.serve.app import create_app

    client = TestClient(create_app({"m": model.model}), base_url="http://localhost")
    return client.post("/v1/score", json={"input": asked}).json()


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_reward_model_scores_a_reply_alike_in_every_way_to_the_folder(world: Path, method: str) -> None:
    found = tuned(world, f"reward-{method}", "reward", method=method, epochs=3)
    asked = [(f"say {word} 1", reply) for word in WORDS[:2] for reply in (f"{word} {word}", f"no {word}")]
    scores = [answer.to_json()["score"] for answer in found.predict(asked)]
    assert scores[0] > scores[1] and scores[2] > scores[3]
    messages = [[{"role": "user", "content": a}, {"role": "assistant", "content": b}] for a, b in asked]
    assert [a.to_json()["score"] for a in found.model.answer(messages)] == pytest.approx(scores, abs=1e-6)
    assert [a.to_json()["score"] for a in open_model(found.path).answer(asked)] == scores
    bundle = open_model(found.export(out=world / f"bundle-{method}").path)
    assert [a.value for a in bundle.answer(asked) if isinstance(a, Score)] == pytest.approx(scores, abs=1e-4)
    assert (bundle.facts.task, bundle.facts.more["reads"]) == ("reward", "dialogue")
    with pytest.raises(NotSupported, match="a text alone is no reply"):
        found.predict(["say fox 1"])
    pairs_asked = [{"text": a, "second": b} for a, b in asked]
    assert [row["score"] for row in served(found, pairs_asked)["data"]] == pytest.approx(scores, abs=1e-6)
    assert "a text alone is no reply" in served(found, "say fox 1")["error"]["message"]
    report = found.evaluate(world / f"reward-{method}.dataset", out=world / f"reward-{method}-report")
    assert report.metrics["accuracy"] == 1.0 and "win_rate" not in report.metrics


@pytest.mark.parametrize("loss", ["kto", "simpo"])
def test_a_run_that_was_stopped_keeps_its_reference_and_ends_with_the_same_bits(
    world: Path, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pretune.base.errors import Stopped
    from pretune.base.stage import Context

    settings: dict[str, Any] = {"steps": 6, "save_every": 3, "evaluate_every": 6}
    whole = tuned(world, f"{loss}-whole", {"kind": "prefer", "loss": loss}, **settings)
    assert whole.metrics["validation_margin"] > 0
    with monkeypatch.context() as at_once:
        at_once.setattr(Context, "stop", property(lambda self: has_saved(self.scratch)))
        with pytest.raises(Stopped):
            tuned(world, f"{loss}-stopped", {"kind": "prefer", "loss": loss}, **settings)
    again = tuned(world, f"{loss}-stopped", {"kind": "prefer", "loss": loss}, **settings)
    assert (again.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


def test_single_replies_that_were_judged_are_learnt_by_kto_alone(world: Path) -> None:
    rows = [{"prompt": r["prompt"], "completion": r[n], "label": n == "chosen"} for r in ROWS for n in ("chosen", "rejected")]  # fmt: skip
    (world / "verdicts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    given: dict[str, Any] = {"max_length": 48, "batch": 8, "steps": 2, "precision": "float32", "quiet": True}
    found = pretune.fine_tune(
        world / "base", world / "verdicts.jsonl", out=world / "kto", task={"kind": "prefer", "loss": "kto"}, **given
    )
    assert found.metrics["examples"] > 40 and "validation_kl" in found.metrics
    with pytest.raises(NoTarget, match="has two replies that differ") as refused:
        pretune.fine_tune(world / "base", world / "verdicts.jsonl", out=world / "dpo", task="prefer", **given)
    assert "task.loss=kto" in str(refused.value.hint)


def test_a_preference_for_one_of_two_equal_replies_is_left_out_and_told() -> None:
    examples = [preferred("a", "b"), preferred("same", " same "), preferred("", "c"), preferred("", "")]
    heard: list[str] = []
    assert [one.two for one in pairs(examples, heard.append)] == [("a", "b")]
    assert heard[0].startswith("2 of 4 preferences are left out: only one reply was judged, or none")
    assert heard[1] == "2 of 4 preferences are left out: both replies are the same"
    with pytest.raises(NoTarget, match="none of 1 preferences has two replies that differ"):
        pairs(examples[1:2])


def test_kto_measures_each_reply_by_the_reply_to_the_next_prompt() -> None:
    examples = [preferred("a", "b", "p"), preferred("same", "same", "q"), preferred("", "c", "r")]
    found = [(one.messages[0].content, one.two, one.good) for one in verdicts(examples)]
    assert found == [("p", ("a", "c"), True), ("p", ("b", "c"), False), ("r", ("c", "a"), False)]


def test_both_replies_stand_behind_the_same_turns_and_what_does_not_fit_is_told(world: Path) -> None:
    from pretune.task.chat import chat_format

    chat = chat_format(world / "base")
    turns = (Message("user", "u" * 20), Message("assistant", "r"), Message("user", "v"))
    long = [Preference(turns, "short", "l" * 15, "a#0"), Preference((Message("user", "w" * 40),), "a", "b", "a#1")]
    heard: list[str] = []
    ((one, first, second),) = fitted_pairs(chat, pairs(long), 30, warn=heard.append)
    row = reply_row(one, first, second)
    texts = [chat.tokenizer.decode(list(row["ids"][row["segments"] == k]), skip_special_tokens=False) for k in (0, 1)]
    assert texts == ["<user>v<bot>short<eos>", f"<user>v<bot>{'l' * 15}<eos>"]
    said = [chat.tokenizer.decode(row["ids"][(row["segments"] == k) & row["targets"]].tolist()) for k in (0, 1)]
    assert said == ["short", "l" * 15]
    assert heard == [
        "of 2 preferences 1 lose their early turns: they are longer than max_length=29",
        "1 of 2 preferences are left out: no reply fits into max_length=29",
    ]


def test_an_encoder_and_a_model_without_a_chat_template_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "mute", tmp_path / "words", "qwen3")
    with pytest.raises(NotSupported, match="has no chat template"):
        TASK("prefer").rows([preferred("a", "b")], tmp_path / "mute", None, max_length=32)
    write_model(tmp_path / "bert", tmp_path / "more", "bert-labels", chat=True)
    with pytest.raises(NotSupported, match="is an encoder, and replies are scored by a model that writes them"):
        TASK("reward").load(tmp_path / "bert", None, seed=0)
