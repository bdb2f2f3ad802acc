"""Stage corpus: raw files become documents, cleaned, measured, each once, on one of three sides.

    read -> clean -> measure      parts, by any number of processes               measuring.py, liking.py
    filters -> copies -> cluster  from the parts' columns                         deciding.py
    cuts                          what many documents share                       cutting.py
    sides                         train, validation, test; no held-out text twice sides.py
    mixture                       how often each training document is taken       mixing.py
    rows                          the sides, and what was dropped, with reasons   writing.py

The text is a stream from end to end: memory holds a few hundred bytes per document, not the texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from pretune.base.artifact import Artifact
from pretune.base.config import Free, Input, chosen
from pretune.base.errors import EmptyInput, NoSuchColumn, NotText, SettingsError
from pretune.base.log import Log
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.report.view import mixture_text
from pretune.text.clean.cleaners import CLEAN, Clean, Lines, Nfc
from pretune.text.clean.filters import FILTER, Filter
from pretune.text.clean.quality.rules import DEFAULT_FILTERS
from pretune.text.corpus.cutting import CUT, Cut, cut_parts
from pretune.text.corpus.deciding import Dedup, Parts, Verdict, decide, decided
from pretune.text.corpus.jobs import Measuring, Told, jobs
from pretune.text.corpus.liking import COLUMN as LIKED
from pretune.text.corpus.liking import add_scores
from pretune.text.corpus.measuring import SCHEMA
from pretune.text.corpus.mixing import Mixture, mix
from pretune.text.corpus.pools import make_parts, pool_for
from pretune.text.corpus.reporting import write_report
from pretune.text.corpus.sides import assign, drop_contaminated, evaluation_texts
from pretune.text.corpus.writing import Counts, Written, hold_out_tails, side_facts
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
    version: ClassVar[int] = 7
    kind: str = "corpus"
    read: Annotated[dict[str, list[str]] | list[str], Input("files|corpus")]
    """Files, folders or patterns; `{name: [...]}` names the parts of the mixture. A corpus is decided anew: other
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
    cut: list[Annotated[Cut, *chosen(CUT)]] = []
    """What is taken out of all documents but the first that has it: paragraphs, substrings."""
    liked: list[Annotated[str, Input("files")]] = []
    """Files of texts that you call good: each document gets a column `liked`, 0 ... 1, for the filter `liked`."""
    language_file: Annotated[str | None, Input("files")] = None
    """A fastText model such as lid.176.ftz; without it languages are told by script and frequent words."""
    validation: float = Field(default=0.01, ge=0, lt=1)
    """Share of documents held out to watch training; at least one where there are three."""
    test: float = Field(default=0.01, ge=0, lt=1)
    """Share of documents held out for the final report."""
    evaluation: list[Annotated[str, Input("files|dataset")]] = []
    """Texts that a model will be judged on, besides the validation and test sides."""
    max_overlap: float | None = Field(default=0.5, gt=0, le=1)
    """A training document is left out from this share of 13-grams on, of its own or of one held-out text's."""
    mixture: Mixture = Mixture()
    """How often each source and language is taken into the training side, and in which order."""

    workers: Annotated[int, Free] = Field(0, ge=0)
    """Processes that clean and measure; 0: one per core where there is enough to do. Changes no byte."""
    ray: Annotated[str | None, Free] = None
    """Address of a Ray cluster (`auto`, `HOST:6379`, `ray://HOST:10001`) whose nodes clean and measure. Changes no
    byte."""
    memory: Annotated[float, Free] = Field(256e6, gt=0)
    """Bytes for finding copies and cuts, at most. Changes no byte."""

    @field_validator("read", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: [v] if isinstance(v, str) else v for name, v in value.items()}
        return [value] if isinstance(value, str) else value

    def follows_links(self) -> bool:
        return self.links == "follow"

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        size = sum(f.text_bytes for f in inputs.values())
        # 4.4 MB/s: reading, cleaning, measuring and filtering on one core (docs/LOG.md, 2026-11-24)
        return Forecast(seconds=size / 4.4e6, memory_bytes=3e8, disk_bytes=size / 2, text_bytes=size)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        self._refuse_cleaning_again(inputs)
        raw = _of("read", inputs)
        parts, told = self._parts(raw, inputs.get("language_file"), context)
        facts, verdict, parts = self._decided(parts, inputs, context)
        written = self._write(parts, verdict, out, context)
        counts = written.counts
        _tell(told, context.log)
        if not counts.documents:
            _read_without_quarantine(raw)
            raise _nothing(counts, told)
        if told.quarantine:
            lines = (json.dumps({"file": f, "reason": why}, ensure_ascii=False) for f, why in told.quarantine)
            (out / "quarantine.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        cut = hold_out_tails(out, self.validation, _schema(parts))
        facts = counts.card(told) | facts | {"cut": cut, "splits": {s: side_facts(out, s) for s in SPLITS}}
        facts["mixture"] = written.groups.card()
        context.log.info(f"the training side:\n{mixture_text(facts['mixture'])}")
        write_report(out, facts, written.seen, context)
        return facts

    def _decided(
        self, parts: Parts, inputs: Mapping[str, Artifact], context: Context
    ) -> tuple[dict[str, Any], Verdict, Parts]:
        """What is told of the way, the verdict, and the parts with their texts as they will stand."""
        scratch, log, memory = context.scratch, context.log, int(self.memory)
        if self.liked:
            good = _of("liked", inputs)
            parts = add_scores(parts, good, seed=context.seed, scratch=scratch / "scored", log=log)
        verdict = decide(
            parts,
            self.filters,
            self.dedup,
            threshold=self.similarity,
            memory_bytes=memory,
            scratch=scratch,
            log=log,
        )
        facts: dict[str, Any] = {}
        if self.cut:
            parts, number = cut_parts(parts, verdict, self.cut, memory_bytes=memory, scratch=scratch / "cut", log=log)
            facts["documents_cut"] = dict(sorted(number.items()))
        assign(verdict, validation=self.validation, test=self.test)
        if self.max_overlap is not None:
            evaluation = evaluation_texts(_of("evaluation", inputs))
            facts["held_out"] = drop_contaminated(parts, verdict, evaluation, share=self.max_overlap, log=log)
            _refuse_to_judge_by_all(verdict, facts["held_out"]["left_out"])
        return facts, verdict, parts

    def _refuse_cleaning_again(self, inputs: Mapping[str, Artifact]) -> None:
        """Rules that would be passed over in silence are worst where they mask what is private."""
        if "clean" in self.model_fields_set and any(a.card.kind == "corpus" for a in inputs.values()):
            raise SettingsError(
                "a corpus that is decided anew is not cleaned again, so `clean` cannot be given",
                hint="give `clean` to the stage that reads the files",
            )

    def _parts(self, raw: Mapping[str, Artifact], given: Artifact | None, context: Context) -> tuple[Parts, Told]:
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
        _say_what_is_missing(raw, context.log)
        with (
            pool_for(self.ray, workers, context.log) as pool,
            context.log.progress("reading", total=total or None, unit="bytes") as bar,
        ):
            work = jobs(raw, measuring, told)
            paths, more = make_parts(work, measuring, context.scratch / "parts", pool=pool, bar=bar)
        told.add(more)
        parts = Parts(paths)
        _refuse_no_column(parts, told)
        return parts, told

    def _write(self, parts: Parts, verdict: Verdict, out: Path, context: Context) -> Written:
        mixed = mix(parts, verdict, self.mixture)
        written = Written(out, _schema(parts), verdict, mixed, _ids(parts, verdict), context.scratch / "order")
        with context.log.progress("writing", total=len(parts), unit="documents") as bar:
            for start, table in ahead(decided(parts, verdict)):
                written.add(table, start)
                bar.advance(len(table))
            written.close()
        return written


def _of(name: str, inputs: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """The inputs of one setting."""
    return {place: artifact for place, artifact in inputs.items() if place.partition(".")[0] == name}


def _schema(parts: Parts) -> pa.Schema:
    return pa.schema([*SCHEMA, *([LIKED] if LIKED.name in parts.columns else [])])


def _ids(parts: Parts, verdict: Verdict) -> dict[int, str]:
    """The ids of documents that stand in another's place."""
    wanted = {twin for twin in verdict.twins if twin >= 0}
    if not wanted:
        return {}
    ids = (identity for table in parts.tables(["id"]) for identity in table["id"].to_pylist())
    return {k: identity for k, identity in enumerate(ids) if k in wanted}


def _say_what_is_missing(raw: Mapping[str, Artifact], log: Log) -> None:
    """Web pages are read without trafilatura, by simpler rules; whoever reads some should know."""
    if any(suffix_of(path) in WEB for a in raw.values() for path in a.files()) and not has_trafilatura():
        log.warn("trafilatura is not installed: menus are told from text by simpler rules; pip install 'pretune[data]'")


def _tell(told: Told, log: Log) -> None:
    if told.columns:
        often = told.columns.most_common(MOST_COLUMNS)
        tables = ", ".join(f"{name!r} of {n} table{'s' * (n > 1)}" for name, n in often)
        log.info(f"    the text is column {tables}")
    if told.left_out:
        names = ", ".join(told.left_out[:5]) + (" ..." if len(told.left_out) > 5 else "")
        log.warn(f"{len(told.left_out)} files are not text and were left out: {names}")
    if told.quarantine:
        shown = "; ".join(f"{where}: {why}" for where, why in told.quarantine[:3])
        log.warn(f"{len(told.quarantine)} could not be read and lie in quarantine.jsonl with their reasons: {shown}")
    if told.broken:
        log.warn(f"{told.broken} broken pieces of text were replaced by U+FFFD")
    for what, number in sorted(told.mended.items()):
        log.warn(f"{what}: {number}")


def _refuse_no_column(parts: Parts, told: Told) -> None:
    """One table of another shape is set aside; where a source gives nothing because of it, the setting is wrong."""
    if told.no_column:
        there = {source for table in parts.tables(["source"]) for source in table["source"].unique().to_pylist()}
        for source, problem, hint in told.no_column:
            if source not in there:
                raise NoSuchColumn(problem, hint=hint)


def _read_without_quarantine(inputs: Mapping[str, Artifact]) -> None:
    """Where nothing could be read, the first mistake is told as itself, with its own code and hint.

    A file that does not claim to be text (a picture beside the pages) is one only where there is nothing else.
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
    if left_out and "train" not in verdict.sides:
        raise EmptyInput(
            f"each of {left_out} training documents repeats half of a text that is held out, so none is left",
            hint="leave copies out first (dedup=minhash), hold nothing out (validation=0 test=0), or allow the overlap "
            "(max_overlap=null)",
        )


def _nothing(counts: Counts, told: Told) -> EmptyInput:
    reasons = [f"{n} {reason}" for reason, n in counts.card(told)["dropped"].items()]
    reasons += [why for _, why in told.quarantine[:1]]
    left_out = f" (left out: {', '.join(reasons)})" if reasons else ""
    return EmptyInput(f"no text is left{left_out}", hint="look at what `read` and `filters` name")
