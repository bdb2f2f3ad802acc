"""Reports next to each other: who is better on which examples, against hand-counted reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pretune.base.artifact import Card, relative
from pretune.base.digest import file_digests
from pretune.base.errors import NoSuchColumn, NotSupported
from pretune.cli import main
from pretune.evaluate.compare.comparing import compare, facts
from pretune.evaluate.compare.figures import goodness, two_of
from pretune.evaluate.compare.significance import mcnemar
from pretune.evaluate.compare.slices import column_of
from pretune.evaluate.reporting import FORMAT, write_report
from pretune.infer.answers import Labels, Score, Tags
from pretune.task.judge.judge import Asked
from pretune.task.task import TASK

Make = Callable[..., str]


@pytest.fixture
def report(tmp_path: Path) -> Make:
    """Write a report on labels; `right`: one letter for each example, y or n."""

    def make(
        name: str, right: str, *, texts: Sequence[str] = (), data: Path | None = None, what: str = "classify"
    ) -> str:
        rows = [
            {
                "origin": f"test.jsonl#{k}",
                "group": "all",
                "text": texts[k] if texts else f"<b>text {k}",
                "label": "ab"[k % 2],
                "said": "ab"[k % 2 if one == "y" else 1 - k % 2],
                "right": one == "y",
                "chance_of_label": 0.9 if one == "y" else 0.1,
            }
            for k, one in enumerate(right)
        ]
        out = tmp_path / name
        out.mkdir()
        known = {"kind": "dataset", "id": "d", "split": "test"}
        tree = {"format": FORMAT, "what": what, "model": {"id": name}, "data": known, "better": "chance_of_label"}
        write_report(tree, rows, out)
        inputs = {"data": {"kind": "dataset", "id": "d" * 32, "path": relative(data, out)}} if data else {}
        if data:
            inputs["data"]["id"] = json.loads((data / "artifact.json").read_text(encoding="utf-8"))["id"]
        files = file_digests({n: out / n for n in ("report.json", "predictions.parquet")})
        card = Card(kind="report", key="k", id=name, stage="evaluate", inputs=inputs, files=files)
        (out / "artifact.json").write_text(card.to_json(), encoding="utf-8")
        return str(out)

    return make


def told(*paths: str, by: Sequence[str] = ()) -> Any:
    return facts(*compare(paths, by))["comparisons"]


def test_the_p_value_is_mcnemars_of_what_each_alone_has_right(report: Make) -> None:
    first, second = "y" * 12 + "n" * 2 + "y" * 46, "n" * 12 + "y" * 2 + "y" * 46
    (one,) = told(report("first", first), report("second", second))
    assert one["figures"] == {"first": pytest.approx(58 / 60, abs=1e-6), "second": pytest.approx(48 / 60)}
    assert one["better_on"] == {"first": 12, "second": 2} and one["better"] == "first"
    assert one["p"] == pytest.approx(mcnemar(12, 2).p, rel=1e-2) and one["p_exact"] > one["p"]
    assert one["interval"][0] > 0, "the interval of the gap does not hold 0"
    assert one["changed"][0]["right"] == [True, False]


def test_rows_in_another_order_are_the_same_examples_and_other_texts_are_refused(
    report: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"text {k}" for k in range(40)]
    first = report("first", "yn" * 20, texts=texts)
    other = [*texts[:30], *(f"new {k}" for k in range(10))]
    with pytest.raises(SystemExit):
        main(["compare", first, report("second", "y" * 40, texts=other)])
    assert "'first' has 40 examples and 'second' 40, of which they share 30" in capsys.readouterr().err
    # Both labels of each text are there in either order: the same examples.
    shuffled = texts[2:] + texts[:2]
    assert told(first, report("third", "yn" * 20, texts=shuffled))[0]["better_on"] == {"first": 0, "third": 0}


@pytest.fixture
def regions(stage_run: Callable[..., Any], tmp_path: Path) -> Path:
    """A data set whose file has a column `region`: 40 rows north, 40 south, 3 at sea."""
    names = ["north"] * 40 + ["south"] * 40 + ["sea"] * 3
    lines = [
        json.dumps({"text": f"<b>text {k}", "label": "ab"[k % 2], "region": r}) + "\n" for k, r in enumerate(names)
    ]
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "test.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "train.jsonl").write_text("".join(lines[:2]), encoding="utf-8")
    found: Path = stage_run("dataset", read=[str(folder)]).path
    return found


def test_a_slice_by_the_users_column_shows_where_the_winner_loses_and_three_rows_are_not_judged(
    report: Make, regions: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first, second = "y" * 40 + "n" * 15 + "y" * 25 + "yyy", "n" * 30 + "y" * 10 + "y" * 40 + "nnn"
    paths = report("first", first, data=regions), report("second", second, data=regions)
    (one,) = told(*paths, by=["region"])
    slices = {s["value"]: s for s in one["slices"] if s["slice"] == "region"}
    assert {name: (s["examples"], s["better"]) for name, s in slices.items()} == {
        "north": (40, "first"),
        "south": (40, "second"),
        "sea": (3, None),
    }
    assert one["better"] == "first" and slices["sea"]["judged"] is False and slices["sea"]["p"] is None
    with pytest.raises(SystemExit):
        main(["compare", *paths, "by=region", "--out", str(tmp_path / "page.html")])
    assert "in region south second is better: 100 % against 62.5 %" in (out := capsys.readouterr().out)
    assert "not judged: under 20" in out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "first is better than second" in page and "<b>text" not in page


def test_a_column_that_is_nowhere_is_refused_with_those_that_are_there(report: Make, regions: Path) -> None:
    paths = report("first", "y" * 83, data=regions), report("second", "n" * 83, data=regions)
    with pytest.raises(NoSuchColumn, match="has a column 'regoin'") as error:
        compare(paths, ["regoin"])
    assert "region" in (error.value.hint or "")


def test_two_files_of_one_name_are_not_taken_for_one(stage_run: Callable[..., Any], tmp_path: Path) -> None:
    for folder, region in (("a", "north"), ("b", "south")):
        (tmp_path / folder).mkdir()
        rows = [{"text": f"{region} {k}", "label": "ab"[k % 2], "region": region} for k in range(4)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        for name in ("test", "train"):
            (tmp_path / folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    data = stage_run("dataset", read=[str(tmp_path / "a"), str(tmp_path / "b")])
    with pytest.raises(NotSupported, match=r"two files are called 'test.jsonl'"):
        column_of("region", [{"origin": "test.jsonl#1"}], data)


def test_p_values_of_three_reports_are_corrected_for_three_comparisons(report: Make) -> None:
    paths = [report(name, "y" * n + "n" * (60 - n)) for name, n in (("a", 30), ("b", 36), ("c", 30))]
    first, second, third = told(*paths)
    assert first["p"] == pytest.approx(mcnemar(0, 6).p, rel=1e-2) and first["p"] < 0.05
    assert first["holm"] == pytest.approx(3 * first["p"], rel=1e-2) and third["holm"] == first["holm"]
    assert second["p"] == 1.0, "these two give the same answers"


@pytest.mark.parametrize("what", ["regress", "multilabel", "tag"])
def test_the_figure_of_the_rows_is_that_of_the_judge(what: str) -> None:
    judge = TASK(what).judge
    answers: list[Any]
    if what == "regress":
        asked = [Asked(f"t{k}", float(k % 5), "t", "o") for k in range(9)]
        answers = [Score(float((3 * k) % 7)) for k in range(9)]
    elif what == "multilabel":
        asked = [Asked(f"t{k}", ("a", "b")[: k % 3], "t", "o") for k in range(9)]
        answers = [Labels(("b", "c")[: k % 2 + 1]) for k in range(9)]
    else:
        asked = [Asked(("Ann", "met", "Bo"), ("B-P", "O", ("B-P", "O")[k % 2]), "Ann met Bo", "o") for k in range(9)]
        answers = [Tags(("B-P", ("O", "B-L")[k % 2], "O")) for k in range(9)]
    rows = [judge.row(a, said, judge.marks(said, a), {}) for a, said in zip(asked, answers, strict=True)]
    first, second = two_of(judge, "", rows, rows).both()
    marks = [judge.marks(said, a) for a, said in zip(asked, answers, strict=True)]
    figures = judge.figures(answers, asked)
    wanted = figures.get(judge.main)
    if wanted is None:
        wanted = sum(m[judge.main].top for m in marks) / sum(m[judge.main].below for m in marks)
    assert first == second == pytest.approx(wanted, abs=1e-9)


def test_of_two_right_choices_none_is_better_and_a_tie_is_half_right() -> None:
    rows = [{"part": "c", "group": "c", "said": "x", "gain": gain} for gain in (3.0, 0.1, 0.0, -2.0)]
    assert [goodness(None, "c", "gain", row) for row in rows] == [1.0, 1.0, 0.5, 0.0]
    assert goodness(None, "c", "gain", {"said": None, "gain": -2.5}) == -2.5, "a cloze has nothing to be ahead of"
    assert goodness(None, "", "gain", {"bits_per_byte": 1.5, "gain": 3.0}) == -1.5
