"""RSS and Atom: an item or entry is a text, its title and what it says; it is known again by its guid, id or link.

XML with a DTD is refused, and with it every entity (text/read: `parse_xml`). An address is asked with the ETag of its
last answer, so that nothing is sent while nothing is new.
"""

from __future__ import annotations

import codecs
import re
import time as clock
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from pretune.apps.monitor.sources.items import known_by, time_of
from pretune.apps.monitor.sources.source import Batch, Item, Source
from pretune.base.errors import BadFile, UserError
from pretune.base.json import Json
from pretune.text.read.formats.html import page_record
from pretune.text.read.formats.office import parse_xml
from pretune.text.read.formats.record import Repairs

EVERY, TIMEOUT, MOST_BYTES = 60.0, 20.0, 10 << 20
"""Seconds between two questions; seconds that an answer may take; bytes that it may have."""
DECLARED = re.compile(rb"""<\?xml\b(?:[^>]*?\bencoding=["']([\w.-]+)["'])?[^>]*>""")
ENTRIES = ("item", "entry")
TITLE, TEXTS = "title", ("description", "summary", "encoded", "content")
TIMES, KEYS = ("pubDate", "published", "updated", "date"), ("guid", "id", "link")


class Feed(Source):
    """A feed at an address, or in a file."""

    def __init__(self, name: str, every: float = EVERY):
        self.name, self.every, self.asked = name, every, float("-inf")

    def read(self, places: Mapping[str, Json], most: int) -> Batch:
        if clock.monotonic() - self.asked < self.every:
            return Batch()
        self.asked, at = clock.monotonic(), places.get("", {})
        try:
            content, place = self._content(at)
            if content is None or place == at:
                return Batch()
            return Batch(entries_of(content, self.name), {"": place})
        except UserError as error:
            return Batch(refused=[error.problem])

    def _content(self, at: Json) -> tuple[bytes | None, Json]:
        """The feed, and by what it is known; None: it is as it was. Raises BadFile."""
        if self.name.startswith(("http://", "https://")):
            return _fetched(self.name, at)
        try:
            stat = Path(self.name).stat()
            return Path(self.name).read_bytes(), {"mark": [stat.st_size, stat.st_mtime_ns]}
        except OSError as error:
            raise BadFile(f"{self.name} cannot be read: {error.strerror}") from None


def _fetched(address: str, at: Json) -> tuple[bytes | None, Json]:
    known = {"If-None-Match": at.get("etag"), "If-Modified-Since": at.get("modified")}
    headers = {"User-Agent": "pretune", **{name: value for name, value in known.items() if value}}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT) as answer:
            content = _whole(answer)
            place = {"etag": answer.headers.get("ETag"), "modified": answer.headers.get("Last-Modified")}
    except urllib.error.HTTPError as error:
        if error.code == 304:
            return None, at
        raise BadFile(f"{address} answers {error.code}") from None
    except (OSError, ValueError, HTTPException) as error:
        raise BadFile(f"{address} does not answer: {error}") from None
    if len(content) > MOST_BYTES:
        raise BadFile(f"{address} has more than {MOST_BYTES >> 20} MiB")
    # Without a mark of the server's it is read every time; what is in it is known again by its keys.
    return content, place if any(place.values()) else {"asked": at.get("asked", 0) + 1}


def _whole(answer: HTTPResponse) -> bytes:
    """The bytes of an answer, up to one more than it may have; the limit of `urlopen` is one for each packet alone."""
    found, end = bytearray(), clock.monotonic() + TIMEOUT
    while len(found) <= MOST_BYTES and (block := answer.read1(1 << 16)):
        found += block
        if clock.monotonic() > end:
            raise TimeoutError(f"more than {TIMEOUT:g} s for an answer")
    return bytes(found)


def entries_of(content: bytes, where: str) -> list[Item]:
    """The items of a feed in RSS 0.91 to 2.0, RSS 1.0 or Atom, the oldest first as far as they say.

    Raises:
        BadFile: no XML, XML with a DTD, or no feed.
    """
    reader = _Reader()
    parse_xml([_decoded(content)], where, reader.start, reader.end, reader.data)
    if not reader.is_feed:
        raise BadFile(f"{where!r} is no feed: it is neither RSS nor Atom")
    found = [item for fields in reader.entries if (item := _item(fields, where)) is not None]
    return sorted(found, key=lambda item: item.time or 0)


def _decoded(content: bytes) -> bytes:
    """The feed in UTF-8, by what it names (expat reads no GBK); a byte that is broken costs no feed."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16", errors="replace").encode()
        return DECLARED.sub(b"", content, count=1)
    content = content.removeprefix(codecs.BOM_UTF8).lstrip()
    said = DECLARED.match(content)
    body = content[said.end() :] if said else content
    try:
        return body.decode(((said and said[1]) or b"utf-8").decode(), errors="replace").encode()
    except LookupError:  # no such encoding
        return body.decode(errors="replace").encode()


class _Reader:
    """Collects the fields of every entry."""

    def __init__(self) -> None:
        self.entries, self.path, self.is_feed = list[dict[str, str]](), list[str](), False
        self.fields: dict[str, str] | None = None
        self.field = ""

    def start(self, tag: str, given: dict[str, str]) -> None:
        self.is_feed |= not self.path and tag in ("rss", "feed", "RDF")
        self.path.append(tag)
        if tag in ENTRIES:
            self.fields = {}
        elif self.fields is not None and not self.field:
            self.field = tag
            if tag == "link" and "href" in given:
                self.fields.setdefault("link", given["href"])

    def data(self, text: str) -> None:
        if self.fields is not None and self.field:
            self.fields[self.field] = self.fields.get(self.field, "") + text

    def end(self, tag: str) -> None:
        self.path.pop()
        if tag in ENTRIES and self.fields is not None:
            self.entries.append(self.fields)
            self.fields = None
        elif self.fields is not None and tag == self.field and self.path[-1] in ENTRIES:
            self.field = ""


def _item(fields: dict[str, str], where: str) -> Item | None:
    texts = {name: _plain(fields[name], where) for name in (TITLE, *TEXTS) if fields.get(name, "").strip()}
    body = max((texts[name] for name in TEXTS if name in texts), key=len, default="")
    text = "\n".join(part for part in (texts.get(TITLE, ""), body) if part)
    if not text:
        return None
    said = next((fields[name].strip() for name in TIMES if fields.get(name, "").strip()), None)
    key = next((fields[name].strip() for name in KEYS if fields.get(name, "").strip()), None)
    try:
        when = None if said is None else time_of(said)
    except BadFile:
        when = None  # a feed that writes its times in a way of its own is still news
    return Item(text, when, *known_by(key or f"text:{text}", text, when, where))


def _plain(text: str, where: str) -> str:
    """Without the tags that feeds have in their texts."""
    if "<" not in text and "&" not in text:
        return text.strip()
    page = f"<html><body><div>{text}</div></body></html>"
    return str(page_record(page.encode(), where, Repairs(), whole=True)["text"]).strip()
