"""Which pieces of a page are its main text.

trafilatura knows news and articles, of which it chooses the paragraphs; it loses lists, tables, code and every article
after the first. So it chooses and we write: each piece of text carries a mark of its own through trafilatura, and the
marks that come out say what it took. To these pieces are added

    the rest of a paragraph, an item, a row of which half was taken
    lists, tables, code and quotations of which nothing was, within the main part and not made of links
    further articles and posts: blocks of the same kind as those that were taken
    headings of what was taken

and everything is written from the page itself. Where nothing is chosen, everything is taken that is not named as
furniture. Price: a page costs half as much again as trafilatura alone, 3 MB/s on one core.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from pretune.text.read.formats.flatpage import BESIDE, NAME, Block, FlatPage, Node, flatten, walk

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

ANCHOR = re.compile(r"<a\s(?![^<>]*\bhref\b)[^<>]*/>")
"""XHTML's empty anchor. HTML knows no empty tags: to its parser the link goes on to the next one, over whole tables."""
FIRST_MARK, LAST_MARK = 0xF0000, 0x10FFFD
MARKS = re.compile(f"[{chr(FIRST_MARK)}-{chr(LAST_MARK)}]")
"""Two planes of characters for private use; a page that has some loses them in what trafilatura sees only."""
RUBY = re.compile("<ruby", re.I)
MAX_TAGS = 120_000
"""A page of more has no furniture worth choosing by: two seconds and 200 MB."""
MAX_DEPTH = 200
"""libxml2, which trafilatura parses by, drops what is nested deeper than 255."""
MOST, HALF, NEARLY_ALL = 0.9, 0.5, 0.95
KEPT_WHOLE = frozenset(["ul", "ol", "dl", "table", "pre", "blockquote", "details"])
HEADINGS = frozenset(["h1", "h2", "h3", "h4", "h5", "h6"])
NO_FRAMES = KEPT_WHOLE | HEADINGS | {"p", "li", "dt", "dd", "tr", "tbody"}
REPEATING = frozenset(["article", "section", "div", "table", "li", "td"])
MOST_ARE_POSTS = 0.8
COMMENTS = frozenset(["comment", "reply", "answer", "message"])
OUTWEIGHED = 4
REPEATED = 0.2
"""A further article or post has at least this much of the average text of those that were taken."""


def main_text(html: str, *, whole: bool = False) -> tuple[str, str]:
    """(text, title) of a page; `whole` takes everything that is shown."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(ANCHOR.sub("", html))
    title = " ".join((tree.title or "").split())
    is_large = html.count("<") > MAX_TAGS
    if tree.body is not None and not is_large:
        _unfold_ruby(tree.body, html)
        if not whole:
            _keep_main(tree)
    skipped = sorted(BESIDE) if is_large and not whole else None
    return extract_plain_text(tree, main_content=False, alt_texts=False, skip_elements=skipped).strip("\n"), title


def _keep_main(tree: HTMLTree) -> None:
    page = flatten(tree.body)
    _forget_headings_ids(page)
    _keep(page, _choose(tree, page))


def _choose(tree: HTMLTree, page: FlatPage) -> list[bool]:
    """For each piece, whether it is main text."""
    shown = _shown(page)
    taken = _taken(tree, page) if page.deepest <= MAX_DEPTH else []
    if not any(taken):
        return shown
    _add_rest_of_blocks(page, taken)
    _add_repeated(page, taken, shown)
    _add_lost(page, taken, shown)
    _add_headings(page, taken, shown)
    _add_the_last_bit(page, taken, shown)
    return taken


# ---- who chooses --------------------------------------------------------------------------------


@cache
def has_trafilatura() -> bool:
    """Whether it can be imported: it is of the extra `data`, but pages are read without it."""
    try:
        import trafilatura  # noqa: F401
    except ImportError:
        return False
    return True


def _taken(tree: HTMLTree, page: FlatPage) -> list[bool]:
    """What trafilatura takes; what resiliparse's rules take where it is not installed."""
    assert len(page.pieces) <= LAST_MARK - FIRST_MARK, "every piece is bounded by a tag, and MAX_TAGS is less"
    for i, piece in enumerate(page.pieces):
        piece.node.value = _marked(piece.text, chr(FIRST_MARK + i))
    chosen = _by_trafilatura(tree) if has_trafilatura() else _by_resiliparse(tree)
    found = {ord(mark) - FIRST_MARK for mark in MARKS.findall(chosen)}
    for piece in page.pieces:
        piece.node.value = piece.text
    return [i in found and not page.blocks[piece.block].is_hidden for i, piece in enumerate(page.pieces)]


def _marked(text: str, mark: str) -> str:
    text = MARKS.sub("", text)
    at = len(text) - len(text.lstrip())
    return f"{text[:at]}{mark}{text[at:]}"


def _by_trafilatura(tree: HTMLTree) -> str:
    """Of its options `favor_recall` without comments was best (docs/LOG.md); `deduplicate` remembers other pages."""
    from trafilatura import bare_extraction

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    try:
        found = bare_extraction(tree.document.html, favor_recall=True, include_comments=False)  # type: ignore[union-attr]
    except Exception:  # its mistakes must not cost the page: everything shown is taken then
        return ""
    return "" if found is None else "".join(found.body.itertext())


def _by_resiliparse(tree: HTMLTree) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(tree, main_content=True, alt_texts=False))


def _forget_headings_ids(page: FlatPage) -> None:
    """Ids of more than two words are headings; trafilatura reads `handling-security-related-bugs` as related pages."""
    for block in page.blocks:
        if len(NAME.split(block.node.getattr("id", ""))) > 2:
            block.node.delattr("id")


# ---- what is added ------------------------------------------------------------------------------


def _shown(page: FlatPage) -> list[bool]:
    """Everything but furniture: menus, side columns, forms."""
    shown = [True] * len(page.pieces)
    for block in page.blocks:
        is_link = block.tag in ("div", "p") and not page.unlinked(block)  # "Reply", "Read more"
        if is_link or block.is_beside or block.num_clutter or page.is_menu(block):
            shown[block.first : block.last] = [False] * (block.last - block.first)
    return shown


def _sizes(page: FlatPage, taken: list[bool]) -> list[int]:
    return page.sums(lambda i: page.pieces[i].size * taken[i])


def _add_rest_of_blocks(page: FlatPage, taken: list[bool]) -> None:
    """A paragraph, an item or a cell of which half was taken is taken whole."""
    of: defaultdict[int, list[int]] = defaultdict(list)
    for i, piece in enumerate(page.pieces):
        of[piece.block].append(i)
    for members in of.values():
        size = sum(page.pieces[i].size for i in members)
        if sum(page.pieces[i].size for i in members if taken[i]) >= HALF * size:
            for i in members:
                taken[i] = True


def _main_part(page: FlatPage, sums: list[int]) -> Block:
    """The innermost frame with nine tenths of what was taken."""
    frames = (b for b in page.blocks if b.tag not in NO_FRAMES)
    return [b for b in frames if sums[b.last] - sums[b.first] >= MOST * sums[-1]][-1]


def _add_lost(page: FlatPage, taken: list[bool], shown: list[bool]) -> None:
    """Lists, tables, code and quotations within the main part."""
    sums = _sizes(page, taken)
    main = _main_part(page, sums)
    for block in page.blocks:
        is_within = main.first <= block.first < block.last <= main.last
        if is_within and block.tag in KEPT_WHOLE and _is_lost(page, block, main, sums):
            _take(taken, [block], shown)


def _add_headings(page: FlatPage, taken: list[bool], shown: list[bool]) -> None:
    """A heading belongs to the next piece that is no furniture; there may be several in a row."""
    follows = [False] * (len(taken) + 1)
    for i in reversed(range(len(taken))):
        follows[i] = taken[i] if shown[i] or taken[i] else follows[i + 1]
    for block in reversed(page.blocks):
        if block.tag in HEADINGS and follows[block.last]:
            _take(taken, [block], shown)


def _is_lost(page: FlatPage, block: Block, main: Block, sums: list[int]) -> bool:
    size = page.size(block)
    is_text = page.unlinked(block) >= HALF * size and block.num_clutter <= main.num_clutter and not block.is_beside
    return is_text and sums[block.last] - sums[block.first] < size


def _add_the_last_bit(page: FlatPage, taken: list[bool], shown: list[bool]) -> None:
    """A main part of which nearly all was taken is taken whole: there is no furniture in it."""
    sums = _sizes(page, taken)
    main = _main_part(page, sums)
    words = page.sums(lambda i: page.pieces[i].size * (shown[i] and not page.pieces[i].is_linked))
    took = page.sums(lambda i: page.pieces[i].size * (taken[i] and not page.pieces[i].is_linked))
    if took[main.last] - took[main.first] >= NEARLY_ALL * (words[main.last] - words[main.first]):
        _take(taken, [main], shown)


def _add_repeated(page: FlatPage, taken: list[bool], shown: list[bool]) -> None:
    """Further articles and posts: most of the blocks of one tag and class, if half of what was taken is in them."""
    sums = _sizes(page, taken)
    for group in _kinds(page):
        inside = [b for b in group if sums[b.last] - sums[b.first] >= HALF * page.unlinked(b) > 0]
        if sum(sums[b.last] - sums[b.first] for b in inside) >= HALF * sums[-1]:
            _take(taken, _posts(page, group, REPEATED * sum(map(page.unlinked, inside)) / len(inside)), shown)
        elif _is_thread(page, group, sums[-1]):
            _take(taken, _posts(page, group, 1), shown)


def _kinds(page: FlatPage) -> list[list[Block]]:
    """Blocks of one tag and class at one depth, where there are two articles or three of anything."""
    kinds: defaultdict[tuple[str, str, int], list[Block]] = defaultdict(list)
    for block in page.blocks:
        if block.tag in REPEATING and (block.tag == "article" or block.node.getattr("class", "")):
            kinds[block.tag, block.node.getattr("class", ""), block.depth].append(block)
    return [group for (tag, _, _), group in kinds.items() if len(group) > (1 if tag == "article" else 2)]


def _is_thread(page: FlatPage, group: list[Block], num_taken: int) -> bool:
    """Comments are of no account next to an article; what they outweigh by far is the first post of a thread."""
    names = NAME.split(group[0].node.getattr("class", "").lower())
    return not COMMENTS.isdisjoint(names) and sum(map(page.unlinked, group)) >= OUTWEIGHED * num_taken


def _posts(page: FlatPage, group: list[Block], enough: float) -> list[Block]:
    posts = [b for b in group if _is_post(page, b, enough)]
    is_enough = group[0].tag == "article" or len(posts) >= MOST_ARE_POSTS * len(group)
    return posts if is_enough else []


def _is_post(page: FlatPage, block: Block, enough: float) -> bool:
    return page.unlinked(block) >= max(enough, HALF * page.size(block)) and not block.num_clutter


def _take(taken: list[bool], blocks: Iterable[Block], shown: list[bool]) -> None:
    for block in blocks:
        for i in range(block.first, block.last):
            taken[i] = taken[i] or shown[i]


# ---- writing ------------------------------------------------------------------------------------


def _keep(page: FlatPage, taken: list[bool]) -> None:
    """Take out of the tree what was not taken: whole blocks, then single pieces."""
    sums = page.sums(lambda i: int(taken[i]))
    gone = -1
    for block in page.blocks[1:]:
        if block.first < block.last and block.last > gone and sums[block.first] == sums[block.last]:
            block.node.remove()
            gone = block.last
    for piece, is_taken in zip(page.pieces, taken, strict=True):
        if not is_taken:
            piece.node.value = ""


def _unfold_ruby(body: Node, html: str) -> None:
    """Readings follow the whole word in brackets: 東京(とうきょう), never 東とう京きょう."""
    rubies: list[list[Node]] = []
    for node, enters in walk(body) if RUBY.search(html) else ():
        if enters and node.tag == "ruby":
            rubies.append([])
        elif enters and rubies and node.tag in ("rt", "rp"):
            rubies[-1].append(node)
    for *marks, last in filter(None, rubies):
        reading = "".join(node.text.strip() for node in [*marks, last] if node.tag == "rt")
        for node in marks:
            node.remove()
        last.text = f"({reading})" if reading else ""
