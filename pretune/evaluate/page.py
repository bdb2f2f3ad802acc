"""What the pages of reports show: plain data for report.jinja."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pretune.base.artifact import Artifact
from pretune.base.json import Json
from pretune.evaluate.continual import Course
from pretune.evaluate.findings import in_order
from pretune.evaluate.records import grouped
from pretune.infer.explain import Explanation
from pretune.infer.explain import marked as marked_words
from pretune.report.drawing import Bar, Chart, frame_of, reliability_chart
from pretune.report.numbers import is_lower_better, metric, named
from pretune.report.pages import marked, weighed
from pretune.report.training import OF_QUALITY, charts, read_points
from pretune.task.task import TASK

LANGUAGE = ("Predicting text", ("group", "text", "bits_per_byte", "baseline_bits_per_byte"))
"""Title and columns of a report on tokens, which no task has."""
LIKELY = ("group", "good", "bad", "text", "label", "said", "nats_ahead", "ngram_gain")
"""Columns of its rows of pairs and choices; `nats_ahead` is what orders them."""
SHOWN_ROWS = 6
WEIGHED = ": words in blue spoke for what the model says, in orange against it"
TABLES = {"paradigms": "By paradigm", "sources": "By source", "languages": "By language"}
TABLES |= {"subgroups": "By subgroup", "swaps": "By swapped group", "flips": "Answers that a swap changed"}
"""Tables of a report that has them, and what stands above them."""
SPREAD = {"mean": "mean", "standard deviation": "std", "least": "least", "most": "most"}
EMPTY: Json = {
    **dict.fromkeys(
        (
            *("groups", "metrics", "classes", "confusion", "calibration", "samples", "notes", "seeds", "examples"),
            *("course", "charts"),
        ),
        (),
    ),
    "tables": {},
}
"""Of a part, what it may have."""


def shown_of(what: str, rows: Sequence[Json]) -> tuple[str, tuple[str, ...], list[Json]]:
    """Title, columns and rows of the examples of a report as its task shows them; none where that is not installed."""
    if what not in TASK.kinds():  # a report never says what to import
        known = [{name: value for name, value in row.items() if value is not None} for row in rows]
        there = [row | {"nats_ahead": row.get("gain")} for row in known]
        return (*(LANGUAGE if what == "language" else (what, ())), there)
    judge = TASK(what).judge
    return judge.subject, judge.columns, _marked([{**judge.shown(row)} for row in rows], judge.marked)


def report_part(
    report: Json,
    rows: Sequence[Json],
    model: Path | None,
    name: str = "",
    *,
    explained: Sequence[Explanation | None] = (),
) -> Json:
    """One report: verdicts, figures next to baselines, curves of its model, classes, examples, notes.

    Args:
        explained: the answers of the worst rows, whose words are marked.
    """
    subject, examples = shown_of(report["what"], [])[0], []
    for part, some in _parts(report["what"], rows).items():
        ordered = in_order(some, report["better"])
        _, columns, worst = shown_of(report["what"], ordered[:SHOWN_ROWS])
        _, _, best = shown_of(report["what"], ordered[: -SHOWN_ROWS - 1 : -1])
        columns = tuple(name for name in (LIKELY if part else columns) if not worst or name in worst[0])
        of, weighed = f" of {part}" if part else "", WEIGHED if any(explained) else ""
        examples += [(f"Worst examples{of}{weighed}", _weighed(worst, explained), columns)] if columns else []
        examples += [(f"Best examples{of}", best, columns)] if columns else []
    split = f"{report['data']['split']} split, " if report["data"]["kind"] != "files" else ""
    about = f"{split}data {report['data']['id'][:8]}, model {report['model']['id'][:8]}"
    return EMPTY | {
        "title": report["title"] or subject,
        "about": " · ".join(filter(None, [name, about])),
        "groups": [group_part(key, group) for key, group in report["groups"].items()],
        "charts": curves(model) if model else [],
        "classes": [{"label": label, **row} for label, row in report.get("classes", {}).items()],
        "confusion": report.get("confusion"),
        **_calibration(report),
        "samples": report.get("samples", []),
        "tables": {title: report[name] for name, title in TABLES.items() if report.get(name)},
        "examples": examples if rows else [],
        "notes": report["notes"],
    }


def _parts(what: str, rows: Sequence[Json]) -> dict[str, Sequence[Json]]:
    """The rows of a report; of text those of pairs and of each file of choices apart."""
    if what != "language":
        return {"": rows}
    return {name: [rows[k] for k in places] for name, places in grouped([row.get("part") or "" for row in rows])}


def _calibration(report: Json) -> Json:
    """The plot of a report's probabilities, and how true they are, without the temperature of the model and with it."""
    table = report.get("calibration")
    if not table:
        return {}
    before = table.get("before")
    bins = {"as given": table["bins"], **({"without its temperature": before["bins"]} if before else {})}
    metrics = next(iter(report["groups"].values()))["metrics"]
    sides = {f"at its temperature {table['temperature']:.3g}" if before else "as given": metrics}
    sides |= {"without": before} if before else {}
    rows = [
        {"": named(key)} | {side: metric(of[key], key) for side, of in sides.items()} for key in ("ece", "nll", "brier")
    ]
    return {"reliability": reliability_chart(bins), "calibration": rows}


def _marked(rows: Sequence[Json], columns: Sequence[str]) -> list[Json]:
    """The rows with their text, marked, in the place of these columns."""
    return [row | {name: marked(row["text"], row[name] or ()) for name in columns} for row in rows]


def _weighed(rows: list[Json], explained: Sequence[Explanation | None]) -> list[Json]:
    """The rows with the words of their texts in the colour of what they spoke for."""
    shown = []
    for row, one in zip(rows, explained, strict=True) if explained else ():
        texts = zip(("text", "second"), one.texts if one else (), strict=False)
        shown.append(row | {name: weighed(marked_words(row[name], words, least=0.0)) for name, words in texts})
    return shown or rows


def mood(beaten: bool | None) -> str:
    """The colour of a verdict; none where there is no baseline."""
    return "" if beaten is None else "good" if beaten else "bad"


def group_part(name: str, group: Json) -> Json:
    """A group of a report, its main figure as bars; `most` ends their scale, None where less is better."""
    main = group["main"]
    others = {_title(one): one["metrics"] for one in group["baselines"]}
    bars = [Bar("this model", group["metrics"][main], spread=group["intervals"].get(main))]
    bars += [Bar(title, metrics[main], series=None) for title, metrics in others.items()]
    figures = [_figures(key, group, others) for key in group["metrics"]]
    more = {"name": name, "bars": bars, "most": None if is_lower_better(main) else 1.0, "figures": figures}
    return group | more | {"mood": mood(group["beaten"])}


def _title(baseline: Json) -> str:
    return named(baseline["name"]) + (" (the ceiling)" if baseline["is_ceiling"] else "")


def _figures(key: str, group: Json, others: dict[str, dict[str, float]]) -> dict[str, str]:
    """A metric of the model, with its interval, and of its baselines."""
    spread = " – ".join(metric(end, key) for end in group["intervals"].get(key, ()))
    mine = {"": named(key), "this model": metric(group["metrics"][key], key), "95 % interval": spread}
    return mine | {title: metric(metrics.get(key), key) for title, metrics in others.items()}


def card_part(part: Artifact) -> Json:
    """An artifact by its card: what it is, its figures, and a model's curves."""
    return EMPTY | {
        "title": part.path.name,
        "about": f"{part.card.kind} {part.card.id[:8]}",
        "metrics": {k: v for k, v in part.card.metrics.items() if isinstance(v, int | float | str)},
        "charts": curves(part.path) if part.card.kind == "model" else [],
    }


def seeds_part(rows: Sequence[Json]) -> Json:
    """Figures over several seeds: mean, standard deviation, and ends."""
    shown = [
        {"report": row["report"], "": named(row["figure"])}
        | {title: metric(row[name], row["figure"]) for title, name in SPREAD.items()}
        for row in rows
    ]
    return EMPTY | {"title": f"Over {rows[0]['seeds']} seeds", "about": "", "seeds": shown}


def course_part(course: Course) -> Json:
    """Tasks that were learnt one after the other: the matrix of what is known after each, and its curves."""
    known = {task: _known(course.matrix, column) for column, task in enumerate(course.tasks)}
    points = [point for some in known.values() for point in some]
    drawn = Chart("What is known of each task", "validation split", known, frame_of(points), "tasks learnt")
    rows = [{"after": model, "scores": row} for model, row in zip(course.models, course.matrix, strict=True)]
    return EMPTY | {
        "title": "Learnt one after the other",
        "about": " → ".join(course.models),
        "metrics": course.figures(),
        "charts": [],
        "course": {"tasks": course.tasks, "rows": rows, "chart": drawn},
    }


def _known(matrix: Sequence[Sequence[float | None]], column: int) -> list[tuple[float, float]]:
    """The score of a task after each of the tasks, counted from 1, where it is known."""
    scores = ((number, row[column]) for number, row in enumerate(matrix, 1))
    return [(float(number), score) for number, score in scores if score is not None]


def curves(folder: Path) -> list[Chart]:
    """Loss and scores of a model's training, from the metrics.jsonl in its folder."""
    return charts(list(read_points(folder)), OF_QUALITY)
