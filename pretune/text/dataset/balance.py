"""Balancing: rare labels are seen more often, frequent ones less often, or errors on them count differently.

Of 100 rows `ham` and 20 `spam`:

    over            100 and 100    rows of spam are repeated; ratio=0.5: 100 and 50
    under            20 and  20    rows of ham are left out; ratio=0.5: 40 and 20
    weights         100 and  20    an error on spam weighs 5 times as much, in the task `classify`

Training rows alone are touched. Which rows are taken depends on the seed and on their own origins. Where an example
has several labels, or tags of several kinds, it counts as one of its rarest.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from pretune.base.config import Choice, Variant
from pretune.base.errors import BadFile, NotSupported
from pretune.text.dataset.example import SHAPES, Example

WEIGHTS_FILE = "class_weights.json"


Copy = tuple[int, int]
"""A row's place among the training rows, and which copy of it: 1 is the row itself."""


class Balance(Variant):
    """How uneven labels are evened out."""

    def chosen(self, groups: Mapping[str, Sequence[int]]) -> list[Copy]:
        """The rows afterwards.

        Args:
            groups: label -> places of its rows, by chance; "" holds rows without any label and stays as it is.
        """
        raise AssertionError(f"{type(self).__name__} has no chosen()")

    def class_weights(self, counts: Mapping[str, int]) -> dict[str, float] | None:
        """label -> weight of an error on it; None: all errors weigh alike."""
        raise AssertionError(f"{type(self).__name__} has no class_weights()")


class Over(Balance):
    """Rows of rare labels are repeated."""

    kind: str = "over"
    ratio: float = Field(default=1.0, gt=0, le=1)
    """Rows of every label, at least, for one of the most frequent label."""

    def chosen(self, groups: Mapping[str, Sequence[int]]) -> list[Copy]:
        least = math.ceil(self.ratio * max((len(rows) for name, rows in groups.items() if name), default=0))
        return [
            (rows[k % len(rows)], k // len(rows) + 1)
            for name, rows in groups.items()
            for k in range(max(least, len(rows)) if name else len(rows))
        ]

    def class_weights(self, counts: Mapping[str, int]) -> dict[str, float] | None:
        return None


class Under(Balance):
    """Rows of frequent labels are left out."""

    kind: str = "under"
    ratio: float = Field(default=1.0, gt=0, le=1)
    """Rows of the rarest label for one of any other label, at least."""

    def chosen(self, groups: Mapping[str, Sequence[int]]) -> list[Copy]:
        most = math.floor(min((len(rows) for name, rows in groups.items() if name), default=0) / self.ratio)
        return [(row, 1) for name, rows in groups.items() for row in (rows[:most] if name else rows)]

    def class_weights(self, counts: Mapping[str, int]) -> dict[str, float] | None:
        return None


class Weights(Balance):
    """Rows stay; errors on rare labels weigh more in the loss."""

    kind: str = "weights"
    weights: Literal["inverse", "effective"] = "inverse"
    """inverse: rows / (labels x rows of the label), as scikit-learn's "balanced"; effective: by the effective number
    (1 - beta^n) / (1 - beta) of Cui et al. 2019, arXiv:1901.05555, with a sum of the number of labels."""
    beta: float = Field(default=0.999, gt=0, lt=1)
    """Of `effective`: 0.9 weighs labels almost alike, 0.9999 almost as `inverse` does."""

    def chosen(self, groups: Mapping[str, Sequence[int]]) -> list[Copy]:
        return [(row, 1) for rows in groups.values() for row in rows]

    def class_weights(self, counts: Mapping[str, int]) -> dict[str, float] | None:
        return inverse(counts) if self.weights == "inverse" else effective(counts, self.beta)


BALANCE = Choice(
    Balance,
    {
        "over": "pretune.text.dataset.balance:Over",
        "under": "pretune.text.dataset.balance:Under",
        "weights": "pretune.text.dataset.balance:Weights",
    },
    group="pretune.balances",
)


# ---- weights ------------------------------------------------------------------------------------


def inverse(counts: Mapping[str, int]) -> dict[str, float]:
    """N / (C n) for each label of n rows, C labels, N rows: the mean weight of a row is 1."""
    total = sum(counts.values())
    return {name: total / (len(counts) * n) for name, n in counts.items()}


def effective(counts: Mapping[str, int], beta: float) -> dict[str, float]:
    """(1 - beta) / (1 - beta^n) for each label of n rows, scaled to a sum of the number of labels.

    Source: Cui et al. 2019, arXiv:1901.05555, equation 2 and section 4.
    """
    plain = {name: (1 - beta) / (1 - beta**n) for name, n in counts.items()}
    scale = len(plain) / sum(plain.values()) if plain else 0.0
    return {name: weight * scale for name, weight in plain.items()}


def write_weights(folder: Path, weights: Mapping[str, float]) -> None:
    """In the payload: what is trained with them must be trained again when they change."""
    text = json.dumps(dict(sorted(weights.items())), ensure_ascii=False, indent=1) + "\n"
    (folder / WEIGHTS_FILE).write_text(text, encoding="utf-8", newline="\n")


def read_weights(folder: Path) -> dict[str, float] | None:
    """label -> weight of a dataset folder; None where all weigh alike.

    Raises:
        BadFile: it is no mapping of labels to numbers above 0.
    """
    path = folder / WEIGHTS_FILE
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    good = isinstance(found, dict) and all(isinstance(w, int | float) and 0 < w < math.inf for w in found.values())
    if not good:
        raise BadFile(f"{path.as_posix()} must map each label to a number above 0")
    return {str(name): float(weight) for name, weight in found.items()}


# ---- rows ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Balanced:
    """What became of the training rows.

    Args:
        rows: first those that stay, in their order; then copies, with the origins `.../copy 2`, `.../copy 3` ...
        copies, left_out: how many rows were added and taken away.
        weights: label -> weight of an error on it; None: all weigh alike.
    """

    rows: list[Example]
    copies: int
    left_out: int
    weights: dict[str, float] | None


def balance(rows: Sequence[Example], shape: str, how: Balance, *, seed: int) -> Balanced:
    """The training rows after balancing, and class weights.

    Raises:
        NotSupported: a shape without labels.
    """
    names = SHAPES[shape].names
    if names is None:
        raise NotSupported(f"examples of shape {shape} have no labels to balance", hint="leave `balance` out")
    taken = sorted(how.chosen(grouped(rows, names, seed)), key=lambda copy: copy[::-1])
    made = [rows[k] if n == 1 else replace(rows[k], origin=f"{rows[k].origin}/copy {n}") for k, n in taken]
    copies = sum(n > 1 for _, n in taken)
    counts = Counter(name for row in made for name in names(row))
    weights = how.class_weights(dict(sorted(counts.items())))
    return Balanced(made, copies, len(rows) + copies - len(made), weights)


def grouped(rows: Sequence[Example], names: Callable[[Example], set[str]], seed: int) -> dict[str, list[int]]:
    """label -> places of the rows that count as its own (the rarest of their labels; "" for rows without any).

    In each group by a keyed hash of the origin: a row that is added moves no other.
    """
    counts = Counter(name for row in rows for name in names(row))
    groups: dict[str, list[int]] = {}
    for k in sorted(range(len(rows)), key=lambda k: (_key(rows[k].origin, seed), k)):
        rarest = min(names(rows[k]), key=lambda n: (counts[n], n), default="")
        groups.setdefault(rarest, []).append(k)
    return dict(sorted(groups.items()))


def _key(origin: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}/{origin}".encode("utf-8", "replace"), digest_size=16).digest()
