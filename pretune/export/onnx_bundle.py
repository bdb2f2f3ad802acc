"""Exporter onnx: one graph file, run by onnxruntime without torch, compared with its model before it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from pretune.base.json import Json
from pretune.export.exporter import Exporter, Job, Proof

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GRAPH = "model.onnx"


class Onnx(Exporter):
    """An ONNX graph with one copy of the weights."""

    extras: ClassVar[tuple[str, ...]] = ("export",)

    precision: Literal["weights", "dynamic"] = "weights"
    """weights: the folder's own function, with int8 weights stored as int8; dynamic: int8 activations too (inexact)."""
    prompts: int = Field(20, gt=0)
    """Prompts on which a language model's greedy answers are compared."""
    tokens: int = Field(32, gt=0)
    """Tokens of each answer that is compared."""
    max_logit_difference: float = Field(1e-3, gt=0)
    """How far a logit may lie from the model's; not asked of precision=dynamic."""
    min_agreement: float = Field(0.9, gt=0, le=1)
    """Share of labels or greedy tokens that must agree with precision=dynamic; otherwise all must."""

    def write(self, job: Job) -> Json:
        from pretune.compress.quantise import read_scales
        from pretune.export.graph import graph_of
        from pretune.model.folder import check_plain
        from pretune.model.generate import module_of

        assert job.ready is not None, "a model is opened before it is exported"
        model = module_of(job.ready)
        check_plain(model)
        scales: Mapping[str, np.ndarray] = read_scales(job.source)
        if self.precision == "dynamic" and not scales:
            model, scales = rounded_copy(model)
        graph = graph_of(model, scales, dynamic=self.precision == "dynamic")
        (job.out / GRAPH).write_bytes(graph.content)
        return {**graph.facts, "graph": GRAPH, "precision": self.precision}

    def prove(self, job: Job) -> Proof:
        from pretune.export.parity import Parity, Thresholds, inputs_for
        from pretune.infer.load import open_bundle

        assert job.ready is not None, "a model is opened before it is exported"
        exact = Thresholds(self.max_logit_difference, 1.0)
        limits = Thresholds(None, self.min_agreement) if self.precision == "dynamic" else exact
        made, asked = open_bundle(job.out.parent), inputs_for(job.data, job.ready)
        found = job.ready.compare(made, asked, most_written=self.prompts, num_tokens=self.tokens)
        parity = Parity(found, limits).demand()
        size, near = (job.out / GRAPH).stat().st_size, found.max_logit_difference
        same = f"{found.decisions - found.different} of {found.decisions} {found.compared}"
        told = f"onnx: {same} as the model's, logits within {near:.1e}, {size / 1e6:.1f} MB"
        metrics = {"bytes": size, "agreement": found.agreement, "max_logit_difference": near}
        return Proof(parity.to_json(), metrics, told)


def rounded_copy(model: PreTrainedModel) -> tuple[PreTrainedModel, Mapping[str, np.ndarray]]:
    """A copy of a torch model on the int8 grid, and its scales; the model itself stays."""
    from copy import deepcopy

    from pretune.compress.quantise import SCALES, Int8

    rounded = deepcopy(model)
    compressed = Int8(kind="int8").compress(rounded)
    return rounded, {name: scale.numpy() for name, scale in compressed.files[SCALES].items()}
