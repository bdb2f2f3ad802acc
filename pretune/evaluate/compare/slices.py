"""Slices of the examples: by label, length, language, source, group, and by a column of the user's data.

predictions.parquet   label, group, text, origin `test.jsonl#17`
                                                 │ a column that is not there is read from the file itself
test.jsonl            {"text": ..., "label": ..., "region": "south"}    record 17
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pretune.base.artifact import Artifact
from pretune.base.errors import NoSuchColumn, NotSupported
from pretune.base.json import JsonMap
from pretune.evaluate.records import grouped
from pretune.text.clean.quality.language import identify
from pretune.text.dataset.shapes.files import sources_of
from pretune.text.read.readers import Repairs
from pretune.text.read.sources import named_files

MOST_VALUES = 30
"""Values of a column that make slices; the rarest are put together."""
REST = "(others)"
Names = Sequence[str]
"""Of each example the slice in which it is."""


def slices_of(
    rows: Sequence[JsonMap], data: Artifact | None, columns: Sequence[str]
) -> dict[str, dict[str, list[int]]]:
    """Kind of slice -> slice -> places of its examples; kinds in which all are in one slice are left out.

    Args:
        data: what the report was made on, whose raw files may have the columns.

    Raises:
        NoSuchColumn: a column that neither the report nor the data has.
    """
    texts = [text_in(row) for row in rows]
    found: dict[str, Names] = {
        "label": [str(row.get("label") or "") for row in rows] if "label" in rows[0] and "said" in rows[0] else [],
        "group": [str(row.get("group") or "") for row in rows],
        "source": [file_of(row) for row in rows],
        "length": lengths(texts),
        "language": [name for name, _ in identify(texts)],
        **{column: column_of(column, rows, data) for column in columns},
    }
    made = {kind: dict(grouped(_commonest(names))) for kind, names in found.items()}
    return {kind: some for kind, some in made.items() if len(some) > 1 or kind in columns}


def _commonest(names: Names) -> Names:
    """The names, those that are too many as one."""
    places = dict(grouped(names))
    kept = sorted(places, key=lambda name: -len(places[name]))[:MOST_VALUES]
    return names if len(kept) == len(places) else [name if name in kept else REST for name in names]


def file_of(row: JsonMap) -> str:
    """The file of `test.jsonl#17`."""
    return str(row.get("origin") or "").rpartition("#")[0]


def lengths(texts: Sequence[str]) -> Names:
    """Three slices of about as many examples each."""
    sizes = np.array([len(text) for text in texts])
    low, high = (int(end) for end in np.percentile(sizes, [100 / 3, 200 / 3], method="lower"))
    if low == high:
        return []
    names = [f"up to {low} characters", f"{low + 1} to {high} characters", f"more than {high} characters"]
    return [names[int(size > low) + int(size > high)] for size in sizes]


def by_column(column: str, data: Artifact, origins: Sequence[str]) -> dict[str, list[int]]:
    """Value -> places of the examples that come from these records; raises NoSuchColumn."""
    return dict(grouped(_commonest(column_of(column, [{"origin": origin} for origin in origins], data))))


def column_of(column: str, rows: Sequence[JsonMap], data: Artifact | None) -> Names:
    """The values of a column: the report's own, else that of the record from which an example was made.

    Raises:
        NoSuchColumn: neither has it; the columns that are there are named.
    """
    if column in rows[0]:
        return [str(row[column]) for row in rows]
    wanted = {str(row.get("origin") or "") for row in rows}
    found, there = _read_column(column, data, wanted) if data else ({}, set[str]())
    if not found:
        known = ", ".join(sorted({*rows[0], *there}))
        raise NoSuchColumn(f"neither the report nor its data has a column {column!r}", hint=f"there are {known}")
    return [found.get(str(row.get("origin") or ""), "(none)") for row in rows]


def _read_column(column: str, data: Artifact, wanted: set[str]) -> tuple[dict[str, str], set[str]]:
    """Origin -> value, of the raw files that are still there; and the columns that were seen.

    Raises:
        NotSupported: two files of one name, from different folders, of which the report cannot tell one from the other.
    """
    inputs = (data.source(place) for place in data.card.inputs if place.startswith("read"))
    found, there = dict[str, str](), set[str]()
    for artifact in (one for one in inputs if one is not None and not one.scheme):
        for file in sources_of(named_files(artifact), where=artifact.path.as_posix())[0]:
            for number, record in enumerate(file.read(Repairs(names=tuple(data.card.settings.get("names", ()))))):
                there |= {*record}
                if column not in record or (origin := f"{file.name}#{number}") not in wanted:
                    continue
                if found.setdefault(origin, str(record[column])) != str(record[column]):
                    hint = "`read` the folder above both when you make the data set, or call one of them otherwise"
                    problem = f"two files are called {file.name!r}, so a row of it may have either one's {column!r}"
                    raise NotSupported(problem, hint=hint)
    return found, there


def text_in(row: JsonMap) -> str:
    """What was read, for lengths and languages."""
    names = ("text", "second", "question", "context", "source", "query", "prompt", "good")
    return "\n".join(str(row[name]) for name in names if row.get(name))
