"""Examples of all shapes seen alike: the texts in them, what makes two of them copies, what a model reads at once.

    pieces     every text by the name of its field    text | question, context | user, assistant ...
    whole      what makes a row a copy of another     a question with its passage; all turns
    asked      what must not be in two splits       the passage; what the user said
    together   what a model reads at once             a passage and its question; all turns and the longer reply

Two texts are the same if they are equal once case, width and white space are left off: `same_text`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pretune.text.dataset.example import SHAPES, Dialogue, Labelled, Message, Preference, Ranking, ScoredText

Piece = tuple[str, str]
Pieces = Callable[[Any], list[Piece]]
TextOf = Callable[[Any], str]
"""Of an example of one shape, a text."""


def same_text(text: str) -> str:
    """One form for all texts that differ in case, width (NFKC) and white space alone; marks count.

    By it 333 rows of ChnSentiCorp's test are in its train (331 letter by letter, 335 without marks), and 418 of
    the SMS spam collection say what another has said (403 and 446).
    """
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True)
class Fields:
    """How the doctor sees a shape; every function takes an example of it."""

    pieces: Pieces
    whole: TextOf
    asked: TextOf
    together: TextOf


def _two_texts(e: Labelled | ScoredText) -> list[Piece]:
    return [("text", e.text), *([("second", e.second)] if e.second else [])]


def _said(e: Dialogue | Preference) -> list[Piece]:
    return [(m.role, m.content) for m in e.messages if m.content]


def _judged(e: Preference) -> list[Piece]:
    return [*_said(e), *((name, text) for name, text in (("chosen", e.chosen), ("rejected", e.rejected)) if text)]


def turns(messages: tuple[Message, ...]) -> str:
    """A dialogue as one text, each turn with its role."""
    return "\n".join(f"{m.role}: {m.content}{m.calls}" for m in messages)


def _joined(pieces: Pieces) -> TextOf:
    return lambda e: "\n".join(text for _, text in pieces(e))


def _candidates(e: Ranking) -> str:
    return "\n".join([e.query, *sorted(e.candidates)])


def _of(shape: str, pieces: Pieces, **other: TextOf) -> Fields:
    plain: dict[str, TextOf] = {"whole": _joined(pieces), "together": _joined(pieces)}
    return Fields(pieces=pieces, **{"asked": SHAPES[shape].said, **plain, **other})


FIELDS: Mapping[str, Fields] = {
    "label": _of("label", _two_texts),
    "labels": _of("labels", lambda e: [("text", e.text)]),
    "score": _of("score", _two_texts),
    "tags": _of("tags", lambda e: [("tokens", " ".join(e.tokens))]),
    "span": _of("span", lambda e: [("question", e.question), ("context", e.context)]),
    "pair": _of(
        "pair",
        lambda e: [("source", e.source), *(("target", target) for target in e.targets)],
        together=lambda e: max([e.source, *e.targets], key=len),
    ),
    "dialogue": _of("dialogue", _said, whole=lambda e: turns(e.messages)),
    "preference": _of(
        "preference",
        _judged,
        whole=lambda e: "\n".join([turns(e.messages), f"+ {e.chosen}", f"- {e.rejected}"]),
        together=lambda e: f"{turns(e.messages)}\n{max(e.chosen, e.rejected, key=len)}",
    ),
    "ranking": _of(
        "ranking",
        lambda e: [("query", e.query), *(("candidate", text) for text in e.candidates)],
        # Many questions read "Which is true?": only with their candidates are they the same question. And a user's
        # films of another time are no leak.
        asked=_candidates,
        whole=_candidates,
        together=lambda e: "\n".join([e.query, max(e.candidates, key=len, default="")]),
    ),
}
