"""Easy data augmentation: words are swapped, left out, or joined and replaced by synonyms.

    swap       two words change places      the film was not good at all  ->  the not was film good at all
    delete     each word goes by chance     the was not good at all
    synonyms   words become synonyms        the movie was not good at all
    insert     a synonym of a word comes    the film was movie not good at all

Each new row is made by one of them, drawn by chance, with max(1, share x words) changes, as in the paper. Synonyms come
from a file of the user's: one group a line, `film movie picture` or `电影 影片 片子`; without one, swap and delete.

Words are runs of letters and figures; in Chinese words of the synonym file, else characters, and a swap is of
neighbours (far characters that change places make no sentence). Entities of tagged rows move as one piece and are
never changed; a tag goes with its word.

Source: Wei and Zou 2019, arXiv:1901.11196, section 2.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pretune.base.artifact import Artifact
from pretune.base.config import Input
from pretune.base.errors import BadFile
from pretune.text.dataset.augment.augment import Augment, Work, with_texts
from pretune.text.dataset.example import Example, Tagged

Operation = Literal["swap", "delete", "insert", "synonyms"]
HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
LATIN_WORD = rf"[^\W{HAN}]+(?:['’-][^\W{HAN}]+)*"
Synonyms = Mapping[str, tuple[str, ...]]
"""A word in lower case -> the other words of its group."""


class Eda(Augment):
    """Swaps, leaves out, inserts and replaces words (Wei and Zou 2019)."""

    kind: str = "eda"
    share: float = Field(default=0.1, gt=0, le=1)
    """Share of the words of a row that is changed; the paper's alpha."""
    operations: list[Operation] = ["swap", "delete", "insert", "synonyms"]
    """What may be done; insert and synonyms need the file."""
    synonyms: Annotated[str | None, Input("files")] = None
    """A text file with one group of synonyms a line, separated by blanks."""

    def changed(self, work: Work) -> list[Example]:
        synonyms = read_synonyms(work.inputs["synonyms"]) if "synonyms" in work.inputs else {}
        wanted = [o for o in self.operations if synonyms or o in ("swap", "delete")]
        if not wanted:
            return list(work.rows)
        words = words_with(synonyms)
        return [
            self._once(row, work.shape, words, synonyms, wanted, rng)
            for row, rng in zip(work.rows, work.chances, strict=True)
        ]

    def _once(
        self,
        row: Example,
        shape: str,
        words: re.Pattern[str],
        synonyms: Synonyms,
        wanted: Sequence[Operation],
        rng: random.Random,
    ) -> Example:
        def edit(units: list[Unit]) -> list[Unit]:
            number = max(1, int(self.share * len(units)))
            return OPERATIONS[rng.choice(wanted)](units, number, self.share, synonyms, rng)

        if isinstance(row, Tagged):
            return edited_tags(row, edit)
        return with_texts(row, shape, lambda t: edited(t, words, edit))


def read_synonyms(artifact: Artifact) -> Synonyms:
    """Words of a file of groups; a word of several groups has the synonyms of all.

    Raises:
        BadFile: no line has two words.
    """
    found: dict[str, list[str]] = {}
    for path in artifact.files():
        for line in Path(path).read_text(encoding="utf-8-sig").splitlines():
            group = [word for word in line.split() if not line.startswith("#")]
            for word in group:
                others = [o for o in group if o.lower() != word.lower()]
                found.setdefault(word.lower(), []).extend(others)
    if not any(found.values()):
        hint = "write one group a line: film movie picture"
        raise BadFile(f"{artifact.path.as_posix()!r} holds no synonyms", hint=hint)
    return {word: tuple(dict.fromkeys(others)) for word, others in found.items() if others}


# ---- units --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    """What moves as one piece: a word, or an entity with its tags.

    Args:
        tokens: of a plain text one word; `tags` are theirs.
        whole: an entity: it may change places, nothing else.
        tail: what is between this word and the next; it belongs to the place.
    """

    tokens: tuple[str, ...]
    tags: tuple[str, ...] = ()
    whole: bool = False
    tail: str = ""

    @property
    def word(self) -> str:
        return self.tokens[0]

    @property
    def is_han(self) -> bool:
        return "\u3400" <= self.word[:1] <= "\ufaff"

    def said(self, word: str) -> Unit:
        return replace(self, tokens=(word,))


Edit = Callable[[list[Unit]], list[Unit]]


def words_with(synonyms: Synonyms) -> re.Pattern[str]:
    """What a word is: Chinese words of the synonyms (the longest first), a Chinese character, or a run of letters."""
    known = sorted((w for w in synonyms if len(w) > 1 and "\u3400" <= w[0] <= "\ufaff"), key=lambda w: (-len(w), w))
    return re.compile("|".join([*map(re.escape, known), f"[{HAN}]", LATIN_WORD]))


def edited(text: str, words: re.Pattern[str], edit: Edit) -> str:
    """The text with its words edited; a text of one word stays as it is."""
    found = list(words.finditer(text))
    if len(found) < 2:
        return text
    ends = [*(m.start() for m in found[1:]), len(text)]
    units = [Unit((m[0],), tail=text[m.end() : end]) for m, end in zip(found, ends, strict=True)]
    after = "".join(unit.word + unit.tail for unit in edit(units))
    return text[: found[0].start()] + (after if text[-1:].isspace() else after.rstrip())


def edited_tags(example: Tagged, edit: Edit) -> Tagged:
    """The example with its words and entities edited, each with its tags."""
    units: list[Unit] = []
    for token, tag in zip(example.tokens, example.tags, strict=True):
        last = units[-1] if units else None
        if tag.startswith("I-") and last is not None and last.whole:
            units[-1] = replace(last, tokens=(*last.tokens, token), tags=(*last.tags, tag))
        else:
            units.append(Unit((token,), (tag,), whole=tag != "O"))
    after = edit(units) if len(units) > 1 else units
    tokens = tuple(token for unit in after for token in unit.tokens)
    return replace(example, tokens=tokens, tags=tuple(tag for unit in after for tag in unit.tags))


# ---- operations ---------------------------------------------------------------------------------


def swap(units: list[Unit], number: int, share: float, synonyms: Synonyms, rng: random.Random) -> list[Unit]:
    """`number` times two units change places; a Chinese character with its neighbour."""
    after = list(units)
    for _ in range(number):
        one = rng.randrange(len(after))
        other = rng.randrange(len(after) - 1)
        other += other >= one
        if after[one].is_han:
            other = one + 1 if one + 1 < len(after) else one - 1
        a, b = after[one], after[other]
        after[one], after[other] = replace(b, tail=a.tail), replace(a, tail=b.tail)
    return after


def delete(units: list[Unit], number: int, share: float, synonyms: Synonyms, rng: random.Random) -> list[Unit]:
    """Each unit goes with chance `share`; entities stay, and one unit always does."""
    keeps = [unit.whole or rng.random() >= share for unit in units]
    if not any(keeps):
        keeps[rng.randrange(len(units))] = True
    after: list[Unit] = []
    for unit, stays in zip(units, keeps, strict=True):
        if stays:
            after.append(unit)
        elif after and unit.tail.strip():  # the mark behind it stays, in the place of the one before
            after[-1] = replace(after[-1], tail=unit.tail)
    return after


def replace_words(units: list[Unit], number: int, share: float, synonyms: Synonyms, rng: random.Random) -> list[Unit]:
    """Up to `number` words become one of their synonyms."""
    known = [k for k, unit in enumerate(units) if not unit.whole and unit.word.lower() in synonyms]
    after = list(units)
    for k in rng.sample(known, min(number, len(known))):
        after[k] = units[k].said(_like(units[k].word, rng.choice(synonyms[units[k].word.lower()])))
    return after


def insert(units: list[Unit], number: int, share: float, synonyms: Synonyms, rng: random.Random) -> list[Unit]:
    """`number` times a synonym of a word of the row comes in somewhere."""
    known = [unit for unit in units if not unit.whole and unit.word.lower() in synonyms]
    after = list(units)
    for _ in range(number if known else 0):
        unit = rng.choice(known)
        after = _with(after, rng.randrange(len(after)), unit.said(rng.choice(synonyms[unit.word.lower()])))
    return after


def _with(units: list[Unit], k: int, unit: Unit) -> list[Unit]:
    """The unit behind unit k."""
    gap = "" if unit.is_han or unit.tags else " "
    before, new = replace(units[k], tail=gap), replace(unit, tail=units[k].tail)
    return [*units[:k], before, new, *units[k + 1 :]]


def _like(word: str, other: str) -> str:
    """The other word with a capital where the word has one."""
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


OPERATIONS: Mapping[str, Callable[..., list[Unit]]] = {
    "swap": swap,
    "delete": delete,
    "insert": insert,
    "synonyms": replace_words,
}
