"""From the top down, one block after the other is set free: gradual unfreezing.

    share of the run    0        1/6      1/3      1/2 ...
    what moves          head     block 2  block 1  embeddings      (two blocks, all free at half of the run)

What is new makes the largest and the least useful gradients at first; the blocks below it wait until it has settled.
Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.3.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pydantic import Field

from pretune.model.methods.full import Full

if TYPE_CHECKING:
    pass

FREE_AT = 0.5
"""Share of the run after which all moves, when nothing else is said."""


class Unfreeze(Full):
    """Train the head first, then one block more at a time, from the top down, the embeddings last."""

    every: float | None = Field(None, gt=0)
    """After how much one more block is free: a share of the run if it is below 1 (0.1), else steps. None given: evenly,
    so that all is free at half of the run."""

    def trained_at(self, names: Collection[str], step: int, total: int) -> Collection[str]:
        """What lies above the blocks (head, last norm), then as many blocks as their time has come."""
        from pretune.model.families.family import PLAIN

        levels = {name: PLAIN.level_of(name) for name in names}
        groups = sorted(set(levels.values()), key=lambda level: (level is not None, -(level or 0)))
        free = set(groups[: 1 + int(step / self._steps(total, len(groups) - 1))])
        return [name for name in names if levels[name] in free]

    def _steps(self, total: int, groups: int) -> float:
        """Steps between two groups, of so many that wait."""
        if self.every is None:
            return max(1.0, FREE_AT * total / max(1, groups))
        return self.every if self.every >= 1 else max(1.0, self.every * total)
