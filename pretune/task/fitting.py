"""Dialogues in the tokens that a row has room for: where they are cut, how many are, and who is told.

system  user 1  reply 1  user 2  reply 2      does not fit
system                   user 2  reply 2      early turns go first, always up to a turn of the user
system  user 1  reply 1                       user 2 alone fills the row: what came before it is still learnt
system                   user 2  rep          a single reply that is too long loses its end
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from pretune.base.errors import BadMessages, NoTarget

if TYPE_CHECKING:
    from pretune.infer.chat import ChatFormat
    from pretune.text.dataset.example import Dialogue, Message

Coded = tuple[list[int], list[bool]]
"""Ids, and which of them are targets."""
EARLY, LATE, END = "their early turns", "their last turns", "the end of a long reply"
UNFIT, REFUSED = "no reply fits", "the chat template cannot write them"


@dataclass(frozen=True)
class Fitted:
    """What is left of a dialogue, and what was cut off."""

    ids: list[int]
    targets: list[bool]
    lost: tuple[str, ...] = ()


def fit_all(
    chat: ChatFormat, dialogues: Sequence[Dialogue], room: int, *, warn: Callable[[str], None] = lambda told: None
) -> list[Coded]:
    """Ids and targets of the dialogues, each in `room` tokens; those without a target are left out.

    Args:
        warn: is told how many were cut or left out, and why.

    Raises:
        NoTarget: nothing is left; BadMessages: since the template refuses all of them.
    """
    counts: Counter[str] = Counter()
    coded, refusal = [], None
    for dialogue in dialogues:
        try:
            found = fitted(chat, dialogue, room)
        except BadMessages as error:
            counts[REFUSED], refusal = counts[REFUSED] + 1, error
            continue
        counts.update(found.lost if found else [UNFIT])
        if found:
            coded.append((found.ids, found.targets))
    if not coded and refusal:
        raise refusal
    if not coded:
        raise NoTarget(f"no reply fits into max_length={room - 1} tokens", hint="raise max_length")
    for told in _told(counts, len(dialogues), room - 1, refusal):
        warn(told)
    return coded


def _told(counts: Mapping[str, int], total: int, max_length: int, refusal: BadMessages | None) -> list[str]:
    """What to say of what was cut and what was left out; nothing if all is whole."""
    cut = [f"{counts[what]:,} lose {what}" for what in (EARLY, LATE, END) if counts[what]]
    why = {UNFIT: f"{UNFIT} into max_length={max_length}", REFUSED: f"{REFUSED} ({refusal.problem if refusal else ''})"}
    told = [f"of {total:,} dialogues {', '.join(cut)}: they are longer than max_length={max_length}"] if cut else []
    return told + [f"{counts[w]:,} of {total:,} dialogues are left out: {text}" for w, text in why.items() if counts[w]]


def fitted(chat: ChatFormat, dialogue: Dialogue, room: int) -> Fitted | None:
    """A dialogue within `room` tokens, or None if no reply that is learnt from fits. A system message stays.

    The last reply is what should be learnt, so early turns go first. Where not even its question leaves room, the
    turns before it are taken.

    Raises:
        BadMessages: the template refuses the messages.
    """
    messages = dialogue.messages
    ends = [k + 1 for k, m in enumerate(messages) if m.role == "assistant" and m.learnt]
    for end in reversed(ends):
        found = _ending_at(chat, messages[:end], room)
        if found:
            return found if end == ends[-1] else Fitted(found.ids, found.targets, (*found.lost, LATE))
    return None


def _ending_at(chat: ChatFormat, messages: Sequence[Message], room: int) -> Fitted | None:
    """As many of the turns up to the last reply as fit."""
    head = 1 if messages[0].role == "system" else 0
    starts = [k for k, m in enumerate(messages) if k == head or (k > head and m.role == "user")]

    @cache
    def coded(start: int) -> Coded:
        part = [*messages[:head], *messages[start:]]
        said = [{"role": m.role, "content": m.said} for m in part]
        return chat.dialogue_ids(said, learnt=[m.learnt for m in part])

    def fits(start: int) -> bool:
        return len(coded(start)[0]) <= room

    start = starts[0]
    if not fits(start):
        start = starts[min(bisect_left(starts, True, lo=1, key=fits), len(starts) - 1)]
    ids, targets = coded(start)
    lost = ((EARLY,) if start != starts[0] else ()) + ((END,) if len(ids) > room else ())
    return Fitted(ids[:room], targets[:room], lost) if any(targets[1:room]) else None
