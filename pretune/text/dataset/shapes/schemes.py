"""Tags of any scheme as IOB2, read as conlleval reads them.

    IOB1    I-PER I-PER O      B- only where a piece touches one of its own kind
    IOB2    B-PER I-PER O      every piece begins with B-
    BIOES   B-PER E-PER S-LOC  the last word of a piece is E-, a piece of one word S-
    BMES    B-PER M-PER E-PER  the same with M- for the middle
    BILOU   B-PER L-PER U-LOC  the same with L- and U- for the last and the only one
    IO      PER   PER   O      neighbours of one kind are one piece
    POS     DT    NN    VB     every word is a piece of its own

conlleval knows where a piece begins: behind O, where the kind changes, at B, and behind a word that ended one. So a
sequence that begins with I- is a piece all the same, and IOB1 and IOB2 are read alike; which of the two it was is for
the card: IOB1 never writes B- behind O, and IOB2 never begins with I- (where it does, the others outvote it).

Source: conlleval.pl of CoNLL-2000 (Erik Tjong Kim Sang), its two functions for the start and end of a chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from pretune.base.errors import BadFile

TAG = re.compile(r"([BIOMELSUW])(?:[-_](.+))?")
PART = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
"""Begin, inside, end, single: what each letter is."""
UNNAMED = "word"
"""The kind of a piece that has none: B M E S alone cut a text into words."""


@lru_cache(1 << 14)
def parts_of(tag: str) -> tuple[str, str]:
    """("B", "PER") of B-PER, ("O", "") of O; ("", tag) where it has no such form."""
    found = TAG.fullmatch(tag)
    if found is None or (found[1] == "O") != (tag == "O"):
        return "", tag
    return ("O", "") if tag == "O" else (PART[found[1]], found[2] or UNNAMED)


def scheme_of(sentences: Iterable[Sequence[str]]) -> str:
    """The name of the scheme that these tags are in.

    Raises:
        BadFile: tags of two schemes in one, such as PER next to B-PER.
    """
    sentences = list(sentences)
    tags = {tag for sentence in sentences for tag in sentence}
    plain = {tag for tag in tags if not parts_of(tag)[0]}
    if plain and plain | {"O"} >= tags:
        return "IO" if "O" in tags else "POS"
    if plain:
        one, other = min(plain), min(tags - plain - {"O"})
        raise BadFile(f"tag {one!r} is of another scheme than {other!r}", hint="every tag but O needs B- I- or so")
    letters = {tag[0] for tag in tags}
    for name, marks in (("BILOU", "LU"), ("BMES", "M"), ("BIOES", "ESW")):
        if letters & set(marks):
            return name
    pairs = {pair for sentence in sentences for pair in zip(("O", *sentence), sentence, strict=False)}
    return "IOB1" if any(map(_only_iob1, pairs)) and not any(map(_only_iob2, pairs)) else "IOB2"


def _only_iob1(pair: tuple[str, str]) -> bool:
    """A piece that begins with I-."""
    return pair[1][0] == "I" and begins(*pair)


def _only_iob2(pair: tuple[str, str]) -> bool:
    """B- where no piece of this kind is before: IOB1 would write I-."""
    before, tag = pair
    return tag[0] == "B" and parts_of(before)[1] != parts_of(tag)[1]


@lru_cache(1 << 14)
def begins(before: str, tag: str) -> bool:
    """Whether a piece begins at a tag, given the tag before it (O at the start of a sentence)."""
    (earlier, old_kind), (part, kind) = parts_of(before), parts_of(tag)
    if part == "O":
        return False
    return earlier in ("O", "E", "S") or part in ("B", "S") or kind != old_kind


def to_iob2(tags: Sequence[str], scheme: str) -> tuple[str, ...]:
    """The tags of one sentence in IOB2; the pieces are those that conlleval finds."""
    if scheme == "POS":
        return tuple(f"B-{tag}" for tag in tags)
    if scheme == "IO":
        tags = [tag if tag == "O" else f"I-{tag}" for tag in tags]
    return tuple(map(_in_iob2, ("O", *tags), tags))


@lru_cache(1 << 14)
def _in_iob2(before: str, tag: str) -> str:
    return "O" if tag == "O" else f"{'B' if begins(before, tag) else 'I'}-{parts_of(tag)[1]}"


def pieces_of(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first word, one past the last, kind) of each piece, as conlleval finds them."""
    found: list[tuple[int, int, str]] = []
    for number, tag in enumerate(to_iob2(tags, "IOB2")):
        if tag[0] == "B":
            found.append((number, number + 1, tag[2:]))
        elif tag != "O":
            found[-1] = (found[-1][0], number + 1, tag[2:])
    return found


def without_blanks(tokens: Sequence[str], tags: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words and IOB2 tags without the empty words; a piece that loses its first word begins at the next."""
    kept_words, kept_tags, lost = [], [], ""
    for token, tag in zip(tokens, tags, strict=True):
        if not token.strip():
            lost = tag[2:] if tag.startswith("B-") or (lost and tag.startswith("I-")) else ""
            continue
        kept_words.append(token)
        kept_tags.append(f"B-{lost}" if lost and tag == f"I-{lost}" else tag)
        lost = ""
    return tuple(kept_words), tuple(kept_tags)
