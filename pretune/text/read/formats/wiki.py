"""MediaWiki dumps: every article as plain text.

    '''Tea''' is a [[Camellia sinensis|plant]]<ref>x</ref> {{infobox|...}}   ->   Tea is a plant

A dump is cut at `<page>` and `</page>`, which cannot be inside a page, so memory holds one page and a damaged one
costs only itself. Articles are namespace 0; redirects are passed over. The markup is read in `wikitext`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pretune.base.errors import BadFile, UserError
from pretune.text.read.formats.office import parse_xml
from pretune.text.read.formats.record import Record, Repairs, open_bytes
from pretune.text.read.formats.wikitext import plain

PIECE = 1 << 20
MAX_PAGE_BYTES = 64 << 20
REDIRECT = re.compile(r"\s*#\S+\s*:?\s*\[\[")  # #REDIRECT [[..]], #重定向 [[..]], in every language


@dataclass
class Site:
    """What the head of a dump says: address of a page, and the names of its namespaces."""

    base: str = ""
    names: dict[str, int] = field(default_factory=dict)

    def media(self) -> frozenset[str]:
        """Prefixes of links that are not text: files and categories."""
        return frozenset(name for name, key in self.names.items() if key in (-2, 6, 14))


def is_dump(path: Path) -> bool:
    with open_bytes(path) as stream:
        return b"<mediawiki" in next(_utf8(stream), b"")[:4096]


def read_dump(path: Path, repairs: Repairs) -> Iterator[Record]:
    """Articles of a dump: text, title and url; a page that is damaged is refused and the next one read."""
    name, site, number = path.as_posix(), Site(), 0
    with open_bytes(path) as stream:
        for number, piece in enumerate(_until(_utf8(stream), b"</page>", name), 1):
            where = f"{name}#page={number}"
            try:
                if number == 1:
                    site = _site(piece.partition(b"<page>")[0], where)
                yield from _article(piece, site, where)
            except UserError as error:
                repairs.refuse(error, where)
    if not number:
        raise BadFile(f"{name!r} holds no page: it is cut, or no MediaWiki dump")


def _utf8(stream: BinaryIO) -> Iterator[bytes]:
    """A stream in pieces, as UTF-8; some tools write their exports as UTF-16."""
    piece = stream.read(PIECE)
    is_utf16 = piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
    while piece:
        yield decoder.decode(piece).encode("utf-8", errors="replace") if is_utf16 else piece
        piece = stream.read(PIECE)


def _until(pieces: Iterator[bytes], end: bytes, name: str) -> Iterator[bytes]:
    """What is between two `end`s, its end included; the rest too, if a page begins in it."""
    buffer = bytearray()
    for piece in pieces:
        done, looked = 0, max(len(buffer) - len(end), 0)
        buffer += piece
        while (at := buffer.find(end, looked)) >= 0:
            yield bytes(buffer[done : at + len(end)])
            done = looked = at + len(end)
        del buffer[:done]
        if len(buffer) > MAX_PAGE_BYTES:
            raise BadFile(f"{name!r} has a page of more than {MAX_PAGE_BYTES >> 20} MiB: damaged, or a full history")
    if b"<page>" in buffer:
        yield bytes(buffer)


def _site(head: bytes, where: str) -> Site:
    site, key, texts = Site(), 0, [""]

    def start(tag: str, given: dict[str, str]) -> None:
        nonlocal key
        texts.append("")
        key = int(given.get("key", "0")) if tag == "namespace" else key

    def end(tag: str) -> None:
        text = texts.pop().strip()
        if tag == "namespace" and text:
            site.names[text.lower()] = key
        elif tag == "base":
            site.base = text.rpartition("/")[0]

    parse_xml([head], where, start, end, partial(_add, texts), utf8=True, whole=False)
    return site


def _article(piece: bytes, site: Site, where: str) -> Iterator[Record]:
    """The record of a page; none for redirects and for pages that are no articles."""
    page = piece[max(piece.rfind(b"<page>"), 0) :]  # one that was cut may be before it
    found: dict[str, str] = {}
    texts = [""]

    def end(tag: str) -> None:
        text = texts.pop()
        if tag == "text" or tag not in found:  # the last revision; but the page's id, not the revision's
            found[tag] = text

    parse_xml([page], where, lambda tag, given: texts.append(""), end, partial(_add, texts), utf8=True)
    title = " ".join(found.get("title", "").split())
    if _namespace(found, title, site) == 0 and "redirect" not in found and not REDIRECT.match(found.get("text", "")):
        text = plain(found.get("text", ""), media=site.media())
        yield {"text": text, "title": title, **_url(title, site)}
    if piece.count(b"<page>") > 1:
        raise BadFile(f"{where!r} is cut: the next page begins within it")


def _url(title: str, site: Site) -> dict[str, str]:
    return {"url": f"{site.base}/{title.replace(' ', '_')}"} if site.base else {}


def _namespace(found: dict[str, str], title: str, site: Site) -> int:
    """0 for an article; exports before version 0.6 say it only by the title: `Talk:Tea`."""
    if "ns" in found:
        return 0 if found["ns"].strip() == "0" else 1
    prefix, colon, _ = title.partition(":")
    return site.names.get(prefix.strip().lower(), 0) if colon else 0


def _add(texts: list[str], text: str) -> None:
    """A text belongs to the innermost open element; `texts` is a stack of what each holds."""
    texts[-1] += text
