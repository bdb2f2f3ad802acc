"""Go on saying what was said: on the rows of the new task the earlier head keeps the answers that it gave at the start.

    loss of a step = mean of the task + weight * mean of T squared KL(said at the start || said now), T = temperature

No earlier data is needed. What the start says is computed once, and kept with the run.

Source: Li & Hoiem 2016, arXiv:1606.09282, section 3 (temperature 2, weight 1 as theirs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr

from pretune.base.config import Input
from pretune.base.errors import NotSupported
from pretune.task.remember.remember import Remember, kept

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.objective.said_before import SaidBefore
    from pretune.task.labelled_data import LabelledData
    from pretune.task.remember.earlier import EarlierHead, Past
    from pretune.tokens.rows import Row, Vocabulary
    from pretune.train.loop.session import Session
    from pretune.train.loop.spec import TrainSpec


class Lwf(Remember):
    """Keep what an earlier head says of the new rows."""

    changes_loss: ClassVar[bool] = True

    data: Annotated[list[str], Input("dataset|model", by_name=True)] = []
    """Whose heads go on saying what they said: data sets that the base was fine-tuned on, or such models; when not
    given, the base itself."""
    weight: float = Field(1.0, gt=0)
    """Weight of what is kept next to the task, together."""
    temperature: float = Field(2.0, gt=0)
    """What logits are divided by before they are compared: the higher, the more the small ones count."""

    _rows: dict[str, list[Row]] = PrivateAttr(default_factory=dict)

    def learnt(self, spec: TrainSpec, past: Past, data: LabelledData) -> TrainSpec:
        from pretune.objective.beside import TASK, Beside
        from pretune.task.remember.earlier import earlier_head
        from pretune.task.remember.streams import Named, beside
        from pretune.train.loop.stream import RowStream

        earlier = [earlier_head(past, one) for one in past.given or [past.base]]
        parts = {f"kept_{k}" if k else "kept": one for k, one in enumerate(earlier)}
        objectives = {TASK: spec.objective, **{name: self._objective(one) for name, one in parts.items()}}
        shares = {TASK: 1.0, **dict.fromkeys(parts, self.weight / len(parts))}
        assert isinstance(spec.stream, RowStream), "fine-tuning reads rows in memory"
        self._rows = {name: [read_of(row) for row in data.rows] for name in parts}
        again = [Named(replace(spec.stream, all_rows=rows), name) for name, rows in self._rows.items()]
        objective = Beside(kind="beside", of=objectives, shares=shares).coming(parts)
        return beside(spec, objective, again, spec.stream.batch * len(parts))

    def _objective(self, earlier: EarlierHead) -> SaidBefore:
        """Raises NotSupported where the earlier head gives no labels or number of a whole text."""
        from pretune.objective.said_before import SaidBefore

        kind = earlier.predictor.gives.kind
        if kind not in ("label", "labels", "score"):
            problem = f"remember=lwf keeps labels and scores of whole texts, and {earlier.name} gives {kind}"
            raise NotSupported(problem, hint="remember=replay keeps any earlier task")
        return SaidBefore(kind="said-before", temperature=self.temperature, of=kind)

    def start(self, session: Session, past: Past, data: LabelledData) -> None:
        from pretune.objective.beside import Beside

        objective, state = session.spec.objective, session.state
        assert isinstance(objective, Beside), "a run that keeps what was said learns beside"
        objective.hold(state.model)

        def found() -> dict[str, Tensor]:
            session.context.log.info(f"    asking the model as it starts about {len(data.rows):,} rows")
            with state.update.exact_weights():
                heads = {name: objective.learner(state.model, name) for name in self._rows}
                return {n: said(head, self._rows[n], past.vocabulary, session.micro) for n, head in heads.items()}

        for name, said_RC in kept(session.context, "said", found).items():
            for row, said_C in zip(self._rows[name], said_RC.numpy(), strict=True):
                row["said"] = said_C


def read_of(row: Row) -> Row:
    """Of a labelled row what a model reads."""
    return {"ids": row["ids"], "parts": row["parts"]} if "parts" in row else {"ids": row["ids"]}


def said(model: Any, rows: Sequence[Row], vocabulary: Vocabulary, batch: int) -> Tensor:
    """The logits of a head for each row [rows, C], without dropout; rows of like length run together."""
    import torch

    from pretune.objective.said_before import SaidBefore
    from pretune.objective.whole_rows import row_logits
    from pretune.train.loop.runtime import evaluating

    order = sorted(range(len(rows)), key=lambda k: len(rows[k]["ids"]))
    parts, plain, device = [], SaidBefore(kind="said-before"), next(model.parameters()).device
    with evaluating(model):
        for start in range(0, len(order), batch):
            ready = plain.collate([rows[k] for k in order[start : start + batch]], vocabulary)
            parts.append(row_logits(model, {name: t.to(device) for name, t in ready.items()}).cpu())
    return torch.cat(parts)[torch.tensor(order).argsort()]
