"""Digests: xxh3-128 for files (30 GB/s), sha256 for keys and ids.

Digests of files are remembered by (path, size, mtime, inode) to spare reading; `reread()` forgets that.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import xxhash

CHUNK = 1 << 22
"""Bytes that have a digest of their own in a checkpoint."""
_reread = False


def digest(value: object) -> str:
    """sha256 (first 32 hex digits) of a JSON value; anything that is not JSON is a bug, never its repr."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def bytes_digest(data: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(data)


def read_digest(path: Path) -> str:
    """xxh3-128 of a file's bytes, always read."""
    state = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            state.update(block)
    return state.hexdigest()


def chunk_digests(path: Path) -> list[str]:
    """xxh3-128 of every `CHUNK` bytes of a file, always read; one for an empty file."""
    with path.open("rb") as file:
        found = [bytes_digest(file.read(CHUNK))]
        while block := file.read(CHUNK):
            found.append(bytes_digest(block))
    return found


def reread() -> None:
    """From now on every digest is taken from the bytes (`--rehash`)."""
    global _reread  # noqa: PLW0603
    _reread = True


def cache_folder() -> Path:
    """Where pretune remembers what can be found again: digests, probes of the machine."""
    base = os.environ.get("PRETUNE_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "pretune" if base else Path.home() / ".cache" / "pretune"


def file_digests(paths: Mapping[str, Path]) -> dict[str, str]:
    """Digest of every file by its name, remembered ones without reading."""
    found: dict[str, str] = {}
    marks = {name: _mark(path) for name, path in paths.items()}
    with closing(_memory()) as memory:
        for name, path in paths.items():
            row = memory.execute("select digest from files where mark = ?", [marks[name]]).fetchone()
            found[name] = row[0] if row and not _reread else read_digest(path)
        with memory:
            memory.executemany("insert or replace into files values (?, ?)", [(marks[n], d) for n, d in found.items()])
    return found


def _mark(path: Path) -> str:
    stat = path.stat()
    return f"{path.resolve().as_posix()}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"


def _memory() -> sqlite3.Connection:
    """The table of remembered digests; in memory where no cache folder can be written."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        memory = sqlite3.connect(folder / "digests.sqlite", timeout=30)
        memory.execute("create table if not exists files (mark text primary key, digest text)")
    except (OSError, sqlite3.Error):
        memory = sqlite3.connect(":memory:")
        memory.execute("create table if not exists files (mark text primary key, digest text)")
    return memory
