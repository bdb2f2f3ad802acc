"""One table over reports: averages by hand, floors, published figures, contamination."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pretune.base.errors import NotSupported, WrongValue
from pretune.evaluate.card.words import WORDS
from pretune.evaluate.card.writing import _read
from pretune.evaluate.summarising import named_parts
from pretune.evaluate.summary import Published
from pretune.evaluate.yardstick import table_of


def report(figure: float, floors: dict[str, float], main: str = "accuracy", read: list[Any] | None = None) -> Any:
    baselines = [{"name": n, "metrics": {main: f}, "is_ceiling": n == "lookup"} for n, f in floors.items()]
    group = {"main": main, "examples": 100, "metrics": {main: figure}, "intervals": {main: [figure - 0.1, 0.99]}}
    return {"groups": {"all": group | {"baselines": baselines}}, "read_before": read}


PUBLISHED = Published(figure=0.95, by="BERT", source="a paper")
READ = [{"corpus": "c", "seen": 8, "of": 90, "whole": True}]
REPORTS = {
    "one_report": report(0.8, {"majority": 0.5, "tfidf_svm": 0.7, "lookup": 1.0}, read=READ),
    "two_report": report(0.6, {"mean": 0.0}, "spearman", read=[]),
    "three_report": report(0.4, {"crf": 0.65}, "f1"),
}


def test_averages_are_means_over_tasks_and_published_ones_next_to_the_same_tasks() -> None:
    published = {
        name: Published(figure=f, by="BERT", source="a paper")
        for name, f in (("one_report", 0.95), ("three_report", 0.75))
    }
    table = table_of(REPORTS, published)
    averages = table.averages()
    assert averages["average"] == pytest.approx(0.6)
    assert averages["average_floor"] == pytest.approx((0.7 + 0.0 + 0.65) / 3, abs=1e-6), "a ceiling is no floor"
    assert averages["average_published"] == pytest.approx(0.85)
    assert averages["average_of_published_tasks"] == pytest.approx(0.6)
    rows = table.rows()
    assert [row["read before"] for row in rows] == ["8 of 90", "not known", "", ""]
    assert rows[0]["floor"] == "70.0 % (TF-IDF + linear SVM)" and rows[0]["published"] == "95.0 % (BERT)"
    assert rows[3]["task"] == "macro average" and rows[3]["this model"] == "60.0 %"
    assert "one: BERT, a paper" in table.part()["notes"] and "macro average" in table.text()


def test_a_published_figure_of_no_report_and_figures_of_another_unit_are_refused() -> None:
    with pytest.raises(WrongValue, match="no report 'on_report'") as error:
        table_of(REPORTS, {"on_report": Published(figure=1.0, by="x", source="y")})
    assert "one_report" in (error.value.hint or "")
    with pytest.raises(NotSupported, match="less is better in text"):
        table_of({**REPORTS, "text": report(1.2, {}, "bits_per_byte")}, {})


def test_a_summary_has_the_table_on_its_page_its_card_and_in_report_json(world: Any) -> None:
    made = world.run("evaluate", model=str(world.classifier), data=str(world.reviews))
    name = made.path.name
    published = {name: {"figure": 0.9, "by": "a larger one", "source": "hand"}}
    summary = world.run("summary", of=[str(made.path)], table=True, published=published, title="All")
    tree = json.loads((summary.path / "report.json").read_text(encoding="utf-8"))["table"]
    assert tree["average"] == made.card.metrics["accuracy"] == summary.card.metrics["average"]
    assert tree["rows"][0]["floor"]["name"] == made.card.metrics["baseline"] and tree["average_published"] == 0.9
    page = (summary.path / "report.html").read_text(encoding="utf-8")
    assert "90.0 % (a larger one)" in page and "macro average" in page


def test_several_seeds_of_a_report_are_one_line_with_their_mean_and_ends() -> None:
    several = {f"one_report.s{k}": report(figure, {"svm": 0.7}) for k, figure in enumerate((0.8, 0.9))}
    table = table_of({**several, "three_report": report(0.4, {"crf": 0.65}, "f1")}, {"one_report": PUBLISHED})
    first, second, last = table.rows()
    assert first["task"] == "one (mean of 2 seeds, 80.0 % – 90.0 %)" and first["this model"] == "85.0 %"
    assert first["95 % interval"] == "" and first["published"] == "95.0 % (BERT)" and second["task"] == "three"
    assert table.averages()["average"] == pytest.approx(0.625), "each task counts once"
    assert table.tree()["rows"][0]["seeds"] == [0.8, 0.9] and last["task"] == "macro average"


def test_a_corpus_that_was_read_in_part_is_not_told_as_a_whole_one() -> None:
    read = [{"corpus": "c", "seen": 0, "of": 90, "whole": False}, *READ]
    (row, _) = table_of({"one_report": report(0.8, {}, read=read)}, {}).rows()
    assert row["read before"] == "0 of 90 (its first 64 million characters); 8 of 90"
    told = [_read({"read_before": read}, WORDS[language]) for language in ("en", "zh")]
    assert [one.count(part) for one, part in zip(told, ("first 64 million", "前 6400 万"), strict=True)] == [1, 1]


def test_reports_of_one_name_in_two_folders_are_two_and_a_stage_keeps_its_name_wherever_it_lies() -> None:
    given = ["$one_report", "runs/a/report", "runs/b/report/"]
    parts: Any = [SimpleNamespace(path=Path(one)) for one in ("runs/glue.one_report", "runs/a/report", "runs/b/report")]
    assert [*named_parts(given, parts)] == ["one_report", "runs/a/report", "runs/b/report/"]
    assert [*named_parts(given[:2], parts[:2])] == ["one_report", "report"]
