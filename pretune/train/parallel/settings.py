"""How the processes of a run stand to each other: a mesh with four directions. No torch here.

    parallel={data: 2, shard: 2}      rank   0   1   2   3
                                      data   0   0   1   1      whole copies of the model
                                      shard  0   1   0   1      halves of each copy's weights, gradients, moments

What is trained is the same whatever the mesh: settings of how, not of what.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from pydantic import Field

from pretune.base.config import Config
from pretune.base.errors import NotSupported, WrongValue


class Parallel(Config):
    """How many processes share what."""

    data: int | None = Field(None, gt=0)
    """Groups of processes that each hold the model once and read rows of their own; by default what the others leave of
    the processes."""
    shard: int = Field(1, gt=0)
    """Processes that hold a part of every weight, gradient and moment each, put weights together while a block is
    computed, and read rows of their own (FSDP2, arXiv:2304.11277): memory falls with their number."""
    tensor: int = Field(1, gt=0)
    """Processes that compute a part of every block each, over the same rows (arXiv:1909.08053); divides the heads."""
    pipeline: int = Field(1, gt=0)
    """Processes that hold some of the blocks each and hand states on, micro-batch after micro-batch
    (arXiv:1811.06965, arXiv:2104.04473)."""

    def sizes(self, world: int) -> tuple[int, int, int, int]:
        """(data, pipeline, shard, tensor) of so many processes, from the outermost to those whose ranks are neighbours.

        Raises:
            WrongValue: they do not fit; NotSupported: two directions do not go together.
        """
        if self.pipeline > 1 and self.shard > 1:
            problem = "parallel.pipeline with parallel.shard: there is no way yet"
            raise NotSupported(problem, hint="parallel.tensor goes with both")
        inner = self.shard * self.tensor * self.pipeline
        data = self.data if self.data is not None else max(1, world // inner)
        if data * inner != world:
            told = f"{self.told(data)} asks for {data * inner} processes, and there are {world}"
            raise WrongValue(told, hint=f"start it with nproc={data * inner}, or change parallel")
        return data, self.pipeline, self.shard, self.tensor

    def told(self, data: int) -> str:
        named = {"data": data, "shard": self.shard, "tensor": self.tensor, "pipeline": self.pipeline}
        return "parallel={" + ", ".join(f"{name}: {size}" for name, size in named.items() if size > 1) + "}"

    @property
    def is_cut(self) -> bool:
        """Whether a process holds less than the whole model."""
        return prod((self.shard, self.tensor, self.pipeline)) > 1

    def check(self, world: int, *, batch: int, micro_batch: int | None) -> None:
        """Raise WrongValue where so many processes, or the rows of a step, do not fit this mesh."""
        data, pipeline, shard, _ = self.sizes(world)
        if batch % (data * shard):
            hint = f"batch={-(-batch // (data * shard)) * data * shard}, or another number of processes"
            told = f"a batch of {batch} rows cannot be dealt evenly to {data * shard} processes"
            raise WrongValue(told, hint=hint)
        rows = batch // (data * shard)
        passes = -(-rows // micro_batch) if micro_batch else rows
        if passes < pipeline:
            told = f"{passes} micro-batches of {micro_batch or 1} rows are fewer than the {pipeline} stages"
            hint = f"batch={pipeline * data * shard * (micro_batch or 1)}, or a smaller micro_batch"
            raise WrongValue(f"parallel.pipeline={pipeline}: {told}", hint=hint)


def check_heads(config: Mapping[str, Any], tensor: int) -> None:
    """Raise WrongValue where heads, or hidden units, of a model cannot be dealt evenly to so many processes.

    Args:
        config: its config.json, or the settings of its shape.
    """
    told = {
        "query heads": config.get("num_attention_heads", config.get("heads")),
        "key and value heads": config.get("num_key_value_heads", config.get("kv_heads")),
        "hidden units": config.get("intermediate_size", config.get("hidden")),
    }
    for what, number in told.items():
        if number is not None and number % tensor:
            fitting = [n for n in range(2, tensor) if not any(k and k % n for k in told.values())]
            hint = f"parallel.tensor={fitting[-1]}" if fitting else "parallel.shard deals any model"
            raise WrongValue(f"parallel.tensor={tensor} does not divide the {number} {what} of a block", hint=hint)


def check_model(config: Mapping[str, Any], parallel: Parallel) -> None:
    """`check_heads`, and raise WrongValue where a model has fewer blocks than stages."""
    check_heads(config, parallel.tensor)
    layers = config.get("num_hidden_layers", config.get("n_layer", config.get("layers")))
    if layers is not None and layers < parallel.pipeline:
        problem = f"parallel.pipeline={parallel.pipeline} is more than the {layers} blocks of the model"
        raise WrongValue(problem, hint=f"parallel.pipeline={layers} at most, and parallel.shard for the rest")
