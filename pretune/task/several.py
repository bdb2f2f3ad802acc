"""Several tasks at once: a data set each, a head each, one body, and one folder that answers all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, PrivateAttr, model_validator

from pretune.base.config import chosen
from pretune.base.errors import WrongValue
from pretune.base.json import Json
from pretune.infer.answers import Answer, Many
from pretune.infer.predictor import Predictor
from pretune.infer.several import Several as SeveralPredictor
from pretune.model.families import Topped
from pretune.objective.objective import Objective
from pretune.objective.several import SeveralObjectives
from pretune.task.labelled_data import LabelledData, read_data
from pretune.task.task import TASK, Task

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.base.log import Log
    from pretune.model.methods.method import Method
    from pretune.tokens.rows import Row

Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
OneTask = Annotated[Task, *chosen(TASK)]


class Several(Task):
    """Learn several tasks at once, by name; `data` names a data set for each."""

    shape: ClassVar[str] = ""
    holds: ClassVar[str] = "examples of several tasks"
    answers: ClassVar[type[Answer]] = Many
    grouped: ClassVar[bool] = True
    better: ClassVar[str] = "mean"

    of: dict[Name, OneTask] = Field(min_length=1)
    """The tasks by name: {mood: classify, names: tag}."""
    weights: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Weight of a task's loss, by its name; 1 where nothing is said. Each loss is a mean over its own targets."""

    _parts: dict[str, LabelledData] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> Self:
        if alone := [name for name, task in self.of.items() if task.objective().head == "vector"]:
            raise ValueError(f"{alone[0]!r} trains the body itself and has no head of its own next to others")
        if unknown := self.weights.keys() - self.of.keys():
            raise ValueError(f"no task has the name {min(unknown)!r} that weights gives")
        if alone := [name for name, task in self.of.items() if task.is_alone]:
            raise ValueError(f"{alone[0]} is task={self.of[alone[0]].kind}, which is learnt alone")
        return self

    def why_not(self, method: Method) -> str | None:
        if not method.keeps_base:
            return None
        return f"method={method.kind} adapts a model with one head; several tasks are learnt with full, head or freeze"

    def knowing(self, parts: Mapping[str, LabelledData]) -> Self:
        """The task with what was read for each of its tasks."""
        found = self.model_copy()
        found._parts = dict(parts)
        return found

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        return _joined({name: p.task.load(folder, p.labels, seed=seed) for name, p in self._parts.items()})

    def outline(self, config: Any) -> Topped:
        import copy

        tasks = {name: part.task for name, part in self._parts.items()} or self.of
        return _joined({name: task.outline(copy.deepcopy(config)) for name, task in tasks.items()})

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        known = {name: part.task.objective(part.class_weights) for name, part in self._parts.items()}
        parts = known or {name: task.objective() for name, task in self.of.items()}
        lengths = {name: max(len(row["ids"]) for row in part.rows) for name, part in self._parts.items()}
        return SeveralObjectives(kind="several", of=parts, shares=self.weights, lengths=lengths)

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> SeveralPredictor:
        heads = model.heads
        return SeveralPredictor(
            {n: p.task.ready(heads[n], folder, p.labels, max_length=max_length) for n, p in self._parts.items()}
        )

    def score(self, ready: Predictor, examples: Sequence[Any]) -> dict[str, float]:
        """The scores of each task, and the mean of those by which each of them would choose its best weights."""
        found: dict[str, float] = {}
        chosen_by: list[float] = []
        for name, (part, predictor, mine) in self._by_name(ready, examples).items():
            scores = part.task.score(predictor, mine)
            chosen_by.append(scores.get(part.task.better, 0.0))
            found |= {f"{name}_{score}": value for score, value in scores.items()}
        return {self.better: sum(chosen_by) / len(chosen_by), **found}

    def chosen(self, ready: Predictor, examples: Sequence[Any]) -> Json:
        return {name: p.task.chosen(r, mine) for name, (p, r, mine) in self._by_name(ready, examples).items()}

    def looked_at(
        self, ready: Predictor, examples: Sequence[Any], *, warn: Callable[[str], None] = lambda told: None
    ) -> dict[str, float]:
        mine = {n: p.task.looked_at(r, some, warn=warn) for n, (p, r, some) in self._by_name(ready, examples).items()}
        return {f"{name}_{figure}": value for name, found in mine.items() for figure, value in found.items()}

    def _by_name(
        self, ready: Predictor, examples: Sequence[tuple[str, Any]]
    ) -> dict[str, tuple[LabelledData, Predictor, list[Any]]]:
        """Of each task with examples: what was read for it, what answers, and the examples."""
        assert isinstance(ready, SeveralPredictor)
        mine = {name: [e for of, e in examples if of == name] for name in self._parts}
        return {name: (self._parts[name], ready.parts[name], some) for name, some in mine.items() if some}

    def keep(self, model: Any, found: Json) -> None:
        for name, mine in found.items():
            self._parts[name].task.keep(model.heads[name], mine)

    def fold(self, model: Any, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        for name, part in self._parts.items():
            weights = part.task.fold(model.heads[name], weights)
        return weights

    def save(self, method: Method, model: Any, out: Path, **where: Any) -> None:
        from pretune.model.several import save_many

        where.pop("base")
        save_many(model, out, **where)


def _joined(loaded: Mapping[str, Topped]) -> Topped:
    """One module of models with a head each, and the names of all new modules."""
    from pretune.model.several import ManyHeads

    heads = {name for _, new in loaded.values() for name in new}
    return ManyHeads({name: model for name, (model, _) in loaded.items()}), tuple(sorted(heads))


def read_all(task: Task, data: Mapping[str, Path], tokenizer: Path, max_length: int, log: Log) -> LabelledData:
    """What a run reads: of one data set, or of one for each of several tasks, by name.

    Raises:
        WrongValue: other names than the tasks have; and what `read_data` raises.
    """
    if not isinstance(task, Several):
        return read_data(task, data[""], tokenizer, max_length, log)
    if data.keys() != task.of.keys():
        told = (
            f"the tasks are {', '.join(task.of)}, the data sets {', '.join(filter(None, data)) or 'one without a name'}"
        )
        raise WrongValue(told, hint="name a data set for each: data: {NAME: $dataset, ...}")
    parts = {name: read_data(one, data[name], tokenizer, max_length, log) for name, one in task.of.items()}

    def rows(of: Callable[[LabelledData], Sequence[Row]]) -> list[Row]:
        return [{**row, "of": name} for name, part in parts.items() for row in of(part)]

    def examples(of: Callable[[LabelledData], Sequence[Any]]) -> list[Any]:
        return [(name, example) for name, part in parts.items() for example in of(part)]

    return LabelledData(
        task.knowing(parts),
        labels=None,
        class_weights=None,
        examples=examples(lambda part: part.examples),
        rows=rows(lambda part: part.rows),
        dev_examples=examples(lambda part: part.dev_examples),
        dev_rows=rows(lambda part: part.dev_rows),
    )
