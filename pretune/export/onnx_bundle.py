"""Exporter onnx: one graph file, run by onnxruntime without torch, compared with its model before it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from pretune.base.json import Json
from pretune.export.blocks import Blocks, Given
from pretune.export.exporter import Exporter, Job, Proof

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from pretune.export.factors import Factors

GRAPH = "model.onnx"
BITS = {"int8": 8, "int4": 4}


class Onnx(Exporter):
    """An ONNX graph with one copy of the weights."""

    extras: ClassVar[tuple[str, ...]] = ("export",)
    keeps_adapters: ClassVar[bool] = True

    precision: Literal["weights", "dynamic", "int8", "int4"] = "weights"
    """weights: the folder's own function, with what was rounded stored as it was rounded. The others are inexact, and
    judged by min_agreement: dynamic, int8 activations too; int8 and int4, weights in blocks (a rounded folder's own
    scales are taken)."""
    block: Literal[32, 128] = 32
    """Weights that share a scale, of precision=int8 and int4; a larger block is smaller and less exact."""
    symmetric: bool = True
    """Whether the weights of precision=int8 and int4 are counted from 0; else each block has a zero point too."""
    activations: Literal["int8", "float32"] = "int8"
    """What the products of precision=int8 and int4 read: int8 with a scale for each block is several times faster."""
    prompts: int = Field(50, gt=0)
    """Prompts on which a language model's greedy answers are compared."""
    tokens: int = Field(64, gt=0)
    """Tokens of each answer that is compared."""
    max_logit_difference: float = Field(1e-3, gt=0)
    """How far a logit, or a vector at length 1, may lie from the model's; asked of precision=weights alone."""
    min_agreement: float = Field(0.9, gt=0, le=1)
    """Share of labels or greedy tokens that must agree with the model's; with precision=weights all must."""

    def write(self, job: Job) -> Json:
        from pretune.compress.quantise import read_scales
        from pretune.export.graph import graph_of
        from pretune.model.generate import module_of

        assert job.ready is not None, "a model is opened before it is exported"
        model = module_of(job.ready)
        scales: Mapping[str, np.ndarray] = read_scales(job.source)
        if self.precision == "dynamic" and not scales:
            model, scales = rounded_copy(model)
        steps, factors = _given(job.source)
        dynamic = self.precision == "dynamic"
        graph = graph_of(model, scales, dynamic=dynamic, blocks=self.blocks, steps=steps, factors=factors)
        for name, content in {GRAPH: graph.content, **graph.more}.items():
            (job.out / name).write_bytes(content)
        return {**graph.facts, "graph": GRAPH, "precision": self.precision}

    @property
    def blocks(self) -> Blocks | None:
        """How weights are stored in blocks, if they are."""
        if self.precision not in BITS:
            return None
        return Blocks(BITS[self.precision], self.block, self.symmetric, self.activations == "float32")

    def prove(self, job: Job) -> Proof:
        from pretune.export.parity import Parity, Thresholds, inputs_for, same_tokens
        from pretune.infer.load import open_bundle

        assert job.ready is not None, "a model is opened before it is exported"
        exact = Thresholds(self.max_logit_difference, 1.0)
        limits = Thresholds(None, self.min_agreement) if self.precision != "weights" else exact
        tokens = same_tokens(job.source, job.out.parent)
        made, asked = open_bundle(job.out.parent), inputs_for(job.data, job.ready)
        found = job.ready.compare(made, asked, most_written=self.prompts, num_tokens=self.tokens)
        parity = Parity(found, limits).demand()
        size, near = sum(path.stat().st_size for path in job.out.glob("*.onnx")), found.max_logit_difference
        same = f"{found.decisions - found.different} of {found.decisions} {found.compared}"
        told = f"onnx: {same} as the model's, logits within {near:.1e}, {size / 1e6:.1f} MB"
        metrics = {"bytes": size, "agreement": found.agreement, "max_logit_difference": near}
        return Proof({**parity.to_json(), "tokens": tokens}, metrics, told)


def _given(folder: Path) -> tuple[dict[str, Given], dict[str, Factors]]:
    """What a folder's compressor brings: steps of int4 weights, and factors of low rank."""
    from pretune.compress.grid import read_grids
    from pretune.compress.low_rank import read_factors

    grids = read_grids(folder)
    steps = {name: Given(one.scales_OG.numpy(), one.zeros_OG.numpy(), one.size) for name, one in grids.items()}
    return steps, {name: (left.numpy(), right.numpy()) for name, (left, right) in read_factors(folder).items()}


def rounded_copy(model: PreTrainedModel) -> tuple[PreTrainedModel, Mapping[str, np.ndarray]]:
    """A copy of a torch model on the int8 grid, and its scales; the model itself stays."""
    from copy import deepcopy

    from pretune.compress.compressor import Work
    from pretune.compress.quantise import SCALES, Int8

    rounded = deepcopy(model)
    compressed = Int8(kind="int8").compress(Work(rounded))
    return rounded, {name: scale.numpy() for name, scale in compressed.files[SCALES].items()}
