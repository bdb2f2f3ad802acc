"""From findings to a report's files.

    report.json           figures, floors with margins, intervals, ids of model and data, seed
    predictions.parquet   one row per example
    report.html           a note: the same for people, with curves and examples; one file, no network

The first two hold no time, no path and nothing else that changes from run to run: they make the report's id.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretune.base.artifact import Artifact
from pretune.base.errors import EmptyInput, NotSupported
from pretune.base.log import Log
from pretune.base.page import lineage_list, page
from pretune.base.sample import evenly
from pretune.base.stage import Context
from pretune.evaluate.findings import Findings, rounded
from pretune.evaluate.page import curves, report_section
from pretune.infer.classify import TextClassifier
from pretune.text.dataset.doctor.telling import findings_section, of_facts
from pretune.text.dataset.example import Dialogue, Labelled, check_scored, read_split
from pretune.text.read.split import SPLITS

if TYPE_CHECKING:
    from pretune.evaluate.stage import EvaluateStage
    from pretune.infer.language import LanguageModel

FORMAT = 1


def evaluate(stage: EvaluateStage, model: Artifact, data: Artifact, out: Path, context: Context) -> dict[str, Any]:
    """Measure, write the report, return its figures for the card.

    Raises:
        NotSupported: model and data do not go together; EmptyInput: nothing to measure on.
    """
    findings = measured(stage, model, data.verify(), context)
    report = tree_of(stage, model, data, findings, context.seed)
    write_report(report, findings.rows, out)
    section = report_section(report, findings.rows, curves(model.path))
    title = stage.title or f"How good is {model.path.name}?"
    command = context.command or f"pretune evaluate {model.path.as_posix()} {data.path.as_posix()} --out REPORT"
    html = page(title, [section, data_section(data)], lineage_list([("model", model), ("data", data)]), command)
    (out / "report.html").write_text(html, encoding="utf-8", newline="\n")
    context.notes.add("report.html")
    for group in report["groups"].values():
        context.log.info(f"    {group['verdict']}")
    return dict(report["metrics"])


def data_section(data: Artifact) -> str:
    """What the doctor found when the dataset was made, as HTML; "" where nothing was looked for."""
    told = data.card.metrics.get("doctor")
    return findings_section(of_facts(told), "What the doctor found in the data") if told else ""


def measured(stage: EvaluateStage, model: Artifact, data: Artifact, context: Context) -> Findings:
    """Open the model and measure what the data asks for."""
    from pretune.infer.load import open_model

    opened = open_model(model.path)
    if data.card.kind == "tokens":
        return _on_tokens(stage, model, opened, data, context)
    examples = some_of(examples_of(data, stage.split), stage.max_examples)
    check_scored(examples)
    train: Any = read_split(data.path, "train") if stage.split != "train" else []
    seed, log = context.seed, context.log
    labelled = isinstance(examples[0], Labelled)
    if isinstance(opened, TextClassifier) != labelled:
        said = "labels, the data holds dialogues" if not labelled else "text, the data holds labels"
        hint = "fine-tune the model on this data first" if labelled else "evaluate it on labelled texts"
        raise NotSupported(f"{model.path.as_posix()} gives {said}", hint=hint)
    found = _findings(opened, examples, train, stage.max_tokens, seed, log)
    texts = [e.text if isinstance(e, Labelled) else _last(e) for e in examples]
    found.notes.extend(read_before(model, texts, log))
    return found


def _findings(
    opened: Any, examples: Sequence[Any], train: Sequence[Any], max_tokens: int, seed: int, log: Log
) -> Findings:
    from pretune.evaluate.answering import evaluate_answers
    from pretune.evaluate.classifying import evaluate_labels

    if isinstance(opened, TextClassifier):
        return evaluate_labels(opened, examples, train, seed=seed, log=log)
    return evaluate_answers(opened, examples, train, max_tokens=max_tokens, seed=seed, log=log)


def _last(dialogue: Dialogue) -> str:
    return next((m.said for m in reversed(dialogue.messages) if m.role == "assistant"), "")


def _on_tokens(
    stage: EvaluateStage, model: Artifact, opened: TextClassifier | LanguageModel, data: Artifact, context: Context
) -> Findings:
    from pretune.evaluate.telling import block_length, evaluate_text

    if isinstance(opened, TextClassifier):
        hint = "give labelled texts as data"
        raise NotSupported(f"{model.path.as_posix()} is a classifier and foretells no text", hint=hint)
    return evaluate_text(
        opened,
        data,
        split=stage.split,
        length=block_length(model, opened.decoder.max_length),
        max_documents=stage.max_examples,
        seed=context.seed,
        log=context.log,
    )


def examples_of(data: Artifact, split: str) -> list[Any]:
    """The examples of a split; raises EmptyInput, naming the splits that are there."""
    found: list[Any] = list(read_split(data.path, split))
    if not found:
        there = [s for s in SPLITS if read_split(data.path, s)]
        hint = f"it has {', '.join(there)}: choose split={there[-1]}" if there else "look at the dataset"
        raise EmptyInput(f"{data.path.as_posix()} has no examples in the split {split!r}", hint=hint)
    return found


def some_of(examples: Sequence[Any], wanted: int | None) -> list[Any]:
    """`wanted` examples, evenly spread over their order."""
    return evenly(examples, wanted or len(examples))


def read_before(model: Artifact, texts: Sequence[str], log: Log) -> list[str]:
    """Whether the test texts stood in the corpora that the model was pretrained on."""
    from pretune.evaluate.overlap import overlap

    corpora = [a for a in model.ancestors() if a.card.kind == "corpus"]
    if not corpora:
        return ["whether these texts stood in the base model's pretraining text is not known: its corpus is not here"]
    told = []
    for corpus in corpora:
        log.info(f"    looking for the examples in {corpus.path.as_posix()}")
        seen, of, whole = overlap(corpus.path, texts)
        part = "" if whole else " (its first 64 MB)"
        told.append(f"{seen} of {of} texts that are long enough to tell stand in the base model's corpus{part}")
    return told


def tree_of(stage: EvaluateStage, model: Artifact, data: Artifact, findings: Findings, seed: int) -> dict[str, Any]:
    """What report.json holds."""
    tree = {
        "format": FORMAT,
        "what": findings.what,
        "title": stage.title,
        "model": {"kind": model.card.kind, "id": model.card.id, "stage": model.card.stage},
        "data": {"kind": data.card.kind, "id": data.card.id, "split": stage.split},
        "seed": seed,
        "metrics": findings.metrics(),
        "groups": {group.name: group.tree() for group in findings.groups},
        "better": findings.better,
        "notes": findings.notes,
        **findings.tables,
    }
    found: dict[str, Any] = rounded(tree)
    return found


def write_report(report: dict[str, Any], rows: Sequence[dict[str, Any]], out: Path) -> None:
    """report.json and, one row per example, predictions.parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (out / "report.json").write_text(text, encoding="utf-8", newline="\n")
    table = pa.Table.from_pylist(list(rows))
    empty = [i for i, field in enumerate(table.schema) if pa.types.is_null(field.type)]
    for i in empty:
        table = table.set_column(i, table.schema[i].name, table.column(i).cast(pa.string()))
    pq.write_table(table, out / "predictions.parquet", compression="zstd")


def read_report(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """report.json and the rows of predictions.parquet (none where a report has none)."""
    import pyarrow.parquet as pq

    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    path = folder / "predictions.parquet"
    return report, pq.read_table(path).to_pylist() if path.is_file() else []
