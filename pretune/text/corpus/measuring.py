"""Phase one of a corpus: raw files become parts, tables of cleaned and measured documents.

A part holds the documents of one job - some small files, or a piece of a large one - and depends on nothing else.
So parts are made by any number of processes, survive a crash, and are the same bytes each time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pretune.text.clean.cleaners import cleaned_counting
from pretune.text.clean.quality.language import identifier
from pretune.text.clean.quality.statistics import COLUMNS, measure_all
from pretune.text.corpus.jobs import Job, Measuring, Told, read_job
from pretune.text.dedup.near import sign
from pretune.text.read.document import Document, document_id
from pretune.text.read.split import cluster_of
from pretune.text.read.values import is_nothing, mend_surrogates

FIELDS = [(n, pa.string()) for n in ("id", "text", "source", "origin", "language", "cluster", "meta")]
SCHEMA = pa.schema([*FIELDS, ("bytes", pa.int64()), ("language_confidence", pa.float32()), *COLUMNS.items()])

DOCUMENTS_TOGETHER = 2048
"""So many rows are dicts at a time, of some 5 KB each; a million tweets are one job."""


def measure_job(job: Job, measuring: Measuring, path: Path) -> None:
    """Write the part of a job; the name appears when the part is whole."""
    told = Told()
    table = _shard_again(job.files[0].path) if job.measured else _measured(job, measuring, told)
    texts = table["text"].to_pylist()
    table = table.append_column("digest", pa.array([_digest(text) for text in texts], pa.binary(16)))
    table = table.append_column("blank", pa.array([not text.strip() for text in texts]))
    if measuring.near:
        table = table.append_column("signature", pa.array([s.tobytes() for s in sign(texts)], pa.binary()))
    table = table.replace_schema_metadata({"told": told.packed()})
    partial = path.with_suffix(f".{os.getpid()}.partial")
    pq.write_table(table, partial, compression="lz4", use_dictionary=False)
    partial.replace(path)


def _measured(job: Job, measuring: Measuring, told: Told) -> pa.Table:
    documents = read_job(job, measuring, told)
    tables = [SCHEMA.empty_table()]
    while some := list(islice(documents, DOCUMENTS_TOGETHER)):
        tables.append(_measured_rows([_row(d, measuring, told) for d in some], measuring))
    return pa.concat_tables(tables).combine_chunks()


def _measured_rows(rows: list[dict[str, Any]], measuring: Measuring) -> pa.Table:
    texts = [row["text"] for row in rows]
    told_languages = identifier(measuring.language_file).of_all(texts)
    for row, statistics, (language, sure) in zip(rows, measure_all(texts), told_languages, strict=True):
        row |= {**statistics, "language": language, "language_confidence": sure}
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _shard_again(path: Path) -> pa.Table:
    """Documents of another corpus: cleaned and measured already, so only what decides is looked at anew."""
    names = pq.read_schema(path).names
    return pq.read_table(path, columns=[*SCHEMA.names, *(["liked"] if "liked" in names else [])])


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _row(document: Document, measuring: Measuring, told: Told) -> dict[str, Any]:
    text = mend_surrogates(document.text)
    told.surrogates += text is not document.text and text != document.text
    text = cleaned_counting(text, measuring.clean, told.changed)
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


def _json(meta: Mapping[str, Any]) -> str:
    """The object as JSON, in which numbers that are none are null."""
    try:
        return json.dumps(meta, ensure_ascii=True, sort_keys=True, default=_plain, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(meta), ensure_ascii=True, sort_keys=True, default=_plain)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return list(map(_finite, value))
    return None if is_nothing(value) else value


def _plain(value: Any) -> str:
    """Dates and their like out of parquet; never a repr with a memory address."""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return value.hex() if isinstance(value, bytes) else f"({type(value).__name__})"
