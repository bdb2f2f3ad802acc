"""Phase one of a corpus: each raw shard becomes a measured one, a table of cleaned and measured documents.

It depends on nothing but its own small files, or its piece of a large one. So shards are measured by any number of
workers, survive a crash, and are the same bytes each time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pretune.base.json import Json, JsonMap
from pretune.text.clean.cleaners import cleaned
from pretune.text.clean.quality.language import identify
from pretune.text.clean.quality.statistics import COLUMNS, measure_all
from pretune.text.corpus.documents import Measuring, Tally
from pretune.text.corpus.raw_shards import RawShard, read_shard
from pretune.text.dedup.near import sign
from pretune.text.read.document import Document, document_id
from pretune.text.read.split import cluster_of
from pretune.text.read.values import is_nothing, mend_surrogates

FIELDS = [(n, pa.string()) for n in ("id", "text", "source", "origin", "language", "cluster", "meta")]
SCHEMA = pa.schema([*FIELDS, ("bytes", pa.int64()), ("language_confidence", pa.float32()), *COLUMNS.items()])

DOCUMENTS_TOGETHER = 2048
"""So many rows are dicts at a time, of some 5 KB each; a million tweets are one shard."""


def measure_shard(shard: RawShard, measuring: Measuring, path: Path) -> None:
    """Write the shard as a table; its name appears when it is whole."""
    tally = Tally()
    table = _measured_before(shard.files[0].path) if shard.measured else _measured(shard, measuring, tally)
    texts = table["text"].to_pylist()
    table = table.append_column("digest", pa.array([_digest(text) for text in texts], pa.binary(16)))
    table = table.append_column("blank", pa.array([not text.strip() for text in texts]))
    if measuring.near:
        table = table.append_column("signature", pa.array([s.tobytes() for s in sign(texts)], pa.binary()))
    table = table.replace_schema_metadata({"tally": tally.packed()})
    partial = path.with_suffix(f".{os.getpid()}.partial")
    pq.write_table(table, partial, compression="lz4", use_dictionary=False)
    partial.replace(path)


def _measured(shard: RawShard, measuring: Measuring, tally: Tally) -> pa.Table:
    documents = read_shard(shard, measuring, tally)
    tables = [SCHEMA.empty_table()]
    while some := list(islice(documents, DOCUMENTS_TOGETHER)):
        tables.append(_measured_rows([_row(d, measuring, tally) for d in some], measuring))
    return pa.concat_tables(tables).combine_chunks()


def _measured_rows(rows: list[Json], measuring: Measuring) -> pa.Table:
    texts = [row["text"] for row in rows]
    languages = identify(texts, measuring.language_file)
    for row, statistics, (language, sure) in zip(rows, measure_all(texts), languages, strict=True):
        row |= {**statistics, "language": language, "language_confidence": sure}
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _measured_before(path: Path) -> pa.Table:
    """Documents of another corpus: cleaned and measured already, so only what decides is looked at again."""
    names = pq.read_schema(path).names
    return pq.read_table(path, columns=[*SCHEMA.names, *(["quality"] if "quality" in names else [])])


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _row(document: Document, measuring: Measuring, tally: Tally) -> Json:
    text = mend_surrogates(document.text)
    tally.surrogates += text is not document.text and text != document.text
    text = cleaned(text, measuring.clean, tally.changed)
    meta = _json(dict(document.meta))
    origin = mend_surrogates(document.origin)
    return {
        "id": document.id or _id_of(document),
        "text": text,
        "source": document.source,
        "origin": origin,
        "cluster": cluster_of(text),
        "meta": meta,
        "bytes": len(text.encode()),
    }


def _id_of(document: Document) -> str:
    name, _, number = document.origin.rpartition("#")
    return document_id(document.source, name, int(number))


def _json(meta: JsonMap) -> str:
    """The object as JSON, in which numbers that are none are null."""
    try:
        return json.dumps(meta, ensure_ascii=True, sort_keys=True, default=_plain, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(meta), ensure_ascii=True, sort_keys=True, default=_plain)


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return list(map(_finite, value))
    return None if is_nothing(value) else value


def _plain(value: object) -> str:
    """Dates and their like out of parquet; never a repr with a memory address."""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return value.hex() if isinstance(value, bytes) else f"({type(value).__name__})"
