"""The settings of stage finetune. No torch here."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from pretune.base.config import Input, chosen
from pretune.model.methods.method import METHOD, Method
from pretune.model.shape import Shape
from pretune.task.fresh import FRESH
from pretune.task.remember.remember import REMEMBER, Remember
from pretune.task.task import TASK, Task
from pretune.train.optim.settings import OPTIM, Optim
from pretune.train.settings import TrainSettings


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
    method: Annotated[Method, *chosen(METHOD)] = METHOD("full")
    """How the weights are adapted: full, head, freeze, unfreeze, bitfit, layernorm; next to a base that stays as it is
    lora (with variants), adalora, ia3, prefix, prompt, p-tuning."""
    remember: Annotated[Remember | None, *chosen(REMEMBER)] = None
    """What keeps the model from forgetting what it knew: replay (earlier data again), ewc and l2 (weights held near the
    start), lwf (the earlier head goes on saying what it said), average (with the start, after training)."""
    watch: Annotated[list[str], Input("tokens|dataset|model", by_name=True)] = []
    """What the run may forget and is asked for before and after: tokens of general text, data sets that the base was
    fine-tuned on, or such models."""
    fresh: Annotated[Shape | None, *chosen(FRESH)] = None
    """Begin with random weights: `same` takes the model's architecture, a shape another (the baselines bag, cnn and
    lstm, or bert-mini ...); the tokenizer is the model's. What pretraining is worth is the difference."""
    optim: Annotated[Optim, *chosen(OPTIM)] = OPTIM("adamw")
    """Optimizer and schedule; AdamW takes a rate that suits the method (and, with full, the model's width) when none is
    given. With full, freeze and unfreeze a new head moves ten times as fast."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor on the learning rate from each layer to the one below it (0.9, say); 1.0: all layers move alike."""
    max_length: int = Field(256, gt=1)
    """Tokens of an input; longer ones are cut (dialogues at turns of the user, early ones first) or read in windows."""
    patience: int = Field(3, gt=0)
    """Evaluations without a better score after which training stops."""

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.fresh is not None and self.method.kind != "full":
            raise ValueError(f"fresh weights must all train, and method={self.method.kind} leaves some as they are")
        if why := self.task.why_not(self.method):
            raise ValueError(why)
        if self.remember is not None and (why := self.remember.why_not(self.task, self.method)):
            raise ValueError(why)
        if self.fresh is not None and (self.remember is not None or self.watch):
            raise ValueError("fresh weights know nothing that could be forgotten: leave out remember and watch")
        return self
