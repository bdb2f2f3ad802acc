"""The split of every kept document, and that no training text holds what a model will be judged on.

cluster -> train | validation | test          split.py; validation is not empty from three documents on
13-grams of validation, test and evaluation   a training document that shares too many of them is left out
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from pretune.base.artifact import Artifact
from pretune.base.log import Log
from pretune.text.corpus.deciding import Shards, Verdict
from pretune.text.dedup.overlap import Ngrams
from pretune.text.dedup.paragraphs import pieces
from pretune.text.read import sources
from pretune.text.read.readers import read_records
from pretune.text.read.shards import read_rows
from pretune.text.read.split import place_of, split_of

Named = tuple[str, str]
"""A text to be judged on, and where it is from."""


def assign(verdict: Verdict, *, validation: float, test: float) -> None:
    """Set the split of every document; "" for one that is left out."""
    kept = [c if reason is None else "" for c, reason in zip(verdict.clusters, verdict.reasons, strict=True)]
    split = {c: split_of(c, validation=validation, test=test) for c in sorted(set(kept)) if c}
    is_missing = validation and "validation" not in split.values() and sum(map(bool, kept)) >= 3
    if is_missing and len(split) > 1:
        split[min(split, key=lambda c: (place_of(c), c))] = "validation"
    verdict.splits = [split.get(c, "") for c in kept]


# ---- what is held out ---------------------------------------------------------------------------


def evaluation_texts(inputs: Mapping[str, Artifact]) -> Iterator[Named]:
    """Every text of every record of evaluation files; of a dataset, of its validation and test split."""
    for artifact in inputs.values():
        if artifact.scheme:
            yield from ((d.text, d.origin) for d in sources.documents(artifact.scheme))
        elif artifact.is_raw:
            for name, path in sources.named_files(artifact):
                yield from _named(read_records(path), name) if path.stat().st_size else ()
        else:
            for split in ("validation", "test"):
                yield from _named(read_rows(artifact.path, split), split)


def _named(records: Iterable[object], name: str) -> Iterator[Named]:
    for number, record in enumerate(records):
        for text in _strings(record):
            # A file may hold a question a line, or a passage a paragraph.
            yield from ((piece, f"{name}#{number}") for piece in pieces(text)[::2] if piece.strip())


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for inner in value.values() for text in _strings(inner))
    elif isinstance(value, list | tuple):
        yield from (text for inner in value for text in _strings(inner))


def drop_contaminated(
    shards: Shards, verdict: Verdict, evaluation: Iterable[Named], *, share: float, log: Log
) -> dict[str, int]:
    """Leave out training documents that share 13-grams with what is held out; returns what was compared.

    Args:
        share: from which a document is left out: of its own 13-grams, or of those of one held-out text.
    """
    held = [k for k, split in enumerate(verdict.splits) if split in ("validation", "test")]
    named = list(evaluation)
    ngrams = Ngrams.of([*_texts(shards, held), *(text for text, _ in named)])
    facts = {"held_out_texts": len(held), "evaluation_texts": len(named), "left_out": 0}
    if not len(ngrams.hashes):
        return facts
    with log.progress("held-out text", total=len(shards), unit="documents") as bar:
        at = 0
        for table in shards.tables(["text"]):
            for k, text in enumerate(table["text"].to_pylist(), at):
                if verdict.splits[k] == "train":
                    facts["left_out"] += _dropped(k, text, ngrams, share, verdict, held, named)
            at += table.num_rows
            bar.advance(table.num_rows)
    return facts


def _dropped(
    k: int,
    text: str,
    ngrams: Ngrams,
    share: float,
    verdict: Verdict,
    held: Sequence[int],
    named: Sequence[Named],
) -> bool:
    hits = ngrams.hits(text)
    if max(hits.share, hits.covered) < share:
        return False
    split = verdict.splits[held[hits.of]] if hits.of < len(held) else named[hits.of - len(held)][1]
    verdict.reasons[k] = f"held out: {hits.covered:.0%} of a text of {split}, {hits.share:.0%} of its own"
    verdict.duplicate_of[k] = held[hits.of] if hits.of < len(held) else -1
    verdict.splits[k] = ""
    return True


def _texts(shards: Shards, wanted: Sequence[int]) -> Iterator[str]:
    """The texts of these documents, in order, shard by shard."""
    mine = np.zeros(len(shards), dtype=bool)
    mine[list(wanted)] = True
    for end, size in zip(shards.ends, shards.sizes, strict=True):
        numbers = np.flatnonzero(mine[end - size : end]) + (end - size)
        if len(numbers):
            yield from shards.texts(numbers.tolist())
