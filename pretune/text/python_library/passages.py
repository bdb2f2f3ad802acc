"""Questions whose answers are in a passage: several functions with what they do, as `help` lists them.

    os.path.join                                        What does `os.path.isdir` do?
        Join two or more pathname components.           Return true if the pathname refers to an existing directory.
    os.path.isdir
        Return true if the pathname refers to ...       What does `shutil.move` do?       (the passage does not say)

The line that is most like the question is the name, which is no answer. Passages of held-out docstrings are the test.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from pretune.base.json import Json
from pretune.text.python_library.facts import Asked, Library, place

NUM_FUNCTIONS, NUM_ASKED = 6, 3
"""Functions of a passage, and how many of them are asked about."""
UNANSWERED = 0.5
"""Share of the passages that are asked about a function of another passage as well."""
VALIDATION = 0.1
QUESTION = "What does `{}` do?"


def answer_rows(found: Library) -> Iterator[Json]:
    """Rows of question, context, answers, split and origin."""
    for is_held_out in (False, True):
        mine = sorted((one for one in found.asked if one.is_held_out is is_held_out), key=lambda one: one.name)
        for first in range(0, len(mine) - NUM_FUNCTIONS + 1, NUM_FUNCTIONS):
            passage = mine[first : first + NUM_FUNCTIONS]
            is_watched = place(f"passage: {passage[0].name}") < VALIDATION
            split = "test" if is_held_out else "validation" if is_watched else "train"
            yield from _questions(passage, mine, split)


def _questions(passage: Sequence[Asked], others: Sequence[Asked], split: str) -> Iterator[Json]:
    rng = random.Random(f"pretune python answers {passage[0].name}")
    context, starts = _written(passage)
    facts: Json = {"context": context, "split": split, "origin": f"answers/{passage[0].name}"}
    for k in sorted(rng.sample(range(len(passage)), NUM_ASKED)):
        answer = {"text": passage[k].answer, "answer_start": starts[k]}
        yield {**facts, "question": QUESTION.format(passage[k].name), "answers": [answer]}
    strange = rng.choice(others)
    if strange not in passage and rng.random() < UNANSWERED:
        yield {**facts, "question": QUESTION.format(strange.name), "answers": []}


def _written(passage: Sequence[Asked]) -> tuple[str, list[int]]:
    """The passage, and where each answer starts."""
    text, starts = "", []
    for one in passage:
        text += f"{one.name}\n    "
        starts.append(len(text))
        text += f"{one.answer}\n"
    return text, starts
