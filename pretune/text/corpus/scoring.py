"""The column `quality`: how much a document reads like examples of high quality, 0 ... 1.

    examples + twice as many documents of the corpus -> classifier (quality/classifier.py) -> a score for every document

The classifier learns to tell the examples from the ordinary; nothing is left out unless the filter `quality` says so.
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
from pretune.text.clean.quality import classifier
from pretune.text.corpus.deciding import Shards
from pretune.text.read import sources
from pretune.text.read.columns import FIRST, text_column
from pretune.text.read.plain import plain_text
from pretune.text.read.readers import Repairs, read_records

MOST_EXAMPLES = 5000
FEWEST_EXAMPLES = 20
COLUMN = pa.field("quality", pa.float32())


def add_scores(shards: Shards, examples: Mapping[str, Artifact], *, seed: int, scratch: Path, log: Log) -> Shards:
    """The shards with the column `quality`, by a classifier of these examples against documents of the shards.

    Raises:
        EmptyInput: fewer than FEWEST_EXAMPLES examples.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    texts = _texts(examples)
    if len(texts) < FEWEST_EXAMPLES:
        hint = f"give {FEWEST_EXAMPLES} or more"
        raise EmptyInput(f"`quality` names {len(texts)} texts, too few to learn from", hint=hint)
    model = classifier.train(texts, shards.texts(_ordinary(shards, 2 * len(texts))), seed)
    made = []
    with log.progress("scoring", total=len(shards), unit="documents") as bar:
        for path in shards.paths:
            table = pq.read_table(path)
            scores = pa.array([model.score(text) for text in table["text"].to_pylist()], COLUMN.type)
            names = [name for name in table.column_names if name != COLUMN.name]
            made.append(scratch / path.name)
            scored = table.select(names).append_column(COLUMN, scores)
            pq.write_table(scored, made[-1], compression="lz4", use_dictionary=False)
            bar.advance(table.num_rows)
    return Shards(made)


def _texts(examples: Mapping[str, Artifact]) -> list[str]:
    found: list[str] = []
    for artifact in examples.values():
        for name, path in sources.named_files(artifact):
            rows = list(islice(read_records(path), MOST_EXAMPLES - len(found)))
            column = text_column(rows[:FIRST], given=None, where=name) if rows else ""
            for number, row in enumerate(rows):
                own = column if column in row else text_column([row], given=None, where=name)
                text = plain_text(row[own], own, f"{name}#{number}", Repairs())
                found += [text] if text.strip() else []
    return found


def _ordinary(shards: Shards, number: int) -> list[int]:
    """Documents drawn by a keyed hash of their ids, rising."""
    ids = enumerate(shards.values("id"))
    drawn = sorted((hashlib.blake2b(one.encode(), key=b"pretune liked 1").digest(), k) for k, one in ids)
    return sorted(k for _, k in drawn[:number])
