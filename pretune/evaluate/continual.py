"""Tasks that were learnt one after the other: what is known after each of them.

    R[k][j] = score on task j after task k          rows: models, each begun with the one above; columns: tasks

    average accuracy    mean of the last row
    backward transfer   mean over the earlier tasks of R[last][j] - R[j][j]; below 0: forgotten

The scores are those of the validation splits, each by the head that its task was saved with; what a model did not watch
is not known.

Source: Lopez-Paz & Ranzato 2017, arXiv:1706.08840, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from pretune.base.artifact import Artifact
from pretune.base.json import Json


@dataclass(frozen=True)
class Course:
    """Models of which each began with the one before it.

    Args:
        name: of the last one.
        tasks: the data set of each, in the order in which they were learnt.
        matrix: R, [models, tasks]; None where it is not known.
    """

    name: str
    models: Sequence[str]
    tasks: Sequence[str]
    matrix: Sequence[Sequence[float | None]]

    def figures(self) -> dict[str, float]:
        """`average_accuracy` and `backward_transfer`; nothing where the last model did not watch all the others."""
        last = [score for score in self.matrix[-1] if score is not None]
        own = [score for k, row in enumerate(self.matrix) if (score := row[k]) is not None]
        if len(last) < len(self.tasks) or len(own) < len(self.tasks):
            return {}
        moved = [after - then for after, then in zip(last[:-1], own[:-1], strict=True)]
        return {"average_accuracy": mean(last), "backward_transfer": mean(moved)}

    def told(self) -> Json:
        """For report.json."""
        return {
            "name": self.name,
            "models": [*self.models],
            "tasks": [*self.tasks],
            "matrix": [*map(list, self.matrix)],
        }


def courses(parts: Sequence[Artifact]) -> list[Course]:
    """Of models that know what they can do, those that were made one from the other."""
    models = {one.card.id: one for one in parts if one.card.metrics.get("knows")}
    bases = {name: one.card.inputs.get("model", {}).get("id") for name, one in models.items()}
    found = []
    for last in (name for name in models if name not in bases.values()):
        row, at = [models[last]], bases[last]
        while at in models:
            row, at = [models[at], *row], bases[at]
        if len(row) > 1:
            found.append(_course(row))
    return found


def _course(models: Sequence[Artifact]) -> Course:
    known = [one.card.metrics["knows"] for one in models]
    tasks = [next(iter(one)) for one in known]
    matrix = [[one.get(task) for task in tasks] for one in known]
    return Course(models[-1].path.name, [one.path.name for one in models], tasks, matrix)
