"""The training side after balancing and augmentation: first balanced, then said in other words.

In this order copies of a rare row become different rows, and every label keeps its share. Validation and test stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pretune.base.artifact import Artifact
from pretune.text.dataset.augment.augment import Augment, augment
from pretune.text.dataset.balance import Balance, balance


@dataclass(frozen=True)
class Enlarged:
    """All sides afterwards, class weights where errors do not weigh alike, and what to tell on the card."""

    sides: dict[str, list[Any]]
    weights: dict[str, float] | None
    facts: dict[str, Any]


def enlarge(
    sides: Mapping[str, list[Any]],
    shape: str,
    how: Balance | None,
    ways: Sequence[Augment],
    *,
    inputs: Mapping[str, Artifact],
    seed: int,
) -> Enlarged:
    """Balance and augment train.

    Args:
        inputs: of the stage, by their places (`augment.0.synonyms`).

    Returns:
        `facts["train_rows"]`: as read, copies, left out, and the rows of each augmentation; empty if nothing was asked.
    """
    weights: dict[str, float] | None = None
    counts = {"as read": len(sides["train"])}
    train = list(sides["train"])
    if how is not None:
        found = balance(train, shape, how, seed=seed)
        train, weights = found.rows, found.weights
        counts |= {"copies": found.copies, "left out": found.left_out}
    if ways:
        own = {k: inputs_at(f"augment.{k}", inputs) for k in range(len(ways))}
        added, made = augment({**sides, "train": train}, shape, ways, seed=seed, inputs=own)
        train += added
        counts |= made
    facts: dict[str, Any] = {"train_rows": counts} if how is not None or ways else {}
    facts |= {"class_weights": {k: round(w, 6) for k, w in weights.items()}} if weights is not None else {}
    return Enlarged({**sides, "train": train}, weights, facts)


def inputs_at(place: str, inputs: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """The inputs at or below a place, by what follows it: `augment.0` -> {"synonyms": ...}."""
    below = {name.removeprefix(place).removeprefix("."): a for name, a in inputs.items() if _is_at(name, place)}
    return below


def _is_at(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")
