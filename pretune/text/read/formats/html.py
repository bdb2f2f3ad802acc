"""Web pages: the main text, without menus, side bars and footers.

    <nav>Home</nav><h1>Tea</h1><p>Pour &amp; wait.</p>   ->   {"title": ..., "text": "Tea\\n\\nPour & wait."}

Headings, lists, tables and code keep their lines; `maintext` says what the main text is. The encoding comes from a byte
order mark, the server's header, the page's own `<meta>`, or its bytes, in this order.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from pretune.base.errors import BadFile
from pretune.base.extras import need
from pretune.text.read.characters import word_set
from pretune.text.read.encoding import BOMS, decode
from pretune.text.read.formats.maintext import main_text
from pretune.text.read.formats.record import Record, Repairs, edge, open_bytes

MAX_WORK = 30_000_000
"""Open tags at the deepest place times number of tags: about half a second of extraction."""

TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
NO_END = word_set("area base br col embed hr img input link meta param source track wbr")
SELF_CLOSING = word_set("a p li td th tr dt dd option optgroup tbody thead tfoot rt rp colgroup html head body")
"""An open one of these is closed by the next, so many of them without an end are not deep."""


def read_html(path: Path, repairs: Repairs) -> Iterator[Record]:
    """One record: main text and title."""
    with open_bytes(path) as stream:
        data = stream.read()
    yield page_record(data, path.as_posix(), repairs)


def page_record(
    data: bytes, where: str, repairs: Repairs, *, charset: str | None = None, whole: bool = False
) -> Record:
    """Main text and title of one page.

    Args:
        charset: what the server said.
        whole: keep everything that is shown, for pages known to be all content (a book's chapters).

    Raises:
        NotText: binary, or in an unknown encoding; BadFile: entangled tags.
    """
    need(["data"])
    html = decode_page(data, where, repairs, charset=charset)
    _refuse_entangled(html, where)
    with edge(where, "HTML"):
        text, title = main_text(html, whole=whole)
    return {"text": text, "title": title} if title else {"text": text}


# ---- encoding -----------------------------------------------------------------------------------


def decode_page(data: bytes, where: str, repairs: Repairs, *, charset: str | None = None) -> str:
    """The text of a page; what a page says of its own encoding is believed only if its bytes agree."""
    marked = any(data.startswith(bom) for bom, _ in BOMS) or b"\0" in data[: 1 << 20]
    for name in [] if marked else _guesses(data, charset):
        try:
            return data.decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
    return repairs.text_of(decode(data, where))


def _guesses(data: bytes, charset: str | None) -> Iterator[str]:
    from resiliparse.parse.encoding import detect_encoding

    declared = [_codec(charset), _codec(_from_meta(data))]
    if not any(name and name.startswith("gb") for name in declared):
        yield "utf-8"  # valid UTF-8 is UTF-8, whatever an old server says
    yield from (name for name in declared if name)
    yield "utf-8"
    yield _codec(detect_encoding(data)) or "utf-8"


def _from_meta(data: bytes) -> str | None:
    found = re.search(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([a-zA-Z0-9_.:-]+)""", data[:4096], re.I)
    return found[1].decode("ascii") if found else None


def _codec(name: str | None) -> str | None:
    """Python's name of what browsers understand by `name`: gb2312 is GB18030, latin-1 is cp1252."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    if not name:
        return None
    mapped = (map_encoding_to_html5(name, fallback_utf8=False) or "").lower()
    try:
        plain = codecs.lookup(mapped).name
    except (LookupError, ValueError):
        return None
    return "gb18030" if plain in ("gbk", "gb2312") else plain


# ---- guard --------------------------------------------------------------------------------------


def _refuse_entangled(html: str, where: str) -> None:
    """Parsing and extraction cost (depth x tags): a page of 1 MB made to be deep would take minutes."""
    num_tags = html.count("<")
    if num_tags * (num_tags - 1) <= MAX_WORK:
        return
    depth = _deepest(html)
    if depth * num_tags > MAX_WORK:
        raise BadFile(f"{where!r} nests {depth} tags in each other, which no page for people does")


def _deepest(html: str) -> int:
    depth = deepest = 0
    for end, name in TAG.findall(html):
        lower = name.lower()
        if lower not in NO_END and lower not in SELF_CLOSING:
            depth = max(depth - 1, 0) if end else depth + 1
            deepest = max(deepest, depth)
    return deepest
