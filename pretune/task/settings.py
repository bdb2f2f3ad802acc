"""The settings of stage finetune. No torch here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pretune.base.config import Config, Input, chosen
from pretune.model.methods.method import METHOD, Method
from pretune.model.shape import Shape
from pretune.objective.distil import TAUGHT, Taught, why_not
from pretune.task.fresh import FRESH
from pretune.task.remember.remember import REMEMBER, Remember
from pretune.task.task import TASK, Task
from pretune.train.loop.refusing import Refuse
from pretune.train.optim.settings import OPTIM, Optim
from pretune.train.settings import TrainSettings

ONE_BY_ONE = ("classify", "chat", "seq2seq")
"""Tasks whose loss is a sum over examples, and whose heads begin with nothing that was counted in them."""


class SelfTraining(Config):
    """How texts without labels are taken in."""

    rounds: int = Field(2, gt=0)
    """Trainings before the last one; each labels all texts anew."""
    confidence: float = Field(0.9, gt=0, le=1)
    """The least probability of a label that is believed."""
    per_label: int = Field(500, gt=0)
    """Texts of each label at most, the surest first: else the frequent label is all that is learnt."""


class FinetuneSettings(TrainSettings):
    """What a user sets of fine-tuning."""

    model: Annotated[str, Input("model|tokenizer")]
    """The pretrained model; with `fresh` a tokenizer is enough."""
    data: Annotated[str | dict[str, str], Input("dataset")]
    """Labelled examples (of several tasks, a data set by the name of each); the validation split chooses the best
    model, the test split is not read."""
    task: Annotated[Task, *chosen(TASK)]
    """What is asked: classify (multilabel where a text has several labels), regress, tag, answer, seq2seq, chat, embed,
    rank, prefer or reward. Several at once by name: {mood: classify, names: tag}."""
    refuse: Refuse = Refuse(sigmas=None)
    """Which steps are refused, and when a run goes back; only what is no number, unless refuse.sigmas=6 is given: where
    few examples are read often, a hard one lies far above the others, and is what is to be learnt."""
    objective: Annotated[Taught | None, *chosen(TAUGHT)] = None
    """What is learnt from the examples; when not given, the task's own. distil: what a teacher says of them, too."""
    method: Annotated[Method, *chosen(METHOD)] = METHOD("full")
    """How the weights are adapted: full, head, freeze, unfreeze, bitfit, layernorm; next to a base that stays as it is
    lora (with variants), adalora, ia3, bottleneck, prefix, prompt, p-tuning."""
    base_precision: Literal["float32", "int8", "int4"] = "float32"
    """How a base that stays as it is lies in memory while adapters learn next to it: the matrices of its blocks as
    float32, int8 or int4. The adapter is for the rounded base, onto which it is opened and merged."""
    remember: Annotated[Remember | None, *chosen(REMEMBER)] = None
    """What keeps the model from forgetting what it knew: replay (earlier data again), ewc and l2 (weights held near the
    start), lwf (the earlier head goes on saying what it said), average (with the start, after training)."""
    watch: Annotated[list[str], Input("tokens|dataset|model", by_name=True)] = []
    """What the run may forget and is asked for before and after: tokens of general text, data sets that the base was
    fine-tuned on, or such models."""
    fresh: Annotated[Shape | None, *chosen(FRESH)] = None
    """Begin with random weights: `same` takes the model's architecture, a shape another (the baselines bag, cnn and
    lstm, or bert-mini ...); the tokenizer is the model's. What pretraining is worth is the difference."""
    take_layers: int | tuple[int, ...] | None = None
    """Of the model's blocks so many are taken, evenly spread from the first to the last, or these (numbers from 0): a
    student of the same width, which learns more from a teacher (objective=distil)."""
    optim: Annotated[Optim, *chosen(OPTIM)] = OPTIM("adamw")
    """Optimizer and schedule; AdamW takes a rate that suits the method (and, where a body trains, the model's width)
    when none is given. With full, freeze and unfreeze a new head moves ten times as fast."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor on the learning rate from each layer to the one below it (0.9, say); 1.0: all layers move alike."""
    max_length: int = Field(256, gt=1)
    """Tokens of an input; longer ones are cut (dialogues at turns of the user, early ones first) or read in windows."""
    patience: int = Field(3, gt=0)
    """Evaluations without a better score after which training stops."""

    unlabelled: Annotated[str | None, Input("corpus", by_name=True)] = None
    """Texts without labels for task=classify: those of which the model is sure are learnt from, too (self-training;
    Yarowsky 1995, arXiv:1904.12848 for what it can be worth). self_training.jsonl has what was taken in."""
    self_training: SelfTraining = SelfTraining()
    """How texts without labels are taken in: rounds, confidence, per_label."""
    folds: int = Field(0, ge=0)
    """Of so many parts of the training examples each is answered by a model that has learnt from the others alone
    (out_of_fold.jsonl; mean and spread on the card); copies and augmentations go with their own. 0: not."""

    @model_validator(mode="after")
    def _rehearsed(self) -> Self:
        if self.folds == 1:
            raise ValueError("folds=1 leaves nothing to learn from; take 2 or more, 5 is usual")
        if self.unlabelled is not None and self.task.kind != "classify":
            raise ValueError(f"unlabelled texts get one label each, and task={self.task.kind} learns something else")
        if (self.folds or self.unlabelled is not None) and self.task.kind == "several":
            raise ValueError("folds are of one task; several share no examples")
        if (self.folds or self.unlabelled is not None) and (self.remember or self.objective) is not None:
            raise ValueError("the trainings of folds and unlabelled are plain ones; leave out remember and objective")
        return self

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.fresh is not None and self.method.kind != "full":
            raise ValueError(f"fresh weights must all train, and method={self.method.kind} leaves some as they are")
        if self.take_layers is not None and (self.fresh is not None or self.method.keeps_base):
            other = "fresh" if self.fresh is not None else f"method={self.method.kind}"
            raise ValueError(f"take_layers begins with a new, shallower model, and {other} with another one")
        if self.base_precision != "float32" and not (self.method.keeps_base and self.method.keeps_start()):
            told = f"base_precision={self.base_precision} is for a base that stays as it is"
            raise ValueError(f"{told}; method={self.method.kind} moves it, as lora does with variant=pissa")
        if why := self.task.why_not(self.method):
            raise ValueError(why)
        if self.remember is not None and (why := self.remember.why_not(self.task, self.method)):
            raise ValueError(why)
        if self.objective is not None and not (own := self.task.objective()).read_once:
            raise ValueError("{}; {}".format(*why_not(own)))
        if (taught := self.objective) and (taught.listens or taught.on_policy) and self.method.taken():
            raise ValueError(f"virtual tokens (method={self.method.kind}) go without hidden, attention and on_policy")
        if self.optim.private is not None and (why := why_not_private(self)):
            raise ValueError(why)
        if self.fresh is not None and (self.remember is not None or self.watch):
            raise ValueError("fresh weights know nothing that could be forgotten: leave out remember and watch")
        return self


def why_not_private(settings: FinetuneSettings) -> str | None:
    """Why these settings cannot be private; None: they can."""
    task = settings.task
    if task.kind not in ONE_BY_ONE:
        return (
            f"private fine-tuning is for task={' or '.join(ONE_BY_ONE)}: task={task.kind} learns from examples together"
        )
    mixing = [name for name in ("mixup", "smote", "few_shot") if getattr(task, name, False)]
    if mixing:
        return f"task.{mixing[0]} makes examples of several, so none can be clipped alone; leave it out"
    read_elsewhere = ("remember", "objective", "unlabelled")
    if more := [name for name in read_elsewhere if getattr(settings, name) is not None]:
        return f"{more[0]} reads the examples in ways that the noise does not cover; leave it out of a private run"
    if settings.folds:
        return "folds train on the examples several times, which the noise does not cover; leave them out"
    if settings.precision == "float16":
        return "precision=float16 scales the loss by gradients that no noise covers; take bfloat16 or float32"
    if settings.micro_batch not in (None, 1):
        return "in a private run examples pass one at a time; leave out micro_batch"
    return None
