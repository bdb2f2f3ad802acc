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
from typing import TYPE_CHECKING, TypeVar

from pretune.base.errors import BadMessages, NoTarget
from pretune.base.json import Json

if TYPE_CHECKING:
    from pretune.infer.chat import ChatFormat
    from pretune.text.dataset.example import Dialogue, Message

T = TypeVar("T")
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

    def fit(dialogue: Dialogue) -> tuple[Fitted, ...]:
        found = fitted(chat, dialogue, room)
        return (found,) if found else ()

    return [
        (one.ids, one.targets) for found in fit_each(dialogues, fit, room, what="dialogues", warn=warn) for one in found
    ]


def fit_each(
    things: Sequence[T],
    fit: Callable[[T], tuple[Fitted, ...]],
    room: int,
    *,
    what: str,
    warn: Callable[[str], None] = lambda told: None,
) -> list[tuple[Fitted, ...]]:
    """What `fit` makes of each thing (of which there are `what`), empty where no reply fits; errors as `fit_all`."""
    counts: Counter[str] = Counter()
    found: list[tuple[Fitted, ...]] = []
    refusal = None
    for thing in things:
        try:
            found.append(fit(thing))
        except BadMessages as error:
            counts[REFUSED], refusal = counts[REFUSED] + 1, error
            found.append(())
            continue
        counts.update({lost for one in found[-1] for lost in one.lost} if found[-1] else [UNFIT])
    if not any(found) and refusal:
        raise refusal
    if not any(found):
        raise NoTarget(f"no reply fits into max_length={room - 1} tokens", hint="raise max_length")
    for told in _told(counts, what, len(things), room - 1, refusal):
        warn(told)
    return found


def _told(counts: Mapping[str, int], what: str, total: int, max_length: int, refusal: BadMessages | None) -> list[str]:
    """What to say of what was cut and what was left out; nothing if all is whole."""
    cut = [f"{counts[part]:,} lose {part}" for part in (EARLY, LATE, END) if counts[part]]
    why = {UNFIT: f"{UNFIT} into max_length={max_length}", REFUSED: f"{REFUSED} ({refusal.problem if refusal else ''})"}
    told = [f"of {total:,} {what} {', '.join(cut)}: they are longer than max_length={max_length}"] if cut else []
    return told + [f"{counts[w]:,} of {total:,} {what} are left out: {text}" for w, text in why.items() if counts[w]]


def fitted(chat: ChatFormat, dialogue: Dialogue, room: int) -> Fitted | None:
    """A dialogue within `room` tokens, or None if no reply that is learnt from fits. A system message stays.

    The last reply is what should be learnt, so early turns go first. Where not even its question leaves room, the
    turns before it are taken.

    Raises:
        BadMessages: the template refuses the messages.
    """
    messages, tools = dialogue.messages, dialogue.callable
    ends = [k + 1 for k, m in enumerate(messages) if m.role == "assistant" and m.learnt]
    for end in reversed(ends):
        (found,) = fitted_replies(chat, messages[: end - 1], messages[end - 1 : end], room, tools) or (None,)
        if found:
            return found if end == ends[-1] else Fitted(found.ids, found.targets, (*found.lost, LATE))
    return None


def fitted_replies(
    chat: ChatFormat, before: Sequence[Message], replies: Sequence[Message], room: int, tools: Sequence[Json] = ()
) -> tuple[Fitted, ...]:
    """Each reply behind the same turns, as many as fit; none where one of them has no target left."""
    turns = [*before, replies[0]]
    head = 1 if turns[0].role == "system" else 0
    starts = [k for k, m in enumerate(turns) if k == head or (k > head and m.role == "user")]

    @cache
    def coded(start: int) -> list[Coded]:
        parts = [[*before[:head], *before[start:], reply] for reply in replies]
        return [chat.dialogue_ids([m.turn for m in p], tools, learnt=[m.learnt for m in p]) for p in parts]

    def fits(start: int) -> bool:
        return all(len(ids) <= room for ids, _ in coded(start))

    start = starts[0]
    if not fits(start):
        start = starts[min(bisect_left(starts, True, lo=1, key=fits), len(starts) - 1)]
    early = (EARLY,) if start != starts[0] else ()
    found = coded(start)
    if not all(any(targets[1:room]) for _, targets in found):
        return ()
    return tuple(Fitted(ids[:room], ts[:room], (*early, *((END,) if len(ids) > room else ()))) for ids, ts in found)
