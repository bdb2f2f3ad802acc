"""The step of a pretraining run in the words of its forecast: the model of a shape, with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pretune.model.attention import register_attention
from pretune.model.build import build_model
from pretune.model.shape import Shape
from pretune.objective.objective import Vocabulary
from pretune.tokens.encode.tokenizer import Specials
from pretune.train.forecast.forecasting import CPU, Plan, recomputed
from pretune.train.forecast.rehearsal import weightless
from pretune.train.loop.runtime import Runtime
from pretune.train.run.assembly import training_state
from pretune.train.run.pretrain import PretrainStage

SPECIALS = Specials(bos=None, eos=2, pad=0, unk=None, cls=2, sep=2, mask=1)
"""Of a tokenizer that is not made yet."""


def pretraining_plan(
    stage: PretrainStage, shape: Shape, vocab_size: int, choices: Mapping[str, Any], device: torch.device = CPU
) -> Plan:
    """The step of a model of this shape, with random weights."""
    register_attention()
    length = max(stage.length, 512)
    stage = stage.model_copy(update={"optim": stage.optim.model_copy(update={"offload": "none"})})
    choices = {"compile": False, **choices, "steps": 1000}

    def make() -> Any:
        return build_model(
            shape, vocab_size=vocab_size, max_length=length, specials=SPECIALS, seed=0, attention=choices["attention"]
        )

    def build() -> Any:
        model = weightless(make, device)
        return training_state(model, stage, choices, Runtime(device))

    vocabulary = Vocabulary(size=vocab_size, pad=0, mask=1, cls=2, specials=(0, 1, 2))
    parts = [shape.model_dump(mode="json"), vocab_size, dict(choices), stage.optim.model_dump(mode="json")]
    return Plan(
        build,
        stage.objective,
        vocabulary,
        length=stage.length,
        batch=stage.batch,
        device=device,
        known_by=parts,
        keeps_freed=not choices.get("recomputed"),
    )


def recomputed_blocks(
    stage: PretrainStage,
    shape: Shape,
    vocab_size: int,
    choices: Mapping[str, Any],
    device: torch.device,
    room: float,
) -> int:
    """How many blocks are computed again in the backward pass, so that about 2,048 tokens fit into `room` bytes."""

    def plan(number: int) -> Plan:
        return pretraining_plan(stage, shape, vocab_size, {**choices, "recomputed": number}, device)

    micro = min(stage.micro_batch or -(-2048 // stage.length), stage.batch)  # few tokens: what must fit
    return recomputed(stage.checkpointing, plan, shape.layout().layers, micro, room)
