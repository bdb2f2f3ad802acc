"""Stage dataset: tables and dialogues of many shapes become examples on three sides.

    train.csv dev.csv test.csv    sides given by the files' names are taken as they are
    reviews.csv                   split by a keyed hash of the near-exact text, so copies stay together
    a column `split`              is honoured row by row

Nothing is deleted from given sides; texts that stand on two of them are counted and told.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from pretune.base.artifact import Artifact
from pretune.base.config import Input, chosen
from pretune.base.errors import BadFile, EmptyInput, NoSuchColumn, NotSupported, OneClass
from pretune.base.log import Log
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.text import sources
from pretune.text.augment.base import AUGMENT, Augment
from pretune.text.balance import BALANCE, Balance, write_weights
from pretune.text.clean import mend_surrogates
from pretune.text.columns import LABEL, TEXT, find_column
from pretune.text.dialogue import has_reply, is_dialogue, to_dialogue
from pretune.text.doctor.visit import examined
from pretune.text.enlarging import enlarge, inputs_at
from pretune.text.example import SHAPES, Dialogue, Labelled
from pretune.text.readers import TABULAR, Record, Repairs, read_records, stem_of, suffix_of
from pretune.text.split import NAMES, SPLITS, cluster_of, split_all
from pretune.text.tables import ShardWriter

Example = Labelled | Dialogue


@dataclass
class _Found:
    """Examples by the side their file or row named; "" is no side."""

    sides: dict[str, list[Example]] = field(default_factory=lambda: {s: [] for s in ("", *SPLITS)})
    dropped: Counter[str] = field(default_factory=Counter)
    left_alone: Counter[str] = field(default_factory=Counter)
    repairs: Repairs = field(default_factory=Repairs)
    columns: dict[str, str] = field(default_factory=dict)


class DatasetStage(Stage):
    """Labelled data in, examples out."""

    makes: ClassVar[str] = "dataset"
    version: ClassVar[int] = 3
    kind: str = "dataset"
    read: Annotated[list[str], Input("files")]
    """Files, folders or patterns of csv, tsv, json, jsonl or parquet."""
    shape: Literal["auto", "label", "dialogue"] = "auto"
    """What a record is; auto looks at the first one."""
    text: str | None = None
    """The column that holds the text; found by its name if not given."""
    label: str | None = None
    """The column that holds the label; found by its name if not given."""
    validation: float = Field(default=0.1, ge=0, le=1)
    """Share held out to choose by, where no file of that name is given."""
    test: float = Field(default=0.1, ge=0, le=1)
    """Share held out for the report, where no split files are given."""
    balance: Annotated[Balance | None, *chosen(BALANCE)] = None
    """How uneven labels are evened out in train: over, under, weights; none if not given."""
    augment: list[Annotated[Augment, *chosen(AUGMENT)]] = []
    """In which other ways the rows of train are said once more: eda, noise, homophones, back-translation."""

    @field_validator("test")
    @classmethod
    def _not_too_much(cls, value: float, info: Any) -> float:
        if value + info.data.get("validation", 0) > 1:
            raise ValueError("validation and test together are more than 1")
        return value

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        size = sum(f.text_bytes for f in inputs.values())
        return Forecast(seconds=size / 10e6, memory_bytes=2e8 + 5 * size, disk_bytes=size / 2, text_bytes=size)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        found = _Found()
        for name, side, records in _inputs(inputs_at("read", inputs), found, context.log):
            self._collect(name, side, records, found)
        _tell(found, context.log)
        sides = self._divide(found.sides, context.log)
        if not any(sides.values()):
            told = ", ".join(f"{n} {reason}" for reason, n in found.dropped.items())
            raise EmptyInput("no example is left" + (f" (left out: {told})" if told else ""), hint="look at the input")
        labels = _labels(sides, context.log)
        shape = "dialogue" if labels is None else "label"
        seen = examined(shape, sides, out, context, dropped=found.dropped)
        more = enlarge(sides, shape, self.balance, self.augment, inputs=inputs, seed=context.seed)
        _write(out, more.sides, labels)
        if more.weights is not None:
            write_weights(out, more.weights)
        return _metrics(more.sides, labels, found, context.log) | seen | more.facts

    # ---- reading ------------------------------------------------------------------------------

    def _collect(self, name: str, side: str, records: Iterator[Record], found: _Found) -> None:
        shape, columns = "", ("", "")
        for number, record in enumerate(records):
            where = f"{name}#{number}"
            if not shape:
                shape = self._shape_of(record, name)
                columns = self._columns(record, name) if shape == "label" else columns
            example = to_dialogue(record, where) if shape == "dialogue" else _labelled(record, columns, where)
            if isinstance(said := record.get("origin"), str) and said:
                example = replace(example, origin=said)  # the record knows better where it comes from
            reason = _nothing_in(example)
            place = _side_of(record, side)
            if reason:
                found.dropped[reason] += 1
            elif place is None:
                found.left_alone[f"rows with split {record['split']!r}"] += 1
            else:
                found.sides[place].append(example)
        if shape:
            found.columns[name] = shape if shape == "dialogue" else f"text: {columns[0]}, label: {columns[1]}"

    def _shape_of(self, record: Record, name: str) -> str:
        if "chosen" in record and "rejected" in record:
            hint = "labelled texts and dialogues are supported"
            raise NotSupported(f"{name!r} holds preference pairs (chosen, rejected)", hint=hint)
        if self.shape != "auto":
            return self.shape
        return "dialogue" if is_dialogue(record) and self.label is None else "label"

    def _columns(self, record: Record, name: str) -> tuple[str, str]:
        names = [n for n in record if n != "split"]
        label = find_column(names, given=self.label, known=LABEL, what="label", where=name, stage="dataset")
        rest = [n for n in names if n != label]
        return find_column(rest, given=self.text, known=TEXT, what="text", where=name, stage="dataset"), label

    # ---- sides --------------------------------------------------------------------------------

    def _divide(self, given: Mapping[str, list[Example]], log: Log) -> dict[str, list[Example]]:
        """Given sides stay; what has no side, or a side that is missing, is split by hash."""
        train, validation, test = (given[s] for s in SPLITS)
        loose, takes_test = given[""], not (train or validation or test)
        if not (takes_test or loose or train) and validation and test:
            log.warn("there is no train file: examples to learn from are taken out of the validation file")
            loose, validation = validation, []
        elif not loose and train:
            loose, train, takes_test = train, [], not (validation or test)
        parts = _split(loose, 0 if validation else self.validation, self.test if takes_test else 0)
        return {
            "train": train + parts["train"],
            "validation": validation + parts["validation"],
            "test": test + parts["test"],
        }


def _inputs(inputs: Mapping[str, Artifact], found: _Found, log: Log) -> Iterator[tuple[str, str, Iterator[Record]]]:
    """(name, side or "", records) of every file that is read."""
    files: list[tuple[str, Path]] = []
    for artifact in inputs.values():
        if artifact.scheme:
            yield artifact.scheme, "", sources.examples(artifact.scheme)
        else:
            files += _tables(artifact)
    given = any(stem_of(path) in NAMES for _, path in files)
    for name, path in files:
        side = NAMES.get(stem_of(path), "")
        if given and not side:
            found.left_alone[name] += 1
        else:
            log.info(f"    {name}: {side or 'no side in its name'}")
            yield name, side, read_records(path, found.repairs)


def _tables(artifact: Artifact) -> list[tuple[str, Path]]:
    files = [(n, p) for n, p in sources.named_files(artifact) if suffix_of(p) in TABULAR]
    if not files:
        raise NoSuchColumn(
            f"{artifact.path.as_posix()!r} holds no table; a data set needs one of: {', '.join(TABULAR)}",
            hint="plain text is for `pretune corpus` and `pretune pretrain`",
        )
    return files


def _side_of(record: Record, side: str) -> str | None:
    """The side of a record: its own column `split`, else its file's; None for one that is no side."""
    own = record.get("split")
    return NAMES.get(own.strip().lower()) if isinstance(own, str) and own.strip() else side


def _labelled(record: Record, columns: tuple[str, str], where: str) -> Labelled:
    text, label = record.get(columns[0]), record.get(columns[1])
    if text is not None and not isinstance(text, str | int | float):
        raise BadFile(f"{where}: the text must be text, not {type(text).__name__}")
    return Labelled(mend_surrogates(str("" if text is None else text)), label_name(label, where), where)


def label_name(label: Any, where: str = "") -> str:
    """A label's name: 1 and 1.0 are "1", true is "true", nothing is "". Raises BadFile for a list or object."""
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    if label is not None and not isinstance(label, str | int | float):
        raise BadFile(f"{where}: a label must be a single value, not {type(label).__name__}")
    return "" if label is None else mend_surrogates(str(label)).strip()


def _nothing_in(example: Example) -> str | None:
    """Why an example cannot be learnt from or scored, or None."""
    if isinstance(example, Dialogue):
        return None if has_reply(example) else "no reply"
    return "empty text" if not example.text.strip() else None if example.label else "no label"


def text_of(example: Example) -> str:
    """The text that decides on which side an example falls."""
    return SHAPES[_shape(example)].said(example)


def _shape(example: Example) -> str:
    return "dialogue" if isinstance(example, Dialogue) else "label"


def _split(examples: Sequence[Example], validation: float, test: float) -> dict[str, list[Example]]:
    clusters = [cluster_of(text_of(e)) for e in examples]
    side = split_all(clusters, validation=validation, test=test)
    parts: dict[str, list[Example]] = {s: [] for s in SPLITS}
    for example, cluster in zip(examples, clusters, strict=True):
        parts[side[cluster]].append(example)
    return parts


# ---- writing and telling ------------------------------------------------------------------------


def _labels(sides: Mapping[str, list[Example]], log: Log) -> list[str] | None:
    """Names of the labels in the order of their numbers; None for dialogues.

    Raises:
        OneClass: there is something to train on, and nothing to tell apart.
        BadFile: labelled texts and dialogues in one data set.
    """
    names = {s: {e.label for e in group if isinstance(e, Labelled)} for s, group in sides.items()}
    every = set().union(*names.values())
    dialogues = sum(isinstance(e, Dialogue) for group in sides.values() for e in group)
    if dialogues and every:
        raise BadFile("labelled texts and dialogues cannot stand in one data set", hint="make two data sets")
    if not every:
        return None
    if sides["train"] and len(names["train"]) == 1:
        told = f"all {len(sides['train'])} examples to train on have the label {min(names['train'])!r}"
        raise OneClass(told, hint="name the right column: label=COLUMN")
    unknown = sorted(every - names["train"]) if sides["train"] else []
    if unknown:
        log.warn(f"labels that are not in train: {', '.join(unknown[:10])}")
    return sort_labels(every)


def sort_labels(labels: set[str]) -> list[str]:
    """By number if all are whole numbers, else by name."""
    numbers = all(n.removeprefix("-").isdecimal() and n.isascii() for n in labels)
    return sorted(labels, key=lambda n: (int(n), n)) if numbers else sorted(labels)


def _write(out: Path, sides: Mapping[str, list[Example]], labels: list[str] | None) -> None:
    shape = SHAPES["dialogue" if labels is None else "label"]
    for side, examples in sides.items():
        writer = ShardWriter(out, side, shape.schema, numbered=False)
        for example in examples:
            writer.write(
                shape.to_row(replace(example, origin=mend_surrogates(example.origin))), len(shape.said(example))
            )
        writer.close()
    if labels is not None:
        text = json.dumps(labels, ensure_ascii=False, indent=1) + "\n"
        (out / "labels.json").write_text(text, encoding="utf-8", newline="\n")


def _tell(found: _Found, log: Log) -> None:
    if found.left_alone:
        names = ", ".join(f"{name} ({n})" if n > 1 else name for name, n in found.left_alone.items())
        log.warn(f"left alone, neither train, dev nor test: {names}")
    if found.dropped:
        log.warn("left out: " + ", ".join(f"{n} with {reason}" for reason, n in sorted(found.dropped.items())))
    if found.repairs.broken:
        log.warn(f"{found.repairs.broken} broken pieces of UTF-8 were replaced by U+FFFD")


def _metrics(sides: Mapping[str, list[Example]], labels: list[str] | None, found: _Found, log: Log) -> dict[str, Any]:
    clusters = {s: [cluster_of(text_of(e)) for e in group] for s, group in sides.items()}
    known = set(clusters["train"])
    shared = {s: sum(c in known for c in clusters[s]) for s in ("validation", "test")}
    if any(shared.values()):
        told = ", ".join(f"{n} of {len(clusters[s])} {s}" for s, n in shared.items() if n)
        log.warn(f"texts that stand in train too: {told}; figures on them flatter")
    return {
        "examples": sum(map(len, sides.values())),
        "shape": "dialogue" if labels is None else "label",
        "splits": {s: len(group) for s, group in sides.items()},
        "labels": {} if labels is None else _label_counts(sides, labels),
        "also_in_train": shared,
        "two_labels": _contradictions(sides, clusters),
        "dropped": dict(sorted(found.dropped.items())),
        "left_alone": dict(sorted(found.left_alone.items())),
        "repaired": found.repairs.broken,
        "read_as": found.columns,
    }


def _label_counts(sides: Mapping[str, list[Example]], labels: list[str]) -> dict[str, dict[str, int]]:
    counts = {s: Counter(e.label for e in group if isinstance(e, Labelled)) for s, group in sides.items()}
    return {label: {s: counts[s][label] for s in SPLITS} for label in labels}


def _contradictions(sides: Mapping[str, list[Example]], clusters: Mapping[str, list[str]]) -> int:
    """How many texts carry two different labels."""
    seen: dict[str, set[str]] = {}
    for side, group in sides.items():
        for example, cluster in zip(group, clusters[side], strict=True):
            if isinstance(example, Labelled):
                seen.setdefault(cluster, set()).add(example.label)
    return sum(len(names) > 1 for names in seen.values())
