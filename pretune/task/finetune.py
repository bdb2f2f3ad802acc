"""Stage finetune: a pretrained model and labelled examples in, a model for the task out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pretune.base.artifact import Artifact
from pretune.base.config import Free, Input, chosen
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.model.methods.method import METHOD, Method
from pretune.task.task import TASK, Task
from pretune.train.optim.settings import OPTIM, Optim
from pretune.train.run.budget import Budget
from pretune.train.watch.track.listener import LISTENER, Listener


class FinetuneStage(Stage, Budget):
    """Adapt a pretrained model to a task."""

    makes: ClassVar[str] = "model"
    version: ClassVar[int] = 3
    stops_gently: ClassVar[bool] = True

    model: Annotated[str, Input("model")]
    """The pretrained model."""
    data: Annotated[str, Input("dataset")]
    """Labelled examples; the validation split chooses the best model, the test split is not read."""
    task: Annotated[Task, *chosen(TASK)]
    """What is asked: classify or chat."""
    method: Annotated[Method, *chosen(METHOD)] = METHOD("full")
    """How the weights are adapted: full, head, lora."""
    optim: Annotated[Optim, *chosen(OPTIM)] = OPTIM("adamw")
    """Optimizer and schedule; AdamW takes a rate that suits the method when none is given."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor on the learning rate from each layer to the one below it (0.9, say); 1.0: all layers move alike."""
    max_length: int = Field(256, gt=1)
    """Tokens of an input; longer ones are cut (dialogues at turns of the user, the early ones first)."""
    batch: int = Field(32, gt=0)
    """Rows of a step."""
    evaluate_every: int | None = Field(None, gt=0)
    """Steps between evaluations on the validation split; by default once an epoch."""
    patience: int = Field(3, gt=0)
    """Evaluations without a better score after which training stops."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """bfloat16 weights with float32 masters, or float32; auto measures which is faster."""
    micro_batch: Annotated[int | None, Free] = Field(None, gt=0)
    """Rows of one forward pass; what fits is found when not given."""
    checkpointing: Annotated[Literal["none", "full", "auto"], Free] = "none"
    """Blocks whose activations are computed again instead of kept: none, all (full), or as many as are needed to fit
    (auto). Less memory for up to a third more arithmetic; the same gradients."""
    device: Annotated[str, Free] = "auto"
    """cpu, cuda, mps (a Mac's GPU, in float32; untested), or auto: cuda where it is, else cpu."""
    save_every: Annotated[int | None, Free] = Field(None, gt=0)
    """Steps between checkpoints; by default one a minute."""
    prompts: Annotated[list[str] | None, Free] = None
    """Texts that the model answers at each evaluation (chat; samples.jsonl); by default two of the validation split."""
    track: Annotated[list[Annotated[Listener, *chosen(LISTENER)]], Free] = []
    """Libraries that show the curves: tensorboard, wandb, swanlab, mlflow, trackio; they write into OUT.track."""

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        base, data = inputs["model"], inputs["data"]
        if base.config is not None:
            from pretune.task.foretell import foretell_finetuning

            return foretell_finetuning(self, base, data, machine)
        parameters = base.parameters or base.disk_bytes / 4
        return Forecast(disk_bytes=4.0 * parameters + 2 * 12.0 * parameters, parameters=parameters)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        from pretune.task.finetuning import finetune

        return finetune(self, inputs["model"], inputs["data"], out, context)
