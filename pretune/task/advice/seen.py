"""Labelled data as advice sees it: read as stage dataset reads it, looked at by the doctor, and measured."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pretune.base.artifact import Artifact
from pretune.base.json import Json
from pretune.base.sample import evenly
from pretune.text.clean.quality.language import identify
from pretune.text.dataset.doctor.fields import FIELDS
from pretune.text.dataset.doctor.findings import Finding
from pretune.text.dataset.doctor.report import of_facts
from pretune.text.dataset.doctor.visit import as_dataset
from pretune.text.dataset.example import read_split, shape_of
from pretune.text.read.split import SPLITS

LOOKED_AT = 500
"""Texts whose language and tokens are looked at, evenly spread."""


@dataclass(frozen=True)
class Seen:
    """What was seen of it.

    Args:
        texts: some of the training examples, each as a model reads it.
        labels: rows of the training split that have each label; empty for shapes without labels.
        language: of most texts, "und" where that is not known.
    """

    shape: str
    read_as: str
    splits: dict[str, int]
    labels: dict[str, int]
    texts: list[str]
    language: str
    findings: list[Finding]

    @property
    def examples(self) -> int:
        """To train on."""
        return self.splits.get("train", 0)

    @property
    def serious(self) -> list[Finding]:
        """What the doctor finds beyond hints."""
        return [found for found in self.findings if found.level != "hint"]

    def fact(self) -> Json:
        """As plain JSON."""
        return {
            "shape": self.shape,
            "read_as": self.read_as,
            "splits": self.splits,
            "labels": self.labels,
            "characters": statistics.median(map(len, self.texts)) if self.texts else 0,
            "language": self.language,
            "doctor": [found.fact() for found in self.findings],
        }


def look(artifact: Artifact, settings: Sequence[str] = ()) -> Seen:
    """Look at raw files or a finished dataset; raises what stage dataset does, with `settings` of it."""
    if artifact.card.kind == "dataset":
        return _seen(artifact)
    with TemporaryDirectory() as folder:
        return _seen(as_dataset(artifact, settings, Path(folder), source="pretune advise"))


def _seen(made: Artifact) -> Seen:
    metrics, shape = made.card.metrics, shape_of(made.path)
    train = evenly(read_split(made.path, "train"), LOOKED_AT)
    texts = [FIELDS[shape].together(example) for example in train]
    languages = Counter(language for language, _ in identify(texts))
    return Seen(
        shape=shape,
        read_as=next(iter(metrics.get("read_as", {}).values()), shape),
        splits=metrics.get("splits") or {split: len(read_split(made.path, split)) for split in SPLITS},
        labels={name: counts["train"] for name, counts in metrics.get("labels", {}).items()},
        texts=texts,
        language=languages.most_common(1)[0][0] if texts else "und",
        findings=of_facts(metrics.get("doctor", [])),
    )
