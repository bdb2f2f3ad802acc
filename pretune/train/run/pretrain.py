"""Stage pretrain: a model from tokens. No torch at the top: a wrong setting is told before torch is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pretune.base.artifact import Artifact
from pretune.base.config import Free, Input, chosen
from pretune.base.errors import WrongValue, did_you_mean
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.model.shape import SHAPE, Auto, Shape, size_for
from pretune.objective.objective import OBJECTIVE, Objective
from pretune.text.corpus.proportions import Proportions
from pretune.tokens.store.packing import PACKING, Packing
from pretune.train.optim.settings import OPTIM, Optim
from pretune.train.run.budget import Budget
from pretune.train.watch.track.listener import LISTENER, Listener

USUAL_VOCABULARY = 8192
"""For forecasts from tokens whose vocabulary is not known yet: what the tokenizer stage learns by default."""


class PretrainStage(Stage, Budget):
    """Train a model from scratch on tokens."""

    makes: ClassVar[str] = "model"
    version: ClassVar[int] = 4
    stops_gently: ClassVar[bool] = True

    tokens: Annotated[str | dict[str, str], Input("tokens")]
    """The tokens to learn from; several stores by name (`{en: $en, zh: $zh}`) are read as a mixture."""
    mixture: Proportions = Proportions()
    """Of several stores, how many rows of each: by weights, or as they are; nothing is tokenised again."""
    packing: Annotated[Packing, *chosen(PACKING)] = PACKING("blocks")
    """How documents become rows: blocks, best-fit, document (one a row), or pairs (for next-sentence prediction)."""
    model: Annotated[Shape, *chosen(SHAPE)] = Auto(kind="auto")
    """Shape of the model: a preset, or `auto` to choose from the data and the budget."""
    objective: Annotated[Objective, *chosen(OBJECTIVE)] = OBJECTIVE("causal")
    """What to predict: causal (GPT) or masked (BERT)."""
    optim: Annotated[Optim, *chosen(OPTIM)] = OPTIM("muon")
    """Optimizer and schedule."""
    length: int = Field(256, gt=1)
    """Tokens of a row."""
    batch: int = Field(32, gt=0)
    """Rows of a step; how many fit into a micro-batch is found, not asked."""
    batch_ramp: float = Field(0.0, ge=0, lt=1)
    """Share of the steps in which the batch grows, from an eighth over a quarter and a half of its rows; 0: none."""
    evaluate_every: int | None = Field(None, gt=0)
    """Steps between validations; by default six times in a run."""
    precision: Literal["auto", "bfloat16", "float32", "float8"] = "auto"
    """bfloat16 weights with float32 masters, or float32; auto takes what is faster here. float8: the products of the
    blocks in 8 bits, on GPUs that have them."""
    micro_batch: Annotated[int | None, Free] = Field(None, gt=0)
    """Rows of one forward pass; when not given, about 4,096 tokens on a CPU, or as many as fit into memory."""
    checkpointing: Annotated[Literal["none", "full", "auto"], Free] = "none"
    """Blocks whose activations are computed again instead of kept: none, all (full), or as many as are needed to fit
    (auto). Less memory for up to a third more arithmetic; the same gradients."""
    compile: Annotated[Literal["auto", "yes", "no"], Free] = "auto"
    """Compile the model: pays on long runs in a narrow type; auto compiles from twenty minutes of steps on."""
    device: Annotated[str, Free] = "auto"
    """cpu, cuda, mps (a Mac's GPU, in float32; untested), or auto: cuda where it is, else cpu."""
    save_every: Annotated[int | None, Free] = Field(None, gt=0)
    """Steps between checkpoints; by default one a minute."""
    prompts: Annotated[list[str] | None, Free] = None
    """Texts that the model goes on with at each validation (samples.jsonl); by default a few beginnings of its own."""
    track: Annotated[list[Annotated[Listener, *chosen(LISTENER)]], Free] = []
    """Libraries that show the curves: tensorboard, wandb, swanlab, mlflow, trackio; they write into OUT.track."""

    @model_validator(mode="after")
    def _weights_of_stores(self) -> Any:
        names = set(self.tokens) if isinstance(self.tokens, dict) else set()
        if unknown := sorted(set(self.mixture.weights) - names):
            hint = did_you_mean(unknown[0], names) if names else "name the stores: `tokens: {en: $en, zh: $zh}`"
            raise ValueError(f"mixture.weights names {unknown[0]!r}, which is none of `tokens`; {hint}")
        if self.mixture.weights and (missing := sorted(names - set(self.mixture.weights))):
            raise ValueError(f"mixture.weights says nothing of {missing[0]!r}; give every store a weight")
        return self

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        known = sum(one.tokens or one.text_bytes / 4 for one in inputs.values())
        from pretune.train.forecast.foretell import foretell_pretraining

        vocab_size = int(max((one.vocab_size for one in inputs.values()), default=0)) or USUAL_VOCABULARY
        return foretell_pretraining(self, tokens=known, vocab_size=vocab_size, machine=machine)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        from pretune.train.run.pretraining import pretrain

        return pretrain(self, {place.removeprefix("tokens."): a for place, a in inputs.items()}, out, context)


def settled_shape(stage: PretrainStage, *, tokens: int, vocab_size: int, flops: float) -> Shape:
    """The shape, chosen from data and budget when it is `auto`."""
    if not isinstance(stage.model, Auto):
        if stage.model.causal != (stage.objective.kind != "masked"):
            raise WrongValue(
                f"the objective {stage.objective.kind!r} does not suit a {stage.model.kind}",
                hint="objective=masked goes with model=bert-mini, objective=causal with qwen3 and gpt2",
            )
        return stage.model
    if stage.objective.kind == "masked":
        return SHAPE("bert-mini")  # type: ignore[no-any-return]
    seconds = (stage.minutes or 0) * 60
    if stage.steps:
        tokens = stage.steps * stage.batch * stage.length
    elif stage.tokens_read:
        tokens = int(stage.tokens_read)
    else:
        tokens = int(tokens * (stage.epochs or (8.0 if stage.minutes else 1.0)))
    return size_for(tokens, seconds, flops, vocab_size=vocab_size, length=stage.length)
