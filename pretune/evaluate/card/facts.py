"""What a model card says, gathered from lineage: data, training, reports. Nothing here is in a language yet."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pretune.base.artifact import CARD, Artifact, read_card
from pretune.base.errors import PretuneError, UserError
from pretune.base.json import Json
from pretune.evaluate.reporting import read_report
from pretune.text.clean.quality.language import identify
from pretune.text.dataset.example import SHAPES, shape_of
from pretune.text.read.shards import read_rows

LOOKED_AT = 300
"""Examples by which the languages of a data set are known; a corpus counts its own."""
LICENCE = re.compile(r"^\W*licen[sc]e\W*[:=]\s*(.{2,120}?)\s*$", re.IGNORECASE | re.MULTILINE)
FIRST_LINES = 4000
TRAINED = ("pretrain", "finetune", "compress")
"""Stages that make a model."""


@dataclass(frozen=True)
class Source:
    """Something a model was made from.

    Args:
        role: corpus, dataset, model (a base) or files.
        sizes: documents or examples by split, bytes; parameters.
        languages: code -> share; licence: "" where nothing says it.
    """

    name: str
    role: str
    id: str
    sizes: Json
    languages: Mapping[str, float]
    licence: str


@dataclass(frozen=True)
class Made:
    """A step in which weights were made: stage, settings that say how, figures, command, seed."""

    stage: str
    name: str
    settings: Json
    metrics: Json
    made: Json


@dataclass(frozen=True)
class Judged:
    """A report of this model: its name and report.json."""

    name: str
    report: Json


@dataclass(frozen=True)
class Facts:
    """What is known of a model; `steps` the last first."""

    model: Artifact
    config: Json
    sources: Sequence[Source]
    steps: Sequence[Made]
    reports: Sequence[Judged]


def facts_of(model: Artifact, reports: Sequence[Artifact]) -> Facts:
    """What lineage and reports say of a model."""
    every = list(model.ancestors())
    sources = [one for one in map(_source, every[1:]) if one is not None]
    steps = [
        Made(one.card.stage, one.path.name, one.card.settings, one.card.metrics, one.card.made)
        for one in every
        if one.card.kind == "model" and one.card.stage in TRAINED
    ]
    judged = [Judged(one.path.name, read_report(one.path)[0]) for one in reports]
    return Facts(model, _config(model.path), sources, steps, judged)


def reports_next_to(model: Artifact) -> list[Artifact]:
    """The reports in the same folder that are of this very model, by name; none that was set aside."""
    folders = sorted(path.parent for path in model.path.absolute().parent.glob(f"*/{CARD}"))
    return [one for folder in folders if "@" not in folder.name and (one := _report_of(model, folder))]


def _report_of(model: Artifact, folder: Path) -> Artifact | None:
    """The report in a folder; None of anything else, of a damaged one, or of one that this version does not read."""
    try:
        one = Artifact.open(folder)
        return one if _is_of(model, one) and "groups" in read_report(one.verify().path)[0] else None
    except PretuneError:
        return None


def _is_of(model: Artifact, report: Artifact) -> bool:
    """Whether a report is of this model, and not of another with the same weights (`tuned.s0`, `tuned.s1`)."""
    said = report.card.inputs.get("model", {})
    if report.card.kind != "report" or said.get("id") != model.card.id:
        return False
    named = Path(os.path.normpath(report.path / said["path"]))
    return named == Path(os.path.normpath(model.path.absolute())) or not _is_there(named, model.card.id)


def _is_there(folder: Path, identity: str) -> bool:
    """Whether the model that a report names is where it was; a folder may have been moved."""
    return (folder / CARD).is_file() and read_card(folder).id == identity


def _config(folder: Path) -> Json:
    """config.json of a model, of an adapter its own."""
    for name in ("config.json", "adapter_config.json"):
        if (folder / name).is_file():
            tree: Json = json.loads((folder / name).read_text(encoding="utf-8"))
            return tree
    return {}


def _source(one: Artifact) -> Source | None:
    card = one.card
    if card.kind == "corpus":
        counted = card.metrics.get("languages", {})
        return Source(one.path.name, "corpus", card.id, _sizes(one, "documents", "bytes"), _shares(counted), "")
    if card.kind == "dataset":
        return Source(one.path.name, "dataset", card.id, _sizes(one, "examples", "splits"), _languages(one.path), "")
    if card.kind == "files":
        size = sum(path.stat().st_size for path in one.files())
        return Source(one.scheme or one.hub or _name(one), "files", card.id, {"bytes": size}, {}, _licence(one))
    if card.kind == "model" and one.is_raw:
        return Source(one.path.name, "model", card.id, {}, {}, _licence(one))
    return None


def _sizes(one: Artifact, *names: str) -> Json:
    return {name: one.card.metrics[name] for name in names if name in one.card.metrics}


def _name(one: Artifact) -> str:
    """A file with its folder, which often has the name of the data."""
    return one.path.name if one.path.is_dir() else f"{one.path.absolute().parent.name}/{one.path.name}"


def _languages(folder: Path) -> Mapping[str, float]:
    """Of a data set's training examples, by a look at the first ones."""
    shape = SHAPES[shape_of(folder)]
    split = next((s for s in ("train", "test", "validation") if (folder / f"{s}.parquet").is_file()), "")
    if not split:
        return {}
    rows = islice(read_rows(folder, split, list(shape.columns)), LOOKED_AT)
    return _shares(Counter(name for name, _ in identify([shape.said(shape.of_row(row)) for row in rows])))


def _shares(counted: Mapping[str, float]) -> dict[str, float]:
    """Shares of 1 % and more, the largest first."""
    total = sum(counted.values()) or 1
    shares = {name: number / total for name, number in counted.items() if number >= total / 100}
    return dict(sorted(shares.items(), key=lambda one: -one[1]))


def _licence(one: Artifact) -> str:
    """What a README or LICENSE next to raw files says; "" where nothing does."""
    folder = one.path if one.path.is_dir() else one.path.parent
    for text in _texts(folder, "README*"):
        if found := LICENCE.search(text):
            return found[1].strip("\"' ")
    lines = (line.strip() for text in _texts(folder, "LICEN[CS]E*") for line in text.splitlines())
    return next((line for line in lines if line), "")


def _texts(folder: Path, pattern: str) -> Iterator[str]:
    for path in sorted(folder.glob(pattern)) if folder.is_dir() else ():
        if path.is_file():
            yield path.read_text(encoding="utf-8", errors="replace")[:FIRST_LINES]


def open_reports(paths: Sequence[str], model: Artifact) -> list[Artifact]:
    """The reports that were named, each of this model; raises UserError for one of another."""
    found = [Artifact.open(path, "report") for path in paths]
    for one in found:
        if one.card.inputs.get("model", {}).get("id") != model.card.id:
            hint = f"pretune evaluate {model.path.as_posix()} DATA --out REPORT"
            raise UserError(f"{one.path.as_posix()!r} is no report of {model.path.as_posix()!r}", hint=hint)
    return found
