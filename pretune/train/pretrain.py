"""Stage pretrain: a model from tokens. No torch at the top: a wrong setting is told before torch is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from pretune.base.artifact import Artifact
from pretune.base.config import Free, Input, chosen
from pretune.base.errors import BadReference, EmptyInput, WrongValue
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.model.shape import SHAPE, Auto, Shape, size_for
from pretune.objective.base import OBJECTIVE, Objective
from pretune.train.budget import Budget, planned_steps
from pretune.train.optim import OPTIM, Optim

if TYPE_CHECKING:
    from pretune.objective.base import Row, Vocabulary
    from pretune.tokens.store import Store

VALIDATION_ROWS = 128
CPU_FLOPS = 2.5e11
"""What plain training reaches on two AVX-512 cores (docs/LOG.md); for forecasts before anything was measured."""


class PretrainStage(Stage, Budget):
    """Train a model from scratch on tokens."""

    makes: ClassVar[str] = "model"
    stops_gently: ClassVar[bool] = True

    tokens: Annotated[str, Input("tokens")]
    """The tokens to learn from."""
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
    evaluate_every: int | None = Field(None, gt=0)
    """Steps between validations; by default six times in a run."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """bfloat16 weights with float32 masters, or float32; auto measures which is faster."""
    micro_batch: Annotated[int | None, Free] = Field(None, gt=0)
    """Rows of one forward pass; found by measuring when not given."""
    compile: Annotated[Literal["auto", "yes", "no"], Free] = "auto"
    """Compile the model: pays on long runs; auto decides by what is left to run."""
    device: Annotated[str, Free] = "auto"
    """cpu, cuda, or auto."""
    save_every: Annotated[int | None, Free] = Field(None, gt=0)
    """Steps between checkpoints; by default one a minute."""

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        known = inputs["tokens"].tokens or inputs["tokens"].text_bytes / 4
        vocabulary = 8192
        layout = settled_shape(self, tokens=int(known), vocab_size=vocabulary, flops=CPU_FLOPS).layout()
        parameters = layout.parameters(vocabulary, self.length)
        per_step = self.batch * self.length * layout.flops_per_token(vocabulary, self.length) / CPU_FLOPS
        steps = planned_steps(
            self, rows=int(known / self.length), batch=self.batch, tokens_per_row=self.length, seconds_per_step=per_step
        )
        memory = 18.0 * parameters + 14.0 * 8 * self.length * vocabulary + 6e8
        return Forecast(
            seconds=steps * per_step,
            memory_bytes=memory,
            disk_bytes=4.0 * parameters + 2 * 12.0 * parameters,
            tokens=steps * self.batch * self.length,
            parameters=parameters,
        )

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        from pretune.train.pretraining import pretrain

        return pretrain(self, inputs["tokens"], out, context)


def tokenizer_folder(tokens: Artifact) -> Path:
    """The tokenizer that made these tokens, found through the card and known by its id."""
    found = tokens.source("tokenizer") if "tokenizer" in tokens.card.inputs else None
    if found is None:
        hint = "keep the tokenizer beside its tokens, or run the tokens stage again"
        raise BadReference(f"the tokenizer of {tokens.path.as_posix()} is not to be found", hint=hint)
    return found.verify().path


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


def validation_rows(stage: PretrainStage, store: Store | None, vocabulary: Vocabulary) -> list[Row]:
    """Blocks of the validation split, evenly spread, at most 128."""
    from pretune.tokens.packing import Blocks
    from pretune.train.stream import block_row

    if store is None or store.num_tokens < 2:
        return []
    masked = stage.objective.kind == "masked"
    blocks = Blocks(store, stage.length - 1 if masked else stage.length)
    number = min(len(blocks), VALIDATION_ROWS)
    chosen = [i * len(blocks) // number for i in range(number)]
    return [block_row(blocks, k, vocabulary.cls if masked else None) for k in chosen]


def need_text(store: Store, length: int) -> None:
    if store.num_tokens < 2:
        raise EmptyInput("the training split holds no tokens", hint="give more text")
