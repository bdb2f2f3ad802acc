"""The doctor: every seeded fault is found and nothing is found in clean data; figures on real data are those counted apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pretune.text.dataset.doctor.fields import FIELDS, same_text
from pretune.text.dataset.doctor.findings import CHECK, Data, Finding, every_check, examine
from pretune.text.dataset.doctor.rows import ROW_CHECKS
from pretune.text.dataset.example import SHAPES, Answer, Labelled, Question
from pretune.text.dataset.shapes.converter import Remark
from pretune.text.dataset.shapes.questions import MOVED
from tests.text.doctor_worlds import CLEAN, FAULTS


def serious(findings: Sequence[Finding]) -> list[str]:
    return [f"{f.name}: {f.problem}" for f in findings if f.level != "hint"]


@pytest.mark.parametrize("world", CLEAN)
def test_nothing_but_hints_is_found_in_clean_data(world: str) -> None:
    shape, make = CLEAN[world]
    for seed in range(5):
        assert serious(examine(Data.of(shape, make(seed)))) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_fault_is_found_by_its_name_and_row(fault: str) -> None:
    world, name, spoil = FAULTS[fault]
    shape, make = CLEAN[world]
    splits = make(11)
    assert name not in {f.name for f in examine(Data.of(shape, splits)) if f.rows}
    spoilt = spoil(splits)
    found = [f for f in examine(Data.of(shape, splits)) if f.name == name]
    assert found, f"{fault} was not found"
    assert set(spoilt[:5]) <= {row for f in found for row in f.rows}


def test_forty_faults_and_more_stand_over_all_shapes_and_every_check_has_one() -> None:
    assert len(FAULTS) >= 40
    assert {CLEAN[world][0] for world, _, _ in FAULTS.values()} == set(SHAPES) == set(FIELDS)
    read = {"mended", "left-out"}  # with a test of their own
    assert {name for _, name, _ in FAULTS.values()} | read == {*CHECK.table, *ROW_CHECKS} - {"rows"}


def test_every_check_says_what_to_do() -> None:
    for check in every_check():
        assert check.advice.endswith(".") or check.kind == "truncation", check.kind
        assert type(check).__doc__, check.kind
    assert all(check.claim and check.advice.endswith(".") for check in ROW_CHECKS.values())


def test_case_width_and_white_space_are_left_off_and_marks_are_not() -> None:
    assert same_text("Ｓpam　ＡＢ ①\n") == same_text("spam ab1") == "spamab1"
    assert same_text("no!") != same_text("no")


def test_the_rest_of_a_finding_is_told_beside_its_first_five_rows() -> None:
    rows = [Labelled("the same", "ab"[k % 2], f"a#{k}") for k in range(9)]
    found = {f.name: f for f in examine(Data.of("label", {"train": rows}))}
    assert found["duplicates"].count == 8
    assert found["duplicates"].rows == ("a#1", "a#2", "a#3", "a#4", "a#5")
    assert found["duplicates"].like == ("a#0",) * 5
    assert found["duplicates"].fact()["rows"] == ["a#1", "a#2", "a#3", "a#4", "a#5"]
    assert found["contradictions"].count == 1


def test_a_leak_of_a_row_in_a_thousand_is_a_warning_and_of_one_in_a_hundred_an_error() -> None:
    def leaked(number: int) -> str:
        test = [Labelled(f"number {k} of many", "ab"[k % 2], f"t#{k}") for k in range(number)]
        train = [Labelled("NUMBER 1 of many", "b", "a#0"), Labelled("number x", "a", "a#1")]
        (found,) = CHECK("leaks").find(Data.of("label", {"train": train, "test": test}))
        return str(found.level)

    assert (leaked(1000), leaked(100)) == ("warning", "error")


def test_what_reading_has_mended_or_left_out_is_told_as_a_warning() -> None:
    question = Question("谁？", "天地人", (Answer("人", 2),), "a#0")
    reading = [
        Remark(MOVED, 1, ("a#0",), False),
        Remark("empty question", 2, ("a#3", "a#4"), True),
        Remark("x", 3, (), False),
    ]
    data = Data.of("span", {"train": [question]}, reading)
    (found,) = CHECK("wrong-offset").find(data)
    assert (found.level, found.count, found.rows) == ("warning", 1, ("a#0",))
    (lost,), (mended,) = CHECK("left-out").find(data), CHECK("mended").find(data)
    assert (lost.level, lost.count, lost.rows) == ("warning", 2, ("a#3", "a#4"))
    assert (mended.level, mended.problem) == ("hint", "x: 3")


def test_no_data_has_no_findings() -> None:
    for shape in SHAPES:
        assert examine(Data.of(shape, {})) == []


# ---- real data ----------------------------------------------------------------------------------


def labelled(folder: Path, **files: str) -> Data:
    def rows(name: str) -> list[Labelled]:
        lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        return [Labelled(r["text"], str(r["label"]), f"{name}#{k}") for k, r in enumerate(map(json.loads, lines))]

    return Data.of("label", {split: rows(name) for split, name in files.items()})


def told(data: Data, kind: str) -> dict[str, int]:
    return {f.problem.split(" are in")[0]: f.count for f in CHECK(kind).find(data)}


def test_the_leaks_of_chnsenticorp_and_sst2_are_found(shared: Path) -> None:
    splits = {"train": "train", "validation": "dev", "test": "test"}
    leaks = told(labelled(shared / "data/chnsenticorp", **splits), "leaks")
    assert leaks["333 rows of 1,200 of test"] == 333
    sst2 = labelled(shared / "data/sst2", **splits)
    assert told(sst2, "leaks") == {"2 rows of 1,821 of test": 2}


def test_the_duplicates_of_sms_spam_are_found(shared: Path) -> None:
    (found,) = CHECK("duplicates").find(labelled(shared / "data/sms-spam", train="all"))
    assert found.count == 418


def test_the_wrong_offsets_of_cmrc_are_found(shared: Path) -> None:
    tree: Any = json.loads((shared / "data/cmrc2018/train.json").read_text(encoding="utf-8"))
    passages = [p for one in tree["data"] for p in one["paragraphs"]]
    questions = [
        Question(
            q["question"], p["context"], tuple(Answer(a["text"], a["answer_start"]) for a in q["answers"]), q["id"]
        )
        for p in passages
        for q in p["qas"]
    ]
    data = Data.of("span", {"train": questions})
    (found,) = CHECK("wrong-offset").find(data)
    assert (len(questions), found.count, found.level) == (10142, 21, "error")
    assert "answer-not-there" not in {f.name for f in CHECK("rows").find(data)}
