"""Filters: documents that are left out, each with the reason, which the corpus keeps next to them.

A filter reads columns, not texts: what was measured when a document was read decides now and, with other thresholds,
tomorrow. The reason begins with the kind of the filter: "gopher: mean word length 12.3 > 10".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from pretune.base.config import Choice, Config, Variant
from pretune.base.json import JsonMap
from pretune.text.clean.quality.scripts import UNSPACED


class Filter(Variant):
    """Says of a document why it is left out, from its columns."""

    needs: ClassVar[tuple[str, ...]] = ()
    """The columns it reads."""

    def reject(self, row: JsonMap) -> str | None:
        """The reason, beginning with the kind and a colon, or None to keep it.

        Args:
            row: column -> value; only the columns of `needs` are sure to be there.
        """
        raise AssertionError(f"{type(self).__name__} has no reject()")


class Short(Filter):
    """Leaves out texts with few characters (letters of any script count alike)."""

    version: ClassVar[int] = 2
    kind: str = "short"
    needs: ClassVar[tuple[str, ...]] = ("visible_characters",)
    min_characters: int = Field(default=20, ge=1)
    """Texts with fewer characters, white space not counted, are left out."""

    def reject(self, row: JsonMap) -> str | None:
        size = row["visible_characters"]
        return f"short: {size} characters < {self.min_characters}" if size < self.min_characters else None


class Quality(Filter):
    """Keeps what reads like the examples that the setting `quality` names."""

    kind: str = "quality"
    needs: ClassVar[tuple[str, ...]] = ("quality",)
    min_score: float = Field(default=0.5, ge=0, le=1)
    """0.5 is undecided; look at the column `quality` of a few documents before you choose."""

    def reject(self, row: JsonMap) -> str | None:
        score, least = row["quality"], float(np.float32(self.min_score))
        return f"quality: {score:.3g} < {self.min_score:g}" if score < least else None


# ---- limits -------------------------------------------------------------------------------------


class Limits(Config):
    """Bounds of columns: `min_COLUMN` and `max_COLUMN` are the settings, None is no bound."""

    @cached_property
    def bounds(self) -> list[tuple[str, str, float]]:
        """(column, "min" or "max", bound) of every setting that is given; bounds in float32 like the columns."""
        given = [(*name.partition("_")[::2], getattr(self, name)) for name in type(self).model_fields]
        return [(column, side, float(np.float32(bound))) for side, column, bound in given if bound is not None]


def columns_of(limits: type[Limits]) -> tuple[str, ...]:
    """The columns these limits are about, and `script`, which chooses between two of them."""
    names = [name.partition("_")[2] for name in limits.model_fields]
    return tuple(dict.fromkeys(["script", *names]))


def broken(limits: Limits, row: JsonMap) -> str | None:
    """The first bound that a row does not keep, as words; None if it keeps all."""
    for column, side, bound in limits.bounds:
        value = row[column]
        if value < bound if side == "min" else value > bound:
            return f"{column.replace('_', ' ')} {value:.3g} {'<' if side == 'min' else '>'} {bound:.6g}"
    return None


class LimitFilter(Filter):
    """A filter that is two sets of limits: for scripts with spaces between words, and for the others."""

    spaced: Limits
    unspaced: Limits

    def reject(self, row: JsonMap) -> str | None:
        reason = broken(self.unspaced if row["script"] in UNSPACED else self.spaced, row)
        return f"{self.kind}: {reason}" if reason else None


# ---- many rows ----------------------------------------------------------------------------------


def reject_table(filters: Sequence[Filter], table: pa.Table) -> list[str | None]:
    """Of every row of a table, which holds the columns the filters need, the reason of the first that leaves it out.

    Limits are compared a column at a time, so only rows that break one are looked at by themselves.
    """
    reasons: list[str | None] = [None] * table.num_rows
    for rule in filters:
        suspects = _suspects(rule, table)
        rows = table.select(rule.needs).take(pa.array(suspects))
        values = [rows[name].to_pylist() for name in rule.needs]
        for at, k in enumerate(suspects.tolist()):
            if reasons[k] is None:
                reasons[k] = rule.reject({name: column[at] for name, column in zip(rule.needs, values, strict=True)})
    return reasons


def _suspects(rule: Filter, table: pa.Table) -> NDArray[np.int64]:
    """The rows a filter may leave out."""
    if not isinstance(rule, LimitFilter):
        return np.arange(table.num_rows)
    unspaced = np.array([script in UNSPACED for script in table["script"].to_pylist()], bool)
    return np.flatnonzero(np.where(unspaced, _breaks(rule.unspaced, table), _breaks(rule.spaced, table)))


def _breaks(limits: Limits, table: pa.Table) -> NDArray[np.bool_]:
    found = np.zeros(table.num_rows, bool)
    for column, side, bound in limits.bounds:
        values = table[column].to_numpy()
        found |= values < bound if side == "min" else values > bound
    return found


FILTER = Choice(
    Filter,
    {
        "short": "pretune.text.clean.filters:Short",
        "quality": "pretune.text.clean.filters:Quality",
        "debris": "pretune.text.clean.quality.rules:Debris",
        "gopher": "pretune.text.clean.quality.rules:Gopher",
        "gopher-repetition": "pretune.text.clean.quality.rules:GopherRepetition",
        "c4": "pretune.text.clean.quality.rules:C4",
        "fineweb": "pretune.text.clean.quality.rules:FineWeb",
        "language": "pretune.text.clean.quality.rules:Language",
    },
    group="pretune.filters",
)
