"""The engine on onnxruntime: the graph in a bundle's `onnx/`, with the names that every exporter uses.

    decoder   input_ids, attention_mask, position_ids, past_key_values.{i}.key/.value  ──▶  logits, present.{i}...
    encoder   input_ids, attention_mask (, token_type_ids)                             ──▶  logits

*B rows, L positions, P positions in the cache, V vocabulary.*
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pretune.base.errors import BadFile
from pretune.base.extras import need
from pretune.base.json import JsonMap
from pretune.infer.engine import by_length, padded, token_types
from pretune.tokens.encode.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, OrtValue

Cache = dict[str, "OrtValue"]
"""Keys and values of every layer, by the names of the graph's inputs."""


def of_bundle(folder: Path, about: JsonMap) -> OrtDecoder | OrtEncoder:
    """The engine of a bundle's graph.

    Args:
        folder: the format's own folder; about: the whole of `bundle.json`.

    Raises:
        BadFile: the graph is not there, or broken; MissingExtra.
    """
    facts = about["formats"][folder.name]
    session = open_session(_graph(folder, facts["graph"]))
    if "num_layers" not in facts:
        separator = next(iter(about.get("between", ())), None)
        return OrtEncoder(session, about["max_length"], about.get("pad_id"), separator)
    width = next(o.shape[-1] for o in session.get_outputs() if o.name == "logits")
    vocab_size = width if isinstance(width, int) else load_tokenizer(folder.parent).get_vocab_size()
    sizes = (facts[name] for name in ("num_layers", "num_kv_heads", "head_dim"))
    return OrtDecoder(session, vocab_size, about["max_length"], *sizes)


def _graph(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise BadFile(f"{folder.parent.as_posix()}/bundle.json names a graph that is not there: {name!r}")
    return path


def open_session(graph: Path) -> InferenceSession:
    """An onnxruntime session on the CPU.

    Raises:
        MissingExtra: onnxruntime is not installed.
        BadFile: the graph cannot be read.
    """
    need(["bundle"])
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        hint = "export the model again"
        raise BadFile(f"{graph.as_posix()} is no graph that onnxruntime reads: {error}", hint=hint) from None


@dataclass(frozen=True)
class OrtDecoder:
    """A decoder's graph. The cache stays inside onnxruntime from token to token."""

    session: InferenceSession
    vocab_size: int
    max_length: int
    num_layers: int
    num_kv_heads: int
    head_dim: int

    def start(self) -> Cache:
        """Nothing yet; the number of rows is known with the first tokens."""
        return {}

    def feed(self, state: Cache, ids_BL: np.ndarray) -> tuple[np.ndarray, Cache]:
        """float32 logits_BV of the last position, and the cache."""
        past = state or self._empty(len(ids_BL))
        inputs = self._inputs(ids_BL.astype(np.int64), past["past_key_values.0.key"].shape()[2])
        names = [output.name for output in self.session.get_outputs()]
        found = dict(zip(names, self.session.run_with_ort_values(names, {**inputs, **past}), strict=True))
        logits_BV = np.asarray(found["logits"].numpy()[:, -1], dtype=np.float32)
        return logits_BV, {n.replace("present", "past_key_values"): v for n, v in found.items() if n != "logits"}

    def select(self, state: Cache, rows: np.ndarray) -> Cache:
        return {name: _value(value.numpy()[rows]) for name, value in state.items()}

    def whole(self, ids_BL: np.ndarray, keep: int) -> np.ndarray:
        """float32 logits_BKV of the last `keep` positions, step by step: the graph gives those of the last one only."""
        state, found = self.start(), []
        first = ids_BL.shape[1] - keep + 1
        for fresh_BL in np.split(ids_BL, range(first, ids_BL.shape[1]), axis=1):
            logits_BV, state = self.feed(state, fresh_BL)
            found.append(logits_BV)
        return np.stack(found, axis=1)

    def _inputs(self, ids_BL: np.ndarray, num_past: int) -> dict[str, OrtValue]:
        """What the graph asks for, of the usual three."""
        rows, length = ids_BL.shape
        positions_BL = np.tile(np.arange(num_past, num_past + length, dtype=np.int64), (rows, 1))
        mask = np.ones((rows, num_past + length), dtype=np.int64)
        usual = {"input_ids": ids_BL, "attention_mask": mask, "position_ids": positions_BL}
        return {i.name: _value(usual[i.name]) for i in self.session.get_inputs() if i.name in usual}

    def _empty(self, rows: int) -> Cache:
        shape = (rows, self.num_kv_heads, 0, self.head_dim)
        names = [f"past_key_values.{i}.{part}" for i in range(self.num_layers) for part in ("key", "value")]
        return {name: _value(np.zeros(shape, dtype=np.float32)) for name in names}


@dataclass(frozen=True)
class OrtEncoder:
    """The graph of what scores rows or their tokens."""

    session: InferenceSession
    max_length: int
    pad_id: int | None
    separator: int | None = None

    def logits(self, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """float32 logits of each row; rows of like length run together."""
        return by_length(rows, self._run)

    def _run(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        ids_BL, mask_BL = padded(rows, self.pad_id or 0)
        none = -1  # of no token: all types are 0
        types_BL = token_types(ids_BL, mask_BL, none if self.separator is None else self.separator)
        usual = {"input_ids": ids_BL, "attention_mask": mask_BL, "token_type_ids": types_BL}
        wanted = [i.name for i in self.session.get_inputs()]
        return np.asarray(self.session.run(None, {name: usual[name] for name in wanted})[0], dtype=np.float32)


def _value(array: np.ndarray) -> OrtValue:
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(array)
