"""`pretune advise`: the task of data as it lies on disk, the order of methods, how far figures are, a command that runs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pretune.base.stage import STAGE, Forecast, Machine
from pretune.cli import main
from pretune.task.advice.advise import Asked, Case, _length, _method, advise, seen_as
from pretune.task.advice.measured import PLACE, Measured, Way, how_far, nearest, table, table_text
from pretune.task.advice.models import Candidate, _why_not, candidate
from pretune.task.task import TASK


def lines(*rows: object) -> str:
    """Rows, each with copies that differ, as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False).replace("%", str(k)) + "\n" for k in range(12) for row in rows)


SETS: list[tuple[str, str, str]] = [
    ("sst2.jsonl", lines({"text": "a lovely film %", "label": 1}, {"text": "a bad one %", "label": 0}), "classify"),
    ("banking77.jsonl", lines({"text": "card % is lost", "label": "lost_card"}, {"text": "pin % is wrong", "label": "pin"}), "classify"),
    ("goemotions.jsonl", lines({"text": "so happy %", "labels": ["joy", "love"]}, {"text": "sad %", "labels": ["grief"]}), "multilabel"),
    ("wikigold.conll", "".join(f"Anna{k} I-PER\nlives O\nin O\nRome{k} I-LOC\n\n" for k in range(12)), "tag"),
    ("squad.json", json.dumps({"data": [{"title": "t", "paragraphs": [{"context": f"Rome {k} is old.", "qas": [{"id": str(k), "question": "What is old?", "answers": [{"text": "Rome", "answer_start": 0}]}]}]} for k in range(12)]}), "answer"),
    ("alpaca_zh_demo.json", json.dumps([{"instruction": f"说一个词 {k}", "input": "", "output": f"好 {k}"} for k in range(12)], ensure_ascii=False), "chat"),
    ("dpo_zh_demo.json", json.dumps([{"conversations": [{"from": "human", "value": f"问 {k}"}], "chosen": {"from": "gpt", "value": "好"}, "rejected": {"from": "gpt", "value": "坏"}} for k in range(12)], ensure_ascii=False), "prefer"),
    ("classical.jsonl", lines({"source": "学而时习之 %", "target": "学习并且时常温习 %"}), "seq2seq"),
    ("ratings.jsonl", lines({"query": "a bag %", "candidates": ["red bag", "a ship"], "scores": [1, 0]}), "rank"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "task"), SETS, ids=[name for name, _, _ in SETS])
def test_data_in_the_form_of_a_known_set_has_its_task(tmp_path: Path, name: str, text: str, task: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = seen_as(Asked(str(tmp_path / name)))
    assert found is not None
    seen, named = found
    chinese = "zh" in name or name == "classical.jsonl"
    assert (named.kind, seen.examples > 0, seen.language == "zh") == (task, True, chinese)


def test_text_without_labels_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("A page of text, about nothing in particular.\n" * 20, encoding="utf-8")
    assert seen_as(Asked(str(tmp_path / "book.txt"))) is None


# ---- the order of methods -----------------------------------------------------------------------


def way(name: str, seconds: float, *values: float) -> Way:
    return Way(
        settings=[f"method={name}"], values=list(values), trained_parameters=10, memory_bytes=1e9, seconds=seconds
    )


def measured(figure: str, *ways: Way, task: str = "classify", language: str = "en", examples: int = 2000) -> Measured:
    facts = {"data": f"{task}-{language}", "task": task, "language": language, "examples": examples, "figure": figure}
    return Measured(**facts, model="m", parameters=100, processor="p", ways=list(ways))


def test_the_quickest_within_a_point_of_the_best_comes_first_and_the_others_by_their_score() -> None:
    row = measured(
        "accuracy",
        way("full", 60, 0.86, 0.88),  # 0.87, the best
        way("lora", 30, 0.86),  # a point behind: still near
        way("adalora", 20, 0.855),
        way("head", 5, 0.80),
        way("prompt", 4, 0.82),
    )
    assert [one.name for one in row.ranked()] == ["lora", "full", "adalora", "prompt", "head"]


def test_of_a_loss_less_is_better() -> None:
    row = measured("validation_loss", way("full", 9, 2.50), way("lora", 8, 2.40), way("ia3", 1, 2.409))
    assert [one.name for one in row.ranked()] == ["ia3", "lora", "full"]


def test_the_nearest_set_has_the_task_first_then_the_kind_of_answer_the_language_and_the_size() -> None:
    rows = [
        measured("accuracy", task="classify"),
        measured("accuracy", task="classify", language="zh"),
        measured("accuracy", task="classify", language="zh", examples=100),
        measured("validation_loss", task="chat", language="en"),
    ]

    def found(task: str, language: str, examples: int) -> Measured | None:
        return nearest(rows, TASK(task), examples=examples, language=language)

    assert found("classify", "zh", 120) == rows[2]
    assert found("classify", "zh", 9000) == rows[1]
    assert found("tag", "en", 2000) == rows[0]
    assert found("prefer", "zh", 2000) == rows[3]
    assert nearest(rows[:3], TASK("chat"), examples=10, language="en") is None


def test_how_far_a_set_is_names_every_difference() -> None:
    row = measured("accuracy")
    assert how_far(row, TASK("classify"), examples=1500, language="en", model="m") == "the same task, language and size"
    told = how_far(row, TASK("tag"), examples=20_000, language="zh", model="bert")
    assert (
        told
        == "its task is classify, not tag; yours has 10.0 times as many; it is in en, yours in zh; it was m, not bert"
    )
    assert "20.0 times as few" in how_far(row, TASK("classify"), examples=100, language="en", model=None)


def test_what_the_package_says_it_measured_has_settings_that_are_there() -> None:
    from pretune.base.yaml import override

    for row in table():
        for one in row.ways:
            tree = {"kind": "finetune", "model": "m", "data": "d", "task": row.task}
            for setting in [*one.settings, *row.settings]:
                override(tree, setting)
            STAGE(tree)
    assert PLACE.exists()
    assert (
        table_text([measured("accuracy", way("full", 60, 0.86, 0.88))])
        .splitlines()[4]
        .startswith("| full | 0.870 | 0.020 |")
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_table_in_the_guide_is_the_one_that_advice_rests_on(language: str) -> None:
    guide = (Path(__file__).parents[2] / "docs" / language / "guide.md").read_text(encoding="utf-8")
    shown = guide.partition("<!-- methods -->\n")[2].partition("\n<!-- /methods -->")[0]
    assert shown == table_text(table())


# ---- the model and the command ------------------------------------------------------------------


def test_a_model_that_cannot_do_the_task_is_said_to_be_so(model_folder: Callable[..., Path]) -> None:
    folder = model_folder("qwen3")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert "left to right" in _why_not(TASK("classify"), config, folder, 0.0)
    assert "chat template" in _why_not(TASK("chat"), config, folder, 0.0)
    assert _why_not(TASK("seq2seq"), config, folder, 0.0) == ""
    assert "7% of your texts" in _why_not(TASK("seq2seq"), config, folder, 0.07)


@pytest.fixture
def pretune(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        out, err = capsys.readouterr()
        assert not left.value.code, err
        return out

    return run


def test_the_command_that_is_advised_runs(
    pretune: Callable[..., str], tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    (tmp_path / "my talk.jsonl").write_text(lines({"question": "What? %", "answer": "That."}), encoding="utf-8")
    model_folder("qwen3", chat=True)
    told = json.loads(pretune("advise", "my talk.jsonl", "--model", ".", "--json"))
    assert (told["task"], told["model"]["path"]) == ("chat", "qwen3-chat")
    assert told["takes"]["memory_bytes"] > 100e6
    words = shlex.split(told["command"])
    pretune(*words[1:], "steps=1", "--quiet")
    card = json.loads((tmp_path / "runs" / "my talk" / "artifact.json").read_text(encoding="utf-8"))
    assert card["metrics"]["steps_taken"] == 1
    text = pretune("advise", "my talk.jsonl", "--model", "qwen3-chat", "--minutes", "1e-9")
    assert "minutes=1e-09" in text.splitlines()[-1] and "chat: a model that answers" in text


def test_a_method_that_the_model_does_not_take_is_passed_by_and_the_next_one_is_typed_as_it_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folder: Callable[..., Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.jsonl").write_text(lines({"question": "What? %", "answer": "That."}), encoding="utf-8")
    asked, folder = Asked("talk.jsonl"), model_folder("qwen3", chat=True)  # it has no biases
    found = seen_as(asked)
    assert found is not None
    seen, task = found
    model = candidate(folder.name, task, seen.texts)
    ways = [way("bitfit", 1, 2.0), way("layernorm", 2, 2.0), way("full", 9, 1.995)]
    row = measured("validation_loss", *ways, task="chat").model_copy(update={"settings": ["epochs=2"]})
    chosen = _method(Case(asked, task, seen, row, model, model.known))
    assert chosen.way == ways[1]
    assert "no biases" in chosen.passed[0]
    assert chosen.command.endswith("--out runs/talk task=chat method=layernorm epochs=2")


def test_of_the_models_that_suit_the_largest_is_taken_and_the_others_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folder: Callable[..., Path]
) -> None:
    (tmp_path / "talk.jsonl").write_text(lines({"question": "What? %", "answer": "That."}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for kind in ("qwen3", "gpt2", "bert-labels"):
        model_folder(kind, chat=True)
    found = advise(Asked("talk.jsonl"))
    size = {name: (tmp_path / name / "model.safetensors").stat().st_size for name in ("qwen3-chat", "gpt2-chat")}
    assert found["model"]["path"] == max(size, key=lambda name: size[name])
    told = {one["path"]: one["why_not"] for one in found["other_models"]}
    assert told == {
        min(size, key=lambda name: size[name]): "",
        "bert-labels-chat": "it is an encoder, and writes no text",
    }


def test_what_does_not_fit_into_memory_or_minutes_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(2, 8 << 30, 8 << 30, 8 << 30)
    monkeypatch.setattr(Machine, "here", lambda: machine)
    asked = Asked("d", minutes=2)
    sizes = [(120, 8 << 30), (121, 1 << 30), (1, (8 << 30) + 1)]
    assert [asked.fits(Forecast(seconds=s, memory_bytes=m)) for s, m in sizes] == [True, False, False]
    assert Asked("d").fits(Forecast(seconds=1e9))


def test_what_was_measured_of_another_task_gives_its_method_alone(
    tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    (tmp_path / "tags.conll").write_text(SETS[3][1], encoding="utf-8")
    asked = Asked(str(tmp_path / "tags.conll"))
    found = seen_as(asked)
    assert found is not None
    seen, task = found
    model = candidate(model_folder("bert-labels"), task, seen.texts)
    row = measured("accuracy", way("lora", 1, 0.9)).model_copy(update={"settings": ["task.label_smoothing=0.1"]})
    chosen = _method(Case(asked, task, seen, row, model, model.known))
    assert "method=lora" in chosen.command and "smoothing" not in chosen.command


def test_a_longer_row_is_advised_where_more_than_a_few_texts_would_be_cut_and_no_longer_one_than_is_read() -> None:
    usual = int(STAGE.find("finetune").model_fields["max_length"].default)
    seen: Any = SimpleNamespace(texts=[])

    def advised(*lengths: int, positions: int = 512) -> int | None:
        base = Forecast(config={"model_type": "bert", "max_position_embeddings": positions})
        model = Candidate("m", base, lengths, 0.0, "")
        return _length(Case(Asked("d"), TASK("classify"), seen, None, model, base))

    assert advised(*[usual - 2] * 10) is None
    assert advised(*[10] * 19, usual) is None, "one in twenty may be cut"
    assert usual < (advised(*[10] * 8, usual + 40, usual + 50) or 0) <= 512
    assert advised(*[2000] * 10) == 512
    assert advised(*[2000] * 10, positions=usual) is None
