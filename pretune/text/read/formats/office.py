"""Word documents (.docx) and books (.epub): zip files of XML.

A paragraph is a line, a table row is a line with tabs between its cells. Of a book every chapter is taken, in reading
order. XML with a DTD or entities is refused: no honest document carries one, and bombs are made of them.
"""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import unquote
from xml.parsers import expat

from pretune.base.errors import BadFile, UserError
from pretune.text.read.formats.archives import PIECE, Budget
from pretune.text.read.formats.html import page_record
from pretune.text.read.formats.record import Record, Repairs, edge, open_bytes

OLE = b"\xd0\xcf\x11\xe0"
"""Starts old .doc files, and .docx files with a password."""
Start = Callable[[str, dict[str, str]], object]
Text = Callable[[str], object]


def _nothing(text: str) -> None:
    """What is done with tags and texts that nobody asks for."""


def read_docx(path: Path, repairs: Repairs) -> Iterator[Record]:
    """One record: the text of the body, and the title if one was given.

    Raises:
        BadFile: damaged, encrypted, or not a Word document.
    """
    with open_bytes(path) as raw:
        archive = _Zip(raw, path)
        text = _Body()
        archive.parse("word/document.xml", text.start, text.end, text.data)
        title = _first_text(archive, "docProps/core.xml", "title") if "docProps/core.xml" in archive.names else ""
    body = "\n".join(text.lines).strip("\n")
    yield {"text": body, "title": title} if title else {"text": body}


class _Zip:
    """The files within a zip, by name, under one budget."""

    def __init__(self, raw: IO[bytes], path: Path):
        self.where = path.as_posix()
        if raw.read(4) == OLE:
            raise BadFile(f"{self.where!r} is encrypted, or in Word's old format", hint="save it as .docx")
        raw.seek(0)
        with edge(self.where, "a zip file as .docx and .epub are"):
            self.zip = zipfile.ZipFile(raw)
        self.names = frozenset(self.zip.namelist())
        self.budget = Budget(self.where, path.stat().st_size)

    def read(self, name: str) -> bytes:
        return b"".join(self.pieces(name))

    def pieces(self, name: str) -> Iterator[bytes]:
        with edge(f"{self.where}/{name}", "a part of this file"), self.zip.open(name) as stream:
            while piece := stream.read(PIECE):
                self.budget.spend(len(piece))
                yield piece

    def parse(self, name: str, start: Start, end: Text = _nothing, data: Text = _nothing) -> None:
        parse_xml(self.pieces(name), f"{self.where}/{name}", start, end, data)


def parse_xml(
    pieces: Iterable[bytes], where: str, start: Start, end: Text, data: Text, *, utf8: bool = False, whole: bool = True
) -> None:
    """Read XML, tags without their namespaces; DTDs, and with them entities for other text or files, are refused.

    Args:
        start: of a tag and its attributes; `end` of a tag; `data` of a text.
        utf8: whatever the XML says of its encoding.
        whole: False for the beginning of a file.
    """
    parser = expat.ParserCreate("utf-8" if utf8 else None, namespace_separator=" ")
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise BadFile(f"{where!r} has a DTD", hint="a document type can make XML unpack to any size; remove it")

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.StartElementHandler = lambda tag, given: start(_local(tag), given)
    parser.EndElementHandler = lambda tag: end(_local(tag))
    parser.CharacterDataHandler = data
    with edge(where, "XML"):
        for piece in pieces:
            parser.Parse(piece, False)
        if whole:
            parser.Parse(b"", True)


def _local(tag: str) -> str:
    """`p` of `http://schemas.openxmlformats.org/wordprocessingml/2006/main p`."""
    return tag.rpartition(" ")[2]


def _first_text(archive: _Zip, name: str, wanted: str) -> str:
    """The text of the first element called `wanted`, on one line."""
    found: list[str] = []
    inside = [0]

    def start(tag: str, _: dict[str, str]) -> None:
        inside[0] += tag == wanted

    def end(tag: str) -> None:
        if tag == wanted:
            inside[0] = -(10**9)  # only the first

    archive.parse(name, start, end, lambda text: found.append(text) if inside[0] > 0 else None)
    return " ".join("".join(found).split())


class _Body:
    """Word's body as lines; what was deleted, and the second copy of a text box, are left out."""

    SKIPPED = frozenset({"Fallback", "del", "moveFrom", "instrText"})
    CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.paragraphs: list[list[str]] = [[]]  # open ones; a text box is within a paragraph
        self.rows: list[list[str]] = []  # open table rows, each a list of cells
        self.skipped = self.in_text = 0

    def start(self, tag: str, given: dict[str, str]) -> None:
        if tag in self.SKIPPED:
            self.skipped += 1
        elif tag == "t":
            self.in_text += 1
        elif tag == "p":
            self.paragraphs.append([])
        elif tag == "tr":
            self.rows.append([])
        elif tag == "tc" and self.rows:
            self.rows[-1].append("")
        elif tag in self.CHARACTERS and not self.skipped and not {_local(k) for k in given} & {"val", "pos"}:
            self.paragraphs[-1].append(self.CHARACTERS[tag])

    def data(self, text: str) -> None:
        if self.in_text and not self.skipped:
            self.paragraphs[-1].append(text)

    def end(self, tag: str) -> None:
        if tag in self.SKIPPED:
            self.skipped -= 1
        elif tag == "t":
            self.in_text -= 1
        elif tag == "p":
            self._end_paragraph()
        elif tag == "tr" and self.rows:
            self._line("\t".join(self.rows.pop()))

    def _end_paragraph(self) -> None:
        text = "".join(self.paragraphs.pop())
        if not self.skipped:
            self._line(text)

    def _line(self, text: str) -> None:
        """A paragraph within a cell belongs to the cell; outside it is a line."""
        if self.rows and self.rows[-1]:
            before = self.rows[-1][-1]
            self.rows[-1][-1] = f"{before} {text}" if before and text else before + text
        else:
            self.lines.append(text)


# ---- epub ---------------------------------------------------------------------------------------


def read_epub(path: Path, repairs: Repairs) -> Iterator[Record]:
    """One record: every chapter in reading order, and the title.

    Raises:
        BadFile: damaged, encrypted, or without chapters.
    """
    with open_bytes(path) as raw:
        archive = _Zip(raw, path)
        package = _package_name(archive)
        chapters = [
            unquote(posixpath.normpath(posixpath.join(posixpath.dirname(package), h))) for h in _spine(archive, package)
        ]
        _refuse_locked(archive, chapters)
        texts = [text for chapter in chapters for text in _chapter(archive, chapter, repairs)]
        title = _first_text(archive, package, "title")
    if not texts:
        raise BadFile(f"{archive.where!r} has no chapter that could be read")
    text = "\n\n".join(texts)
    yield {"text": text, "title": title} if title else {"text": text}


def _package_name(archive: _Zip) -> str:
    found: list[str] = []

    def start(tag: str, given: dict[str, str]) -> None:
        if tag == "rootfile" and "full-path" in given:
            found.append(given["full-path"])

    archive.parse("META-INF/container.xml", start)
    if not found:
        raise BadFile(f"{archive.where!r} names no package: it is no epub, or damaged")
    return found[0]


def _spine(archive: _Zip, package: str) -> list[str]:
    """The chapters' paths, relative to the package, in reading order."""
    files: dict[str, str] = {}
    order: list[str] = []

    def start(tag: str, given: dict[str, str]) -> None:
        if tag == "item":
            files[given.get("id", "")] = given.get("href", "")
        elif tag == "itemref":
            order.append(given.get("idref", ""))

    archive.parse(package, start)
    return [files[name] for name in order if files.get(name)]


def _refuse_locked(archive: _Zip, chapters: list[str]) -> None:
    """Fonts may be scrambled; scrambled chapters cannot be read."""
    if "META-INF/encryption.xml" not in archive.names:
        return
    listed = unquote(archive.read("META-INF/encryption.xml").decode("utf-8", errors="replace"))
    if any(chapter in listed for chapter in chapters):
        raise BadFile(f"{archive.where!r} is encrypted (its shop locked it)")


def _chapter(archive: _Zip, name: str, repairs: Repairs) -> Iterator[str]:
    """Its text, if there is any; a chapter that cannot be read is refused and the next one read."""
    try:
        text = page_record(archive.read(name), f"{archive.where}/{name}", repairs, whole=True)["text"]
    except UserError as error:
        repairs.refuse(error, f"{archive.where}/{name}")
        return
    if text.strip():
        yield text
