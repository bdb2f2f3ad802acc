"""Where a file that was rotated is now: the rest of it is read before the file that took its name.

    news.jsonl ── renamed ──▶ news.jsonl.1 ──▶ news.jsonl.2        known by its inode and its first bytes
    news.jsonl ── copied, and cut to nothing ──▶ news.jsonl.1      known by its first bytes

Whoever writes may do so in the old file for as long as the new one has nothing: so the old one is over once the new
one has something. Files that were rotated before a watch first saw them, and packed ones, are not read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import xxhash

from pretune.base.json import Json

HEAD = 1024
"""Bytes by which a file is known."""
NUMBER = r"[.\-]\d[\d.\-_T]*"
"""What rotation adds to a name: .1, -20260105, .2026-01-05_10."""


def head_of(file: BinaryIO, most: int) -> str:
    """The digest of the first bytes, of so many at most."""
    file.seek(0)
    return xxhash.xxh3_64_hexdigest(file.read(min(HEAD, most)))


def base_of(path: Path) -> Path | None:
    """The file next to it that has the name which a file (news.jsonl.1) had before it was rotated."""
    base = path.with_name(re.sub(f"{NUMBER}$", "", path.name))
    return base if base != path and base.suffix and base.is_file() else None


def moved(path: Path, places: Mapping[str, Json]) -> Json:
    """The place of a file that had another name, where places are kept by names; empty if it is new."""
    return next((at for at in places.values() if "inode" in at and _is_at(path, at, by_inode=True)), {})


def to_read(path: Path, at: Json, *, stems: bool) -> tuple[Path, bool]:
    """The file that goes on where a watch stands, and whether it was rotated away (then its end is its end).

    Args:
        stems: news-20260105.jsonl is a name of the rotation of news.jsonl, too, and no file of its own.
    """
    if not at or _is_at(path, at, by_inode="inode" in at):
        return path, False
    old = next((one for one in _rotated(path, stems) if _is_at(one, at, by_inode="inode" in at)), None)
    if old is None and _is_at(path, at, by_inode=False):
        return path, False  # written anew with more in it, as editors do
    old = old or next((one for one in _rotated(path, stems) if _is_at(one, at, by_inode=False)), None)
    return (path, False) if old is None else (old, True)


def after(path: Path, old: Path, *, stems: bool) -> Path:
    """The file that took the name after a rotated one: itself rotated by now, or the one that has the name."""
    newer = [one for one in _rotated(path, stems) if one.stat().st_mtime_ns > old.stat().st_mtime_ns]
    return min(newer, key=lambda one: one.stat().st_mtime_ns, default=path)


def has_something(path: Path) -> bool:
    """Whether the file is there, and not empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _rotated(path: Path, stems: bool) -> list[Path]:
    """The files next to it whose names are of its rotation, the newest first."""
    whole, stem, suffix = (re.escape(part) for part in (path.name, path.stem, path.suffix))
    name = re.compile(f"{whole}{NUMBER}" + (f"|{stem}{NUMBER}{suffix}" if stems else ""))
    found = [one for one in path.parent.iterdir() if name.fullmatch(one.name) and one.is_file()]
    return sorted(found, key=lambda one: one.stat().st_mtime_ns, reverse=True)


def _is_at(path: Path, at: Json, *, by_inode: bool) -> bool:
    """Whether a file only grew since it was at this place."""
    try:
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            is_known = not by_inode or stat.st_ino == at["inode"]
            return bool(is_known and stat.st_size >= at["bytes"] and head_of(file, at["bytes"]) == at["head"])
    except OSError:
        return False
