"""How often each part of a mixture is taken: documents of a corpus, rows of token stores, the sample of a tokenizer.

    weights        3 : 1            bytes of each source, in proportion
    temperature    size^(1/T)       bytes of each language within its source; without weights, of all
    max_repeats    water filling    what a group cannot give without being read too often, the others give

Source: temperature: Devlin et al., multilingual BERT, 2019 (exponent 0.7); Conneau et al. 2020, arXiv:1911.02116,
section 3.1 (0.3). Repetition: Muennighoff et al. 2023, arXiv:2305.16264: up to four times costs next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from pydantic import Field, field_validator

from pretune.base.config import Config
from pretune.base.errors import SettingsError, did_you_mean

Group = TypeVar("Group", bound=Hashable)


class Proportions(Config):
    """How much of each source is taken; as it stands, everything once."""

    weights: dict[str, float] = {}
    """Bytes of each source in proportion: 3 and 1 are 75 % and 25 %; none: as large as they are."""
    temperature: float = Field(default=1.0, ge=1)
    """Languages share bytes as size ** (1 / temperature): 1 as they are, 3 lifts small ones, 100 makes them equal."""
    max_repeats: float = Field(default=4.0, ge=1)
    """How often a text is taken at most."""

    @field_validator("weights")
    @classmethod
    def _above_zero(cls, value: dict[str, float]) -> dict[str, float]:
        for name, weight in value.items():
            if not 0 < weight < math.inf:
                raise ValueError(f"the weight of {name} is {weight}; leave out of `read` what should not be in")
        return value


def times(
    proportions: Proportions, sizes: Mapping[tuple[str, str], int], total: float | None = None
) -> dict[tuple[str, str], float]:
    """How often each (source, language) is taken, on average of its bytes.

    Args:
        sizes: bytes of each.
        total: bytes of all that is taken; None: as many as there are.

    Raises:
        SettingsError: `weights` names what is not there, or not all that is.
    """
    weights, most = proportions.weights, proportions.max_repeats
    _check_weights(weights, {source for source, _ in sizes})
    outer: dict[str, dict[str, int]] = {}
    for (source, language), size in sorted(sizes.items()):
        inner = outer.setdefault(source if weights else "", {})
        inner[language] = inner.get(language, 0) + size
    wide = [sum(inner.values()) for inner in outer.values()]
    given = filled(total or sum(wide), [weights.get(name, 1.0) for name in outer], [most * size for size in wide])
    shared = {
        name: shared_out(share, inner, proportions.temperature, most)
        for (name, inner), share in zip(outer.items(), given, strict=True)
    }
    return {(source, language): shared[source if weights else ""][language] for source, language in sizes}


def shared_out(
    total: float, sizes: Mapping[Group, int], temperature: float = 1.0, max_repeats: float = 1.0
) -> dict[Group, float]:
    """How often each group is taken, so that all have `total` bytes: by size ** (1 / temperature), below the limit."""
    there = {group: size for group, size in sizes.items() if size}
    lifted, caps = [size ** (1 / temperature) for size in there.values()], [max_repeats * s for s in there.values()]
    given = filled(total, lifted, caps)
    taken = {group: round(part / there[group], 9) for group, part in zip(there, given, strict=True)}
    return dict.fromkeys(sizes, 1.0) | taken


def _check_weights(weights: Mapping[str, float], sources: set[str]) -> None:
    if unknown := sorted(set(weights) - sources):
        raise SettingsError(
            f"mixture.weights names {unknown[0]!r}, and no training document is from there",
            hint=did_you_mean(unknown[0], sources),
        )
    if weights and (missing := sorted(sources - set(weights))):
        raise SettingsError(
            f"mixture.weights says nothing of {missing[0]!r}",
            hint="give every source a weight, or leave it out of `read`",
        )


def filled(total: float, weights: Sequence[float], caps: Sequence[float]) -> list[float]:
    """`total` shared out by weight, nobody above his cap; what some cannot take, the others do.

    The sum is `total`, or that of all caps where they are less.
    """
    weight, cap = np.array(weights, dtype=np.float64), np.array(caps, dtype=np.float64)
    given, is_open = np.zeros_like(cap), np.ones(len(cap), dtype=bool)
    while is_open.any():
        left = total - given.sum()
        share = left * weight / weight[is_open].sum()
        over = is_open & (share > cap)
        if not over.any():
            given[is_open] = share[is_open]
            break
        given[over] = cap[over]
        is_open &= ~over
    return [float(g) for g in given]
