"""The column `liked`: how much a document reads like texts that the user calls good, 0 ... 1.

    good texts + as many documents of the corpus -> classifier (quality/liked.py) -> a score for every document

The classifier learns to tell the good from the ordinary; nothing is left out unless the filter `liked` says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pretune.base.artifact import Artifact
from pretune.base.errors import EmptyInput
from pretune.base.log import Log
from pretune.text.clean.quality import liked
from pretune.text.corpus.deciding import Parts
from pretune.text.read import sources
from pretune.text.read.columns import FIRST, text_column
from pretune.text.read.plain import plain_text
from pretune.text.read.readers import Repairs, read_records

MOST_GOOD = 5000
FEWEST_GOOD = 20
COLUMN = pa.field("liked", pa.float32())


def add_scores(parts: Parts, good: Mapping[str, Artifact], *, seed: int, scratch: Path, log: Log) -> Parts:
    """The parts with the column `liked`, trained on these texts against documents of the parts.

    Raises:
        EmptyInput: fewer than FEWEST_GOOD good texts.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    texts = _texts(good)
    if len(texts) < FEWEST_GOOD:
        raise EmptyInput(f"`liked` names {len(texts)} texts, too few to learn from", hint=f"give {FEWEST_GOOD} or more")
    model = liked.train(texts, parts.texts(_ordinary(parts, 2 * len(texts))), seed)
    made = []
    with log.progress("scoring", total=len(parts), unit="documents") as bar:
        for path in parts.paths:
            table = pq.read_table(path)
            scores = pa.array([model.score(text) for text in table["text"].to_pylist()], COLUMN.type)
            names = [name for name in table.column_names if name != COLUMN.name]
            made.append(scratch / path.name)
            scored = table.select(names).append_column(COLUMN, scores)
            pq.write_table(scored, made[-1], compression="lz4", use_dictionary=False)
            bar.advance(table.num_rows)
    return Parts(made)


def _texts(good: Mapping[str, Artifact]) -> list[str]:
    found: list[str] = []
    for artifact in good.values():
        for name, path in sources.named_files(artifact):
            rows = list(islice(read_records(path), MOST_GOOD - len(found)))
            column = text_column(rows[:FIRST], given=None, where=name) if rows else ""
            for number, row in enumerate(rows):
                own = column if column in row else text_column([row], given=None, where=name)
                text = plain_text(row[own], own, f"{name}#{number}", Repairs())
                found += [text] if text.strip() else []
    return found


def _ordinary(parts: Parts, number: int) -> list[int]:
    """Documents drawn by a keyed hash of their ids, rising."""
    ids = (identity for table in parts.tables(["id"]) for identity in table["id"].to_pylist())
    drawn = sorted((hashlib.blake2b(one.encode(), key=b"pretune liked 1").digest(), k) for k, one in enumerate(ids))
    return sorted(k for _, k in drawn[:number])
