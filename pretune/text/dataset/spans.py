"""Answers in their contexts: where the words of an answer really are.

    context   狗叫了，猫叫了。        start 5, "叫了": right
    answer    叫了                  start 4: the nearest place is 5, so 5
                                  "鸟叫": nowhere, so None

A start that does not lead to the answer's text is wrong; the nearest occurrence is what was meant. (21 answers of
CMRC 2018's training file are one or a few characters off.)
"""

from __future__ import annotations


def find_answer(context: str, text: str, start: int) -> int | None:
    """Where `text` is nearest to `start` in `context`; `start` itself if it is right.

    Of two places equally near the earlier one. Offsets count characters (code points).

    Returns:
        The offset, or None: the text is empty or nowhere.
    """
    if not text:
        return None
    if start >= 0 and context.startswith(text, start):
        return start
    before = context.rfind(text, 0, max(start, 0) + len(text))
    after = context.find(text, max(start, 0))
    if before < 0 or after < 0:
        return None if before < 0 and after < 0 else max(before, after)
    return before if start - before <= after - start else after
