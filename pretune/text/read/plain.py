"""What the text of a document is where a record holds no string in its place.

    null, nan                      nothing
    5, true, 2024-01-01            as it is written
    ["One sentence.", "Another."]  its sentences or paragraphs, a line each
    ["one", "word", "each"]        refused: whoever made words of a text knows how to make a text of them
    {"en": "...", "zh": "..."}     refused, and so are bytes that are no text

A list or an object is never written out as JSON: a model would learn its brackets.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pretune.base.errors import BadFile
from pretune.base.json import Json
from pretune.text.read.formats.record import Repairs
from pretune.text.read.values import is_nothing, kind_of

JOINED = "texts that were lists were joined, a line a piece"
ENDS = tuple(".!?:;…。！？：；")


def plain_text(value: object, column: str, where: str, repairs: Repairs) -> str:
    """The text; raises BadFile for what has none, naming `where` and the column."""
    if isinstance(value, str):
        return value
    if is_nothing(value):
        return ""
    if isinstance(value, list) and (all(isinstance(one, str) for one in value)):
        return _joined(value, column, where, repairs)
    if isinstance(value, list | dict | bytes):
        raise _refused(where, column, _what(value))
    return json.dumps(value) if isinstance(value, int | float) else str(value)


def _joined(pieces: Sequence[str], column: str, where: str, repairs: Repairs) -> str:
    if len(pieces) > 1 and 2 * sum(map(_is_prose, pieces)) < len(pieces):
        raise _refused(where, column, "a list of words")
    repairs.mend(JOINED, int(len(pieces) > 1))
    return "\n".join(pieces)


def _is_prose(piece: str) -> bool:
    """Whether a text is more than a word: it has a blank inside, or ends as a sentence does."""
    bare = piece.strip()
    return len(bare.split(maxsplit=1)) > 1 or (len(bare) > 3 and bare.endswith(ENDS))


def _what(value: list[object] | Json | bytes) -> str:
    if isinstance(value, bytes):
        return "bytes that are no text"
    if isinstance(value, dict):
        return "an object with " + ", ".join(map(repr, list(value)[:5])) if value else "an empty object"
    return f"a list that holds {kind_of(next(one for one in value if not isinstance(one, str)))}"


def _refused(where: str, column: str, what: str) -> BadFile:
    return BadFile(f"{where}: column {column!r} is {what}, not a text", hint="name a column of texts: text=COLUMN")
