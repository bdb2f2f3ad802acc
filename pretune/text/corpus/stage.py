"""Stage corpus: raw files become documents, cleaned, measured, each once, in one of three splits.

    read -> clean -> measure      shards, by any number of workers                 measuring.py, scoring.py
    filters -> copies -> cluster  from the shards' columns                         deciding.py
    repeats                       what many documents share                        repeats.py
    splits                        train, validation, test; no held-out text twice  splits.py
    mixture                       how often each training document is taken        mixing.py
    rows                          the splits, and what was dropped, with reasons   writing.py

The text is a stream from end to end: memory holds a few hundred bytes per document, not the texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from pretune.base.artifact import Artifact
from pretune.base.config import Free, Input, chosen
from pretune.base.errors import EmptyInput, NoSuchColumn, NotText, SettingsError
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.report.view import mixture_text
from pretune.text.clean.cleaners import CLEAN, Clean, Lines, Nfc
from pretune.text.clean.filters import FILTER, Filter
from pretune.text.clean.quality.rules import DEFAULT_FILTERS
from pretune.text.corpus.deciding import Dedup, Shards, Verdict, decide, decided
from pretune.text.corpus.documents import Measuring, Tally
from pretune.text.corpus.measuring import SCHEMA
from pretune.text.corpus.mixing import Mixture, mix
from pretune.text.corpus.raw_shards import raw_shards
from pretune.text.corpus.records import records_of
from pretune.text.corpus.repeats import REPEATS, Repeats, without_repeats
from pretune.text.corpus.reporting import write_report
from pretune.text.corpus.scoring import COLUMN as QUALITY
from pretune.text.corpus.scoring import add_scores
from pretune.text.corpus.splits import assign, drop_contaminated, evaluation_texts
from pretune.text.corpus.workers import measure_shards, workers_for
from pretune.text.corpus.writing import Counts, Written, hold_out_tails, split_facts
from pretune.text.forget import Read, listed
from pretune.text.read import sources
from pretune.text.read.formats.maintext import has_trafilatura
from pretune.text.read.readers import READERS, read_records, suffix_of
from pretune.text.read.shards import ahead
from pretune.text.read.split import SPLITS

BYTES_WORTH_A_PROCESS = 32 << 20
WEB = (".html", ".htm", ".xhtml", ".warc")
MOST_COLUMNS = 10


class CorpusStage(Stage):
    """Raw text in, documents out."""

    makes: ClassVar[str] = "corpus"
    version: ClassVar[int] = 8
    kind: str = "corpus"
    read: Annotated[dict[str, list[str]] | list[str], Input("files|corpus")]
    """Files, folders or patterns; `{name: [...]}` names the sources of the mixture. A corpus is decided again: other
    filters, copies or shares, without reading or cleaning its texts again."""
    text: str | None = None
    """The column that holds the text in jsonl, csv and parquet; found by its name if not given."""
    links: Literal["refuse", "follow"] = "refuse"
    """Symbolic links that lead out of a folder: not read, and reported; follow reads them. Links within it are read
    once."""
    clean: list[Annotated[Clean, *chosen(CLEAN)]] = [Nfc(kind="nfc"), Lines(kind="lines")]
    """Repairs of every text, in this order."""
    filters: list[Annotated[Filter, *chosen(FILTER)]] = [*DEFAULT_FILTERS]
    """What is left out, besides empty texts and copies; debris: what is hardly text at all."""
    dedup: Dedup = "exact"
    """exact: of equal texts the first is kept; minhash: of near copies as well, each verified; none: all are kept."""
    similarity: float = Field(default=0.7, gt=0, le=1)
    """Jaccard similarity of shingle sets from which texts are near copies."""
    remove_repeats: list[Annotated[Repeats, *chosen(REPEATS)]] = []
    """What is taken out of all documents but the first that has it: paragraphs, substrings."""
    quality: list[Annotated[str, Input("files")]] = []
    """Files of examples of high quality: a classifier trained on them gives each document a column `quality`, 0 ... 1,
    for the filter `quality`."""
    language_file: Annotated[str | None, Input("files")] = None
    """A fastText model such as lid.176.ftz; without it languages are identified by script and frequent words."""
    validation: float = Field(default=0.01, ge=0, lt=1)
    """Share of documents held out to watch training; at least one where there are three."""
    test: float = Field(default=0.01, ge=0, lt=1)
    """Share of documents held out for the final report."""
    evaluation: list[Annotated[str, Input("files|dataset")]] = []
    """Texts that a model will be judged on, besides the validation and test splits."""
    max_overlap: float | None = Field(default=0.5, gt=0, le=1)
    """A training document is left out from this share of 13-grams on, of its own or of one held-out text's."""
    without: Annotated[str | None, Input("files", by_name=True)] = None
    """A list of digests of raw records that are left out, as `pretune forget` writes it."""
    mixture: Mixture = Mixture()
    """How often each source and language is taken into the training split, and in which order."""

    workers: Annotated[int, Free] = Field(0, ge=0)
    """Processes that clean and measure; 0: one per core where there is enough to do. Changes no byte."""
    ray: Annotated[str | None, Free] = None
    """Address of a Ray cluster (`auto`, `HOST:6379`, `ray://HOST:10001`) whose nodes clean and measure. Changes no
    byte."""
    memory: Annotated[float, Free] = Field(256e6, gt=0)
    """Bytes for finding copies and repeats, at most. Changes no byte."""

    @field_validator("read", mode="before")
    @classmethod
    def _lists(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return {name: [v] if isinstance(v, str) else v for name, v in value.items()}
        return [value] if isinstance(value, str) else value

    def follows_links(self) -> bool:
        return self.links == "follow"

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        size = sum(f.text_bytes for f in inputs.values())
        # 4.4 MB/s: reading, cleaning, measuring and filtering on one core (docs/LOG.md, 2026-11-24)
        return Forecast(seconds=size / 4.4e6, memory_bytes=3e8, disk_bytes=size / 2, text_bytes=size)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        self._refuse_cleaning_again(inputs)
        raw = _of("read", inputs)
        shards, tally = self._shards(raw, inputs.get("language_file"), listed(inputs.get("without")), context)
        facts, verdict, shards = self._decided(shards, inputs, context)
        written = self._write(shards, verdict, out, context)
        counts = written.counts
        _report(tally, context.log)
        if not counts.sources:
            _read_without_quarantine(raw)
            raise _nothing(counts, tally)
        if tally.quarantine:
            lines = (json.dumps({"file": f, "reason": why}, ensure_ascii=False) for f, why in tally.quarantine)
            (out / "quarantine.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        tails = hold_out_tails(out, self.validation, _schema(shards))
        facts |= counts.card(tally) | {"tails_held_out": tails, "splits": {s: split_facts(out, s) for s in SPLITS}}
        context.log.info(f"the training split:\n{mixture_text(facts['mixture'])}")
        write_report(out, facts, written.seen, context)
        return facts

    def _decided(
        self, shards: Shards, inputs: Mapping[str, Artifact], context: Context
    ) -> tuple[Json, Verdict, Shards]:
        """Facts for the card, the verdict, and the shards with their texts as they will be written."""
        scratch, log, memory = context.scratch, context.log, int(self.memory)
        if self.quality:
            examples = _of("quality", inputs)
            shards = add_scores(shards, examples, seed=context.seed, scratch=scratch / "scored", log=log)
        verdict = decide(
            shards,
            self.filters,
            self.dedup,
            threshold=self.similarity,
            memory_bytes=memory,
            scratch=scratch,
            log=log,
        )
        facts: Json = {}
        if self.remove_repeats:
            folder = scratch / "repeats"
            shards, number = without_repeats(
                shards, verdict, self.remove_repeats, memory_bytes=memory, scratch=folder, log=log
            )
            facts["repeats_removed"] = dict(sorted(number.items()))
        assign(verdict, validation=self.validation, test=self.test)
        if self.max_overlap is not None:
            evaluation = evaluation_texts(_of("evaluation", inputs))
            facts["held_out"] = drop_contaminated(shards, verdict, evaluation, share=self.max_overlap, log=log)
            _refuse_to_judge_by_all(verdict, facts["held_out"]["left_out"])
        return facts, verdict, shards

    def _refuse_cleaning_again(self, inputs: Mapping[str, Artifact]) -> None:
        """Rules that would be passed over in silence are worst where they mask what is private."""
        if "clean" in self.model_fields_set and any(a.card.kind == "corpus" for a in inputs.values()):
            raise SettingsError(
                "a corpus that is decided again is not cleaned again, so `clean` cannot be given",
                hint="give `clean` to the stage that reads the files",
            )

    def _shards(
        self, raw: Mapping[str, Artifact], given: Artifact | None, without: frozenset[str], context: Context
    ) -> tuple[Shards, Tally]:
        measuring = self._measuring(given, without)
        total = sum(p.stat().st_size for a in raw.values() for p in a.files())
        number = self.workers or min(Machine.here().cores, 1 + total // BYTES_WORTH_A_PROCESS)
        tally = Tally()
        _say_what_is_missing(raw, context.log)
        with (
            workers_for(self.ray, number, context.log) as workers,
            context.log.progress("reading", total=total or None, unit="bytes") as bar,
        ):
            shards = raw_shards(raw, measuring, tally)
            paths, more = measure_shards(shards, measuring, context.scratch / "shards", workers=workers, bar=bar)
        tally.add(more)
        _refuse_no_column(measured := Shards(paths), tally)
        return measured, tally

    def _measuring(self, given: Artifact | None, without: frozenset[str]) -> Measuring:
        return Measuring(
            text=self.text,
            clean=tuple(self.clean),
            named=isinstance(self.read, Mapping),
            language_file=given.path if given else None,
            near=self.dedup == "minhash",
            without=without,
        )

    def records(self, inputs: Mapping[str, Artifact], scratch: Path) -> Iterator[Read]:
        """Its raw records as it reads them, those of `without` too."""
        return records_of(_of("read", inputs), self._measuring(None, frozenset()))

    def _write(self, shards: Shards, verdict: Verdict, out: Path, context: Context) -> Written:
        mixed = mix(shards, verdict, self.mixture)
        written = Written(out, _schema(shards), verdict, mixed, _ids(shards, verdict), context.scratch / "order")
        with context.log.progress("writing", total=len(shards), unit="documents") as bar:
            for start, table in ahead(decided(shards, verdict)):
                written.add(table, start)
                bar.advance(len(table))
            written.close()
        return written


def _of(name: str, inputs: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """The inputs of one setting."""
    return {place: artifact for place, artifact in inputs.items() if place.partition(".")[0] == name}


def _schema(shards: Shards) -> pa.Schema:
    return pa.schema([*SCHEMA, *([QUALITY] if QUALITY.name in shards.columns else [])])


def _ids(shards: Shards, verdict: Verdict) -> dict[int, str]:
    """The ids of documents that are kept in another's place."""
    wanted = {kept for kept in verdict.duplicate_of if kept >= 0}
    return {k: identity for k, identity in enumerate(shards.values("id")) if k in wanted} if wanted else {}


def _say_what_is_missing(raw: Mapping[str, Artifact], log: Log) -> None:
    """Web pages are read without trafilatura, by simpler rules; whoever reads some should know."""
    if any(suffix_of(path) in WEB for a in raw.values() for path in a.files()) and not has_trafilatura():
        log.warn(
            "trafilatura is not installed: menus and text are kept apart by simpler rules; pip install 'pretune[data]'"
        )


def _report(tally: Tally, log: Log) -> None:
    if tally.columns:
        often = tally.columns.most_common(MOST_COLUMNS)
        tables = ", ".join(f"{name!r} of {n} table{'s' * (n > 1)}" for name, n in often)
        log.info(f"    the text is column {tables}")
    if tally.left_out:
        names = ", ".join(tally.left_out[:5]) + (" ..." if len(tally.left_out) > 5 else "")
        log.warn(f"{len(tally.left_out)} files are not text and were left out: {names}")
    if tally.quarantine:
        shown = "; ".join(f"{where}: {why}" for where, why in tally.quarantine[:3])
        log.warn(f"{len(tally.quarantine)} could not be read and are in quarantine.jsonl with their reasons: {shown}")
    if tally.broken:
        log.warn(f"{tally.broken} broken pieces of text were replaced by U+FFFD")
    for what, number in sorted(tally.mended.items()):
        log.warn(f"{what}: {number}")


def _refuse_no_column(shards: Shards, tally: Tally) -> None:
    """One table of another shape is set aside; where a source gives nothing because of it, the setting is wrong."""
    if tally.no_column:
        there = set(shards.values("source"))
        for source, problem, hint in tally.no_column:
            if source not in there:
                raise NoSuchColumn(problem, hint=hint)


def _read_without_quarantine(inputs: Mapping[str, Artifact]) -> None:
    """Where nothing could be read, the first mistake is reported as itself, with its own code and hint.

    A file that does not claim to be text (a picture next to the pages) is one only where there is nothing else.
    """
    no_text: NotText | None = None
    num_read = 0
    for artifact in inputs.values():
        for _, path in sources.named_files(artifact) if not artifact.scheme and artifact.is_raw else ():
            try:
                num_read += sum(1 for _ in read_records(path)) if path.stat().st_size else 0
            except NotText as error:
                if suffix_of(path) in READERS:
                    raise
                no_text = no_text or error
    if no_text and not num_read:
        raise no_text


def _refuse_to_judge_by_all(verdict: Verdict, left_out: int) -> None:
    """Texts that are all alike: whatever is held out is in every other one, so nothing would be left to learn."""
    if left_out and "train" not in verdict.splits:
        raise EmptyInput(
            f"each of {left_out} training documents repeats half of a text that is held out, so none is left",
            hint="leave copies out first (dedup=minhash), hold nothing out (validation=0 test=0), or allow the overlap "
            "(max_overlap=null)",
        )


def _nothing(counts: Counts, tally: Tally) -> EmptyInput:
    reasons = [f"{n} {reason}" for reason, n in counts.card(tally)["dropped"].items()]
    reasons += [why for _, why in tally.quarantine[:1]]
    left_out = f" (left out: {', '.join(reasons)})" if reasons else ""
    return EmptyInput(f"no text is left{left_out}", hint="look at what `read` and `filters` name")
