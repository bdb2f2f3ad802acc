"""All examples of a data set's inputs, by the split that their file or row names.

    input -> files (archives opened) -> sources, each with its split -> records -> examples of one shape

A record that is wrong stops the work, with its file and line; all others of its file are named in the same error. What
is left out or mended on the way is counted.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from pretune.base.artifact import Artifact, raw_root
from pretune.base.errors import BadCommand, BadFile, UserError
from pretune.base.json import Json
from pretune.base.log import Bar, Log
from pretune.text.dataset.example import Example, said_by
from pretune.text.dataset.shapes.choosing import Opened, open_records
from pretune.text.dataset.shapes.converter import Notes, Record
from pretune.text.dataset.shapes.files import CLASS_NAMES, LabelledFile, sources_of, splits_of, unpacked
from pretune.text.forget import Read, record_digest
from pretune.text.read import sources
from pretune.text.read.readers import ARCHIVES, PACKED, Repairs, line_of, lines_of, read_records, suffix_of
from pretune.text.read.split import NAMES, SPLITS
from pretune.text.read.values import mend_surrogates

Splits = dict[str, list[Example]]
NAMED_TOGETHER = 5
"""So many wrong records of a file are named; the others are counted."""
EVERY = 500
COUNTED_BYTES = 4 << 20
"""A file of more bytes has its lines counted first, for the time that is left."""


def no_examples() -> Splits:
    """ "" is no split."""
    return {split: [] for split in ("", *SPLITS)}


@dataclass
class Found:
    """What was read.

    Args:
        shape: "" until the first file that holds a record.
        class_names: the lines of a `class.txt` next to the data, if there is exactly one.
        left_alone: files that are no split although others are, files of no known format, rows of no split.
        read_as: of each file its shape and columns.
    """

    shape: str = ""
    splits: Splits = field(default_factory=no_examples)
    notes: Notes = field(default_factory=Notes)
    class_names: list[str] = field(default_factory=list)
    left_alone: Counter[str] = field(default_factory=Counter)
    repairs: Repairs = field(default_factory=Repairs)
    forgotten: int = 0
    read_as: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """How records are to be read.

    Args:
        shape: or "auto"; columns: role -> column of those that are given; seed: of samples.
        without: digests of records that are left out.
        as_split: file -> the split that it is, whatever its name says.
        names: of the columns of tables without a line of names.
    """

    shape: str
    columns: Mapping[str, str]
    seed: int
    without: frozenset[str] = frozenset()
    as_split: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


def read_all(inputs: Mapping[str, Artifact], wanted: Wanted, *, scratch: Path, log: Log) -> Found:
    """The examples of all inputs.

    Raises:
        NoSuchColumn: an input without labelled data, or a file without a column that is needed;
        BadFile: a wrong record, or files of two shapes; what reading raises.
    """
    found = Found(repairs=Repairs(names=wanted.names))
    given = _given(inputs, wanted, found, scratch)
    _find_class_names(inputs, found)
    with log.progress(
        "reading", total=sum(s.num_bytes for some in given.values() for s, _ in some), unit="bytes"
    ) as bar:
        for place, artifact in inputs.items():
            part = no_examples()
            for source, split in given[place]:
                with _named_as_given(source, scratch):
                    _read_source(source, split, part, found, wanted, log, bar)
            for split, examples in part.items():
                found.splits[split] += drawn(examples, artifact.sample, seed=wanted.seed)
    return found


def records_of(inputs: Mapping[str, Artifact], wanted: Wanted, *, scratch: Path) -> Iterator[Read]:
    """The raw records of all inputs as `read_all` reads them, those of `without` too, for `pretune forget`.

    Raises:
        As `read_all` does.
    """
    found = Found(repairs=Repairs(names=wanted.names))
    for place, some in _given(inputs, wanted, found, scratch).items():
        artifact = inputs[place]
        for source, split in some:
            if split is not None and not artifact.scheme:
                with _named_as_given(source, scratch):
                    yield from _records_in(source, found, wanted, artifact)


def _records_in(source: LabelledFile, found: Found, wanted: Wanted, artifact: Artifact) -> Iterator[Read]:
    opened, root = _opened(source, found, wanted), raw_root(artifact.path)
    there = {path for _, path in sources.named_files(artifact)}
    path = next((one for one in source.paths if one in there), None)  # None: a member of an archive
    if opened is None:
        return
    for number, record in enumerate(opened.records):
        origin = _origin_of(record, source, number)
        file = root / (origin if source.name not in origin and (root / origin).is_file() else source.name)
        yield Read(path or _archive_of(file), file.as_posix(), number, record, partial(_made, opened, record, origin))


def _archive_of(member: Path) -> Path:
    """`a/pages.zip` of `a/pages.zip/x.csv`."""
    return next((one for one in member.parents if one.is_file()), member)


def _made(opened: Opened, record: Record, origin: str) -> Json:
    """What the data set has of a record: the columns of its examples."""
    try:
        examples = opened.convert(record, origin)
    except BadFile:  # the stage stops at it
        return {}
    rows = [asdict(one) for one in examples]
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def _given(
    inputs: Mapping[str, Artifact], wanted: Wanted, found: Found, scratch: Path
) -> dict[str, list[tuple[LabelledFile, str | None]]]:
    """The sources of each input with their splits, None for one to be left alone."""
    given = {place: _sources(artifact, found, scratch / place) for place, artifact in inputs.items()}
    splits = iter(_as_said([source for many in given.values() for source in many], wanted.as_split))
    return {place: [(source, next(splits)) for source in many] for place, many in given.items()}


def _as_said(whole: Sequence[LabelledFile], said: Mapping[str, str]) -> list[str | None]:
    """The split of each file, by its name or as the settings say; raises BadCommand for a file that is not there."""
    names = [source.name for source in whole]
    if strange := [name for name in said if name not in names]:
        hint = f"there are {', '.join(names[:10])}"
        raise BadCommand(f"as_split names {', '.join(strange)}, which is not among the files", hint=hint)
    rest = iter(splits_of([source for source in whole if source.name not in said]))
    return [said[name] if name in said else next(rest) for name in names]


@contextmanager
def _named_as_given(source: LabelledFile, scratch: Path) -> Iterator[None]:
    """Errors call a member of an archive by its name there, not by that of the file it is unpacked to."""
    try:
        yield
    except UserError as error:
        inside = [path.as_posix() for path in source.paths if scratch in path.parents]
        if len(source.paths) > 1 or not inside:
            raise
        raise type(error)(error.problem.replace(inside[0], source.name), hint=error.hint) from None


def _sources(artifact: Artifact, found: Found, scratch: Path) -> list[LabelledFile]:
    if artifact.scheme:
        scheme = artifact.scheme
        return [LabelledFile(scheme, "", lambda repairs: sources.examples(scheme), ())]
    files = sources.named_files(artifact)
    found.left_alone.update(f"{name} (a link that leads out of the folder)" for name in artifact.links)
    if any(suffix_of(path) in ARCHIVES for _, path in files):
        files = unpacked(files, scratch, found.repairs)
    made, rest = sources_of(files, where=artifact.path.as_posix())
    found.left_alone.update(f"{name} (in no known format)" for name in rest)
    return made


def _find_class_names(inputs: Mapping[str, Artifact], found: Found) -> None:
    files = [path for artifact in inputs.values() if not artifact.scheme for path in artifact.files()]
    lists = [path for path in files if path.name.lower() in CLASS_NAMES and path.suffix.lower() == ".txt"]
    if len(lists) == 1:
        names = [line.strip() for line in lines_of(lists[0], Repairs())]
        found.class_names = [mend_surrogates(name) for name in names if name]


def _read_source(
    source: LabelledFile, split: str | None, part: Splits, found: Found, wanted: Wanted, log: Log, bar: Bar
) -> None:
    pace = _Pace(source, bar)
    if split is None:
        found.left_alone[source.name] += 1
    else:
        opened = _opened(source, found, wanted)
        read_as = f", read as {found.read_as[source.name]}" if opened else ", without a record"
        log.info(f"    {source.name}: {split or 'no split in its name'}{read_as}")
        if opened is not None:
            _collect(source, split, opened, part, found, pace, wanted.without)
    pace.end()


def _opened(source: LabelledFile, found: Found, wanted: Wanted) -> Opened | None:
    records = source.read(found.repairs)
    name = source.name
    where = f"{name}:1" if suffix_of(Path(name)) in (".csv", ".tsv") else name  # the line of the names
    opened = open_records(records, where=where, shape=wanted.shape, given=wanted.columns, notes=found.notes)
    if opened is None:
        return None
    if found.shape not in ("", opened.shape):
        other = next(iter(found.read_as))
        raise BadFile(
            f"{other!r} is read as {found.shape} and {name!r} as {opened.shape}; a data set has one shape",
            hint=f"make a data set of each, or say which it is: shape={found.shape}",
        )
    found.shape = opened.shape
    found.read_as[name] = f"{opened.shape} ({opened.read_as})"
    return opened


# ---- one file -----------------------------------------------------------------------------------


def _collect(
    source: LabelledFile, split: str, opened: Opened, part: Splits, found: Found, pace: _Pace, without: frozenset[str]
) -> None:
    convert, examples = opened.convert, part[split]
    wrong: list[tuple[int, Record, BadFile]] = []
    for number, record in enumerate(opened.records):
        pace.at(number)
        if without and record_digest(record) in without:
            found.forgotten += 1
            continue
        origin = _origin_of(record, source, number)
        try:
            made = convert(record, origin)
        except BadFile as error:
            wrong.append((number, record, error))
            continue
        if found.notes.fresh:
            found.notes.place(origin)
        if "split" not in record:
            examples += made
        elif (place := _split_of(record, split)) is None:
            found.left_alone[f"rows with split {record['split']!r}"] += 1
        else:
            part[place] += made
    if wrong:
        raise _all_wrong(source, wrong)


def _origin_of(record: Record, source: LabelledFile, number: int) -> str:
    """`test.jsonl#17`; the record may know better where it comes from."""
    own = record.get("origin")
    return mend_surrogates(own if own and isinstance(own, str) else f"{source.name}#{number}")


def _split_of(record: Record, split: str) -> str | None:
    """The split of a record: its own column `split`, else its file's; None for one that is no split."""
    own = record["split"]
    return NAMES.get(own.strip().lower()) if isinstance(own, str) and own.strip() else split


def _all_wrong(source: LabelledFile, wrong: list[tuple[int, Record, BadFile]]) -> BadFile:
    """One error for all wrong records of a file."""
    places = [_where(source, number, record) for number, record, _ in wrong[:NAMED_TOGETHER]]
    lines = [f"{place}: {error.problem}" for place, (_, _, error) in zip(places, wrong, strict=False)]
    if len(wrong) > NAMED_TOGETHER:
        lines.append(f"and {len(wrong) - NAMED_TOGETHER} more such records")
    usual = "mend or delete them; docs/en/shapes.md shows what a record may look like"
    hint = usual if wrong[0][2].hint in (None, BadFile.usual_hint) else wrong[0][2].hint
    return BadFile("\n".join(lines), hint=hint)


def _where(source: LabelledFile, number: int, record: Record) -> str:
    """`reviews.csv:17`, the line; `a.json#16` where records have none."""
    if source.is_parallel:
        return f"{source.name}:{number + 1}"
    if len(source.paths) == 1:
        line, path = line_of(source.paths[0], number), source.paths[0]
        # A line may hold several records (SQuAD): then it is not the one that was counted.
        if line is not None and next(islice(read_records(path), number, None), None) == record:
            return f"{source.name}:{line}"
    return f"{source.name}#{number}"


class _Pace:
    """Moves a bar by the bytes of a file while its records are read."""

    def __init__(self, source: LabelledFile, bar: Bar):
        self.bar, self.left = bar, source.num_bytes
        self.step = self.left / max(1, _num_records(source)) if self.left > COUNTED_BYTES else 0.0

    def at(self, number: int) -> None:
        if self.step and number % EVERY == EVERY - 1:
            self._advance(int(self.step * EVERY))

    def end(self) -> None:
        self._advance(self.left)

    def _advance(self, num_bytes: int) -> None:
        num_bytes = min(num_bytes, self.left)
        self.left -= num_bytes
        self.bar.advance(num_bytes)


def _num_records(source: LabelledFile) -> int:
    """About how many records a source has, without parsing: rows of parquet, else lines; 0 if packed."""
    if len(source.paths) > 1 and not source.is_parallel:
        return len(source.paths)
    path = source.paths[0]
    if path.suffix.lower() in PACKED or suffix_of(path) == ".json":
        return 0
    if suffix_of(path) == ".parquet":
        import pyarrow.parquet as pq

        return int(pq.ParquetFile(path).metadata.num_rows)
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 22), b""))


# ---- a part of it -------------------------------------------------------------------------------


def drawn(examples: list[Example], number: int | None, *, seed: int) -> list[Example]:
    """`number` of the examples, in their order; None: all. A larger sample holds the smaller one.

    By a keyed hash of the text: examples that are added later change a sample only by what they push out.
    """
    if number is None or len(examples) <= number:
        return examples
    key = seed.to_bytes(8, "big")
    marks = [hashlib.blake2b(said_by(e).encode("utf-8", "surrogatepass"), key=key).digest() for e in examples]
    first = sorted(range(len(examples)), key=lambda k: (marks[k], k))[:number]
    return [examples[k] for k in sorted(first)]
