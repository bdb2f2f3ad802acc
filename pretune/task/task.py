"""What a task is: how labelled examples become rows, which model answers, how answers are scored.

A task module is named in a table, so it imports no torch at its top.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from pretune.base.config import Choice, Variant
from pretune.base.errors import NotSupported, WrongValue
from pretune.base.json import Json
from pretune.infer.several import Several
from pretune.model.families import Topped
from pretune.objective.objective import Objective
from pretune.text.dataset.example import read_labels, shape_of
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.infer.answers import Answer
    from pretune.infer.predictor import Predictor
    from pretune.model.methods.method import Method
    from pretune.task.judge.judge import Judge
    from pretune.train.loop.session import Session


class Known(Protocol):
    """What was read of a data set (LabelledData, which reads by tasks and so lies behind this file)."""

    @property
    def examples(self) -> Sequence[Any]: ...

    @property
    def labels(self) -> Sequence[str] | None: ...

    @property
    def class_weights(self) -> Sequence[float] | None: ...


class Task(Variant):
    """Settings of what is asked of a model."""

    shape: ClassVar[str]
    """Shape of the examples, of text/dataset/example.py: label, span, dialogue ..."""
    holds: ClassVar[str]
    """What such examples hold, in a word: labels, dialogues ..."""
    also: ClassVar[Mapping[str, str]] = {}
    """Other shapes of examples: the kind of task that stands in for this one."""
    answers: ClassVar[type[Answer]]
    """What a model for the task answers."""
    judge: ClassVar[Judge]
    """Who says how good its answers are."""
    grouped: ClassVar[bool] = False
    """Rows have their own lengths, cut at max_length: those of like length share a step, since each batch is padded to
    its longest row."""
    is_alone: ClassVar[bool] = False
    """Whether it cannot be one of several tasks that share a body."""
    fits_head: ClassVar[bool] = False
    """Whether the training examples decide the last layer by themselves (`refit`)."""
    new_head: ClassVar[bool] = True
    """Whether it puts a new head on the model."""
    epochs: ClassVar[float] = 3.0
    """Epochs when no budget is given."""
    pace: ClassVar[float] = 1.0
    """Factor on the usual rate of a method."""
    better: ClassVar[str] = "accuracy"
    """The score of the validation split that chooses the best model; higher is better."""

    def why_not(self, method: Method) -> str | None:
        """Why it cannot be learnt by a method; None: it can."""
        if method.only_heads and not self.new_head:
            return f"task={self.kind} puts no new head on the model, and method={method.kind} trains nothing else"
        return None

    def fitted(self, train: Sequence[Any]) -> Self:
        """The task with what it must know of all training examples. Raises a PretuneError where they teach nothing."""
        return self

    def for_model(self, config: Mapping[str, Any]) -> Self:
        """The task with what it must know of the model's config.json."""
        return self

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        """The pretrained model with what the task puts on top, in float32; and the names of its new modules."""
        raise AssertionError("a task has load()")

    def outline(self, config: Any) -> Topped:
        """The same of a transformers config alone, with random weights: what memory and time it takes can be told."""
        raise AssertionError("a task has outline()")

    def learnt(self, labels: Sequence[str] | None) -> Sequence[str] | None:
        """Of a dataset's labels, those that the model learns. Raises WrongValue for a label in the settings that is
        none of them."""
        return labels

    def check_validation(self, examples: Sequence[Any]) -> None:
        """Raise NoTarget where these, the validation split, do not hold what must be chosen on them."""

    def check(self, examples: Sequence[Any], labels: Sequence[str] | None) -> None:
        """Raise a PretuneError where it cannot learn from these examples, before a model is loaded."""

    def rows(
        self,
        examples: Sequence[Any],
        folder: Path,
        labels: Sequence[str] | None,
        *,
        max_length: int,
        warn: Callable[[str], None] = lambda told: None,
    ) -> list[Row]:
        """Examples as rows; `folder` holds the tokenizer; `warn` is told of those that are cut or left out."""
        raise AssertionError("a task has rows()")

    def check_rows(self, rows: Sequence[Row], *, batch: int) -> None:
        """Raise a PretuneError where these rows, so many a step, teach nothing."""

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        """What is predicted; `class_weights`: of each label, in their order, as the dataset gives them."""
        raise AssertionError("a task has objective()")

    def start(self, session: Session, rows: Sequence[Row], dev_rows: Sequence[Row]) -> None:
        """Hears of the model as it is before the first step, also of a run that is then resumed; may add to rows."""

    def refit(self, model: Any, known: Known, folder: Path, *, max_length: int) -> Mapping[str, Tensor]:
        """Weights, by name, that no gradient moves but the training examples decide, before each validation and at the
        end; called in eval mode with the exact weights."""
        raise AssertionError("a task that fits its head has refit()")

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> Predictor:
        """The model as the thing that answers, the same code that serves."""
        raise AssertionError("a task has ready()")

    def score(self, ready: Predictor, examples: Sequence[Any]) -> dict[str, float]:
        """Scores of the answers to labelled examples."""
        raise AssertionError("a task has score()")

    def chosen(self, ready: Predictor, examples: Sequence[Any]) -> Json:
        """What is chosen on the validation split and kept in the model's folder (KEPT), next to what is there."""
        return {}

    def looked_at(
        self, ready: Predictor, examples: Sequence[Any], *, warn: Callable[[str], None] = lambda told: None
    ) -> dict[str, float]:
        """Figures of the best weights on the validation split, for the card; `warn` is told what is wrong with them."""
        return {}

    def keep(self, model: Any, found: Json) -> None:
        """Put what was chosen into the model's config."""
        from pretune.infer.pooling import KEPT
        from pretune.model.families import plain_model
        from pretune.model.folder import keep

        config = plain_model(model).config
        keep(config, getattr(config, KEPT, {}) | found)

    def fold(self, model: Any, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Move into the model's config what its class has no module for; the weights that are left."""
        return weights

    def save(self, method: Method, model: Any, out: Path, **where: Any) -> None:
        """Write what was trained into a folder, as `Method.save`."""
        method.save(model, out, **where)

    def questions(self, examples: Sequence[Any]) -> list[str]:
        """A few of the examples' own, for `texts`; none where the model does not write."""
        return []

    def texts(self, ready: Predictor, prompts: Sequence[str]) -> list[tuple[str, str]]:
        """What the model answers, always the likeliest token; a prompt that fills its window is left out."""
        return []


def task_for(shape: str, read_as: str) -> str | None:
    """The kind of task that learns from examples of a shape; None for text.

    Raises:
        NotSupported: no task does.
    """
    if not shape:
        return None
    kinds = [task.kind for task in tasks() if task.shape == shape]
    if not kinds:
        raise NotSupported(
            f"this is read as {shape} ({read_as}), and no task learns from that yet",
            hint=f"`pretune dataset` makes a dataset of it; tasks learn from: {_shapes()}",
        )
    return kinds[0]


def task_on(task: Task, shape: str) -> Task | None:
    """The task, or what stands in for it, for examples of a shape; None: it does not learn from them.

    Raises:
        WrongValue: settings of the task that have no meaning for what stands in for it.
    """
    if shape == task.shape:
        return task
    if shape not in task.also:
        return None
    other, usual = TASK(task.also[shape]), TASK(task.kind).model_dump()
    given = {name: value for name, value in task.model_dump().items() if value != usual[name]}
    if given.keys() - type(other).model_fields.keys():
        hint = f"leave them out: on examples of shape {shape} it is task={other.kind}"
        raise WrongValue(f"the settings of task={task.kind} are for examples of shape {task.shape}", hint=hint)
    return TASK({**given, "kind": other.kind})


def tasks() -> list[Task]:
    """Every task but the one that holds several, with its defaults, in the order of the table: the first that reads a
    shape is the usual one."""
    return [TASK(kind) for kind in dict.fromkeys([*TASK.table, *TASK.kinds()]) if TASK.find(kind).shape]


def _shapes() -> str:
    return ", ".join(sorted({task.shape for task in tasks()}))


def tasks_reading(shape: str) -> list[Task]:
    """The tasks whose examples have a shape; raises NotSupported when there is none."""
    found = [task for task in tasks() if task.shape == shape]
    if not found:
        hint = f"there are tasks for examples of shape {_shapes()}"
        raise NotSupported(f"examples of shape {shape} are not learnt from or judged by yet", hint=hint)
    return found


def judging(predictor: Predictor, data: Path, *, name: str) -> tuple[Task, Predictor]:
    """The task by which a model's answers to a data set are judged: its own, if that reads them; and the model, or
    that one of its heads which gives such answers, with these labels if several do.

    Raises:
        NotSupported: no task reads them, or the model (`name` in messages) gives other answers than they ask for.
    """
    reading = tasks_reading(shape_of(data))
    if isinstance(predictor, Several):
        predictor = predictor.head_for({task.answers for task in reading}, read_labels(data))
    fitting = [task for task in reading if task.answers is predictor.gives]
    if not fitting:
        problem = f"{name} gives {predictor.gives.plural}, the data holds {reading[0].holds}"
        hint = "fine-tune the model on this data first, or give data with what it answers"
        raise NotSupported(problem, hint=hint)
    return next((task for task in fitting if task.kind == predictor.facts.task), fitting[0]), predictor


TASK = Choice(
    Task,
    {
        "classify": "pretune.task.classify:Classify",
        "multilabel": "pretune.task.multilabel:MultiLabel",
        "regress": "pretune.task.regress:Regress",
        "answer": "pretune.task.answer:Extract",
        "tag": "pretune.task.tag:Tag",
        "chat": "pretune.task.chat:Chat",
        "seq2seq": "pretune.task.seq2seq:Seq2Seq",
        "embed": "pretune.task.embed:Embed",
        "rank": "pretune.task.rank:Rank",
        "embed-rankings": "pretune.task.embed:EmbedRankings",
        "embed-scores": "pretune.task.embed:EmbedScores",
        "rank-pairs": "pretune.task.rank:RankPairs",
        "prefer": "pretune.task.prefer:Prefer",
        "reward": "pretune.task.reward:Reward",
        "several": "pretune.task.several:Several",
    },
    group="pretune.tasks",
    several="several",
)
