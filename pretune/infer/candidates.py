"""A query with its candidates, and the order that scores give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from pretune.base.errors import NotSupported
from pretune.infer.answers import Ranking

Queried: TypeAlias = Mapping[str, Any]
"""`query`, a text; `candidates`, texts; and perhaps `top`: how many of them are given, the best ones."""


def is_queried(one: object) -> bool:
    return isinstance(one, Mapping) and {"query", "candidates"} <= {*one} and bool(one["candidates"])


def check_queried(inputs: Sequence[Any]) -> None:
    """Raise NotSupported for what is no query with its candidates."""
    if not all(map(is_queried, inputs)):
        hint = 'give {"query": "...", "candidates": ["...", "..."]}; `pretune predict MODEL --query "..." TEXT TEXT`'
        raise NotSupported("this model puts the candidates of a query in order, and here is none", hint=hint)


def ranking(scores: np.ndarray, top: int | None = None) -> Ranking:
    """The candidates by their scores, the best first; equal ones stay in their order."""
    order = np.argsort(-scores, kind="stable")[:top]
    return Ranking(tuple(map(int, order)), tuple(map(float, scores[order])))
