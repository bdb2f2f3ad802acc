"""Stage corpus: raw files become documents, cleaned, each once, on one of three sides.

    read -> clean -> filter -> drop exact copies -> split by cluster -> parquet

What was left out lies in `dropped-*.parquet` with the reason. Text is read, cleaned and written as a
stream: memory holds one digest per document (about 100 bytes), not the texts.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from pretune.base.artifact import Artifact
from pretune.base.config import Input, chosen
from pretune.base.errors import EmptyInput, NotText
from pretune.base.log import Log
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.text import sources
from pretune.text.clean import CLEAN, Clean, Lines, Nfc, cleaned, mend_surrogates
from pretune.text.columns import TEXT, find_column
from pretune.text.document import Document, document_id
from pretune.text.filters import FILTER, Filter
from pretune.text.readers import READERS, Repairs, read_records, suffix_of
from pretune.text.split import SPLITS, cluster_of, place_of, split_of
from pretune.text.tables import ShardWriter, read_rows

FIELDS = [(n, pa.string()) for n in ("id", "text", "source", "origin", "language", "cluster", "meta")]
SCHEMA = pa.schema([*FIELDS, ("bytes", pa.int64()), ("characters", pa.int64())])
DROPPED = pa.schema([*SCHEMA, ("reason", pa.string()), ("because_of", pa.string())])
MIN_TAIL_CHARACTERS = 200


class CorpusStage(Stage):
    """Raw text in, documents out."""

    makes: ClassVar[str] = "corpus"
    version: ClassVar[int] = 1
    kind: str = "corpus"
    read: Annotated[dict[str, list[str]] | list[str], Input("files")]
    """Files, folders or patterns; `{name: [...]}` names the parts of the mixture."""
    text: str | None = None
    """The column that holds the text in jsonl, csv and parquet; found by its name if not given."""
    clean: list[Annotated[Clean, *chosen(CLEAN)]] = [Nfc(kind="nfc"), Lines(kind="lines")]
    """Repairs of every text, in this order."""
    filters: list[Annotated[Filter, *chosen(FILTER)]] = []
    """What is left out, besides empty texts and exact copies."""
    dedup: Literal["exact", "none"] = "exact"
    """exact: of equal texts the first is kept."""
    validation: float = Field(default=0.01, ge=0, lt=1)
    """Share of documents held out to watch training; at least one where there are three."""
    test: float = Field(default=0.01, ge=0, lt=1)
    """Share of documents held out for the final report."""

    @field_validator("read", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: [v] if isinstance(v, str) else v for name, v in value.items()}
        return [value] if isinstance(value, str) else value

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        size = sum(f.text_bytes for f in inputs.values())
        # 12 MB/s: reading, NFC and hashing of English prose on one core
        return Forecast(seconds=size / 12e6, memory_bytes=3e8, disk_bytes=size / 2, text_bytes=size)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        counts = _Counts()
        sides = _Sides(out, self.validation, self.test)
        seen: dict[bytes, str] = {}
        for document in self._documents(inputs, counts, context.log):
            row = _row(document)
            reason, twin = self._reject(document, seen)
            if reason:
                counts.dropped[reason] += 1
                sides.drop(row, reason, twin)
            else:
                counts.keep(row)
                sides.keep(row)
        sides.close()
        if not counts.documents:
            told = ", ".join(f"{n} {reason}" for reason, n in counts.dropped.items())
            raise EmptyInput(
                "no text is left" + (f" (left out: {told})" if told else ""), hint="look at what `read` names"
            )
        cut = _hold_out_something(out, counts.documents, self.validation)
        return counts.card() | {"cut": cut, "splits": {s: _side_facts(out, s) for s in SPLITS}}

    def _reject(self, document: Document, seen: dict[bytes, str]) -> tuple[str | None, str | None]:
        """(reason, id of the twin that was kept), or (None, None)."""
        if not document.text.strip():
            return "empty", None
        reason = next((r for f in self.filters if (r := f.reject(document))), None)
        if reason or self.dedup == "none":
            return reason, None
        key = hashlib.blake2b(document.text.encode(), digest_size=16).digest()
        twin = seen.setdefault(key, document.id)
        return ("duplicate", twin) if twin != document.id else (None, None)

    # ---- reading ------------------------------------------------------------------------------

    def _documents(self, inputs: Mapping[str, Artifact], counts: _Counts, log: Log) -> Iterator[Document]:
        total = sum(p.stat().st_size for a in inputs.values() for p in a.files())
        with log.progress("reading", total=total or None, unit="bytes") as bar:
            for place, artifact in inputs.items():
                source = _source_of(place, artifact)
                if artifact.scheme:
                    raw = sources.documents(artifact.scheme)
                else:
                    raw = self._from_files(artifact, source, counts, log, bar)
                yield from (self._cleaned(d, source, counts) for d in raw)
        if counts.left_out:
            names = ", ".join(counts.left_out[:5]) + (" ..." if len(counts.left_out) > 5 else "")
            log.warn(f"{len(counts.left_out)} files are not text and were left out: {names}")
        if counts.repairs.broken:
            log.warn(f"{counts.repairs.broken} broken pieces of UTF-8 were replaced by U+FFFD")

    def _cleaned(self, document: Document, source: str, counts: _Counts) -> Document:
        text = cleaned(document.text, self.clean)
        counts.surrogates += mend_surrogates(document.text) != document.text
        named = isinstance(self.read, Mapping)
        name = source if named else document.source or source
        origin = mend_surrogates(document.origin)
        return Document(text, document.id or document_id(name, origin, 0), name, origin, document.meta)

    def _from_files(self, artifact: Artifact, source: str, counts: _Counts, log: Log, bar: Any) -> Iterator[Document]:
        for name, path in sources.named_files(artifact):
            if path.stat().st_size == 0 and path != artifact.path:
                counts.dropped["empty file"] += 1  # an empty __init__.py is no mistake
                continue
            try:
                yield from self._from_file(path, name, source, counts)
            except NotText:
                # A picture beside the pages is no mistake; a broken page, or a file that was asked for, is.
                if path == artifact.path or suffix_of(path) in READERS:
                    raise
                counts.left_out.append(name)
            bar.advance(path.stat().st_size)

    def _from_file(self, path: Path, name: str, source: str, counts: _Counts) -> Iterator[Document]:
        column = ""
        for number, record in enumerate(read_records(path, counts.repairs)):
            if column not in record:
                column = find_column(
                    record, given=self.text, known=TEXT, what="text", where=path.as_posix(), stage="corpus"
                )
            text = record[column]
            meta = {k: v for k, v in record.items() if k != column}
            plain = text if isinstance(text, str) else "" if text is None else json.dumps(text, ensure_ascii=False)
            yield Document(plain, document_id(source, name, number), source, f"{name}#{number}", meta)


def _source_of(place: str, artifact: Artifact) -> str:
    """`logs` of the place read.logs.0; a list names each part by its own path."""
    parts = place.split(".")
    return ".".join(parts[1:-1]) or sources.source_name(artifact.scheme or artifact.path)


def _row(document: Document) -> dict[str, Any]:
    text = document.text
    meta = json.dumps(dict(document.meta), ensure_ascii=True, sort_keys=True, default=_plain)
    return {
        "id": document.id,
        "text": text,
        "source": document.source,
        "origin": document.origin,
        "language": "",
        "cluster": cluster_of(text),
        "meta": meta,
        "bytes": len(text.encode()),
        "characters": len(text),
    }


def _plain(value: Any) -> str:
    """Dates and their like out of parquet; never a repr with a memory address."""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return value.hex() if isinstance(value, bytes) else f"({type(value).__name__})"


# ---- counting and writing -----------------------------------------------------------------------


class _Counts:
    """What the card says of the corpus."""

    def __init__(self) -> None:
        self.documents = self.bytes = self.characters = self.surrogates = 0
        self.sources: dict[str, Counter[str]] = {}
        self.dropped: Counter[str] = Counter()
        self.left_out: list[str] = []
        self.repairs = Repairs()

    def keep(self, row: Mapping[str, Any]) -> None:
        self.documents += 1
        self.bytes += row["bytes"]
        self.characters += row["characters"]
        facts = {"documents": 1, "bytes": row["bytes"], "characters": row["characters"]}
        self.sources.setdefault(row["source"], Counter()).update(facts)

    def card(self) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "bytes": self.bytes,
            "characters": self.characters,
            "sources": {name: dict(facts) for name, facts in sorted(self.sources.items())},
            "dropped": dict(sorted(self.dropped.items())),
            "repaired": self.repairs.broken,
            "surrogates_mended": self.surrogates,
            "left_out_files": self.left_out[:100],
        }


class _Sides:
    """One writer per side, made when it is first needed."""

    def __init__(self, out: Path, validation: float, test: float):
        self.validation, self.test = validation, test
        self._writers = {s: ShardWriter(out, s, SCHEMA) for s in SPLITS}
        self._dropped = ShardWriter(out, "dropped", DROPPED)

    def keep(self, row: Mapping[str, Any]) -> None:
        side = split_of(row["cluster"], validation=self.validation, test=self.test)
        self._writers[side].write(row, row["bytes"])

    def drop(self, row: Mapping[str, Any], reason: str, because_of: str | None) -> None:
        self._dropped.write({**row, "reason": reason, "because_of": because_of}, row["bytes"])

    def close(self) -> None:
        for writer in [*self._writers.values(), self._dropped]:
            writer.close()


def _side_facts(out: Path, split: str) -> dict[str, int]:
    sizes = [row["bytes"] for row in read_rows(out, split, ["bytes"])]
    return {"documents": len(sizes), "bytes": sum(sizes)}


def _hold_out_something(out: Path, documents: int, validation: float) -> int:
    """Fill an empty validation side; returns how many documents were cut for it.

    Three documents or more: the one that is nearest to the validation side moves there, with its cluster.
    One or two (a book): the last tenth of each that is long enough becomes a document of its own.
    """
    if not validation or next(read_rows(out, "validation", ["id"]), None):
        return 0
    # Few documents, or validation would not be empty: they fit into memory.
    sides = {side: list(read_rows(out, side)) for side in ("train", "test")}
    rows = [*sides["train"], *sides["test"]]
    nearest = min((row["cluster"] for row in rows), key=lambda c: (place_of(c), c))
    if documents >= 3 and any(row["cluster"] != nearest for row in rows):
        kept = {side: [r for r in group if r["cluster"] != nearest] for side, group in sides.items()}
        _rewrite(out, kept | {"validation": [r for r in rows if r["cluster"] == nearest]})
        return 0
    parts = [_cut(row, max(validation, 0.1)) for row in rows]
    tails = [tail for _, tail in parts if tail]
    if tails:
        _rewrite(out, {"train": [head for head, _ in parts], "validation": tails, "test": []})
    return len(tails)


def _rewrite(out: Path, sides: Mapping[str, list[dict[str, Any]]]) -> None:
    for side, rows in sides.items():
        for old in out.glob(f"{side}-*.parquet"):
            old.unlink()
        writer = ShardWriter(out, side, SCHEMA)
        for row in rows:
            writer.write(row, row["bytes"])
        writer.close()


def _cut(row: dict[str, Any], share: float) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A document's head and its tail (None if it is too short to cut)."""
    text = row["text"]
    at = text.rfind("\n", 0, int(len(text) * (1 - share))) + 1 or int(len(text) * (1 - share))
    if len(text) - at < MIN_TAIL_CHARACTERS or at < MIN_TAIL_CHARACTERS:
        return row, None
    head, tail = text[:at], text[at:]
    return _part(row, head, "head"), _part(row, tail, "tail")


def _part(row: dict[str, Any], text: str, name: str) -> dict[str, Any]:
    identity = document_id(row["source"], f"{row['id']}/{name}", 0)
    sizes = {"bytes": len(text.encode()), "characters": len(text), "cluster": cluster_of(text)}
    return {**row, "id": identity, "text": text, "origin": f"{row['origin']}/{name}", **sizes}
