"""Documents as passages: what is found, shown and quoted.

    # Returns            title    the document's own, its first heading, or its file's name
    ## How long          section  the headings below the title, `How long`
    You may send ...     text     a slice of the document, cut between sentences

A passage is a slice, letter by letter, so a quote of it is a quote of the document. Neighbours of one section share
their last sentences (`overlap`), so that an answer which two of them hold is whole in one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from pretune.base.artifact import Artifact
from pretune.base.errors import BadFile
from pretune.base.json import Json
from pretune.task.judge.closeness import words_of
from pretune.text.corpus.documents import Measuring, RawFile, Tally, documents_of
from pretune.text.read.document import Document
from pretune.text.read.shards import read_rows
from pretune.text.read.sources import documents, named_files
from pretune.text.read.split import SPLITS

END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+|(?<=[。！？；])[”’」』）]*|\n[ \t]*\n\s*|\n(?=\s*(?:[-*+|>]|\d+[.)])\s?)")
"""Where a unit ends: a sentence, a paragraph, an item of a list."""
HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.+)$", re.MULTILINE)
FENCE = re.compile(r"^ {0,3}(`{3,}(?=[^`\n]*$)|~{3,})(.*)$", re.MULTILINE)
"""A line that may begin or end code."""
MARK = re.compile(r"(?<!\s)\s*\{[#:][^{}]*\}|[*_`]")
"""What headings carry besides words: anchors, emphasis."""
LONGEST = 2000
"""Characters of a unit without any end, such as a table in one line; longer ones are cut."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A slice of a document.

    Args:
        source: the document, `path#record`; start: where the slice begins in it, in characters.
        question: of an entry of the FAQ, whose answer is the text; "" of others.
        intent: which intent it answers; "" where none is given.
    """

    text: str
    title: str = ""
    section: str = ""
    source: str = ""
    start: int = 0
    question: str = ""
    intent: str = ""

    @property
    def searched(self) -> str:
        """What is looked through: where it is belongs to what it says."""
        return "\n".join(filter(None, [self.title, self.section, self.question, self.text]))

    def to_json(self) -> Json:
        return asdict(self)


def texts_of(artifacts: Sequence[Artifact], text: str | None = None) -> tuple[list[Document], Tally]:
    """The documents of corpora and raw files.

    Args:
        text: the column that holds the text; None: found by its name.
    """
    tally, found = Tally(), list[Document]()
    for artifact in artifacts:
        if artifact.card.kind == "corpus":
            rows = (row for split in SPLITS for row in read_rows(artifact.path, split, ["text", "origin"]))
            found += [Document(row["text"], origin=row["origin"]) for row in rows]
        elif artifact.scheme:
            found += documents(artifact.scheme)
        else:
            measuring = Measuring(text, (), named=False, language_file=None, near=False)
            for name, path in named_files(artifact):
                found += documents_of(RawFile(artifact.path.name, name, path), measuring, tally)
    return found, tally


def passages_of(found: Iterable[Document], *, words: int, overlap: int, named: bool = True) -> Iterator[Passage]:
    """The passages of documents, of about so many words each (in Chinese characters).

    Args:
        overlap: words of its neighbour that a passage may begin with.
        named: a document without a title and headings has the name of its file for a title; else none.
    """
    for document in found:
        title = str(document.meta.get("title") or "") or _title(document, named=named)
        for section, start, end in sections(document.text):
            for a, b in slices(document.text, start, end, words=words, overlap=overlap):
                yield Passage(document.text[a:b], title, _below(title, section), document.origin, a)


def _below(title: str, section: str) -> str:
    """The headings below the title."""
    return section.removeprefix(title).removeprefix(" > ") if f"{section} > ".startswith(f"{title} > ") else section


def _title(document: Document, *, named: bool) -> str:
    head = next(headings(document.text), None)
    name = PurePosixPath(document.origin.rpartition("#")[0] or document.origin).stem if named else ""
    return head[2] if head else name


def headings(text: str) -> Iterator[tuple[int, int, str, int]]:
    """(place, level, words, end) of each Markdown heading; `# comments` in fences of code are none."""
    code = [*fences(text)]
    for found in HEADING.finditer(text):
        if not any(a <= found.start() < b for a, b in code):
            yield found.start(), len(found[1]), MARK.sub("", found[2].rstrip(" \t#")).strip(), found.end()


def fences(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of code between fences: the later one has the same sign, as often at least, and nothing after it."""
    first: re.Match[str] | None = None
    for found in FENCE.finditer(text):
        if first is None:
            first = found
        elif found[1].startswith(first[1]) and not found[2].strip():
            yield first.start(), found.end()
            first = None


def sections(text: str) -> Iterator[tuple[str, int, int]]:
    """(headings above, start, end) of the text below each heading."""
    above: list[tuple[int, str]] = []
    start = 0
    for place, level, words, end in headings(text):
        yield _path(above), start, place
        above = [(k, w) for k, w in above if k < level] + [(level, words)]
        start = end
    yield _path(above), start, len(text)


def _path(above: Sequence[tuple[int, str]]) -> str:
    return " > ".join(words for _, words in above)


def slices(text: str, start: int, end: int, *, words: int, overlap: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the passages between two places; one that holds no word is left out."""
    units = [(a, b, len(words_of(text[a:b]))) for a, b in sentences(text, start, end)]
    first = 0
    while first < len(units):
        last, size = first, 0
        while last < len(units) and (size == 0 or size + units[last][2] <= words):
            size += units[last][2]
            last += 1
        if size:
            yield units[first][0], units[last - 1][1]
        back, shared = last, 0
        while last < len(units) and back > first + 1 and shared + units[back - 1][2] <= overlap:
            back -= 1
            shared += units[back][2]
        first = back


def sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the sentences, list items and paragraphs between two places, without white space around them."""
    at = start
    for found in END.finditer(text, start, end):
        yield from _trimmed(text, at, found.end())
        at = found.end()
    yield from _trimmed(text, at, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for a in range(start, end, LONGEST):
        piece = text[a : min(a + LONGEST, end)]
        if piece.strip():
            begin = a + len(piece) - len(piece.lstrip())
            yield begin, begin + len(piece.strip())


def refuse_nothing(passages: Sequence[Passage], docs: Sequence[Artifact]) -> None:
    """Raise BadFile, with the first reasons, where nothing could be read."""
    if not passages:
        _, tally = texts_of(docs)
        reasons = [f"{name}: {why}" for name, why in tally.quarantine[:3]] or ["no text in the files"]
        raise BadFile(f"the knowledge holds no passage ({'; '.join(reasons)})", hint="give documents, or faq=FILE")
