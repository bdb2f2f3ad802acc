"""Stage corpus: raw files become documents, cleaned, measured, each once, on one of three sides.

    read -> clean -> measure      parts, by any number of processes             measuring.py
    filters -> copies -> cluster  from the parts' columns                       deciding.py
    sides                         train, validation, test, and what was dropped, with reasons

The text is a stream from end to end: memory holds a few hundred bytes per document, not the texts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field, field_validator

from pretune.base.artifact import Artifact
from pretune.base.config import Free, Input, chosen
from pretune.base.errors import EmptyInput, SettingsError
from pretune.base.log import Log
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.text import sources
from pretune.text.clean import CLEAN, Clean, Lines, Nfc
from pretune.text.deciding import Dedup, Parts, Verdict, decide, rows
from pretune.text.document import document_id
from pretune.text.filters import FILTER, Filter
from pretune.text.measuring import SCHEMA, Measuring, Told, jobs, make_parts
from pretune.text.quality.rules import DEFAULT_FILTERS
from pretune.text.readers import read_records
from pretune.text.reporting import Seen, report
from pretune.text.split import SPLITS, cluster_of, place_of, split_of
from pretune.text.tables import ShardWriter, read_rows

DROPPED = pa.schema([*SCHEMA, ("reason", pa.string()), ("because_of", pa.string())])
MIN_TAIL_CHARACTERS = 200
BYTES_WORTH_A_PROCESS = 32 << 20
NUM_FILES_TOLD = 100


class CorpusStage(Stage):
    """Raw text in, documents out."""

    makes: ClassVar[str] = "corpus"
    version: ClassVar[int] = 2
    kind: str = "corpus"
    read: Annotated[dict[str, list[str]] | list[str], Input("files|corpus")]
    """Files, folders or patterns; `{name: [...]}` names the parts of the mixture. A corpus is decided anew: other
    filters, copies or shares, without reading or cleaning its texts again."""
    text: str | None = None
    """The column that holds the text in jsonl, csv and parquet; found by its name if not given."""
    clean: list[Annotated[Clean, *chosen(CLEAN)]] = [Nfc(kind="nfc"), Lines(kind="lines")]
    """Repairs of every text, in this order."""
    filters: list[Annotated[Filter, *chosen(FILTER)]] = [*DEFAULT_FILTERS]
    """What is left out, besides empty texts and copies; debris: what is hardly text at all."""
    dedup: Dedup = "exact"
    """exact: of equal texts the first is kept; minhash: of near copies as well, each verified; none: all are kept."""
    similarity: float = Field(default=0.7, gt=0, le=1)
    """Jaccard similarity of shingle sets from which texts are near copies."""
    language_file: Annotated[str | None, Input("files")] = None
    """A fastText model such as lid.176.ftz; without it languages are told by script and frequent words."""
    validation: float = Field(default=0.01, ge=0, lt=1)
    """Share of documents held out to watch training; at least one where there are three."""
    test: float = Field(default=0.01, ge=0, lt=1)
    """Share of documents held out for the final report."""

    workers: Annotated[int, Free] = Field(0, ge=0)
    """Processes that clean and measure; 0: one per core where there is enough to do. Changes no byte."""
    memory: Annotated[float, Free] = Field(256e6, gt=0)
    """Bytes for finding near copies, at most. Changes no byte."""

    @field_validator("read", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: [v] if isinstance(v, str) else v for name, v in value.items()}
        return [value] if isinstance(value, str) else value

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        size = sum(f.text_bytes for f in inputs.values())
        # 4.4 MB/s: reading, cleaning, measuring and filtering on one core (docs/LOG.md, 2026-11-24)
        return Forecast(seconds=size / 4.4e6, memory_bytes=3e8, disk_bytes=size / 2, text_bytes=size)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        self._refuse_cleaning_again(inputs)
        parts, told = self._parts(inputs, context)
        verdict = decide(
            parts,
            self.filters,
            self.dedup,
            threshold=self.similarity,
            memory_bytes=int(self.memory),
            scratch=context.scratch,
            log=context.log,
        )
        seen = Seen()
        counts = self._write(parts, verdict, out, seen, context.log)
        _tell(told, context.log)
        if not counts.documents:
            _read_without_quarantine({p: a for p, a in inputs.items() if p != "language_file"})
            raise _nothing(counts, told)
        if told.quarantine:
            lines = (json.dumps({"file": f, "reason": why}, ensure_ascii=False) for f, why in told.quarantine)
            (out / "quarantine.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        cut = _hold_out_something(out, counts.documents, self.validation)
        facts = counts.card(told) | {"cut": cut, "splits": {s: _side_facts(out, s) for s in SPLITS}}
        (out / "report.html").write_text(report(facts, seen, context.command), encoding="utf-8")
        context.notes.add("report.html")
        return facts

    def _refuse_cleaning_again(self, inputs: Mapping[str, Artifact]) -> None:
        """Rules that would be passed over in silence are worst where they mask what is private."""
        if "clean" in self.model_fields_set and any(a.card.kind == "corpus" for a in inputs.values()):
            raise SettingsError(
                "a corpus that is decided anew is not cleaned again, so `clean` cannot be given",
                hint="give `clean` to the stage that reads the files",
            )

    def _parts(self, inputs: Mapping[str, Artifact], context: Context) -> tuple[Parts, Told]:
        raw = {place: artifact for place, artifact in inputs.items() if place != "language_file"}
        given = inputs.get("language_file")
        measuring = Measuring(
            text=self.text,
            clean=tuple(self.clean),
            named=isinstance(self.read, Mapping),
            language_file=given.path if given else None,
            near=self.dedup == "minhash",
        )
        total = sum(p.stat().st_size for a in raw.values() for p in a.files())
        workers = self.workers or min(Machine.here().cores, 1 + total // BYTES_WORTH_A_PROCESS)
        told = Told()
        with context.log.progress("reading", total=total or None, unit="bytes") as bar:
            work = jobs(raw, measuring, told)
            paths, more = make_parts(work, measuring, context.scratch / "parts", workers=workers, bar=bar)
        told.add(more)
        return Parts(paths), told

    def _write(self, parts: Parts, verdict: Verdict, out: Path, seen: Seen, log: Log) -> _Counts:
        counts, sides = _Counts(), _Sides(out, self.validation, self.test)
        ids: dict[int, str] = {twin: "" for twin in verdict.twins if twin >= 0}
        with log.progress("writing", total=len(parts), unit="documents") as bar:
            for k, (row, reason, twin) in enumerate(rows(parts, verdict)):
                seen.add(row, reason)
                if k in ids:
                    ids[k] = row["id"]
                if reason:
                    counts.dropped[reason.partition(":")[0]] += 1
                    sides.drop(row, reason, ids[twin] if twin >= 0 else None)
                else:
                    counts.keep(row)
                    sides.keep(row)
                bar.advance(1)
        sides.close()
        return counts


def _tell(told: Told, log: Log) -> None:
    if told.left_out:
        names = ", ".join(told.left_out[:5]) + (" ..." if len(told.left_out) > 5 else "")
        log.warn(f"{len(told.left_out)} files are not text and were left out: {names}")
    if told.quarantine:
        shown = "; ".join(f"{where}: {why}" for where, why in told.quarantine[:3])
        log.warn(f"{len(told.quarantine)} could not be read and lie in quarantine.jsonl with their reasons: {shown}")
    if told.broken:
        log.warn(f"{told.broken} broken pieces of UTF-8 were replaced by U+FFFD")


def _read_without_quarantine(inputs: Mapping[str, Artifact]) -> None:
    """Where nothing could be read, the first mistake is told as itself, with its own code and hint."""
    for artifact in inputs.values():
        if not artifact.scheme and artifact.is_raw:
            for _, path in sources.named_files(artifact):
                for _ in read_records(path) if path.stat().st_size else ():
                    pass


def _nothing(counts: _Counts, told: Told) -> EmptyInput:
    reasons = [f"{n} {reason}" for reason, n in counts.card(told)["dropped"].items()]
    left_out = f" (left out: {', '.join(reasons)})" if reasons else ""
    return EmptyInput(f"no text is left{left_out}", hint="look at what `read` and `filters` name")


# ---- counting and writing -----------------------------------------------------------------------


class _Counts:
    """What the card says of the corpus."""

    def __init__(self) -> None:
        self.documents = self.bytes = self.characters = 0
        self.sources: dict[str, Counter[str]] = {}
        self.dropped: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()

    def keep(self, row: Mapping[str, Any]) -> None:
        self.documents += 1
        self.bytes += row["bytes"]
        self.characters += row["characters"]
        facts = {"documents": 1, "bytes": row["bytes"], "characters": row["characters"]}
        self.sources.setdefault(row["source"], Counter()).update(facts)
        self.languages[row["language"]] += 1

    def card(self, told: Told) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "bytes": self.bytes,
            "characters": self.characters,
            "sources": {name: dict(facts) for name, facts in sorted(self.sources.items())},
            "languages": dict(self.languages.most_common()),
            "dropped": dict(sorted(self.dropped.items())) | _files("empty file", told.empty_files),
            "changed": dict(sorted(told.changed.items())),
            "repaired": told.broken,
            "surrogates_mended": told.surrogates,
            "left_out_files": told.left_out[:NUM_FILES_TOLD],
            "quarantined": len(told.quarantine),
            "quarantine": [f"{file}: {why}" for file, why in told.quarantine[:NUM_FILES_TOLD]],
        }


def _files(name: str, number: int) -> dict[str, int]:
    return {name: number} if number else {}


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
    for side, group in sides.items():
        for old in out.glob(f"{side}-*.parquet"):
            old.unlink()
        writer = ShardWriter(out, side, SCHEMA)
        for row in group:
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
