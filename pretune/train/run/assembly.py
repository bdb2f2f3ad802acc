"""The parts of a pretraining run, and how they are put together: model, state, stream."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pretune.model.attention import register_attention
from pretune.model.build import build_model
from pretune.model.recompute import recompute_blocks
from pretune.model.shape import Shape
from pretune.objective.objective import Vocabulary, plain_model
from pretune.tokens.encode.tokenizer import special_ids
from pretune.tokens.store.packing import Rows
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.steps import Scored, TrainState
from pretune.train.loop.stream import Cut, StoreStream
from pretune.train.optim.float8 import use_float8
from pretune.train.optim.update import Update
from pretune.train.run.pretrain import PretrainStage

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float8": torch.bfloat16}
"""Type of the weights that the model computes with, by precision."""
Choices = dict[str, Any]
"""What a run chose by itself: shape, precision, attention, micro_batch, compile, steps."""


@dataclass(frozen=True)
class Parts:
    """What a pretraining run is made of, before anything is chosen."""

    stage: PretrainStage
    rows: Rows
    tokenizer: Path
    vocabulary: Vocabulary
    runtime: Runtime
    seed: int


def new_model(parts: Parts, shape: Shape, attention: str) -> Any:
    register_attention()
    stage, specials = parts.stage, special_ids(parts.tokenizer)
    size, longest = parts.vocabulary.size, max(stage.length, 512)
    model = build_model(
        shape, vocab_size=size, max_length=longest, specials=specials, seed=parts.seed, attention=attention
    )
    return model.to(parts.runtime.device)


def training_state(
    model: Any, stage: PretrainStage, choices: Choices, runtime: Runtime, folder: Path | None = None
) -> TrainState:
    """A model with its optimizer, as chosen; `folder` is for what is put off to the disk."""
    if choices.get("recomputed", 0):
        recompute_blocks(model, choices["recomputed"])
    optim = stage.optim.settled(choices.get("warmup"))
    update = Update(model, optim, narrow=narrow_of(choices["precision"]), folder=folder)
    if choices["precision"] == "float8":
        use_float8(blocks_of(model))
    if choices["compile"]:
        compile_blocks(model)
    scored: nn.Module = runtime.wrap(Scored(model, stage.objective))
    return TrainState(model=model, scored=scored, update=update, total=int(choices["steps"]))


def narrow_of(precision: str) -> torch.dtype | None:
    """The type that a model computes in, where it is narrower than float32."""
    found = DTYPES[precision]
    return None if found == torch.float32 else found


def new_cut(parts: Parts, micro: int, *, ramp: int = 0) -> Cut:
    """The steps in micro-batches of `micro` rows; the batch grows in the first `ramp` of them."""
    stage, runtime = parts.stage, parts.runtime
    stream = StoreStream(parts.rows, stage.batch, ramp)
    return Cut(stream, stage.objective, parts.vocabulary, parts.seed, micro, runtime.rank, runtime.world)


def mean_share(stage: PretrainStage) -> float:
    """Rows of a step over those of a whole batch, on the average of the run: a ramp has 1/8, 1/4 and 1/2 of them."""
    return 1 - stage.batch_ramp * (1 - (1 / 8 + 1 / 4 + 1 / 2) / 3)


def compile_blocks(model: nn.Module, backend: Any = "inductor") -> None:
    """Compile the blocks of a transformer in place: all are one program, so it is compiled once, not once a layer.

    Embedding, last norm and loss stay as they are: look-ups and products, with nothing to fuse.
    """
    # torch's tracer looks at the .grad of what enters a block, and then warns of having looked.
    warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
    for block in blocks_of(model):
        block.compile(backend=backend, dynamic=False)


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The equal blocks of a model: its longest list of modules of one class."""
    lists = [list(m) for m in plain_model(model).modules() if isinstance(m, nn.ModuleList) and len(m)]
    equal = [blocks for blocks in lists if len({type(block) for block in blocks}) == 1]
    assert equal, f"{type(model).__name__} has no list of blocks"
    return max(equal, key=len)
