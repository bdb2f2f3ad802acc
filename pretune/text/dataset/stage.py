"""Stage dataset: labelled data of many formats and shapes becomes examples of one shape in three splits.

    train.csv dev.csv test.csv    splits given by the files' names are taken as they are
    reviews.csv                   split by a keyed hash, near copies in one split (splitting.py)
    a column `split`              is honoured row by row
    reviews.jsonl#500             500 examples of it, the same each time

Which files are read, and as what: shapes/. Nothing is deleted from given splits; texts that are in two of them are
counted and reported. Train is first balanced, then augmented, so copies of a rare row become different rows, and every
label keeps its share.
"""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from pretune.base.artifact import Artifact
from pretune.base.config import Input, chosen
from pretune.base.errors import EmptyInput, OneClass
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.text.dataset.augment.augment import AUGMENT, Augment, augment
from pretune.text.dataset.balance import BALANCE, Balance, balance, write_weights
from pretune.text.dataset.doctor.visit import examined
from pretune.text.dataset.example import SHAPES, Example, Labelled, Tagged
from pretune.text.dataset.reading import Found, Splits, Wanted, read_all, records_of
from pretune.text.dataset.shapes.tagged import normalised
from pretune.text.dataset.splitting import divide
from pretune.text.forget import Read, listed
from pretune.text.read.columns import Columns
from pretune.text.read.shards import ShardWriter
from pretune.text.read.split import SPLITS

ROWS_TOGETHER = 1024
BYTES_A_SECOND = 7e6
"""Labelled texts of some 200 bytes that are split, on one core: docs/LOG.md."""


class DatasetStage(Stage):
    """Labelled data in, examples out."""

    makes: ClassVar[str] = "dataset"
    version: ClassVar[int] = 5
    takes_samples: ClassVar[bool] = True
    short_for: ClassVar[Mapping[str, str]] = {"text": "columns.text", "label": "columns.label"}
    kind: str = "dataset"
    read: Annotated[list[str], Input("files")]
    """Files, folders or patterns; `FILE#500` takes 500 examples of it (of each split that is given)."""
    shape: Literal["auto", "label", "labels", "score", "tags", "span", "pair", "dialogue", "preference", "ranking"] = (
        "auto"
    )
    """What a record is; auto looks at the first ones."""
    links: Literal["refuse", "follow"] = "refuse"
    """Symbolic links that lead out of a folder: not read, and reported; follow reads them. Links within it are read
    once."""
    columns: Columns = Columns()
    """Which column holds what (`columns.text=review columns.label=stars`); found by name where it is not given."""
    as_split: dict[str, Literal["train", "validation", "test"]] = {}
    """Which split a file is, where its name says another or none: `as_split={dev.json: test, zh-train.csv: train}`. The
    test files of GLUE and CLUE have no labels: their dev file is then the test, and validation is held out of train."""
    names: list[str] = []
    """The columns of csv and tsv files whose first line is a row already: `names=[sentence1,sentence2,score]`."""
    validation: float = Field(default=0.1, ge=0, le=1)
    """Share held out to choose by, where no file of that name is given."""
    test: float = Field(default=0.1, ge=0, le=1)
    """Share held out for the report, where no split files are given."""
    without: Annotated[str | None, Input("files", by_name=True)] = None
    """A list of digests of raw records that are left out, as `pretune forget` writes it."""
    balance: Annotated[Balance | None, *chosen(BALANCE)] = None
    """How uneven labels are evened out in train: over, under, weights; none if not given."""
    augment: list[Annotated[Augment, *chosen(AUGMENT)]] = []
    """In which other ways the rows of train are said once more: eda, noise, homophones, back-translation."""

    @model_validator(mode="before")
    @classmethod
    def _short_columns(cls, value: object) -> object:
        """`text=review label=stars` is short for `columns.text=review columns.label=stars`."""
        if not isinstance(value, dict):
            return value
        short = {n: value[n] for n in cls.short_for if n in value}
        if not short or not isinstance(columns := value.get("columns", {}), dict):
            return value
        return {**{k: v for k, v in value.items() if k not in short}, "columns": {**short, **columns}}

    @field_validator("test")
    @classmethod
    def _not_too_much(cls, value: float, info: ValidationInfo) -> float:
        if value + info.data.get("validation", 0) > 1:
            raise ValueError("validation and test together are more than 1")
        return value

    def follows_links(self) -> bool:
        return self.links == "follow"

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        size = sum(f.text_bytes for f in inputs.values())
        return Forecast(
            seconds=size / BYTES_A_SECOND, memory_bytes=2e8 + 5 * size, disk_bytes=size / 2, text_bytes=size
        )

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        with _without_collector():
            return self._made(inputs, out, context)

    def _made(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        log, scratch = context.log, context.scratch / "dataset"
        wanted = self._wanted(context.seed, listed(inputs.get("without")))
        found = read_all(_inputs_at("read", inputs), wanted, scratch=scratch, log=log)
        scheme = _finish(found, log)
        splits, num_near = divide(found.splits, validation=self.validation, test=self.test, scratch=scratch, log=log)
        labels = _labels(found, splits, log)
        seen = examined(found.shape, splits, out, context, reading=found.notes.remarks())
        splits["train"], weights, facts = self._trained_on(splits, found.shape, inputs, context.seed)
        _write(out, found.shape, splits, labels, log)
        if weights is not None:
            write_weights(out, weights)
            facts["class_weights"] = {name: round(weight, 6) for name, weight in weights.items()}
        facts |= {"scheme": scheme} if scheme else {}
        return {**_metrics(found, splits, labels), "near_copies": num_near, **seen, **facts}

    def _wanted(self, seed: int, without: frozenset[str]) -> Wanted:
        return Wanted(self.shape, self.columns.given(), seed, without, self.as_split, tuple(self.names))

    def records(self, inputs: Mapping[str, Artifact], scratch: Path) -> Iterator[Read]:
        """Its raw records as it reads them, those of `without` too."""
        return records_of(_inputs_at("read", inputs), self._wanted(0, frozenset()), scratch=scratch)

    def _trained_on(
        self, splits: Splits, shape: str, inputs: Mapping[str, Artifact], seed: int
    ) -> tuple[list[Example], dict[str, float] | None, Json]:
        """The rows of train after balancing and augmentation, class weights, and where the rows are from."""
        rows: list[Example] = splits["train"]
        weights, counts = None, {"as read": len(rows)}
        if self.balance is not None:
            found = balance(rows, shape, self.balance, seed=seed)
            rows, weights = found.rows, found.weights
            counts |= {"copies": found.copies, "left out": found.left_out}
        if self.augment:
            own = {k: _inputs_at(f"augment.{k}", inputs) for k in range(len(self.augment))}
            added, made = augment({**splits, "train": rows}, shape, self.augment, seed=seed, inputs=own)
            rows, counts = rows + added, counts | made
        return rows, weights, {"train_rows": counts} if self.balance or self.augment else {}


def _inputs_at(place: str, inputs: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """The inputs below a place, by what follows it: `augment.0` -> {"synonyms": ...}."""
    return {n.removeprefix(f"{place}."): a for n, a in inputs.items() if n.startswith(f"{place}.")}


@contextmanager
def _without_collector() -> Iterator[None]:
    """No garbage collection: examples form no circle, and to look at millions of them takes a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _finish(found: Found, log: Log) -> str:
    """Report what was left out; what only all examples together show: the scheme of tags, the names of classes.

    Returns:
        the scheme in which tags were written; "" for other shapes.

    Raises:
        EmptyInput: no example is left.
    """
    scheme = ""
    if found.shape == "tags":
        found.splits, scheme = normalised(found.splits, found.notes)
    if found.shape == "label":
        _name_classes(found, log)
    _report(found, log)
    if not any(found.splits.values()):
        reasons = ", ".join(f"{n} {reason}" for reason, n in found.notes.dropped.items())
        raise EmptyInput(
            "no example is left" + (f" (left out: {reasons})" if reasons else ""), hint="look at the input"
        )
    return scheme


def _name_classes(found: Found, log: Log) -> None:
    """Numbers 0 ... n - 1 take the n names of a class.txt, if each of them occurs and the names differ."""
    names = found.class_names
    used = {e.label for group in found.splits.values() for e in group if isinstance(e, Labelled)}
    if not names or len(set(names)) < len(names) or used != {str(k) for k in range(len(names))}:
        found.class_names = []
        return
    log.info(f"    labels 0 ... {len(names) - 1} are called as class.txt says: {names[0]} ... {names[-1]}")
    for split, group in found.splits.items():
        found.splits[split] = [replace(e, label=names[int(e.label)]) for e in group if isinstance(e, Labelled)]


def _report(found: Found, log: Log) -> None:
    if found.left_alone:
        names = ", ".join(f"{name} ({n})" if n > 1 else name for name, n in found.left_alone.items())
        log.warn(f"left alone, neither train, dev nor test: {names}")
    if found.notes.dropped:
        log.warn("left out: " + ", ".join(f"{n} with {reason}" for reason, n in sorted(found.notes.dropped.items())))
    for what, number in sorted(_mended(found).items()):
        log.warn(f"{what}: {number}")
    if found.repairs.broken:
        log.warn(f"{found.repairs.broken} broken pieces of text were replaced by U+FFFD")


def _mended(found: Found) -> dict[str, int]:
    return dict(sorted((found.notes.mended + found.repairs.mended).items()))


# ---- labels -------------------------------------------------------------------------------------


def _labels(found: Found, splits: Mapping[str, list[Example]], log: Log) -> list[str] | None:
    """Names of the labels in the order of their numbers; None for shapes without labels.

    Raises:
        OneClass: all that there is to train on has one label.
    """
    of = SHAPES[found.shape].names
    if of is None:
        return None
    names = {split: set().union(*(of(e) for e in group)) for split, group in splits.items()}
    every: set[str] = set().union(*names.values())
    if splits["train"] and len(names["train"]) < (2 if found.shape == "label" else 1):
        have = f"have the label {min(names['train'])!r}" if names["train"] else "have no label at all"
        hint = "name the right column: columns.label=COLUMN"
        raise OneClass(f"all {len(splits['train'])} examples to train on {have}", hint=hint)
    unknown = sorted(every - names["train"]) if splits["train"] else []
    if unknown:
        log.warn(f"labels that are not in train: {', '.join(unknown[:10])}")
    return found.class_names or sort_labels(every)


def sort_labels(labels: set[str]) -> list[str]:
    """By number if all are whole numbers, else by name."""
    numbers = all(n.removeprefix("-").isdecimal() and n.isascii() for n in labels)
    return sorted(labels, key=lambda n: (int(n), n)) if numbers else sorted(labels)


# ---- writing and counting -----------------------------------------------------------------------


def _write(out: Path, shape: str, splits: Mapping[str, list[Example]], labels: list[str] | None, log: Log) -> None:
    made = SHAPES[shape]
    with log.progress("writing", total=sum(map(len, splits.values())), unit="examples") as bar:
        for split, examples in splits.items():
            writer = ShardWriter(out, split, made.schema, numbered=False)
            for start in range(0, len(examples), ROWS_TOGETHER):
                some = examples[start : start + ROWS_TOGETHER]
                writer.add(made.to_table(some), np.array([len(made.said(e)) for e in some], dtype=np.int64))
                bar.advance(len(some))
            writer.close()
    if labels is not None:
        text = json.dumps(labels, ensure_ascii=False, indent=1) + "\n"
        (out / "labels.json").write_text(text, encoding="utf-8", newline="\n")


def _metrics(found: Found, splits: Splits, labels: list[str] | None) -> Json:
    return {
        "examples": sum(map(len, splits.values())),
        "shape": found.shape,
        "splits": {s: len(group) for s, group in splits.items()},
        "labels": {} if labels is None else _label_counts(found.shape, splits, labels),
        "dropped": dict(sorted(found.notes.dropped.items())),
        "mended": _mended(found),
        "left_alone": dict(sorted(found.left_alone.items())),
        "repaired": found.repairs.broken,
        **({"forgotten": found.forgotten} if found.forgotten else {}),
        "read_as": found.read_as,
    }


def _label_counts(shape: str, splits: Mapping[str, list[Example]], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many examples have each label; of tags, how many pieces are of each kind."""
    of: Callable[[Any], Collection[str]] | None = _pieces if shape == "tags" else SHAPES[shape].names
    assert of is not None, "only shapes with labels are counted"
    counts = {split: Counter(name for e in group for name in of(e)) for split, group in splits.items()}
    return {label: {s: counts[s][label] for s in SPLITS} for label in labels}


def _pieces(example: Tagged) -> list[str]:
    return [tag[2:] for tag in example.tags if tag.startswith("B-")]
