"""From findings to a report's files.

    report.json           figures, baselines with margins, intervals, ids of model and data, seed
    predictions.parquet   one row per example
    report.html           a note: the same for people, with curves and examples; one file, no network

The first two hold no time, no path and nothing else that changes from run to run: they make the report's id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.errors import BadFile, EmptyInput, NotSupported
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.sample import evenly
from pretune.base.stage import Context
from pretune.evaluate.compare.slices import by_column
from pretune.evaluate.findings import ITS_BEGINNING, Findings, rounded
from pretune.evaluate.page import SHOWN_ROWS, mood, report_part
from pretune.infer.explain import Explanation, can_explain, explain
from pretune.infer.predictor import Predictor, Streams
from pretune.report.lineage import lineage
from pretune.report.pages import write_page
from pretune.text.dataset.doctor.report import of_facts
from pretune.text.dataset.example import Example, read_split
from pretune.text.read.split import SPLITS

FORMAT = 2
ROWS_AT_ONCE = 4096
"""Rows of predictions that are Python objects at once."""
MOST_WEIGHED = 128
"""Tokens of a row whose words a page weighs."""


@dataclass(frozen=True)
class Wanted:
    """What is measured: the settings of stage evaluate, where they are documented."""

    split: str
    max_examples: int | None
    max_tokens: int
    title: str
    between: str | None = None
    stride: int | None = None
    by: tuple[str, ...] = ()


Given = Mapping[str, Artifact]
"""What a model is measured on: data, pairs, choices, as far as they are there; the first is what a report is of."""


def evaluate(wanted: Wanted, model: Artifact, given: Given, out: Path, context: Context) -> Json:
    """Measure, write the report, return its figures for the card.

    Raises:
        NotSupported: model and data do not go together; EmptyInput: nothing to measure on.
    """
    with arrow_gives_back():
        findings = measured(wanted, model, {place: one.verify() for place, one in given.items()}, context)
        report = tree_of(wanted, model, given, findings, context.seed)
        write_report(report, findings.rows, out)
    groups = list(report["groups"].values())
    write_page(
        out / "report.html",
        context,
        "report",
        wanted.title or f"How good is {model.path.name}?",
        verdict=groups[0]["verdict"],
        mood=mood(groups[0]["beaten"]),
        parts=[report_part(report, findings.rows, model.path, explained=findings.explained)],
        doctor=[f.row() for one in given.values() for f in of_facts(one.card.metrics.get("doctor") or ())],
        lineage=lineage({"model": model, **given}),
        command=context.command or _command(model, given),
    )
    for group in groups:
        context.log.info(f"    {group['verdict']}")
    return dict(report["metrics"])


def _command(model: Artifact, given: Given) -> str:
    said = [
        one.path.as_posix() if place == "data" else f"{place}={one.path.as_posix()}" for place, one in given.items()
    ]
    return f"pretune evaluate {' '.join([model.path.as_posix(), *said])} --out REPORT"


@contextmanager
def arrow_gives_back() -> Iterator[None]:
    """Arrow's own allocator keeps what it frees, 20 MB of fifty thousand texts; the system's gives it back."""
    import pyarrow as pa

    usual = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(usual)


def measured(wanted: Wanted, model: Artifact, given: Given, context: Context) -> Findings:
    """Open the model and measure what is asked for. Raises NotSupported, EmptyInput and what reading raises."""
    from pretune.infer.load import open_model

    if "swaps" in given:
        rest = {place: one for place, one in given.items() if place != "swaps"}
        found = measured(wanted, model, rest, context) if rest else Findings("swaps", [], [], "gain")
        return _on_swaps(found, open_model(model.path), given["swaps"], context)
    data = given.get("data")
    opened = open_model(model.path) if data else None
    if data is None or opened is None:
        return _likely(Findings("language", [], [], "gain"), wanted, model, None, given, context)
    if data.card.kind == "tokens":
        found = _on_tokens(wanted, model, opened, data, context)
        return _likely(found, wanted, model, opened, given, context)
    if len(given) > 1:
        hint = "give them a report of their own: evaluate MODEL pairs=FILE choices=FILE"
        raise NotSupported("pairs and choices do not go with labelled data", hint=hint)
    return _on_labels(wanted, model, opened, data, context)


def _on_swaps(found: Findings, opened: Predictor, swaps: Artifact, context: Context) -> Findings:
    """The findings, and whether a name, a gender or a region changes the answers."""
    from pretune.evaluate.swaps.measuring import on_swaps

    part = on_swaps(opened, swaps, seed=context.seed, log=context.log)
    return found.joined(part.groups, part.rows, part.tables, part.notes)


def _likely(
    found: Findings, wanted: Wanted, model: Artifact, opened: Predictor | None, given: Given, context: Context
) -> Findings:
    """The findings, and what pairs and choices add to them."""
    asked = {place: one for place, one in given.items() if place != "data"}
    if not asked:
        return found
    from pretune.evaluate.choices import on_choices
    from pretune.evaluate.language import counted_for
    from pretune.evaluate.likelihood import open_scorer
    from pretune.evaluate.pairs import on_pairs

    scorer = open_scorer(model, opened)
    counted = counted_for(scorer.tokenizer, model, given.get("data"), context.log)
    usual: dict[str, Any] = {"counted": counted, "most": wanted.max_examples, "seed": context.seed, "log": context.log}
    parts = [on_pairs(scorer, asked["pairs"], **usual)] if "pairs" in asked else []
    if "choices" in asked:
        parts.append(on_choices(scorer, asked["choices"], between=wanted.between, **usual))
    for part in parts:
        found = found.joined(part.groups, part.rows, part.tables, part.notes)
    _tell_read(found, model, [text for part in parts for text in part.texts], context.log)
    return found


def _on_labels(wanted: Wanted, model: Artifact, opened: Predictor, data: Artifact, context: Context) -> Findings:
    from pretune.evaluate.judging import judged
    from pretune.task.task import judging

    task, opened = judging(opened, data.path, name=model.path.as_posix())
    train = read_split(data.path, "train") if wanted.split != "train" else []
    findings, asked = judged(
        task.judge,
        opened,
        examples_of(data, wanted.split, wanted.max_examples),
        train,
        what=task.kind,
        max_tokens=wanted.max_tokens,
        seed=context.seed,
        log=context.log,
        start=_start_of(model, opened) if task.judge.asks_start else None,
        by={column: partial(by_column, column, data) for column in wanted.by},
    )
    _tell_read(findings, model, [a.text for a in asked], context.log)
    findings.explained.extend(_explained(opened, findings.ordered[:SHOWN_ROWS]))
    return findings


def _explained(model: Predictor, rows: Sequence[Json]) -> list[Explanation | None]:
    """Which words spoke for the answer to each row; None of a long one, whose every word is a row of its own to try."""
    if not can_explain(model):
        return []
    texts = [text_of(row) for row in rows]
    lengths = [len(row) for row in model.rows(texts)]
    return [explain(model, [text])[0] if n <= MOST_WEIGHED else None for text, n in zip(texts, lengths, strict=True)]


def text_of(row: Json) -> str | tuple[str, str]:
    """What a row says that was read: a text, or two that are compared."""
    return (row["text"], row["second"]) if "second" in row else str(row["text"])


def _start_of(model: Artifact, opened: Predictor) -> Predictor | None:
    """The model that this one was fine-tuned from, where it is there and answers alike."""
    from pretune.infer.load import open_model

    base = model.source("model") if model.card.stage == "finetune" else None
    try:
        start = open_model(base.path) if base else None
    except NotSupported:  # it has no head
        return None
    if start is None or start.gives is not opened.gives:
        return None
    return None if isinstance(start, Streams) and start.chat is None else start


def _on_tokens(wanted: Wanted, model: Artifact, opened: Predictor, data: Artifact, context: Context) -> Findings:
    from pretune.evaluate.language import block_length, evaluate_text

    if not isinstance(opened, Streams) or opened.facts.more.get("apart"):
        problem = f"{model.path.as_posix()} gives {opened.gives.plural} and predicts no text"
        raise NotSupported(problem, hint="give data with what it answers")
    return evaluate_text(
        opened,
        data,
        split=wanted.split,
        length=block_length(model, opened.facts.max_length),
        stride=wanted.stride,
        max_documents=wanted.max_examples,
        seed=context.seed,
        log=context.log,
    )


def examples_of(data: Artifact, split: str, most: int | None = None) -> list[Example]:
    """The examples of a split, at most so many, evenly spread; raises EmptyInput, naming the splits that are there."""
    found = read_split(data.path, split)
    if not found:
        there = [s for s in SPLITS if read_split(data.path, s)]
        hint = f"it has {', '.join(there)}: choose split={there[-1]}" if there else "look at the dataset"
        raise EmptyInput(f"{data.path.as_posix()} has no examples in the split {split!r}", hint=hint)
    return evenly(found, most or len(found))


def _tell_read(found: Findings, model: Artifact, texts: Sequence[str], log: Log) -> None:
    """Add to the findings whether the test texts stood in the corpora that the model was pretrained on."""
    found.tables["read_before"] = rows = read_before(model, texts, log)
    told = "texts that are long enough to tell stand in the base model's corpus"
    for row in rows:
        part = "" if row["whole"] else ITS_BEGINNING
        found.notes.append(f"{row['seen']} of {row['of']} {told}{part}")
    if not rows:
        unknown = "whether these texts stood in the base model's pretraining text is not known: its corpus is not here"
        found.notes.append(unknown)


def read_before(model: Artifact, texts: Sequence[str], log: Log) -> list[Json]:
    """For each corpus that is still to be found: how many of the texts stand there, of how many, and all of it read?"""
    from pretune.evaluate.overlap import overlap

    found = []
    for corpus in (a for a in model.ancestors() if a.card.kind == "corpus"):
        log.info(f"    looking for the examples in {corpus.path.as_posix()}")
        seen, of, whole = overlap(corpus.path, texts)
        found.append({"corpus": corpus.card.id, "seen": seen, "of": of, "whole": whole})
    return found


def tree_of(wanted: Wanted, model: Artifact, given: Given, findings: Findings, seed: int) -> Json:
    """What report.json holds."""
    data, *more = given.items()
    tree = {
        "format": FORMAT,
        "what": findings.what,
        "title": wanted.title,
        "model": {"kind": model.card.kind, "id": model.card.id, "stage": model.card.stage},
        "data": {"kind": data[1].card.kind, "id": data[1].card.id, "split": wanted.split},
        **{place: {"kind": one.card.kind, "id": one.card.id} for place, one in more},
        "seed": seed,
        "metrics": findings.metrics(),
        "groups": {group.name: group.tree() for group in findings.groups},
        "better": findings.better,
        "notes": findings.notes,
        **findings.tables,
    }
    return rounded(tree)


def write_tree(report: Json, out: Path) -> None:
    """report.json."""
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (out / "report.json").write_text(text, encoding="utf-8", newline="\n")


def write_report(report: Json, rows: Sequence[Json], out: Path) -> None:
    """report.json and, one row per example, predictions.parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_tree(report, out)
    starts = range(0, len(rows), ROWS_AT_ONCE)
    tables = (pa.Table.from_pylist([*rows[start : start + ROWS_AT_ONCE]]) for start in starts)
    found = pa.unify_schemas([pa.schema([]), *(table.schema for table in tables)], promote_options="permissive")
    known = [pa.field(one.name, pa.string()) if pa.types.is_null(one.type) else one for one in found]
    schema = pa.schema(known)
    with pq.ParquetWriter(out / "predictions.parquet", schema, compression="zstd") as writer:
        for start in starts:
            writer.write_table(pa.Table.from_pylist([*rows[start : start + ROWS_AT_ONCE]], schema=schema))


def read_report(folder: Path) -> tuple[Json, list[Json]]:
    """report.json and the rows of predictions.parquet (none where a report has none).

    Raises:
        BadFile: another version of pretune wrote it.
    """
    import pyarrow.parquet as pq

    report: Json = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    if report.get("format") != FORMAT:
        problem = f"{folder.as_posix()!r} is a report of format {report.get('format')!r}, not {FORMAT}"
        raise BadFile(problem, hint="evaluate again with this version")
    path = folder / "predictions.parquet"
    return report, pq.read_table(path).to_pylist() if path.is_file() else []
