"""A folder that files arrive in: tables by lines grow (growing.py), any other file is read whole when it has settled.

A file that was written again is read again; the records that it had before are known by their place and text. A table
that grows may be rotated or get another name: it goes on where it was.
"""

from __future__ import annotations

import time as clock
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from pretune.apps.monitor.sources.growing import LINE_WISE, follow
from pretune.apps.monitor.sources.items import item_of
from pretune.apps.monitor.sources.rotated import base_of, moved
from pretune.apps.monitor.sources.source import Batch, Item, Source
from pretune.base.digest import digest
from pretune.base.errors import UserError
from pretune.base.json import Json
from pretune.base.listing import folder_files
from pretune.text.read.readers import Repairs, read_records

SETTLED = 2.0
"""Seconds since its last change after which a file is taken for whole."""


class Folder(Source):
    """A folder that files arrive in."""

    def __init__(self, name: str, column: str | None = None, time: str | None = None):
        self.name, self.column, self.time = name, column, time

    def read(self, places: Mapping[str, Json], most: int) -> Batch:
        root, whole = Path(self.name), Batch()
        for path in sorted(folder_files(root, follow=False).files):
            if (base := base_of(path)) and base.suffix.lower() in LINE_WISE:
                continue  # its rest is read with the file that has its name now
            place = path.relative_to(root).as_posix()
            if len(whole.items) >= most:
                return replace(whole, has_more=True)
            at = places.get(place) or (moved(path, places) if path.suffix.lower() in LINE_WISE else {})
            batch = self._file(path, at, most - len(whole.items), place)
            if at and place not in places and not batch.places:
                batch = replace(batch, places={place: at})
            whole = _joined(whole, batch)
        return whole

    def _file(self, path: Path, at: Json, most: int, place: str) -> Batch:
        if path.suffix.lower() in LINE_WISE:
            return follow(path, at, most, place=place, column=self.column, time=self.time, stems=False)
        try:
            stat = path.stat()
        except OSError:
            return Batch()  # it was here a moment ago
        mark = [stat.st_size, stat.st_mtime_ns]
        if (at.get("mark") == mark and at["done"]) or clock.time() - stat.st_mtime < SETTLED:
            return Batch()
        first = at["records"] if at.get("mark") == mark else 0
        items, refused, num_read = self._items(path, place, first, most, stat.st_mtime)
        done = num_read < most
        return Batch(items, {place: {"mark": mark, "records": first + num_read, "done": done}}, not done, refused)

    def _items(
        self, path: Path, place: str, first: int, most: int, modified: float
    ) -> tuple[list[Item], list[str], int]:
        found, refused, number, repairs = list[Item](), list[str](), 0, Repairs(quarantine=[])
        try:
            for number, record in enumerate(islice(read_records(path, repairs), first, first + most), 1):
                item = item_of(record, column=self.column, time=self.time, where=path.as_posix())
                if item is not None:
                    key = item.key or digest([place, first + number, item.text])
                    found.append(replace(item, key=key, time=modified if item.time is None else item.time))
        except UserError as error:
            refused.append(error.problem)
        return found, [*refused, *(reason for _, reason in repairs.quarantine or ())], number


def _joined(one: Batch, other: Batch) -> Batch:
    return Batch(
        [*one.items, *other.items],
        {**one.places, **other.places},
        one.has_more or other.has_more,
        [*one.refused, *other.refused],
    )
