"""Packed folders: the members of .zip and .tar(.gz .bz2 .xz .zst), one at a time, each as a file of its own.

    with TemporaryDirectory() as scratch:
        for name, path in members(Path("pages.zip"), Path(scratch), repairs):
            read_records(path, repairs)          # path is in scratch and is deleted afterwards

Nothing is ever written under a member's own name, so `../../etc/passwd` has nowhere to go; it is refused all the same,
for an archive that holds it was made to harm. Refused too: links, devices, members that unpack to more than 200 times
the archive, and archives in archives in archives.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from pretune.base.errors import BadFile
from pretune.text.read.formats.record import Repairs, edge, open_bytes, suffix_of

ARCHIVES = (".zip", ".tar")
MAX_RATIO = 200
"""Text packs to a tenth, repetitive logs to a hundredth; a bomb of zeros to a thousandth."""
FREE_BYTES = 64 << 20
"""As much may come out of any archive, however small it is."""
MAX_BYTES = 1 << 40
"""Most that may come out of one archive, in bytes."""
MAX_NESTING = 1
PIECE = 1 << 20


class Bomb(BadFile):
    """An archive unpacks to far more than text can be packed to."""


@dataclass
class Budget:
    """How much may still come out of an archive of `packed` bytes; `spend` raises Bomb beyond it."""

    where: str
    packed: int
    unpacked: int = 0

    def spend(self, num_bytes: int) -> None:
        self.unpacked += num_bytes
        small = self.unpacked <= FREE_BYTES or self.unpacked <= MAX_RATIO * self.packed
        if not small or self.unpacked > MAX_BYTES:
            raise Bomb(
                f"{self.where!r} unpacks to more than {self.unpacked >> 20} MiB from {self.packed} bytes",
                hint="this looks like a bomb; if it is none, unpack it yourself and read the folder",
            )


class _Counted:
    """A stream whose bytes are counted against a budget as they are read."""

    def __init__(self, stream: IO[bytes], budget: Budget):
        self.stream, self.budget = stream, budget

    def read(self, size: int = -1) -> bytes:
        piece = self.stream.read(size)
        self.budget.spend(len(piece))
        return piece


def members(path: Path, scratch: Path, repairs: Repairs, *, depth: int = 0) -> Iterator[tuple[str, Path]]:
    """(name in the archive, a file with its bytes) of every member with text in it, in the archive's order.

    The file is deleted when the next one is asked for. Hidden members are passed over, as hidden files are; a
    member of an archive within is named `inner.zip/page.html`.

    Raises:
        BadFile: damaged, a bomb, or a member that is unsafe (this one goes to the quarantine, if there is one).
    """
    for number, (name, plain) in enumerate(_unpacked(path, scratch, repairs)):
        member = plain.rename(scratch / f"{depth}-{number:06d}{_suffixes(name)}")
        try:
            if suffix_of(member) not in ARCHIVES:
                yield name, member
            elif depth >= MAX_NESTING:
                repairs.refuse(BadFile(f"{name!r} in {path.as_posix()!r} is an archive within an archive"), name)
            else:
                inner = members(member, scratch, repairs, depth=depth + 1)
                yield from ((f"{name}/{below}", file) for below, file in inner)
        finally:
            member.unlink(missing_ok=True)


def _unpacked(path: Path, scratch: Path, repairs: Repairs) -> Iterator[tuple[str, Path]]:
    opened = _zip_members(path, repairs) if suffix_of(path) == ".zip" else _tar_members(path, repairs)
    for number, (name, stream) in enumerate(opened):
        target = scratch / f"unpacking-{number}"
        try:
            _copy(stream, target, path.as_posix())
        except BadFile as error:
            target.unlink(missing_ok=True)
            if isinstance(error, Bomb):
                raise
            repairs.refuse(error, f"{path.as_posix()}/{name}")
            continue
        yield name, target


def _copy(stream: _Counted, target: Path, where: str) -> None:
    with target.open("wb") as out:
        while True:
            with edge(where, "a sound archive"):
                piece = stream.read(PIECE)
            if not piece:
                return
            out.write(piece)


def _suffixes(name: str) -> str:
    """`.jsonl.gz` of `a/b.c/log.2024.jsonl.gz`: what a reader is found by, nothing that leads elsewhere."""
    kept = [s for s in PurePosixPath(name).suffixes[-2:] if s.isprintable() and len(s.encode()) < 64]
    return "".join(kept).replace("\\", "").replace(":", "")


# ---- zip and tar --------------------------------------------------------------------------------


def _zip_members(path: Path, repairs: Repairs) -> Iterator[tuple[str, _Counted]]:
    where, budget = path.as_posix(), Budget(path.as_posix(), path.stat().st_size)
    with open_bytes(path) as raw:
        with edge(where, "a zip archive"):
            archive = zipfile.ZipFile(raw)
        for info in archive.infolist():
            is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
            if info.is_dir() or not _wanted(info.filename, where, repairs, "a link" if is_link else ""):
                continue
            try:
                with edge(f"{where}/{info.filename}", "a member of a zip archive"):
                    stream = archive.open(info)
            except BadFile as error:
                repairs.refuse(error, f"{where}/{info.filename}")
                continue
            with stream:
                yield info.filename, _Counted(stream, budget)


def _tar_members(path: Path, repairs: Repairs) -> Iterator[tuple[str, _Counted]]:
    where, budget = path.as_posix(), Budget(path.as_posix(), path.stat().st_size)
    with open_bytes(path) as raw:
        # Counted below tarfile: what it skips over, and headers that claim gigabytes, come out of the archive too.
        counted = cast("IO[bytes]", _Counted(raw, budget))
        with edge(where, "a tar archive"):
            archive = tarfile.open(fileobj=counted, mode="r|", errors="replace")  # noqa: SIM115
        while (info := _next(archive, where)) is not None:
            odd = "" if info.isreg() or info.isdir() else "a link" if info.issym() or info.islnk() else "a device"
            if info.isdir() or not _wanted(info.name, where, repairs, odd):
                continue
            with edge(where, "a tar archive"):
                stream = archive.extractfile(info)
            assert stream is not None, "a regular file has content"
            yield info.name, cast(_Counted, stream)


def _next(archive: tarfile.TarFile, where: str) -> tarfile.TarInfo | None:
    with edge(where, "a tar archive"):
        info = archive.next()
        archive.members = []  # type: ignore[attr-defined]  # tarfile remembers each one, for ever
        return info


def _wanted(name: str, where: str, repairs: Repairs, odd: str) -> bool:
    """Whether to unpack this member; an unsafe one is refused."""
    parts = name.replace("\\", "/").split("/")
    if not odd and (name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]):
        odd = "a path that leads out of the folder"
    if odd:
        repairs.refuse(BadFile(f"{name!r} in {where!r} is {odd}"), f"{where}/{name}")
        return False
    return not any(part.startswith(".") and part != "." for part in parts) and parts[0] != "__MACOSX"
