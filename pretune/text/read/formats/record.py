"""What all readers share: a record, the count of repairs, unpacking, and the edge where library errors end."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from pretune.base.errors import BadFile, MissingExtra, PretuneError, UserError
from pretune.base.extras import need
from pretune.base.json import Json
from pretune.text.read.encoding import Decoded, detect, text_lines

Record = Json
Reader = Callable[[Path, "Repairs"], Iterator[Record]]

PACKED = (".gz", ".zst", ".bz2", ".xz")
"""Suffixes behind the real one."""

SHORT_TAR = {".tgz": ".gz", ".tbz": ".bz2", ".tbz2": ".bz2", ".txz": ".xz", ".tzst": ".zst"}
"""A tar and its packing in one suffix."""

WIKI_PART = re.compile(r"\.xml-p\d")  # enwiki-...-pages-articles1.xml-p1p41242.bz2


ZEROS = "zero bytes were left out"


@dataclass
class Repairs:
    """What reading had to mend, pass over or refuse, over all that was read.

    Args:
        broken: how many broken sequences of bytes became U+FFFD.
        mended: what else was put right, and how often.
        quarantine: (where, reason) of every record that could not be read; None raises at the first one.
        left_out: members of archives that are not text and do not claim to be, such as pictures.
        passed_over: places that gave no record: refused ones and blank lines. The number of a record counts them,
            so that mending one moves no other.
        names: of the columns, for tables whose first line is a row; none: the first line has them.
    """

    broken: int = 0
    mended: Counter[str] = field(default_factory=Counter)
    quarantine: list[tuple[str, str]] | None = None
    left_out: list[str] = field(default_factory=list)
    passed_over: int = 0
    names: tuple[str, ...] = ()

    def refuse(self, error: UserError, where: str = "") -> None:
        """Set a record aside and let the reader go on with the next one; raises `error` without a quarantine."""
        if self.quarantine is None or isinstance(error, MissingExtra):
            raise error  # what is not installed is no fault of the file
        self.quarantine.append((where, error.problem))
        self.passed_over += 1

    def mend(self, what: str, number: int) -> None:
        if number:
            self.mended[what] += number

    def take(self, other: Repairs) -> None:
        """Count what was mended in another reading, too."""
        self.broken += other.broken
        self.mended += other.mended

    def text_of(self, found: Decoded) -> str:
        """The text; what was mended in it is counted."""
        self.broken += found.repaired
        self.mend(ZEROS, found.zeros)
        return found.text


def suffix_of(path: Path) -> str:
    """`.jsonl` of `log.jsonl.gz`, `.tar` of `a.tgz`, in lower case."""
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in PACKED]
    last = suffixes[-1] if suffixes else ""
    if last in SHORT_TAR:
        return ".tar"
    return ".xml" if WIKI_PART.match(last) else last


@contextmanager
def edge(where: str, what: str) -> Iterator[None]:
    """Turn what a library raises over bad bytes into BadFile: "'a.pdf' is not PDF, or damaged: ...".

    Errors of the machine (a full disk, no permission) pass; so do our own.
    """
    try:
        yield
    except PretuneError:
        raise
    except OSError as error:
        if is_of_the_machine(error):
            raise
        raise _bad(where, what, error) from None
    except Exception as error:
        raise _bad(where, what, error) from None
    except BaseException as error:  # Rust libraries panic with a BaseException of their own
        if type(error).__name__ != "PanicException":
            raise
        raise _bad(where, what, error) from None


def is_of_the_machine(error: OSError) -> bool:
    """A full disk, say; gzip and bz2 report damage by an OSError without a number, a mad offset gives EINVAL."""
    return error.errno not in (None, errno.EINVAL)


def _bad(where: str, what: str, error: BaseException) -> BadFile:
    why = " ".join(str(error).split())[:200] or type(error).__name__
    return BadFile(f"{where!r} is not {what}, or damaged: {why}")


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, unpacked as they are read; raises BadFile if it is damaged or cannot be opened."""
    with opened(path) as raw:
        try:
            with _unpacked(raw, SHORT_TAR.get(path.suffix.lower(), path.suffix.lower())) as stream:
                yield stream
        except _broken_archive() as error:
            if isinstance(error, OSError) and is_of_the_machine(error):
                raise
            raise BadFile(f"{path.as_posix()!r} is a damaged archive: {error}") from None


def opened(path: Path) -> BinaryIO:
    """The file as it is on the disk; raises BadFile if it cannot be opened."""
    try:
        return path.open("rb")
    except OSError as error:
        raise BadFile(f"{path.as_posix()!r} cannot be opened: {error.strerror}") from None


def _unpacked(raw: BinaryIO, suffix: str) -> AbstractContextManager[BinaryIO]:
    if suffix == ".gz":
        return cast("AbstractContextManager[BinaryIO]", gzip.open(raw))
    if suffix == ".bz2":
        return cast("AbstractContextManager[BinaryIO]", bz2.open(raw))
    if suffix == ".xz":
        return cast("AbstractContextManager[BinaryIO]", lzma.open(raw))
    return _zstd(raw) if suffix == ".zst" else raw


@contextmanager
def _zstd(raw: BinaryIO) -> Iterator[BinaryIO]:
    need(["data"])
    import zstandard

    with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as unpacked:
        yield io.BufferedReader(unpacked)


def _broken_archive() -> tuple[type[Exception], ...]:
    # Only if it was needed; and a stream may be dropped, and asked here, in the middle of that import.
    of_zstd = getattr(sys.modules.get("zstandard"), "ZstdError", None)
    return (zlib.error, lzma.LZMAError, EOFError, OSError, *([of_zstd] if of_zstd else []))


def lines_of(path: Path, repairs: Repairs, newline: str | None = None) -> Iterator[str]:
    """The lines of a text file with their ends, unpacked and decoded; damage is mended and counted."""
    name = path.as_posix()
    with open_bytes(path) as stream:
        encoding = detect(stream, name)
    with open_bytes(path) as stream:
        for line, broken in text_lines(stream, encoding, name, newline):
            repairs.broken += broken
            repairs.mend(ZEROS, line.count("\0"))
            yield line.replace("\0", "")
