"""The engine on onnxruntime: the graph in a bundle's `onnx/`, with the names that every exporter uses.

    decoder   input_ids, attention_mask, position_ids, past_key_values.{i}.key/.value  ──▶  logits, present.{i}...
    encoder   input_ids, attention_mask (, token_type_ids)                             ──▶  logits
    both      a graph that reads a source, and a decoder that is given keys and values of it

*B rows, L positions, P positions in the cache, V vocabulary.*
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pretune.base.errors import BadFile, NotSupported
from pretune.base.extras import need
from pretune.base.json import JsonMap
from pretune.infer.engine import by_length, left_padded, padded, token_types
from pretune.tokens.encode.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, OrtValue

NUM_LOGITS = "num_logits"
"""The input of a decoder's graph that says of how many last positions logits are wanted; of one without it is given."""
PARTS = ("key", "value")
Cache = dict[str, "OrtValue"]
"""Keys and values of every layer, by the names of the graph's inputs."""


@dataclass(frozen=True)
class OrtState:
    """Rows that were read.

    Args:
        lengths_B: their tokens; in the cache they are padded on the left to the longest.
    """

    cache: Cache
    lengths_B: np.ndarray


def of_bundle(folder: Path, about: JsonMap) -> OrtDecoder | OrtEncoder | OrtTranslator:
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
    decoder = OrtDecoder(session, vocab_size, about["max_length"], *sizes)
    if "encoder" not in facts:
        return decoder
    return OrtTranslator(decoder, open_session(_graph(folder, facts["encoder"])), about["more"]["apart"][0])


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

    @property
    def joins(self) -> bool:
        """Graphs of decoders have masks that hide padding."""
        return True

    @property
    def position_bytes(self) -> int:
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * np.dtype(np.float32).itemsize

    def start(self) -> OrtState:
        """Nothing yet; the number of rows is known with the first tokens."""
        return OrtState({}, np.zeros(0, dtype=np.int64))

    def feed(self, state: OrtState, ids_BL: np.ndarray) -> tuple[np.ndarray, OrtState]:
        """float32 logits_BV of the last position, and the cache."""
        rows, length = ids_BL.shape
        past, lengths_B = (state.cache, state.lengths_B) if state.cache else self._empty(rows)
        found = _run(self.session, {**self._inputs(ids_BL, lengths_B), **past})
        logits_BV = np.asarray(found["logits"].numpy()[:, -1], dtype=np.float32)
        return logits_BV, OrtState({_past(n): v for n, v in found.items() if n != "logits"}, lengths_B + length)

    def select(self, state: OrtState, rows: np.ndarray) -> OrtState:
        lengths_B = state.lengths_B[rows]
        first = state.lengths_B.max() - lengths_B.max()
        return OrtState({n: _value(v.numpy()[rows, :, first:]) for n, v in state.cache.items()}, lengths_B)

    def join(self, states: Sequence[OrtState]) -> OrtState:
        lengths_B = np.concatenate([state.lengths_B for state in states])
        sides = {n: [state.cache[n].numpy() for state in states] for n in states[0].cache}
        return OrtState({n: _value(_stacked(parts, lengths_B.max())) for n, parts in sides.items()}, lengths_B)

    def cut(self, state: OrtState, row: int, length: int) -> OrtState:
        first = state.lengths_B.max() - state.lengths_B[row]
        part = slice(row, row + 1), slice(None), slice(first, first + length)
        # A copy: onnxruntime holds on to the array it is given, and a view would keep all rows in memory.
        return OrtState({n: _value(v.numpy()[part].copy()) for n, v in state.cache.items()}, np.array([length]))

    def whole(self, ids_BL: np.ndarray, keep: int) -> np.ndarray:
        """float32 logits_BKV of the last `keep` positions; step by step if the graph gives those of the last only."""
        if any(one.name == NUM_LOGITS for one in self.session.get_overridable_initializers()):
            past, lengths_B = self._empty(len(ids_BL))
            asked = {**self._inputs(ids_BL, lengths_B), **past, NUM_LOGITS: _value(np.array([keep]))}
            (logits,) = self.session.run_with_ort_values(["logits"], asked)
            return np.asarray(logits.numpy(), dtype=np.float32)
        state, found = self.start(), []
        first = ids_BL.shape[1] - keep + 1
        for fresh_BL in np.split(ids_BL, range(first, ids_BL.shape[1]), axis=1):
            logits_BV, state = self.feed(state, fresh_BL)
            found.append(logits_BV)
        return np.stack(found, axis=1)

    def _inputs(self, ids_BL: np.ndarray, lengths_B: np.ndarray) -> Cache:
        """What the graph asks for, of the usual three."""
        mask_BT, positions_BL = left_padded(lengths_B, ids_BL.shape[1])
        usual = {"input_ids": ids_BL.astype(np.int64), "attention_mask": mask_BT, "position_ids": positions_BL}
        return {i.name: _value(usual[i.name]) for i in self.session.get_inputs() if i.name in usual}

    def _empty(self, rows: int) -> tuple[Cache, np.ndarray]:
        shape = (rows, self.num_kv_heads, 0, self.head_dim)
        names = [f"past_key_values.{i}.{part}" for i in range(self.num_layers) for part in PARTS]
        return {name: _value(np.zeros(shape, dtype=np.float32)) for name in names}, np.zeros(rows, dtype=np.int64)


@dataclass(frozen=True)
class OrtTranslator:
    """An encoder-decoder: what is fed first is the source, whole rows, and the answer begins with `first`."""

    decoder: OrtDecoder
    encoder: InferenceSession
    first: int

    @property
    def vocab_size(self) -> int:
        return self.decoder.vocab_size

    @property
    def max_length(self) -> int:
        """Of a source, and of an answer."""
        return self.decoder.max_length

    def start(self) -> Cache:
        """Nothing is read yet."""
        return {}

    def feed(self, state: Cache, ids_BL: np.ndarray) -> tuple[np.ndarray, Cache]:
        """float32 logits_BV of what comes next in the answer; the state holds what the decoder asks of the source."""
        if not state:
            state, ids_BL = self._read(ids_BL), np.full((len(ids_BL), 1), self.first)
        rows, length = ids_BL.shape
        mask = np.ones((rows, state["past_key_values.0.decoder.key"].shape()[2] + length), dtype=np.int64)
        given = {"input_ids": _value(ids_BL.astype(np.int64)), "attention_mask": _value(mask), **state}
        found = _run(self.decoder.session, given)
        fresh = {_past(name): value for name, value in found.items() if name != "logits"}
        return np.asarray(found["logits"].numpy()[:, -1], dtype=np.float32), {**state, **fresh}

    def _read(self, ids_BS: np.ndarray) -> Cache:
        """Keys and values of a source, and an empty answer."""
        mask = _value(np.ones(ids_BS.shape, dtype=np.int64))
        found = _run(self.encoder, {"input_ids": _value(ids_BS.astype(np.int64)), "attention_mask": mask})
        empty = _value(np.zeros((len(ids_BS), self.decoder.num_kv_heads, 0, self.decoder.head_dim), np.float32))
        names = [f"past_key_values.{i}.decoder.{part}" for i in range(self.decoder.num_layers) for part in PARTS]
        read = {_past(name): value for name, value in found.items()}
        return {**read, **dict.fromkeys(names, empty), "encoder_attention_mask": mask}

    def select(self, state: Cache, rows: np.ndarray) -> Cache:
        return {name: _value(value.numpy()[rows]) for name, value in state.items()}

    def whole(self, ids_BL: np.ndarray, keep: int) -> np.ndarray:
        raise NotSupported("a source and its answer are not one row in an encoder-decoder")


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


def _run(session: InferenceSession, given: Cache) -> Cache:
    """All outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run_with_ort_values(names, given), strict=True))


def _past(name: str) -> str:
    return name.replace("present", "past_key_values")


def _value(array: np.ndarray) -> OrtValue:
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def _stacked(parts: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Keys or values of several states [B, H, P, D], padded on the left to one width."""
    wide = [np.pad(part, ((0, 0), (0, 0), (width - part.shape[2], 0), (0, 0))) for part in parts]
    return np.concatenate(wide)
