"""A page laid flat: its pieces of text in order, and each block as a range of them.

    <div><p>Pour <b>tea</b></p><ul><li>green</li></ul></div>

    pieces  0 "Pour "   1 "tea"   2 "green"
    blocks  body [0, 3)   div [0, 3)   p [0, 2)   ul [2, 3)   li [2, 3)

So how much of a block is links, or chosen, is a difference of two running sums, and every rule costs one pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

from pretune.text.read.characters import word_set

Node = Any
"""A node of resiliparse's tree: an element or a text. Its own types say of every text that it may be None."""
INLINE = word_set(
    "a abbr acronym b bdi bdo big br cite code data del dfn em font i img ins kbd label mark q rb rp rt rtc ruby s "
    "samp small span strike strong sub sup time tt u var wbr"
)
UNSEEN = word_set("head script style template noscript select textarea svg math iframe object")
BESIDE = word_set("nav aside footer form button menu dialog")
"""Never main text, even within the main part."""
ROLES = word_set("navigation dialog search contentinfo")
CLUTTER = word_set(
    "nav navbar navigation menu sidebar footer breadcrumb breadcrumbs cookie cookies consent share sharing social "
    "related recommended recommendations newsletter pagination pager popular trending promo advert advertisement ad "
    "ads sponsored comments disqus"
)
"""Words in names of classes and ids that mark furniture."""
MENU_ITEMS, MENU_LINKED = 3, 0.9
HIDDEN = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.I)
NAME = re.compile(r"[^a-z0-9]+")


@dataclass
class Piece:
    """A text node that is shown; `size` counts its characters without white space."""

    node: Node
    text: str
    size: int
    is_linked: bool
    block: int


@dataclass
class Block:
    """An element on lines of its own, as pieces [first, last) of the page.

    Args:
        parent: index of the block around it, -1 for the outermost.
        is_beside: it or one around it is never main text.
        num_clutter: how many blocks, itself and those around it, are named as furniture.
        num_items: items of a list, rows of a table.
    """

    node: Node
    tag: str
    parent: int
    depth: int
    first: int
    last: int = 0
    is_hidden: bool = False
    is_beside: bool = False
    num_clutter: int = 0
    num_items: int = 0


@dataclass
class FlatPage:
    """The pieces of a page and its blocks, outer ones first; `deepest` counts every element."""

    pieces: list[Piece] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    deepest: int = 0

    def sums(self, counts: Callable[[int], int]) -> list[int]:
        """Running sums of `counts(i)` over the pieces: entry k is the sum of the first k."""
        return list(accumulate(map(counts, range(len(self.pieces))), initial=0))

    @cached_property
    def sizes(self) -> list[int]:
        return self.sums(lambda i: self.pieces[i].size)

    @cached_property
    def linked(self) -> list[int]:
        return self.sums(lambda i: self.pieces[i].size * self.pieces[i].is_linked)

    def size(self, block: Block) -> int:
        return self.sizes[block.last] - self.sizes[block.first]

    def unlinked(self, block: Block) -> int:
        return self.size(block) - self.linked[block.last] + self.linked[block.first]

    def is_menu(self, block: Block) -> bool:
        """A list of at least three items that is nothing but links: languages, chapters, related pages."""
        links = self.size(block) - self.unlinked(block)
        is_list = block.tag in ("ul", "ol") and block.num_items >= MENU_ITEMS
        return is_list and links >= MENU_LINKED * self.size(block)


def flatten(body: Node) -> FlatPage:
    """The page below `body`, in one walk."""
    page, opened, links, depth = FlatPage(), [-1], 0, 0
    for node, enters in walk(body):
        tag = node.tag
        if tag.startswith(("#", "!")):
            if enters and tag == "#text":
                _add_text(page, node, opened[-1], is_linked=links > 0)
            continue
        depth += 1 if enters else -1
        page.deepest = max(page.deepest, depth)
        if tag == "a":
            links += 1 if enters else -1
        elif enters and (tag not in INLINE or is_hidden(node)):
            page.blocks.append(_block(page, node, opened[-1]))
            opened.append(len(page.blocks) - 1)
        elif not enters and page.blocks[opened[-1]].node == node:
            page.blocks[opened.pop()].last = len(page.pieces)
    _judge(page)
    return page


def _add_text(page: FlatPage, node: Node, block: int, *, is_linked: bool) -> None:
    text = node.value
    if size := len("".join(text.split())):
        page.pieces.append(Piece(node, text, size, is_linked, block))


def _block(page: FlatPage, node: Node, parent: int) -> Block:
    depth = page.blocks[parent].depth + 1 if parent >= 0 else 0
    return Block(node, node.tag, parent, depth, len(page.pieces))


def _judge(page: FlatPage) -> None:
    """Say of each block whether it is furniture; what holds half of the page is not, whatever it is called.

    ASP.NET puts whole pages into a form, and themes call the frame of a page `with-sidebar`.
    """
    most = page.sizes[-1] / 2
    for block in page.blocks[1:]:
        outer, is_small = page.blocks[block.parent], page.size(block) < most
        role = block.node.getattr("role", "")
        block.is_hidden = outer.is_hidden or (is_small and is_hidden(block.node))
        is_furniture = block.tag in BESIDE or role in ROLES or block.is_hidden
        named = _is_named_as_clutter(block)
        block.num_clutter = outer.num_clutter + (named and is_small)
        block.is_beside = outer.is_beside or (is_small and is_furniture)
        outer.num_items += block.tag in ("li", "tr")


def is_hidden(node: Node) -> bool:
    """By an attribute; what a style sheet or a script hides is not known."""
    names = node.attrs
    if "hidden" in names or ("aria-hidden" in names and node.getattr("aria-hidden", "") == "true"):
        return True
    return "style" in names and HIDDEN.search(node.getattr("style", "")) is not None


def _is_named_as_clutter(block: Block) -> bool:
    """By its classes, or an id of at most two words: longer ones are headings, `handling-security-related-bugs`."""
    classes = NAME.split(block.node.getattr("class", "").lower())
    words = [] if block.tag == "section" or "section" in classes else NAME.split(block.node.getattr("id", "").lower())
    return not CLUTTER.isdisjoint(classes) or (len(words) <= 2 and not CLUTTER.isdisjoint(words))


def walk(root: Node) -> Iterator[tuple[Node, bool]]:
    """(node, True) on the way down, (node, False) on the way up; no recursion, so depth does not matter.

    What a browser does not show as text is passed over.
    """
    node, enters = root, True
    while True:
        is_seen = node.tag not in UNSEEN
        if is_seen:
            yield node, enters
        if enters and is_seen and node.first_child is not None:
            node = node.first_child
        elif enters:
            enters = False
        elif node == root:
            return
        else:
            enters = node.next is not None
            node = node.next if enters else node.parent
