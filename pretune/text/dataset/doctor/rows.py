"""What is wrong with a row by itself: a table of checks, each with its level, its shapes, a claim and an advice.

B-PER I-PER O B-LOC   right tags (IOB2)
O I-PER               an entity that begins inside
B-PER I-LOC           an entity that changes its kind
PER, B-, X-PER        no tag of IOB2
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from pretune.text.clean.mojibake import lost_characters, repaired
from pretune.text.dataset.doctor.fields import FIELDS, Piece, same_text
from pretune.text.dataset.doctor.findings import Check, Data, Finding, Level, counted
from pretune.text.dataset.example import Dialogue, Message, Preference, Ranking, Tagged
from pretune.text.dataset.spans import find_answer
from pretune.text.read.characters import word_set

PLACEHOLDERS = word_set(
    "n/a na none null nil todo tbd undefined nan [empty] <noinput> noreply noresponse noanswer [deleted] [removed] "
    "无 空 暂无 无内容 待补充 略 省略"
)
"""What is written where an answer was to be, in the form of `same_text`."""
SPOKEN = ("user", "assistant")
TAG = re.compile(r"O|[BI]-\S+")
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
# Known names only: `a < b and c > d` and <unk> are text.
MARKUP = re.compile(
    r"</?(?:a|b|i|p|br|hr|em|div|span|img|font|strong|table|t[drh]|[uo]l|li|h[1-6])(?:\s[^<>]*)?/?>|&(?:nbsp|amp|quot|[lg]t|#\d+);",
    re.IGNORECASE,
)
URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
WORDS = ("Lu", "Ll", "Lt", "Lm", "Lo", "So")
"""Unicode categories of letters, and of emoji."""


@dataclass(frozen=True)
class RowCheck:
    """What to look for in a row.

    Args:
        shapes: where it is looked for, with a blank between them; "" is everywhere.
        claim: what is true of a row that is found ("with control characters").
        advice: what to do, as one sentence.
        is_wrong: of an example, and (field, text) of every text in it.
    """

    level: Level
    shapes: str
    claim: str
    advice: str
    is_wrong: Callable[[Any, Sequence[Piece]], bool]


class Rows(Check):
    """All checks of the table; each finding has the name of its own."""

    kind: str = "rows"
    advice: ClassVar[str] = "Look at the rows."

    def find(self, data: Data) -> Iterator[Finding]:
        for name, check in ROW_CHECKS.items():
            pairs = zip(data.rows, data.pieces, strict=True) if data.shape in (check.shapes.split() or FIELDS) else ()
            rows = [row for row, pieces in pairs if check.is_wrong(row.example, pieces)]
            if rows:
                problem = f"{counted(len(rows), 'row')} {check.claim}"
                yield self.finding(problem, rows, name=name, level=check.level, advice=check.advice)


# ---- texts --------------------------------------------------------------------------------------


def _is_garbled(e: object, pieces: Sequence[Piece]) -> bool:
    return any(lost_characters(text) or repaired(text) is not text for _, text in pieces if not text.isascii())


def _has_no_words(e: object, pieces: Sequence[Piece]) -> bool:
    """An emoji counts as a word."""
    text = pieces[0][1]
    return bool(text.strip()) and not any(unicodedata.category(c) in WORDS for c in URL.sub("", text))


def _is_echo(e: object, pieces: Sequence[Piece]) -> bool:
    first, *others = [same_text(text) for _, text in pieces]
    return bool(first) and first in others


# ---- dialogues ----------------------------------------------------------------------------------


def says_nothing(message: Message) -> bool:
    """Whether a turn has no content: empty, marks alone, or a placeholder; a call of a tool is content.

    An emoji is content, and so is "1".
    """
    plain = same_text(message.content)
    kinds = (unicodedata.category(c) for c in plain)
    is_empty = not any(kind[0] in "LN" or kind == "So" for kind in kinds) or plain.rstrip(".。") in PLACEHOLDERS
    return is_empty and not message.calls.strip()


def _is_out_of_turn(e: Dialogue | Preference, pieces: Sequence[Piece]) -> bool:
    """The assistant begins, one speaks twice in a row, the user has the last word."""
    spoken = [m.role for m in e.messages if m.role in SPOKEN]
    if not spoken or spoken[0] == "assistant":
        return bool(spoken)
    last = "assistant" if isinstance(e, Dialogue) else "user"
    return spoken[-1] != last or any(a.role == b.role and a.role in SPOKEN for a, b in pairwise(e.messages))


def _has_odd_role(e: Dialogue | Preference, pieces: Sequence[Piece]) -> bool:
    """A role that nobody has, a system message that is not the first, a tool's answer that nobody asked for."""
    unknown = any(m.role not in (*SPOKEN, "system", "tool") for m in e.messages)
    late = any(m.role == "system" for m in e.messages[1:])
    alone = any(
        m.role == "tool" and not _calls(before) for before, m in zip((None, *e.messages), e.messages, strict=False)
    )
    return unknown or late or alone


def _calls(message: Message | None) -> bool:
    """Whether a tool may speak after this turn: it calls one, or is the answer of another."""
    return message is not None and bool(message.calls or message.role == "tool")


# ---- rankings and tags --------------------------------------------------------------------------


def _are_unequal(e: Ranking, pieces: Sequence[Piece]) -> bool:
    """More scores (or times) than candidates, or fewer: a gold answer out of range ends here."""
    return len(e.scores) != len(e.candidates) or len(e.times) not in (0, len(e.candidates))


def _begins_inside(e: Tagged, pieces: Sequence[Piece]) -> bool:
    return any(t[:2] == "I-" and before[1:] != t[1:] for before, t in zip(("O", *e.tags), e.tags, strict=False))


# ---- the table ----------------------------------------------------------------------------------

ROW_CHECKS: Mapping[str, RowCheck] = {
    "bad-score": RowCheck(
        "error",
        "score ranking",
        "with a score that is no finite number",
        "Give them a number, or leave them out.",
        lambda e, _: not all(map(math.isfinite, e.scores if isinstance(e, Ranking) else [e.score])),
    ),
    "mojibake": RowCheck(
        "warning",
        "",
        "with garbled characters (mojibake or U+FFFD)",
        "Read the file in its right encoding; what shows as U+FFFD is lost.",
        _is_garbled,
    ),
    "controls": RowCheck(
        "warning",
        "",
        "with control characters",
        "Take them out; nobody types them to a served model.",
        lambda e, pieces: any(CONTROL.search(text) for _, text in pieces),
    ),
    "html": RowCheck(
        "hint",
        "",
        "with remains of HTML",
        "Take it out, unless what is served holds it too.",
        lambda e, pieces: any(MARKUP.search(text) for _, text in pieces),
    ),
    "no-words": RowCheck(
        "hint",
        "label labels score",
        "of figures, marks or links alone",
        "Look whether anybody could choose the answer by them.",
        _has_no_words,
    ),
    "answer-not-there": RowCheck(
        "error",
        "span",
        "with an answer that is nowhere in its context",
        "Correct the answer or leave the row out; a question without an answer has an empty list.",
        lambda e, _: any(find_answer(e.context, a.text, a.start) is None for a in e.answers),
    ),
    "tags-unequal": RowCheck(
        "error",
        "tags",
        "with another number of tags than of tokens",
        "Look for a token that holds a blank, or a line that lost its tag.",
        lambda e, _: len(e.tokens) != len(e.tags),
    ),
    "tags-unparsable": RowCheck(
        "error",
        "tags",
        "with a tag that is neither O nor B- or I- and a kind",
        "Write O, B-KIND or I-KIND.",
        lambda e, _: not all(map(TAG.fullmatch, e.tags)),
    ),
    "tags-inside": RowCheck(
        "warning",
        "tags",
        "with an I- that continues no entity of its kind",
        "Begin each entity with B-; if the file is in IOB1 or BIOES, say so when it is read.",
        _begins_inside,
    ),
    "empty-tokens": RowCheck(
        "warning",
        "tags",
        "with an empty token",
        "Leave out the token with its tag; a tokenizer makes nothing of it.",
        lambda e, _: any(not token.strip() for token in e.tokens),
    ),
    "echo": RowCheck(
        "warning",
        "pair score label",
        "with a second text that repeats the first",
        "Leave out what was not translated or not summarised; of two equal texts look why.",
        _is_echo,
    ),
    "empty-reply": RowCheck(
        "warning",
        "dialogue",
        "with a reply without content",
        "Write the reply or leave the dialogue out.",
        lambda e, _: any(m.role == "assistant" and says_nothing(m) for m in e.messages),
    ),
    "no-reply": RowCheck(
        "error",
        "dialogue",
        "without a turn of the assistant",
        "Leave them out, or look whether the roles were read rightly.",
        lambda e, _: all(m.role != "assistant" for m in e.messages),
    ),
    "turns": RowCheck(
        "warning",
        "dialogue preference",
        "with turns out of order",
        "Join turns of one speaker; cut the dialogue after its last reply, before its first question.",
        _is_out_of_turn,
    ),
    "roles": RowCheck(
        "warning",
        "dialogue preference",
        "with a role that is unknown or out of place",
        "Roles are system (first), user, assistant, and tool after a call.",
        _has_odd_role,
    ),
    "no-preference": RowCheck(
        "error",
        "preference",
        "whose chosen and rejected reply are the same",
        "Leave them out; they teach nothing and cost a step.",
        lambda e, _: same_text(e.chosen) == same_text(e.rejected),
    ),
    "no-positive": RowCheck(
        "error",
        "ranking",
        "without a candidate whose score is above 0",
        "Give one candidate a score above 0, or leave the row out.",
        lambda e, _: not any(score > 0 for score in e.scores),
    ),
    "candidates-twice": RowCheck(
        "warning",
        "ranking",
        "with one candidate twice",
        "Keep one of the two, with the score that is meant.",
        # Case, width and white space may be the very thing that is asked for.
        lambda e, _: len(set(e.candidates)) < len(e.candidates),
    ),
    "scores-unequal": RowCheck(
        "error",
        "ranking",
        "with another number of scores than of candidates",
        "Give every candidate one score; look whether the right answer counts from 0 or from 1.",
        _are_unequal,
    ),
}
