"""One text measured, and one row filtered: what stages do by the thousand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretune.text.clean.filters import Filter
from pretune.text.clean.quality.statistics import Value, measure_all


def measure(text: str) -> dict[str, Value]:
    return measure_all([text])[0]


def rejected(filters: Sequence[Filter], row: Mapping[str, Any]) -> str | None:
    """The reason of the first filter that leaves the row out."""
    return next((reason for rule in filters if (reason := rule.reject(row))), None)
