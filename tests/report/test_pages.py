"""Every template: what data says stays text, nothing is loaded, every element is closed, no two series look alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from markupsafe import escape

from pretune.report.drawing import Bar, chart, reliability_chart
from pretune.report.pages import SHOWN_CHARACTERS, marked, page, weighed
from pretune.report.training import charts
from pretune.text.dataset.doctor.findings import Finding

Say = Callable[[str], str]
POINTS = [{"step": k, "loss": 9 - k / 10, "by": {}} for k in range(1, 60)]


def usual(say: Say) -> dict[str, Any]:
    """What any page may have."""
    line = {name: say(name) for name in ("place", "kind", "path", "note")} | {"id": "0123456789", "depth": 1}
    return {"verdict": say("verdict"), "text": say("text"), "lineage": [line], "command": say("command")}


def corpus(say: Say) -> dict[str, Any]:
    of = {"documents": 3, "bytes": 2_908_041_216, "characters": 70_870_000, "share": 0.71}
    bars = {name: [Bar(say(name), 3)] for name in ("lengths", "languages", "dropped")}
    tables = {name: [{"source": say(f"source of {name}"), **of}] for name in ("sources", "splits", "mixture")}
    examples = [{"reason": say("why"), "from": say("from"), "text": say("example")}]
    held_out = {"held_out_texts": 4, "evaluation_texts": 5, "left_out": 6}
    more = {"repairs": {say("repair"): 2}, "quarantined": 51, "quarantine": [say("quarantined")]}
    return {"examples": examples, "held_out": held_out, **bars, **tables, **more}


def finding(say: Say) -> dict[str, str]:
    return Finding(say("check"), "error", 1, say("problem"), say("advice"), (say("row"),), (say("like"),)).row()


def dataset(say: Say) -> dict[str, Any]:
    bars = {name: [Bar(say(name), 3, place) for place in range(3)] for name in ("labels", "lengths")}
    rows = [{"finding": say("check"), "row": say("origin"), "text": say("row text")}]
    return {"found": [finding(say)], "rows": rows, "rarer": 2, "has_labels": True, **bars}


def run(say: Say) -> dict[str, Any]:
    sources = [{"step": k, "validation_loss_by_source": {say("source"): 1.0 * k, "中文": 2.0 * k}} for k in (1, 2)]
    figures = {"peak_memory_bytes": 2_908_041_216, "validation_accuracy": 0.7087, "precision": say("value")}
    samples = {say("prompt"): [{"step": 5, "goes on": say("written")}]}
    changes = [{"of": say("known before"), "": say("figure of it"), "before": "91.0 %", "after": "90.0 %"}]
    return {"metrics": figures, "charts": charts([*POINTS, *sources]), "samples": samples, "changes": changes}


def report(say: Say) -> dict[str, Any]:
    group = {
        **{"examples": 20_806, "verdict": say("group verdict"), "mood": "bad", "most": 1.0, "main": "accuracy"},
        "bars": [Bar(say("bar"), 0.7, spread=[0.6, 0.8]), Bar("grey", 0.2, None)],
        "figures": [{"": say("figure"), say("baseline"): say("of the baseline")}],
    }
    columns = ["text", "said", "chance_of_label"]
    shown = {
        **{"title": say("title of a part"), "about": say("about"), "charts": charts(POINTS)},
        "groups": [group | {"name": "all"}, group | {"name": say("group")}],
        "metrics": {say("metric"): say("value"), "accuracy": 0.7087},
        "classes": [{"label": say("label"), "precision": 0.5, "support": 2}],
        "confusion": {"labels": [say("right"), "b"], "counts": [[1, 2], [0, 0]]},
        "reliability": reliability_chart({say("bins"): [{"chance": 0.7, "right": 0.5}]}),
        "calibration": [{"": say("calibration"), say("side"): say("of the side")}],
        "samples": [{name: say(name) for name in ("beginning", "model", "document")}],
        "tables": {say("heading of a table"): [{"paradigm": say("paradigm"), "accuracy": 0.7087}]},
        "examples": [
            (
                "Worst examples",
                [
                    {
                        "text": say("example"),
                        "said": marked(say("marked"), [{"start": 0, "end": 99, "label": say("kind")}]),
                        "chance_of_label": 0.1,
                    }
                ],
                columns,
            ),
            (
                "Best examples",
                [
                    {
                        "text": weighed([(say("word"), 0.5), (say("other word"), -0.1), ("", None)]),
                        **{"said": "b", "chance_of_label": 0.9},
                    }
                ],
                columns,
            ),
        ],
        "notes": [say("note of it")],
        "seeds": [{"report": say("a report"), "": "accuracy", "mean": "91 %"}],
        "course": {
            "tasks": [say("a task"), "b"],
            "rows": [{"after": say("a model"), "scores": [0.9, None]}],
            "chart": chart("What is known", "score", {say("a task that is drawn"): [(1.0, 0.9), (2.0, 0.8)]}),
        },
    }
    return {"parts": [shown], "doctor": [finding(say)]}


PAGES = {"corpus": corpus, "dataset": dataset, "run": run, "report": report}


def made(kind: str) -> tuple[str, set[str]]:
    """A page of a kind in which every text is hostile, and those texts."""
    texts: set[str] = set()

    def say(name: str) -> str:
        text = f"""<script src="https://{name}">'&汉字</script>"""
        texts.add(text)
        return text

    return page(kind, say("title of it"), **usual(say), **PAGES[kind](say)), texts


@pytest.mark.parametrize("kind", PAGES)
def test_hostile_text_in_every_field_stays_text(kind: str) -> None:
    html, texts = made(kind)
    # A name of a metric is written without its underscores, which these have not.
    assert [text for text in sorted(texts) if str(escape(text)) not in html] == []
    assert "<script" not in html


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_loads_nothing_and_its_policy_forbids_it(kind: str) -> None:
    html, _ = made(kind)
    tags = "".join(re.findall(r"<[a-z][^>]*>", html)) + html.partition("<style>")[2].partition("</style>")[0]
    assert not re.search(
        r"(src|href|action)\s*=|url\(|@import|https?:", re.sub(r'(aria-label|data-name)="[^"]*"', "", tags)
    )
    assert "default-src 'none'" in html


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.mark.parametrize("kind", PAGES)
def test_every_element_of_a_page_is_closed(kind: str) -> None:
    found = Elements()
    found.feed(made(kind)[0])
    assert found.open == [] and found.wrong == []


@pytest.mark.parametrize("kind", PAGES)
def test_numbers_on_pages_are_those_that_people_read(kind: str) -> None:
    html, _ = made(kind)
    shown = re.sub(r"<(style|svg).*?</\1>|<[^>]*>", " ", html, flags=re.DOTALL)
    assert re.findall(r"\d{1,3}(?:,\d{3}){2,}|\d\.\d{4,}", shown) == []
    for text in {"corpus": ["2.7 GiB", "70.9 million"], "run": ["2.7 GiB", "70.9 %"], "report": ["70.9 %"]}.get(
        kind, []
    ):
        assert text in shown


def test_curves_of_one_picture_have_colours_of_their_own() -> None:
    points = [{"step": k, "gradient_norm": 3.0, **{f"gradient_norm_{n}": 1.0 * k for n in range(9)}} for k in (1, 2)]
    html = page("run", "norms", metrics={}, charts=charts(points), samples={}, changes=[])
    colours = re.findall(r'<polyline [^>]*stroke="([^"]*)"', html)
    assert len(colours) == len({*colours}) == 10
    assert re.findall(r'<li><span style="background:([^"]*)"', html) == colours


def test_places_in_a_text_are_marked_with_their_labels_and_a_long_text_is_cut() -> None:
    places = [{"start": 0, "end": 3, "label": "PER"}, {"start": 7, "end": 9, "label": "LOC"}]
    assert (
        marked("Ann <b>北京", places)
        == "<mark>Ann <small>PER</small></mark> &lt;b&gt;<mark>北京 <small>LOC</small></mark>"
    )
    long = "a " * SHOWN_CHARACTERS
    assert (
        marked(long, [{"start": SHOWN_CHARACTERS - 1, "end": SHOWN_CHARACTERS + 1, "label": "X"}])
        == long[:SHOWN_CHARACTERS] + " …"
    )
