"""How a tokenizer cuts a text, for people: its pieces next to their ids."""

from __future__ import annotations

from pathlib import Path

from pretune.tokens.encode.tokenizer import encode_with_places, load_tokenizer

Piece = tuple[str, tuple[int, ...]]
"""Characters of the text, and the ids of the tokens that stand for them: an emoji may take four."""


def pieces_of(folder: str | Path, text: str) -> list[Piece]:
    """The text in pieces, all of it in order; what no token stands for (a space that was dropped) has no ids.

    Args:
        folder: of a tokenizer or a model.

    Raises:
        NotSupported: there is no tokenizer.json; BadFile: it cannot be read.
    """
    ((ids, places),) = encode_with_places(load_tokenizer(folder), [text])
    found: list[Piece] = []
    at = 0
    for one, (start, end) in zip(ids, places, strict=True):
        if end <= at and found:  # a further token of the same character
            found[-1] = (found[-1][0], (*found[-1][1], one))
            continue
        if start > at:
            found.append((text[at:start], ()))
        found.append((text[max(at, start) : end], (one,)))
        at = end
    return [*found, (text[at:], ())] if at < len(text) else found


def pieces_text(pieces: list[Piece]) -> str:
    """A line for each piece: its ids, then the characters as Python writes them; and how many there are."""
    number = sum(len(ids) for _, ids in pieces)
    characters = sum(len(piece) for piece, _ in pieces)
    lines = [f"{' '.join(map(str, ids)):>12}  {piece!r}" for piece, ids in pieces]
    return "\n".join([*lines, f"{number} tokens, {characters} characters"])
