"""Hold what mattered: each weight is held as firmly as an earlier task needs it.

    penalty = weight / 2 * the sum of F (theta - theta0) squared
    F       = mean over examples of the earlier data of (d loss of the example / d theta) squared

F is the diagonal of the empirical Fisher information at the start: gradients of single examples are squared, then
averaged. (The square of a batch's mean gradient is near 0 wherever the earlier task was learnt, whatever it needs.)

Source: Kirkpatrick et al. 2017, arXiv:1612.00796, equation 3 (they draw labels from the model; here they are the
data's). Of several data sets the F are added up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from pretune.base.config import Input
from pretune.base.sample import evenly
from pretune.task.remember.l2 import hold
from pretune.task.remember.remember import Remember, kept, known_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pretune.objective.objective import Objective
    from pretune.task.labelled_data import LabelledData
    from pretune.task.remember.earlier import EarlierTask, Past
    from pretune.tokens.rows import Row, Vocabulary
    from pretune.train.loop.session import Session


class Ewc(Remember):
    """Hold each weight as firmly as earlier data sets need it."""

    data: Annotated[list[str], Field(min_length=1), Input("dataset|model", by_name=True)]
    """The earlier data sets, which the base (or a model that it was made from) was fine-tuned on; or such models."""
    weight: float = Field(1e6, gt=0)
    """How dear it is to leave the start; it stands before squares of gradients, which are small."""
    examples: int = Field(500, gt=0)
    """Examples of each data set that F is the mean of, evenly spread over its training split."""

    def start(self, session: Session, past: Past, data: LabelledData) -> None:
        from pretune.task.remember.earlier import earlier_task

        def found() -> dict[str, Tensor]:
            session.context.log.info("    asking earlier data which weights they need")
            earlier = (earlier_task(past, one) for one in past.given)
            return added([self._of(session, past, one, new_head=data.task.new_head) for one in earlier])

        hold(session, self.weight, kept(session.context, "fisher", found), new_head=data.task.new_head)

    def _of(self, session: Session, past: Past, earlier: EarlierTask, *, new_head: bool) -> dict[str, Tensor]:
        state, head = session.state, earlier.on(session.state.model)
        rows = evenly(earlier.data.rows, self.examples)
        with state.update.exact_weights():
            names = set(known_weights(state.model, list(state.update.weights), new_head=new_head))
            weights = {name: p for name, p in state.model.named_parameters() if name in names}
            return fisher(head(state.model), earlier.objective, rows, past.vocabulary, weights)


def fisher(
    model: nn.Module, objective: Objective, rows: Sequence[Row], vocabulary: Vocabulary, weights: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The mean over rows of the squared gradient of a row's loss, of each weight, without dropout.

    Args:
        weights: of the model, by the names that the result has.
    """
    import numpy as np
    import torch

    model.eval()
    found = {name: torch.zeros_like(p) for name, p in weights.items()}
    for number, row in enumerate(rows):
        ready = objective.prepare(row, vocabulary, np.random.default_rng([number]))
        batch = {k: t.to(next(model.parameters()).device) for k, t in objective.collate([ready], vocabulary).items()}
        sums = objective.sums(model, batch)
        loss: Any = sum(weight * sums[term] for term, weight in objective.weights.items())
        for name, grad in zip(found, torch.autograd.grad(loss, list(weights.values()), allow_unused=True), strict=True):
            if grad is not None:
                found[name] += grad.square() / len(rows)
    return found


def added(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Sums by name."""
    return {name: sum((part[name] for part in parts[1:]), parts[0][name]) for name in parts[0]}
