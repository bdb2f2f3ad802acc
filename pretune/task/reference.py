"""What a model says of its training rows before it is trained: the reference of losses on preferences.

Computed once and kept with the choices of the run, so a run that is resumed, from whatever weights, takes the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pretune.objective.preference import Preference, both, reply_log_probs
from pretune.tokens.rows import Row
from pretune.train.loop.memory import halving
from pretune.train.loop.runtime import evaluating
from pretune.train.loop.session import Session


def keep_reference(session: Session, rows: Sequence[Row], dev_rows: Sequence[Row]) -> None:
    """Each row gets its `reference`: training rows from the model in the type it trains in, so that a gain at the first
    step is 0 but for rounding; rows of the validation split from the exact weights, by which they are looked at."""

    def found() -> list[list[float]]:
        session.context.log.info(f"    asking the model as it starts about {len(rows):,} rows")
        train = reference_of(session, rows)
        with session.state.update.exact_weights():
            return [*train, *reference_of(session, dev_rows)]

    for row, sums in zip([*rows, *dev_rows], session.context.choose("reference", found), strict=True):
        row["reference"] = np.array(sums)


def reference_of(session: Session, rows: Sequence[Row]) -> list[list[float]]:
    """The log-probabilities of the two replies of each row; rows of like length run together."""
    order = sorted(range(len(rows)), key=lambda k: len(rows[k]["ids"]))
    objective, model = session.spec.objective, session.state.model
    assert isinstance(objective, Preference), "only preferences have a reference"

    def run(micro: int) -> dict[int, list[float]]:
        found: dict[int, list[float]] = {}
        for start in range(0, len(order), micro):
            part = order[start : start + micro]
            batch = objective.collate([rows[k] for k in part], session.spec.vocabulary)
            sums_R, _ = reply_log_probs(model, both(session.runtime.put(batch)))
            found |= dict(zip(part, sums_R.view(2, -1).T.tolist(), strict=True))
        return found

    with evaluating(model):
        found, _ = halving(run, session.micro)
    return [found[k] for k in range(len(rows))]
