"""RecBole's tables: `NAME.inter`, who thought what of what, and `NAME.item`, what the items are called.

    user_id:token  item_id:token  rating:float  timestamp:float        a tab between cells, a type behind each name
    196            242            3             881250949

Items have their titles where there are any; two items of one title have their id behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pretune.base.errors import BadFile
from pretune.base.json import Json
from pretune.text.read.readers import Repairs, lines_of

TITLES = ("title", "name", "movie_title", "item_name", "product_name")


def read_ratings(ratings: Path, items: Path | None, repairs: Repairs) -> Iterator[Json]:
    """One record a row of `.inter`, its item by the title."""
    titles = _titles(items, repairs) if items is not None else {}
    for record in rows_of_atomic(ratings, repairs):
        item = record.get("item_id", "")
        yield {**record, "item_id": titles.get(item, item)}


def _titles(path: Path, repairs: Repairs) -> dict[str, str]:
    rows = list(rows_of_atomic(path, repairs))
    column = next((c for c in TITLES if rows and c in rows[0]), None)
    named = {row["item_id"]: row[column].strip() for row in rows if column and row[column].strip()}
    often = Counter(named.values())
    return {item: title if often[title] == 1 else f"{title} [{item}]" for item, title in named.items()}


def rows_of_atomic(path: Path, repairs: Repairs) -> Iterator[dict[str, str]]:
    """The rows of either table, without the types of its columns. Raises BadFile: a row of another length."""
    lines = lines_of(path, repairs)
    names = [cell.partition(":")[0] for cell in next(lines, "").rstrip("\r\n").split("\t")]
    for number, line in enumerate(lines, 2):
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) == len(names):
            yield dict(zip(names, cells, strict=True))
        elif line.strip():
            raise BadFile(f"{path.as_posix()}:{number} has {len(cells)} cells, the first line has {len(names)}")
