"""The knowledge of a desk that is served: what the stage wrote, files that have changed since, and what was learnt.

    passages.parquet    as the stage read them, each with the input that it is from
    docs.0, faq ...     read again where a file has changed, come or gone (looked at every few seconds)
    state/              what people wrote at the desk

Only texts that are new are embedded, and vectors of texts that are gone are dropped (those in `vectors.npy` when the
desk is made again: an artifact does not change). A question is answered from the knowledge that was there when it came.
"""

from __future__ import annotations

import json
import os
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pretune.apps.support.answering import Knowledge
from pretune.apps.support.faq import entries_of
from pretune.apps.support.index import Index, Vectors, read_vectors, units, write_vectors
from pretune.apps.support.passages import Passage, passages_of, texts_of
from pretune.apps.support.record import Record
from pretune.base.artifact import Artifact, is_pattern, raw_root
from pretune.base.errors import PretuneError
from pretune.base.json import Json
from pretune.base.listing import folder_files, pattern_files
from pretune.infer.embed import Embedder
from pretune.text.read.document import Document

PASSAGES, FACTS = "passages.parquet", "desk.json"
TOLD = 5
"""Of what could not be read so many are named."""
Parts = dict[str, list[Passage]]
"""Passages by the input that they are from: `docs.0`, `faq`."""


def read_part(place: str, artifact: Artifact, facts: Json) -> tuple[list[Passage], list[str]]:
    """One input, as the stage and a running desk read it.

    Returns:
        its passages; what could not be read, each with the reason.
    """
    if place == "faq":
        return entries_of(artifact), []
    found, tally = texts_of([artifact], facts["text"])
    unread = [f"{where}: {why}" for where, why in tally.quarantine] + [f"{one}: is no text" for one in tally.left_out]
    return [*passages_of(found, words=facts["words"], overlap=facts["overlap"])], unread


def told_unread(place: str, unread: Sequence[str]) -> str:
    """The first few of them in a line."""
    first = "; ".join(unread[:TOLD]) + (" ..." if len(unread) > TOLD else "")
    return f"{len(unread)} of {place} could not be read: {first}"


def write_parts(folder: Path, parts: Parts, vectors_ND: Vectors | None, facts: Json) -> None:
    """What the stage leaves for the desk."""
    rows = [{"place": place, **passage.to_json()} for place, some in parts.items() for passage in some]
    pq.write_table(pa.Table.from_pylist(rows), folder / PASSAGES)
    write_vectors(folder, vectors_ND)
    (folder / FACTS).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_parts(folder: Path) -> tuple[Parts, Json]:
    """What `write_parts` wrote, without the vectors."""
    parts: Parts = {}
    for row in pq.read_table(folder / PASSAGES).to_pylist():
        parts.setdefault(row.pop("place"), []).append(Passage(**row))
    return parts, json.loads((folder / FACTS).read_text(encoding="utf-8"))


class Known:
    """Vectors of texts, each made once, for as long as they are known."""

    def __init__(self, embed: Embedder | None, texts: Sequence[str] = (), vectors_ND: Vectors | None = None):
        self.embed = embed
        self.rows = {} if vectors_ND is None else dict(zip(texts, vectors_ND, strict=True))

    def of(self, texts: Sequence[str]) -> Vectors | None:
        """float32 [N, D], of length 1; None without a model, or of no text."""
        if self.embed is None or not texts:
            return None
        if new := [text for text in dict.fromkeys(texts) if text not in self.rows]:
            self.rows |= dict(zip(new, units(self.embed.vectors(new)), strict=True))
        return np.stack([self.rows[text] for text in texts])

    def keep(self, knowledge: Knowledge) -> None:
        """Drop the vectors of texts that are gone."""
        texts = {*knowledge.index.texts, *knowledge.asked.texts}
        self.rows = {text: row for text, row in self.rows.items() if text in texts}


def knowledge_of(parts: Parts, known: Known, *, exact: int) -> Knowledge:
    """Everything that can be found."""
    passages = [passage for some in parts.values() for passage in some]
    entries = [k for k, passage in enumerate(passages) if passage.question]
    texts, asked = [p.searched for p in passages], [passages[k].question for k in entries]
    index = Index.of(texts, known.of(texts), exact=exact)
    return Knowledge(passages, index, Index.of(asked, known.of(asked), exact=exact), entries)


def grown(base: Knowledge, more: Sequence[Passage], known: Known) -> Knowledge:
    """With a few passages more: `knowledge_of` all of them, without reading again what is there."""
    entries = [k for k, passage in enumerate(more) if passage.question]
    texts, asked = [p.searched for p in more], [more[k].question for k in entries]
    numbers = [*base.entries, *(len(base.passages) + k for k in entries)]
    index = base.index.plus(texts, known.of(texts))
    return Knowledge([*base.passages, *more], index, base.asked.plus(asked, known.of(asked)), numbers)


class Live:
    """The knowledge as it is now.

    Args:
        artifact: the desk's.
        embed: makes vectors; None: words alone.
    """

    def __init__(self, artifact: Artifact, embed: Embedder | None):
        self.artifact = artifact
        self.parts, self.facts = read_parts(artifact.path)
        texts = [passage.searched for some in self.parts.values() for passage in some]
        self.known = Known(embed, texts, None if embed is None else read_vectors(artifact.path))
        self.learnt: list[Passage] = []
        self.lock = threading.Lock()
        # A desk of before 2026-12 does not have it.
        self.problems = {place: told_unread(place, some) for place, some in self.facts.get("unread", {}).items()}
        self.seen = dict.fromkeys(self._watched(), "")
        self.base = self.now = self._of(self.parts)

    def _of(self, parts: Parts) -> Knowledge:
        return knowledge_of(parts, self.known, exact=self.facts["exact"])

    def _watched(self) -> dict[str, Path]:
        """Raw inputs by their place: an artifact does not change."""
        inputs = {p: said for p, said in self.artifact.card.inputs.items() if p == "faq" or p.startswith("docs.")}
        # `python:docs` and `hf:org/name` lie in no folder of the user's.
        raw = {p: s["path"] for p, s in inputs.items() if s["kind"] == "files" and ":" not in s["path"].split("/")[0]}
        return {place: Path(os.path.normpath(self.artifact.path / path)) for place, path in raw.items()}

    def learn(self, record: Record) -> None:
        """Take what people wrote at the desk."""
        # Read behind the lock: of two at once the later one would else be undone by the earlier, which read less.
        with self.lock:
            entries, rows = record.knowledge()
            found = [Document(r["text"], origin=f"{r['source']}#{r['id']}", meta={"title": r["title"]}) for r in rows]
            cut = {"words": self.facts["words"], "overlap": self.facts["overlap"]}
            passages = passages_of(found, **cut, named=False)  # they are from no file
            self._take(self.parts, self.base, [*entries, *passages])

    def _take(self, parts: Parts, base: Knowledge, learnt: list[Passage]) -> None:
        """What is known from now on; all of it or, where that fails, what was known before."""
        self.now = grown(base, learnt, self.known)
        self.parts, self.base, self.learnt = parts, base, learnt
        self.known.keep(self.now)

    def refresh(self, write: Callable[[str], object]) -> bool:
        """Read again the inputs whose files have changed; whether any had. What cannot be read stays as it was."""
        changed: Parts = {}
        seen = dict(self.seen)
        for place, path in self._watched().items():
            sign = _signature(path)
            if sign == seen[place]:
                continue
            first_time, seen[place] = not seen[place], sign
            if first_time and self.artifact.source(place) is not None:
                continue  # as it was when the desk was made
            try:
                changed[place] = self._read(place, path, write)
            except (PretuneError, OSError) as error:
                self._tell(place, error.problem if isinstance(error, PretuneError) else str(error), write)
            except Exception as error:
                # A reader's bug on one file must not end the thread that looks at all the others.
                self._tell(place, f"{type(error).__name__}: {error}", write)
                write(traceback.format_exc())
        if changed:
            with self.lock:
                parts = {**self.parts, **changed}
                self._take(parts, self._of(parts), self.learnt)
        self.seen = seen  # not before: what could not be taken (memory, a model) is read again at the next look
        if changed:
            told = ", ".join(f"{place} ({len(some)} passages)" for place, some in changed.items())
            write(f"the knowledge has changed: {told}")
        return bool(changed)

    def _read(self, place: str, path: Path, write: Callable[[str], object]) -> list[Passage]:
        found, unread = read_part(place, Artifact.open(path, follow=False), self.facts)
        self.problems.pop(place, None)
        if unread:
            self.problems[place] = told_unread(place, unread)
            write(self.problems[place])
        return found

    def _tell(self, place: str, problem: str, write: Callable[[str], object]) -> None:
        self.problems[place] = f"{place} cannot be read again: {problem}"
        write(self.problems[place])


def _signature(path: Path) -> str:
    """What tells that a file, one in a folder or one of a pattern has changed; links out of it are not looked at."""
    try:
        if is_pattern(path):
            files = pattern_files(str(path), raw_root(path), follow=False).files
        else:
            files = folder_files(path, follow=False).files if path.is_dir() else [path]
        stats = [(file.as_posix(), file.stat()) for file in files]
    except OSError:  # gone, or going just now: the next look tells
        return "gone"
    return json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
