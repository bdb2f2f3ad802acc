"""Preferences as rows: one prompt with two replies.

    loss on pairs      the chosen and the rejected reply
    loss on verdicts   a reply that was judged, and the reply to the next prompt (what its gain is measured by)

Both stand behind the same turns: where one is so long that early turns go, they go for the other too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pretune.base.errors import NoTarget
from pretune.task.fitting import Fitted, fit_each, fitted_replies
from pretune.text.dataset.example import Message, Preference
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.infer.chat import ChatFormat


@dataclass(frozen=True)
class Replies:
    """Two replies to the same messages; `good`: whether the first is liked; `example`: the number of its preference."""

    messages: tuple[Message, ...]
    two: tuple[str, str]
    good: bool
    example: int


def pairs(examples: Sequence[Preference], warn: Callable[[str], None] = lambda told: None) -> list[Replies]:
    """The chosen and the rejected reply of each preference that has both, and not twice the same.

    Raises:
        NoTarget: none has.
    """
    alone = {k for k, e in enumerate(examples) if not (e.chosen.strip() and e.rejected.strip())}
    _tell(len(alone), len(examples), "only one reply was judged, or none (task.loss=kto learns from single ones)", warn)
    kept = [k for k in _differing(examples, warn) if k not in alone]
    if not kept:
        hint = "task.loss=kto learns from single replies" if alone else "look at the data: both columns hold the same"
        raise NoTarget(f"none of {len(examples):,} preferences has two replies that differ", hint=hint)
    return [Replies(examples[k].messages, (examples[k].chosen, examples[k].rejected), True, k) for k in kept]


def verdicts(examples: Sequence[Preference], warn: Callable[[str], None] = lambda told: None) -> list[Replies]:
    """Each reply that was judged, good or not, next to a reply to the following prompt.

    Raises:
        NoTarget: there is none.
    """
    kept = _differing(examples, warn)
    told = [(k, text, text == examples[k].chosen) for k in kept for text in _said(examples[k])]
    if not told:
        raise NoTarget(f"none of {len(examples):,} preferences has a reply to learn from", hint="look at the data")
    after = dict(zip(kept, [*kept[1:], kept[0]], strict=True))
    strange = {k: next(iter(_said(examples[after[k]])), "") or text for k, text, _ in told}
    return [Replies(examples[k].messages, (text, strange[k]), good, k) for k, text, good in told]


def _said(example: Preference) -> list[str]:
    return [text for text in (example.chosen, example.rejected) if text.strip()]


def _differing(examples: Sequence[Preference], warn: Callable[[str], None]) -> list[int]:
    """The numbers of preferences whose replies differ."""
    same = {k for k, e in enumerate(examples) if e.chosen.strip() == e.rejected.strip()}
    _tell(len(same), len(examples), "both replies are the same", warn)
    return [k for k in range(len(examples)) if k not in same]


def _tell(number: int, total: int, why: str, warn: Callable[[str], None]) -> None:
    if number:
        warn(f"{number:,} of {total:,} preferences are left out: {why}")


def fitted_pairs(
    chat: ChatFormat, asked: Sequence[Replies], room: int, *, warn: Callable[[str], None] = lambda told: None
) -> list[tuple[Replies, Fitted, Fitted]]:
    """Those of which both replies fit into `room` tokens, with their ids.

    Raises:
        NoTarget: none; BadMessages: since the template refuses all of them.
    """

    def fit(one: Replies) -> tuple[Fitted, ...]:
        before = [replace(m, learnt=False) for m in one.messages]
        return fitted_replies(chat, before, [Message("assistant", text) for text in one.two], room)

    found = fit_each(asked, fit, room, what="preferences", warn=warn)
    return [(one, *two) for one, two in zip(asked, found, strict=True) if two]  # type: ignore[misc]


def reply_row(one: Replies, first: Fitted, second: Fitted) -> Row:
    """Two replies, each behind its prompt, as one row: segments 0 and 1."""
    two = (first, second)
    return {
        "ids": np.array([token for part in two for token in part.ids]),
        "segments": np.repeat([0, 1], [len(part.ids) for part in two]),
        "targets": np.array([scored for part in two for scored in part.targets]),
        "good": one.good,
        "example": one.example,
    }
