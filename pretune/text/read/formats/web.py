"""Web archives: WARC (pages as a crawler got them) and WET (their text, as Common Crawl gives it).

    WARC/1.0
    WARC-Type: response            or conversion, in WET
    WARC-Target-URI: https://...
    Content-Length: 606            bytes of the block that follows the empty line

Records are framed here and their HTTP is read by fastwarc: fastwarc's own iterator gives the first half of a record
that was cut as if it were whole, and ends at the first damaged one. Each record usually is a gzip member of its own,
so after damage reading goes on at the next member.
"""

from __future__ import annotations

import io
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pretune.base.errors import BadFile, UserError
from pretune.base.extras import need
from pretune.text.read.encoding import decode
from pretune.text.read.formats.html import decode_page, page_record
from pretune.text.read.formats.record import Record, Repairs, edge, open_bytes, opened

PIECE = 1 << 18
MAX_BLOCK_BYTES = 64 << 20
MAX_HEADER_BYTES = 32 << 10
MAX_GIVEN_BACK_BYTES = 1 << 30
MEMBER = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]")
START = re.compile(rb"WARC/[01]\.\d+\r?\n")
LINE_ENDS = re.compile(rb"[\r\n]*")
HTML = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True)
class Block:
    """One WARC record: its header fields (names in lower case) and its block, with the header's own bytes."""

    fields: dict[str, str]
    header: bytes
    body: bytes


def read_warc(path: Path, repairs: Repairs) -> Iterator[Record]:
    """Pages of a crawl: text, title, url, date; plain text of `conversion` records as it is.

    A damaged record is refused and the next one read; records that hold no page are passed over.
    """
    need(["data"])
    name = path.as_posix()
    with _source(path) as source:
        for number, block in enumerate(_blocks(source, name, repairs)):
            where = f"{name}#{number}"
            try:
                yield from _record(block, where, repairs)
            except UserError as error:
                repairs.refuse(error, where)


def _record(block: Block, where: str, repairs: Repairs) -> Iterator[Record]:
    kind = block.fields.get("warc-type", "").lower()
    facts = {"url": block.fields.get("warc-target-uri", "").strip("<>"), "date": block.fields.get("warc-date", "")}
    facts = {name: fact for name, fact in facts.items() if fact}
    if kind == "conversion":
        yield {"text": repairs.text_of(decode(block.body, where)), **facts}
    elif kind == "response" and block.fields.get("content-type", "").lower().startswith("application/http"):
        yield from ({**page, **facts} for page in _page(block, where, repairs))


def _page(block: Block, where: str, repairs: Repairs) -> Iterator[Record]:
    """What a server answered, if it is a page that was found."""
    with edge(where, "an HTTP response"):
        status, kind, charset, body = _http(block)
    if not 200 <= status < 300 or not body:
        return
    if len(body) > MAX_BLOCK_BYTES:
        raise BadFile(f"{where!r} unpacks to more than {MAX_BLOCK_BYTES >> 20} MiB")
    if kind in HTML:
        yield page_record(body, where, repairs, charset=charset)
    elif kind == "text/plain":
        yield {"text": decode_page(body, where, repairs, charset=charset)}


def _http(block: Block) -> tuple[int, str, str | None, bytes]:
    """(status, type, charset, body without chunks and compression)."""
    from fastwarc.warc import WarcRecord

    record = WarcRecord.from_bytes(block.header + block.body)
    record.parse_http(auto_decode="all")
    kind = (record.http_content_type or "").lower().strip()
    if kind not in (*HTML, "text/plain"):
        return 0, kind, None, b""
    # One byte more than is allowed, so that a bomb is known from a page that just fits.
    return record.http_headers.status_code or 0, kind, record.http_charset, record.reader.read(MAX_BLOCK_BYTES + 1)


# ---- framing ------------------------------------------------------------------------------------


class ByteSource(Protocol):
    """Bytes in pieces; after an error `mend` looks for a place to go on."""

    def read(self) -> bytes: ...

    def mend(self) -> None: ...


@contextmanager
def _source(path: Path) -> Iterator[_Window]:
    if path.suffix.lower() == ".gz":
        with opened(path) as raw:
            yield _Window(_Members(raw))
    else:
        with open_bytes(path) as stream:
            yield _Window(_Plain(stream))


class _Plain:
    """A stream that is not packed in members."""

    def __init__(self, stream: BinaryIO):
        self.stream = stream

    def read(self) -> bytes:
        return self.stream.read(PIECE)

    def mend(self) -> None:
        """Nothing to do: the next record is searched for in what follows."""


class _Members:
    """The members of a gzip file; raises zlib.error in a damaged one, after which `mend` finds the next."""

    def __init__(self, stream: BinaryIO):
        self.stream = stream
        self.packed, self.at = b"", 0
        self.member: Any = zlib.decompressobj(wbits=31)
        self.is_inside = False

    def read(self) -> bytes:
        while self._more():
            found: bytes = self.member.decompress(memoryview(self.packed)[self.at :], PIECE)
            self.is_inside = not self.member.eof
            rest = self.member.unconsumed_tail if self.is_inside else self.member.unused_data
            self.at = len(self.packed) - len(rest)
            if not self.is_inside:
                self.member = zlib.decompressobj(wbits=31)
            if found:
                return found
        if self.is_inside:
            raise zlib.error("the file ends within a record")
        return b""

    def _more(self) -> bool:
        """Whether bytes are left to unpack; zeros between members are padding."""
        while True:
            if self.at >= len(self.packed):
                self.packed, self.at = self.stream.read(PIECE), 0
            if self.is_inside or not self.packed or self.packed[self.at]:
                return bool(self.packed)
            self.at += 1

    def mend(self) -> None:
        """Go to the next place that looks like the head of a member."""
        self.member, self.is_inside = zlib.decompressobj(wbits=31), False
        self.at += 1
        while (found := MEMBER.search(self.packed, self.at)) is None:
            more = self.stream.read(PIECE)
            if not more:
                self.packed, self.at = b"", 0
                return
            self.packed, self.at = self.packed[-3:] + more, 0
        self.at = found.start()


class _Window:
    """What was read of a source and not yet taken."""

    def __init__(self, source: ByteSource):
        self.source, self.buffer, self.given_back = source, bytearray(), 0
        self.is_at_head = False

    def fill(self) -> bool:
        piece = self.source.read()
        self.buffer += piece
        return bool(piece)

    def take(self, size: int) -> bytes:
        """`size` bytes; fewer only at the end."""
        while len(self.buffer) < size and self.fill():
            pass
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    def give_back(self, data: bytes) -> None:
        """Put back what was taken; within limits, or a made file could have it done for ever."""
        self.given_back += len(data)
        if self.given_back <= MAX_GIVEN_BACK_BYTES:
            self.buffer[:0] = data

    def is_at_end_of_record(self) -> bool:
        """Whether an empty line, the next record or the end is here; damage behind it is the next record's."""
        try:
            while len(self.buffer) < 16 and not self.buffer.startswith((b"\r", b"\n")) and self.fill():
                pass
        except zlib.error:
            return not self.buffer
        return not self.buffer or self.buffer[0] in b"\r\n" or START.match(self.buffer) is not None

    def header(self) -> bytes:
        """Bytes up to and with the first empty line; b"" if there is none among the next MAX_HEADER_BYTES."""
        while True:
            ends = [at + len(mark) for mark in (b"\r\n\r\n", b"\n\n") if (at := self._find(mark)) >= 0]
            if ends:
                return self.take(min(ends))
            if len(self.buffer) > MAX_HEADER_BYTES or not self.fill():
                return b""

    def _find(self, mark: bytes) -> int:
        return self.buffer.find(mark, 0, MAX_HEADER_BYTES)

    def skip_line_ends(self) -> None:
        found = LINE_ENDS.match(self.buffer)
        assert found is not None, "an empty run matches"
        del self.buffer[: found.end()]

    def drop_until(self, mark: re.Pattern[bytes]) -> None:
        """Drop everything before the next `mark`, or all there is."""
        while (found := mark.search(self.buffer)) is None:
            del self.buffer[:-16]
            if not self.fill():
                self.buffer.clear()
                return
        del self.buffer[: found.start()]


def _blocks(window: _Window, name: str, repairs: Repairs) -> Iterator[Block]:
    """Every sound record; damage is refused and the next record looked for."""
    num_damaged = 0
    while True:
        try:
            with edge(name, "a web archive"):
                block = _next_block(window, name)
        except BadFile as error:
            repairs.refuse(error, f"{name}#damage={num_damaged}")
            num_damaged += 1
            _mend(window)
            continue
        if block is None:
            return
        yield block


def _next_block(window: _Window, name: str) -> Block | None:
    """The next record, or None at the end; raises BadFile where there is none."""
    window.is_at_head = True
    window.skip_line_ends()
    while len(window.buffer) < 16 and window.fill():
        window.skip_line_ends()
    if not window.buffer:
        return None
    if START.match(window.buffer) is None:
        raise BadFile(f"{name!r} is damaged: a record does not begin with WARC/")
    header = window.header()
    if not header:
        raise BadFile(f"{name!r} is damaged: the header of a record does not end")
    window.is_at_head = False
    fields = _fields(header)
    size = fields.get("content-length", "")
    if not re.fullmatch(r"\d{1,18}", size, re.A):
        raise BadFile(f"{name!r} is damaged: a record says its length is {size!r}")
    return _body(window, name, fields, header, int(size))


def _body(window: _Window, name: str, fields: dict[str, str], header: bytes, size: int) -> Block:
    if size > MAX_BLOCK_BYTES:
        raise BadFile(f"{name!r} has a record of {size >> 20} MiB; at most {MAX_BLOCK_BYTES >> 20} are read")
    body = window.take(size)
    if len(body) == size and window.is_at_end_of_record():
        return Block(fields, header, body)
    window.give_back(body)  # a wrong length must not swallow the records behind it
    fault = f"ends after {len(body)}" if len(body) < size else "goes on after that"
    raise BadFile(f"{name!r} is cut or damaged: a record of {size} bytes {fault}")


def _fields(header: bytes) -> dict[str, str]:
    lines = header.decode("utf-8", errors="replace").splitlines()[1:]
    pairs = (line.partition(":") for line in lines)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _mend(window: _Window) -> None:
    """Go to where the next record may begin; damage on the way is passed over, the record is refused already."""
    if window.is_at_head:
        del window.buffer[:1]  # the refused record's own head, or it would be found for ever
    while True:
        try:
            window.drop_until(START)
            return
        except zlib.error:
            window.source.mend()
            window.buffer.clear()
        except (lzma.LZMAError, EOFError, BadFile, OSError):  # these packings cannot be entered in the middle
            window.buffer.clear()
            window.source = _Plain(io.BytesIO())
            return
