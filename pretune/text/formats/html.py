"""Web pages: the main text, without menus, side bars and footers.

    <nav>Home</nav><h1>Tea</h1><p>Pour &amp; wait.</p>   ->   {"title": ..., "text": "Tea\\n\\nPour & wait."}

Headings, lists, tables and code keep their lines. The encoding comes from a byte order mark, the server's header, the
page's own `<meta>`, or its bytes, in this order.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretune.base.errors import BadFile
from pretune.base.extras import need
from pretune.text.encoding import BOMS, decode
from pretune.text.formats.base import Record, Repairs, edge, open_bytes


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MAX_WORK = 30_000_000
"""Open tags at the deepest place times number of tags: about half a second of extraction."""

ANCHOR = re.compile(r"<a\s(?![^<>]*\bhref\b)[^<>]*/>")
"""XHTML's empty anchor. HTML knows no empty tags: to its parser the link goes on to the next one, over whole tables."""
TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
BESIDE = ["nav", "aside", "footer", "form", "button", "[role=navigation]"]
"""Never main text, even within the main part."""
TRUSTED = 0.8
"""What a page marks must be at least this much of what the rules find, or its marks are not believed."""
MENU_ITEMS, MENU_LINKED = 4, 0.9
NO_END = _words("area base br col embed hr img input link meta param source track wbr")
SELF_CLOSING = _words("a p li td th tr dt dd option optgroup tbody thead tfoot rt rp colgroup html head body")
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
        NotText: binary, or in an encoding that could not be told; BadFile: entangled tags.
    """
    need(["data"])
    html = decode_page(data, where, repairs, charset=charset)
    _refuse_entangled(html, where)
    with edge(where, "HTML"):
        text, title = _extract(html, whole)
    return {"text": text, "title": title} if title else {"text": text}


def _extract(html: str, whole: bool) -> tuple[str, str]:
    """(text, title). What a page marks as its main part is taken; resiliparse's rules find it in the others."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(ANCHOR.sub("", html))
    title = " ".join((tree.title or "").split())
    text = extract_plain_text(tree, main_content=not whole, alt_texts=False)
    marked = None if whole else _marked(tree)
    if marked is not None:
        _drop_link_lists(marked)
        inner = HTMLTree.parse(marked.html)
        words = extract_plain_text(inner, main_content=False, alt_texts=False, skip_elements=BESIDE)
        text = words if len(words) >= TRUSTED * len(text) else text
    return text.strip("\n"), title


def _marked(tree: Any) -> Any:
    """The one element that says it is the main part; None if there is none, or several.

    resiliparse takes short lists for menus: `<main>` lost "green tea, black tea" (test_formats_html).
    """
    for selector in ("main, [role=main]", "article"):
        found = tree.body.query_selector_all(selector) if tree.body else []
        if len(found) == 1:
            return found[0]
    return None


def _drop_link_lists(root: Any) -> None:
    """Lists that are nothing but links: languages, chapters, related pages."""
    for found in _lists(root):
        if found.items >= MENU_ITEMS and found.linked >= MENU_LINKED * found.size:
            found.node.remove()  # not decompose(): lists within it are still to be looked at


@dataclass
class _List:
    """A list: its items, its characters (white space left out), those of them in links."""

    node: Any
    items: int = 0
    size: int = 0
    linked: int = 0


def _lists(root: Any) -> list[_List]:
    """Every list, counted in one walk: resiliparse's own sequences of nodes search anew at each index."""
    done: list[_List] = []
    opened: list[_List] = []
    links = 0
    for node, enters in _walk(root):
        if node.tag == "a":
            links += 1 if enters else -1
        elif node.tag in ("ul", "ol"):
            if enters:
                opened.append(_List(node))
            else:
                _close(opened, done)
        elif opened and enters:
            _count(opened[-1], node, links > 0)
    return done


def _close(opened: list[_List], done: list[_List]) -> None:
    found = opened.pop()
    done.append(found)
    if opened:
        opened[-1].size += found.size
        opened[-1].linked += found.linked


def _count(found: _List, node: Any, is_linked: bool) -> None:
    if node.tag == "li":
        found.items += 1
    elif node.tag == "#text":
        size = len("".join(node.text.split()))
        found.size += size
        found.linked += size if is_linked else 0


def _walk(root: Any) -> Iterator[tuple[Any, bool]]:
    """(node, True) on the way down, (node, False) on the way up; no recursion, so depth does not matter."""
    node, enters = root, True
    while True:
        yield node, enters
        if enters and node.first_child is not None:
            node = node.first_child
        elif enters:
            enters = False
        elif node == root:
            return
        else:
            enters = node.next is not None
            node = node.next if enters else node.parent


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
