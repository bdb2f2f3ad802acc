"""Names of classes that a parquet file of the `datasets` library carries: its numbers become these names.

Such a file says in its schema, under `huggingface`, what each column is:

    {"info": {"features": {"ner_tags": {"feature": {"names": ["O", "B-PER", ...], "_type": "ClassLabel"}, ...}}}}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pretune.base.errors import BadFile
from pretune.base.json import Json
from pretune.text.dataset.shapes.converter import Record
from pretune.text.read.formats.record import edge

Names = Mapping[str, Sequence[str]]


def class_names(path: Path) -> Names:
    """Column -> the names of its classes, of those columns that are classes or lists of them."""
    import pyarrow.parquet as pq

    with edge(path.as_posix(), "parquet"):
        said = (pq.read_schema(path).metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(said)["info"]["features"]
        found = {column: _names(feature) for column, feature in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError):  # another program's words under this name
        return {}
    return {column: names for column, names in found.items() if names}


def _names(feature: Json | list[Json]) -> list[str]:
    inner = feature.get("feature", feature) if isinstance(feature, dict) else feature[0]
    names = inner.get("names") if inner.get("_type") == "ClassLabel" else None
    return [str(name) for name in names or []]


def named(records: Iterable[Record], names: Names) -> Iterator[Record]:
    """The records with names in the place of numbers; -1, which stands for "not labelled", becomes nothing."""
    for record in records:
        yield {k: _named(v, names[k], k) if k in names else v for k, v in record.items()}


def _named(value: object, names: Sequence[str], column: str) -> object:
    if isinstance(value, list):
        return [_named(one, names, column) for one in value]
    if type(value) is not int or value == -1:
        return None if value == -1 else value
    if not 0 <= value < len(names):
        raise BadFile(f"column {column!r} holds {value}, and there are {len(names)} names of classes")
    return names[value]
