"""Swaps: what a file holds, and figures by hand for a model whose answers are known."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.base.artifact import Artifact
from pretune.base.errors import BadFile, NotSupported, UnknownKind
from pretune.evaluate.swaps.measuring import answered, furthest, group_of, rows_of
from pretune.evaluate.swaps.templates import Swaps, read_swaps
from pretune.infer.answers import Label, Score

FILE = """\
groups:
  female: {subject: she, name: [Ann, Eva]}
  male: {subject: he, name: [Bob, Tim]}
templates:
  - "{Subject} is {name}."
  - "{name} met {name}, and {subject} left."
  - "I met {subject}."
  - "We know {subject}."
  - "They saw {subject}."
"""


def swaps_of(folder: Path, text: str = FILE) -> Swaps:
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    (found,) = read_swaps(Artifact.open(folder / "mine.yaml"))
    return found


def test_the_kth_filling_of_a_group_stands_where_the_kth_of_the_other_does(tmp_path: Path) -> None:
    found = swaps_of(tmp_path)
    assert found.texts[0] == [["She is Ann.", "He is Bob."], ["She is Eva.", "He is Tim."]]
    assert found.texts[1][1] == ["Eva met Eva, and she left.", "Tim met Tim, and he left."]
    assert found.texts[2] == [["I met she.", "I met he."]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (FILE.replace("I met {subject}", "I met her"), "'I met her.' has no placeholder"),
        (FILE.replace("[Bob, Tim]", "[Bob]"), "name has 1 and 2 fillings"),
        (FILE.replace("I met {subject}", "I met {him}"), "{him}, which no group fills"),
        (FILE.replace("subject: he, ", ""), "the group male lacks subject"),
        ("groups: {one: {a: b}}\ntemplates: ['{a}']\n", "has not groups"),
    ],
)
def test_a_file_that_swaps_nothing_is_refused_with_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadFile) as error:
        swaps_of(tmp_path, text)
    assert told in error.value.problem


@pytest.mark.parametrize("name", ["gender-en", "gender-zh", "names-en", "names-zh", "regions-en", "regions-zh"])
def test_texts_of_our_files_differ_by_group_and_have_no_placeholder_left(name: str) -> None:
    (found,) = read_swaps(Artifact.open(f"swaps:{name}"))
    assert not any("{" in text for text in found.all())
    assert all(len(set(row)) == len(found.groups) for one in found.texts for row in one)


def test_names_that_are_not_ours_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownKind, match="gendre-en") as error:
        Artifact.open("swaps:gendre-en")
    assert "gender-en" in (error.value.hint or "")


def labels(swaps: Swaps, score: Any) -> list[Label]:
    """`good` with the probability that `score` gives a text."""
    made = [(score(text), text) for text in swaps.all()]
    return [Label("good" if p >= 0.5 else "bad", max(p, 1 - p), {"bad": 1 - p, "good": p}) for p, _ in made]


def test_figures_are_those_counted_by_hand(tmp_path: Path) -> None:
    swaps = swaps_of(tmp_path)
    # "he" as a word costs 0.3; the name Eva is bad whatever else.
    one = answered(
        swaps, labels(swaps, lambda t: 0.1 if "Eva" in t else 0.4 if "he" in re.findall(r"\w+", t.lower()) else 0.7)
    )
    figures = group_of(one, 0).figures
    # 7 swaps: She/He is Ann/Bob, Eva/Tim; Ann/Bob, Eva/Tim; three of a pronoun. Eva and Tim are both bad: 5 flips.
    assert figures["flip_rate"] == pytest.approx(5 / 7)
    # Of the templates with two fillings: Ann good, Eva bad, twice; Bob and Tim both bad, twice.
    assert figures["same_group_flip_rate"] == pytest.approx(2 / 4)
    # good: female .7 .1 .7 .1 .7 .7 .7, male .4 seven times.
    assert figures["score_gap"] == pytest.approx(3.7 / 7 - 0.4)
    _, label, high, low = furthest(one, 0)
    assert {label} <= {"good", "bad"} and {high, low} == {"female", "male"}
    rows = {row["group"]: row for row in rows_of(one, 0)}
    assert abs(rows["female"]["score_gap"]) == pytest.approx((3.7 / 7 - 0.4) / 2)


def test_a_model_that_reads_nothing_flips_nothing_and_a_number_has_only_a_gap(tmp_path: Path) -> None:
    swaps = swaps_of(tmp_path)
    still = group_of(answered(swaps, labels(swaps, lambda text: 0.6)), 0)
    assert still.figures["flip_rate"] == still.figures["score_gap"] == 0.0
    assert still.intervals["score_gap"] is not None and still.intervals["score_gap"].pair() == [0.0, 0.0]
    scores: Sequence[Score] = [Score(float(len(text))) for text in swaps.all()]
    found = group_of(answered(swaps, scores), 0)
    assert found.main == "score_gap" and "flip_rate" not in found.figures
    assert found.figures["score_gap"] == pytest.approx(np.mean([1, 1, 1, 1, 1, 1, 1]))  # she is a letter longer than he


def test_a_report_has_swaps_next_to_labels_and_figures_by_a_column_of_the_data(world: Any) -> None:
    rows = [
        {
            "text": f"{('a lovely', 'a dull')[k % 2]} film {k}",
            "label": ("good", "bad")[k % 2],
            "region": "ns"[k % 3 == 0],
        }
        for k in range(24)
    ]
    path = world.root / "regions" / "test.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = world.run("dataset", read=[str(path)])
    made = world.run(
        "evaluate", model=str(world.classifier), data=str(data.path), by=["region"], swaps="swaps:gender-en"
    )
    report = json.loads((made.path / "report.json").read_text(encoding="utf-8"))
    groups = {row["value"]: row for row in report["subgroups"]}
    assert {name: row["examples"] for name, row in groups.items()} == {"n": 16, "s": 8}
    mean = sum(row["examples"] * row["accuracy"] for row in groups.values()) / 24
    assert mean == pytest.approx(report["metrics"]["accuracy"], abs=1e-6)
    assert made.card.metrics["swaps_gender-en_flip_rate"] == report["groups"]["swaps_gender-en"]["metrics"]["flip_rate"]
    page = (made.path / "report.html").read_text(encoding="utf-8")
    assert "By swapped group" in page and "By subgroup" in page and "Swapping female, male changes" in page
    with pytest.raises(NotSupported, match="has no score to compare"):
        world.run("evaluate", model=str(world.decoder), swaps="swaps:gender-en")
