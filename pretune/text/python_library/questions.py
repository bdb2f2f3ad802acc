"""Which functions are asked about, in how many wordings, and in which split.

remembered   28 wordings to train on; asked again in wordings that were not
skimmed      three wordings to train on, never asked again
guessed      held out: asked once, in the plain wording
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from pretune.base.json import Json
from pretune.text.python_library.facts import Asked, Library, place
from pretune.text.python_library.sentences import keywords, word_frequencies
from pretune.text.python_library.wordings import CORES, FEW, TEST, VALIDATION, train_wordings

DEFAULT_FUNCTIONS = 4000
NUMBERS = {"functions": 1, "skimmed": 0}
"""Settings of python:questions that are numbers, and the least of each."""
NUM_VALIDATION, NUM_REMEMBERED = 300, 500
# Of these the training questions draw words to be passed over (wordings.py).
NUM_WORDS, _WORD = 3000, re.compile(r"\b[a-z]{2,12}\b")


def question_rows(
    found: Library, functions: int = DEFAULT_FUNCTIONS, skimmed: int = 0, only: str | None = None
) -> Iterator[Json]:
    """Rows of messages, keywords, group, split and origin.

    Args:
        functions: of so many, the most useful ones, those that are not held out are read.
        skimmed: of so many behind them likewise.
        only: one group.
    """
    read = [one for one in found.asked[:functions] if not one.is_held_out]
    further = [one for one in found.asked[functions : functions + skimmed] if not one.is_held_out]
    # However few are read: with fewer guesses a gain could be chance.
    guessed = [one for one in found.asked[:DEFAULT_FUNCTIONS] if one.is_held_out]
    chosen = [*read, *further, *guessed]
    frequencies = word_frequencies(one.answer for one in chosen)
    # Which of the read ones are asked again, in other words, does not depend on their rank.
    drawn = [one.name for one in sorted(read, key=lambda one: place(f"asked again: {one.name}"))]
    tested, watched = set(drawn[:NUM_REMEMBERED]), set(drawn[-NUM_VALIDATION:])
    words, once = _common_words(found, chosen), {one.name for one in further}
    for one in chosen:
        group = "guessed" if one.is_held_out else "skimmed" if one.name in once else "remembered"
        if only in (None, group):
            expected = keywords(one.answer, one.name, frequencies)
            for split, wording in _wordings(one, words, group, one.name in tested, one.name in watched):
                yield _question(one, wording, split, group, expected)


def _common_words(found: Library, asked: list[Asked]) -> list[str]:
    """The words that docstrings use most, without those that are themselves asked for; the most frequent first."""
    docs = (entry.doc for entry, split in zip(found.entries, found.split, strict=True) if split != "test")
    counted = Counter(word for doc in docs for word in _WORD.findall(doc))
    names = {one.name for one in asked}
    ranked = sorted(counted, key=lambda word: (-counted[word], word))
    return [word for word in ranked if word not in names][:NUM_WORDS]


def _wordings(one: Asked, words: list[str], group: str, is_tested: bool, is_watched: bool) -> Iterator[tuple[str, str]]:
    if group == "guessed":
        yield "test", CORES[0]  # the wording is known, the function is not
        return
    trained = train_wordings(one.name, words)
    yield from (("train", wording) for wording in (trained[:FEW] if group == "skimmed" else trained))
    for split, is_asked, wordings in (("validation", is_watched, VALIDATION), ("test", is_tested, TEST)):
        if is_asked:
            yield split, wordings[int(len(wordings) * place(f"{split} wording: {one.name}"))]


def _question(one: Asked, wording: str, split: str, group: str, expected: list[str]) -> Json:
    asked = {"role": "user", "content": wording.format(one.name)}
    answer = {"role": "assistant", "content": one.answer}
    facts = {"keywords": expected, "split": split, "group": group, "origin": f"{group}/{one.name}"}
    return {"messages": [asked, answer], **facts}
