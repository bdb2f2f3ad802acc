"""Exporter onnx: one graph file, run by onnxruntime without torch, compared with its model before it is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pretune.export.exporter import Exported, Exporter, Job

GRAPH = "onnx/model.onnx"


class Onnx(Exporter):
    """An ONNX graph with one copy of the weights."""

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

    def export(self, job: Job) -> Exported:
        from pretune.export.graph import write_graph
        from pretune.model.folder import copy_tokenizer
        from pretune.model.generate import open_folder

        ready = open_folder(job.model)
        graph = self._graph(ready, job.model)
        bundle = {**about(ready, job.model), **graph.facts, "graph": GRAPH, "precision": self.precision}
        with tried(job.out) as part:
            write_graph(graph, part / GRAPH)
            copy_tokenizer(job.model, part)
            (part / "bundle.json").write_text(to_json(bundle), encoding="utf-8")
            parity = self._compared(ready, part, job.data).demand()
        same = f"{parity.decisions - parity.different} of {parity.decisions} {parity.compared}"
        size, near = len(graph.content), parity.max_logit_difference
        job.tell(f"    onnx: {same} as the model's, logits within {near:.1e}, {size / 1e6:.1f} MB")
        metrics = {"bytes": size, "agreement": parity.agreement, "max_logit_difference": near}
        return Exported(bundle, parity.to_json(), metrics)

    def _graph(self, ready: Any, folder: Path) -> Any:
        from pretune.compress.quantise import read_scales
        from pretune.compress.stage import torch_model
        from pretune.export.graph import graph_of

        model = torch_model(ready)
        scales: Mapping[str, np.ndarray] = read_scales(folder)
        if self.precision == "dynamic" and not scales:
            model, scales = rounded_copy(model)
        return graph_of(model, scales, dynamic=self.precision == "dynamic")

    def _compared(self, ready: Any, made: Path, data: Path | None) -> Any:
        from pretune.export import parity
        from pretune.infer.classify import TextClassifier
        from pretune.infer.load import open_bundle

        limits = parity.Thresholds(self.max_logit_difference, 1.0)
        if self.precision == "dynamic":
            limits = parity.Thresholds(None, self.min_agreement)
        bundle = open_bundle(made)
        if isinstance(bundle, TextClassifier):
            return parity.compare_classifiers(ready, bundle, parity.texts_for(data), limits=limits)
        prompts = parity.prompts_for(ready, data, number=self.prompts, num_tokens=self.tokens)
        prompts.append(parity.longest_prompt(ready))
        return parity.compare_decoders(ready, bundle, prompts, num_tokens=self.tokens, limits=limits)


def rounded_copy(model: Any) -> tuple[Any, Mapping[str, np.ndarray]]:
    """A copy of a torch model on the int8 grid, and its scales; the model itself stays."""
    from copy import deepcopy

    from pretune.compress.quantise import SCALES, Int8

    rounded = deepcopy(model)
    compressed = Int8(kind="int8").compress(rounded)
    return rounded, {name: scale.numpy() for name, scale in compressed.files[SCALES].items()}


def about(ready: Any, folder: Path) -> dict[str, Any]:
    """What `bundle.json` says of any format: task, labels, limits, control tokens."""
    from pretune.compress.stage import torch_model
    from pretune.infer.classify import TextClassifier
    from pretune.tokens.encode.tokenizer import special_ids

    pad = torch_model(ready).config.pad_token_id
    common = {"format": 1, "pad_id": pad if pad is not None else special_ids(folder).pad}
    if isinstance(ready, TextClassifier):
        return {**common, "task": "classify", "labels": ready.labels, "max_length": ready.max_length, "eos_ids": []}
    task = "chat" if ready.chat is not None else "complete"
    limits = {"max_length": ready.decoder.max_length, "eos_ids": list(ready.eos_ids)}
    return {**common, "task": task, "labels": None, **limits}


@contextmanager
def tried(out: Path) -> Iterator[Path]:
    """A folder whose files are put into `out` at the end of the block; after an error nothing of it is left.

    The bundle may hold another format already, which shares the tokenizer's files: they are not touched before.
    """
    part = out / "onnx.tried"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        for path in [p for p in sorted(part.rglob("*")) if p.is_file()]:
            place = out / path.relative_to(part)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    finally:
        shutil.rmtree(part)


def to_json(tree: Any) -> str:
    return json.dumps(tree, indent=2, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"
