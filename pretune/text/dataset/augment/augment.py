"""What all augmentations share: which rows are taken, how chance is drawn, which text of a shape may change.

    label, labels, score    the texts                    pair      the source
    tags                    words outside of entities    span      the question, not the passage
    dialogue, preference    what the user says           ranking   the query

A row's chance is drawn from the seed, the augmentation and the row's origin: a row that is added changes no other.
A row that comes out as it went in is not written, nor one that is in validation or test.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from pydantic import Field

from pretune.base.artifact import Artifact
from pretune.base.config import Choice, Variant
from pretune.text.dataset.doctor.fields import FIELDS, same_text
from pretune.text.dataset.example import Example, Labelled, Message, ScoredText, Tagged

Change = Callable[[str], str]
TwoTexts = TypeVar("TwoTexts", Labelled, ScoredText)


class Augment(Variant):
    """One way to say a row once more."""

    copies: int = Field(default=1, ge=1, le=100)
    """New rows for each row that is taken."""
    rows: float = Field(default=1.0, gt=0, le=1)
    """Share of the training rows that is taken."""

    def changed(self, work: Work) -> list[Example]:
        """For each row of the work its new form (an equal one: nothing came of it).

        Raises:
            what opening the augmentation's own inputs raises.
        """
        raise AssertionError(f"{type(self).__name__} has no changed()")


@dataclass(frozen=True)
class Work:
    """Rows to be said once more.

    Args:
        chances: one for each row, its own.
        inputs: the augmentation's own inputs, by the names of its fields.
    """

    shape: str
    rows: Sequence[Example]
    chances: Sequence[random.Random]
    inputs: Mapping[str, Artifact]


AUGMENT = Choice(
    Augment,
    {
        "eda": "pretune.text.dataset.augment.eda:Eda",
        "noise": "pretune.text.dataset.augment.noise:Noise",
        "homophones": "pretune.text.dataset.augment.homophones:Homophones",
        # The one upward door: a model translates there and back.
        "back-translation": "pretune.infer.translate:BackTranslation",
    },
    group="pretune.augments",
)


# ---- which text may change ----------------------------------------------------------------------


def _user(messages: tuple[Message, ...], change: Change) -> tuple[Message, ...]:
    return tuple(replace(m, content=change(m.content)) if m.role == "user" else m for m in messages)


def _two(e: TwoTexts, change: Change) -> TwoTexts:
    return replace(e, text=change(e.text), second=change(e.second) if e.second else "")


def _outside(e: Tagged, change: Change) -> Tagged:
    """Words outside of entities, as one text with a word a line; words that would vanish stay."""
    places = [k for k, tag in enumerate(e.tags) if tag == "O"]
    words = [e.tokens[k] for k in places]
    after = change("\n".join(words)).split("\n") if words else []
    if len(after) != len(words):
        return e
    said = {k: new if new.strip() else old for k, old, new in zip(places, words, after, strict=True)}
    return replace(e, tokens=tuple(said.get(k, token) for k, token in enumerate(e.tokens)))


CHANGES: Mapping[str, Callable[[Any, Change], Example]] = {
    "label": _two,
    "labels": lambda e, change: replace(e, text=change(e.text)),
    "score": _two,
    "tags": _outside,
    "span": lambda e, change: replace(e, question=change(e.question)),
    "pair": lambda e, change: replace(e, source=change(e.source)),
    "dialogue": lambda e, change: replace(e, messages=_user(e.messages, change)),
    "preference": lambda e, change: replace(e, messages=_user(e.messages, change)),
    "ranking": lambda e, change: replace(e, query=change(e.query)),
}
"""An example with its texts changed, by shape; a text that becomes empty stays as it was."""


def with_texts(example: Example, shape: str, change: Change) -> Example:
    """The example with every text that may change after `change`; one that would be empty stays."""

    def careful(text: str) -> str:
        after = change(text)
        return after if after.strip() else text

    return CHANGES[shape](example, careful)


def each_text(work: Work, change: Callable[..., str]) -> list[Example]:
    """The rows of the work with their texts after `change`, each by its own chance (`rng`)."""
    pairs = zip(work.rows, work.chances, strict=True)
    return [with_texts(row, work.shape, partial(change, rng=rng)) for row, rng in pairs]


# ---- all of them --------------------------------------------------------------------------------


def augment(
    splits: Mapping[str, list[Example]],
    shape: str,
    ways: Sequence[Augment],
    *,
    seed: int,
    inputs: Mapping[int, Mapping[str, Artifact]],
) -> tuple[list[Example], dict[str, int]]:
    """The rows that are added to train, and how many came of each kind.

    Args:
        inputs: of way number k, its own inputs by the names of its fields.

    Returns:
        rows with the origins `.../eda 1` ..., and kind -> rows; "nothing new" counts rows that came out as they went
        in, or as a row of validation or test.
    """
    whole, asked = FIELDS[shape].whole, FIELDS[shape].asked
    held = {same_text(asked(e)) for split in ("validation", "test") for e in splits.get(split, ())}
    added: list[Example] = []
    counts: Counter[str] = Counter()
    numbers: Counter[tuple[str, str]] = Counter()
    for k, way in enumerate(ways):
        work = _work(splits["train"], shape, way, f"{seed}/{k}/{way.kind}", inputs.get(k, {}))
        for before, after in zip(work.rows, way.changed(work), strict=True):
            numbers[way.kind, before.origin] += 1
            if same_text(whole(after)) == same_text(whole(before)) or same_text(asked(after)) in held:
                counts["nothing new"] += 1
                continue
            origin = f"{before.origin}/{way.kind} {numbers[way.kind, before.origin]}"
            added.append(replace(after, origin=origin))
            counts[way.kind] += 1
    return added, dict(counts)


def _work(rows: Sequence[Example], shape: str, way: Augment, salt: str, inputs: Mapping[str, Artifact]) -> Work:
    taken = [row for row in rows if chance(salt, row.origin, 0).random() < way.rows]
    again = [(row, n) for row in taken for n in range(1, way.copies + 1)]
    return Work(shape, [row for row, _ in again], [chance(salt, row.origin, n) for row, n in again], inputs)


def chance(salt: str, origin: str, number: int) -> random.Random:
    """A generator of its own for each row and copy."""
    digest = hashlib.blake2b(f"{salt}/{number}/{origin}".encode("utf-8", "replace"), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))
