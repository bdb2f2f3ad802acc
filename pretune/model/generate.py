"""The engine on torch: a model folder, or a model in memory, behind the protocols of `pretune.infer.engine`.

Everything is computed in float32 unless the model in memory says otherwise: in bf16 greedy texts differ (trap 44).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from pretune.base.errors import NotSupported
from pretune.infer.answers import Text
from pretune.infer.classify import Architecture, Frame, frame_for
from pretune.infer.engine import ROWS_AT_ONCE, Attribution, by_length, left_padded, padded, token_types
from pretune.infer.language import source_frame
from pretune.infer.load import head_of, predictor_of, task_of
from pretune.infer.pooling import KEPT, pooling_of, window_of
from pretune.infer.predictor import Facts, Predictor
from pretune.infer.several import FILE as SEVERAL
from pretune.infer.trusted import read_json
from pretune.model.attribution import attribution
from pretune.model.families import SEES_ALL, SEES_WINDOW, Head, family_named, num_positions, plain_model
from pretune.model.folder import keep, load_model, search_of
from pretune.model.methods import adapter
from pretune.model.methods.adapter import open_adapter
from pretune.model.methods.in_front import has_virtual_tokens
from pretune.model.pooling import said
from pretune.model.several import ManyHeads
from pretune.tokens.encode.tokenizer import special_ids

NO_LIMIT = 1 << 20
"""Tokens of a row, for models whose config names no limit."""


@dataclass(frozen=True)
class TorchState:
    """Rows that were read.

    Args:
        cache: of transformers.
        lengths_B: their tokens; in the cache they are padded on the left to the longest.
    """

    cache: Any
    lengths_B: np.ndarray


def _pairs(state: TorchState) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values [B, H, P, D] of every layer."""
    return [(layer.keys, layer.values) for layer in state.cache.layers]


def _cache(pairs: Sequence[tuple[torch.Tensor, ...]]) -> Any:
    from transformers import DynamicCache

    cache = DynamicCache()
    for number, (keys, values) in enumerate(pairs):
        cache.update(keys, values, number)
    return cache


def _stacked(parts: Sequence[torch.Tensor], width: int) -> torch.Tensor:
    """Keys or values of several states, padded on the left to one width."""
    return torch.cat([torch.nn.functional.pad(part, (0, 0, width - part.shape[2], 0)) for part in parts])


@dataclass(frozen=True)
class TorchDecoder:
    """A causal model with transformers' own cache."""

    model: Any

    @property
    def vocab_size(self) -> int:
        return int(self.model.config.vocab_size)

    @property
    def max_length(self) -> int:
        return longest_of(self.model.config)

    @cached_property
    def joins(self) -> bool:
        """Not where a layer keeps a summary of what it read, or positions cannot be told to the model from outside, or
        turn by the longest row."""
        odd = set(getattr(self.model.config, "layer_types", None) or ()) - {SEES_ALL, SEES_WINDOW}
        takes = inspect.signature(plain_model(self.model).forward).parameters.keys() >= {
            "attention_mask",
            "position_ids",
        }
        turns = turns_by_length(self.model.config)
        return takes and not odd and not turns and not has_virtual_tokens(self.model)

    @cached_property
    def position_bytes(self) -> int:
        _, state = self.feed(self.start(), np.zeros((1, 1), dtype=np.int64))
        return sum(part.nbytes for layer in state.cache.layers for part in (layer.keys, layer.values))

    def start(self) -> TorchState:
        """An empty cache."""
        from transformers import DynamicCache

        # States that join keep every position, of layers with a window too: rows have windows of their own.
        cache = DynamicCache() if self.joins else DynamicCache(config=self.model.config)
        return TorchState(cache, np.zeros(0, dtype=np.int64))

    def feed(self, state: TorchState, ids_BL: np.ndarray) -> tuple[np.ndarray, TorchState]:
        """float32 logits_BV of the last position, and the cache, which grew in place."""
        rows, length = ids_BL.shape
        lengths_B = state.lengths_B if len(state.lengths_B) else np.zeros(rows, dtype=np.int64)
        inputs = {"input_ids": ids_BL}
        if len(set(lengths_B.tolist())) > 1:
            inputs["attention_mask"], inputs["position_ids"] = left_padded(lengths_B, length)
        with torch.inference_mode():
            given = {name: self._tensor(array) for name, array in inputs.items()}
            output = self.model(**given, past_key_values=state.cache, use_cache=True, logits_to_keep=1)
        logits_BV = output.logits[:, -1].float().cpu().numpy()
        return logits_BV, TorchState(output.past_key_values, lengths_B + length)

    def select(self, state: TorchState, rows: np.ndarray) -> TorchState:
        lengths_B, chosen = state.lengths_B[rows], torch.from_numpy(rows).to(self.model.device)
        first = int(state.lengths_B.max() - lengths_B.max())
        if not first:
            state.cache.reorder_cache(chosen)
            return TorchState(state.cache, lengths_B)
        return TorchState(_cache([(k[chosen, :, first:], v[chosen, :, first:]) for k, v in _pairs(state)]), lengths_B)

    def join(self, states: Sequence[TorchState]) -> TorchState:
        lengths_B = np.concatenate([state.lengths_B for state in states])
        width = int(lengths_B.max())
        layers = zip(*(_pairs(state) for state in states), strict=True)
        stacked = [tuple(_stacked(parts, width) for parts in zip(*layer, strict=True)) for layer in layers]
        return TorchState(_cache(stacked), lengths_B)

    def cut(self, state: TorchState, row: int, length: int) -> TorchState:
        first = int(state.lengths_B.max() - state.lengths_B[row])
        part = slice(row, row + 1), slice(None), slice(first, first + length)
        return TorchState(_cache([(k[part].clone(), v[part].clone()) for k, v in _pairs(state)]), np.array([length]))

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)).to(self.model.device)

    def whole(self, ids_BL: np.ndarray, keep: int) -> np.ndarray:
        """float32 logits_BKV of the last `keep` positions, from one forward pass without a cache."""
        with torch.inference_mode():
            logits_BLV = self.model(input_ids=self._tensor(ids_BL), use_cache=False, logits_to_keep=keep).logits
        return np.asarray(logits_BLV[:, -keep:].float().cpu().numpy())


@dataclass(frozen=True)
class TorchTranslator:
    """A model whose encoder reads a source and whose decoder writes: what is fed first is the source, whole rows."""

    model: Any

    @property
    def vocab_size(self) -> int:
        return int(self.model.config.vocab_size)

    @property
    def max_length(self) -> int:
        """Of a source, and of an answer."""
        return longest_of(self.model.config)

    def start(self) -> Any:
        """Nothing is read yet."""
        return None

    def feed(self, state: Any, ids_BL: np.ndarray) -> tuple[np.ndarray, Any]:
        """float32 logits_BV of what comes next in the answer; the state is the encoder's output and the cache."""
        from transformers import DynamicCache, EncoderDecoderCache
        from transformers.modeling_outputs import BaseModelOutput

        ids = torch.from_numpy(np.ascontiguousarray(ids_BL, dtype=np.int64)).to(self.model.device)
        with torch.inference_mode():
            if state is None:
                states_BLD = self.model.get_encoder()(input_ids=ids)[0]
                state = states_BLD, EncoderDecoderCache(DynamicCache(), DynamicCache())
                ids = torch.full_like(ids[:, :1], self.model.config.decoder_start_token_id)
            states_BLD, cache = state
            output = self.model(
                encoder_outputs=BaseModelOutput(states_BLD),
                decoder_input_ids=ids,
                past_key_values=cache,
                use_cache=True,
            )
        return output.logits[:, -1].float().cpu().numpy(), (states_BLD, output.past_key_values)

    def select(self, state: Any, rows: np.ndarray) -> Any:
        states_BLD, cache = state
        chosen = torch.from_numpy(rows).to(self.model.device)
        cache.reorder_cache(chosen)
        return states_BLD[chosen], cache

    def whole(self, ids_BL: np.ndarray, keep: int) -> np.ndarray:
        raise NotSupported("a source and its answer are not one row in an encoder-decoder")


@dataclass(frozen=True)
class TorchEncoder:
    """A model that scores rows or their tokens, called as in training: padded on the right, with a mask.

    Args:
        separator: behind which tokens are of the second type; None for a model without types.
        blank_id: the token that says nothing, the mask; None where there is none.
    """

    model: Any
    pad_id: int | None
    separator: int | None = None
    blank_id: int | None = None

    @property
    def max_length(self) -> int:
        return longest_of(self.model.config)

    def logits(self, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """float32 logits of each row; rows of like length run together."""
        return by_length(rows, self._run, at_once=ROWS_AT_ONCE if self.pad_id is not None else 1)

    def attribution(
        self, ids: Sequence[int], words: Sequence[Sequence[int]], direction_C: Sequence[float]
    ) -> Attribution:
        """What the tokens of a row added to direction . logits, by integrated gradients."""
        return attribution(self.model, self._inputs([ids]), words, direction_C, blank=self.blank_id)

    def _run(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        with torch.inference_mode():
            inputs = self._inputs(rows)
            logits = said(self.model, self.model(**inputs), inputs["attention_mask"])
        return np.asarray(logits.float().cpu().numpy())

    def _inputs(self, rows: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        ids_BL, mask_BL = padded(rows, self.pad_id or 0)
        inputs = {"input_ids": ids_BL, "attention_mask": mask_BL}
        if self.separator is not None:
            inputs["token_type_ids"] = token_types(ids_BL, mask_BL, self.separator)
        return {name: torch.from_numpy(array).to(self.model.device) for name, array in inputs.items()}


def open_folder(path: str | Path) -> Predictor:
    """The model or adapter folder at `path`, in float32 on the CPU.

    Raises:
        NotSupported: no tokenizer.json, no safetensors, or no head that answers.
        NoSuchFile: an adapter's base model is gone.
        DoesNotFit: the weights need more memory than is free.
    """
    folder = Path(path)
    if not (folder / "tokenizer.json").is_file():
        hint = "convert the tokenizer to tokenizer.json (transformers does: AutoTokenizer(...).save_pretrained)"
        raise NotSupported(f"{folder.as_posix()} has no tokenizer.json", hint=hint)
    if (folder / SEVERAL).is_file():
        names = ", ".join(read_json(folder / SEVERAL))
        raise NotSupported(f"{folder.as_posix()} answers several tasks", hint=f"name the folder of one: {names}")
    model = open_adapter(folder) if (folder / "adapter_config.json").is_file() else _plain(folder)
    return from_objects(model, folder)


def open_next_to(path: str | Path, base: str | Path, body: Any) -> Predictor:
    """The adapter folder at `path` around the weights of a model of its base that is in memory already."""
    return from_objects(adapter.open_next_to(Path(path), Path(base), body), path)


def open_heads(path: str | Path) -> dict[str, Predictor]:
    """What answers each task of a folder of several, by name; the body is in memory once."""
    folder = Path(path)
    models = {name: open_adapter(folder / name) for name in read_json(folder / SEVERAL)}
    return {name: from_objects(model, folder / name) for name, model in ManyHeads(models).heads.items()}


def from_objects(model: Any, tokenizer_folder: str | Path) -> Predictor:
    """A model in memory, put into eval mode, with the tokenizer of a folder; what it answers is known by its class."""
    model.eval()
    folder = Path(tokenizer_folder)
    found = task_of([type(plain_model(model)).__name__], folder, model.config.to_dict())
    assert found is not None, f"{type(model).__name__} has a head that answers"
    make: Maker = ENGINES.get(found[1], scoring)
    engine, facts = make(model, folder, found)
    return predictor_of(engine, folder, facts)


def module_of(predictor: Predictor) -> Any:
    """The torch module that answers; None where another engine does."""
    engine = predictor.engine
    return engine.model if isinstance(engine, TorchDecoder | TorchTranslator | TorchEncoder) else None


def architecture_of(model_type: str) -> Architecture:
    """How the family reads a text: `encoder` or `decoder`."""
    return family_named(model_type).architecture_of(model_type)


def end_ids(model: Any) -> tuple[int, ...]:
    """The end tokens that the model's config and generation config name."""
    settings = (model.config, getattr(model, "generation_config", None))
    named = [getattr(setting, "eos_token_id", None) for setting in settings if setting is not None]
    lists = [[n] if isinstance(n, int) else n or [] for n in named]
    return tuple(sorted({int(token) for group in lists for token in group}))


def read_length(folder: Path, config: Any) -> int:
    """How many tokens a classifier reads: `model_max_length`, at most the model's positions."""
    said = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("model_max_length")
    return int(min(said or NO_LIMIT, longest_of(config)))


def turns_by_length(config: Any) -> bool:
    """Whether transformers rotates the positions of all rows by the longest of them: `longrope`, as Phi-3 has it."""
    found = getattr(config, "rope_parameters", None) or {}
    return any(isinstance(one, dict) and one.get("rope_type") == "longrope" for one in (found, *found.values()))


def longest_of(config: Any) -> int:
    """How many tokens a model of this transformers config reads."""
    return num_positions(config.to_dict()) or NO_LIMIT


def writing(model: Any, folder: Path, task: tuple[str, str]) -> tuple[TorchDecoder | TorchTranslator, Facts]:
    """The engine and facts of a model that writes; how a source is framed, where it answers one with a text."""
    search = search_of(model.generation_config)
    facts = Facts(task[0], Text.kind, longest_of(model.config), eos_ids=end_ids(model), more=search.to_json())
    if model.config.is_encoder_decoder:
        frame = source_frame(folder, apart=True)
        return TorchTranslator(model), replace(
            facts, **vars(frame), more={**facts.more, "apart": [model.config.decoder_start_token_id]}
        )
    if kept := getattr(model.config, KEPT, {}).get("source"):
        facts = replace(facts, task="seq2seq", before=tuple(kept["before"]), after=tuple(kept["after"]))
    return TorchDecoder(model), facts


def scoring(model: Any, folder: Path, task: tuple[str, str]) -> tuple[TorchEncoder, Facts]:
    """The engine and facts of a model that scores rows: the labels of its config, and a frame around a text."""
    config, (frame, separator) = model.config, framing(model.config.to_dict(), folder)
    labels = (
        tuple(config.id2label[k] for k in range(config.num_labels)) if task[1] in ("label", "labels", "tags") else None
    )
    facts = Facts(*task, read_length(folder, config), labels, **vars(frame), more=getattr(config, KEPT, {}))
    return TorchEncoder(model, config.pad_token_id, separator, special_ids(folder).mask), facts


def framing(config: Mapping[str, Any], folder: Path) -> tuple[Frame, int | None]:
    """How texts are framed for a model of this config, the same for training and serving; and its separator, if it has
    token types. `folder`: of the tokenizer."""
    family, specials = family_named(config["model_type"]), special_ids(folder)
    reads = family.architecture_of(config["model_type"])
    if not family.needs_marks and None in (specials.cls, specials.sep):
        reads = "decoder"
    frame = frame_for(reads, specials, separators=family.separators)
    return frame, frame.between[0] if family.has_token_types(config) else None


def pointing(model: Any, folder: Path, task: tuple[str, str]) -> tuple[TorchEncoder, Facts]:
    """The engine and facts of a model that scores where an answer starts and ends."""
    engine, facts = scoring(model, folder, task)
    return replace(engine, separator=None), replace(facts, labels=None, between=())  # all types are 0, as in training


def embedding(model: Any, folder: Path, task: tuple[str, str]) -> tuple[TorchEncoder, Facts]:
    """The engine and facts of a model that gives vectors; how it pools is put into its config."""
    keep(model.config, pooling_of(folder, model.config.to_dict()))
    engine, facts = scoring(model, folder, task)
    window = min(facts.max_length, window_of(folder) or facts.max_length)
    return replace(engine, separator=None), replace(facts, max_length=window, between=())


Maker = Callable[[Any, Path, tuple[str, str]], tuple[Any, Facts]]
ENGINES: Mapping[str, Maker] = {"text": writing, "span": pointing, "vector": embedding}
"""Kind of answer -> what makes the engine; all others score rows."""


def _plain(folder: Path) -> Any:
    """A model folder by the head that its config names."""
    config = read_json(folder / "config.json")
    names = config.get("architectures") or []
    found = task_of(names, folder, config)
    if found is None or (head_of(names) == "next" and config.get("is_encoder_decoder")):
        hint = "fine-tune it first: pretune finetune MODEL DATA task=classify"
        raise NotSupported(f"{folder.as_posix()} ({', '.join(names) or 'unknown'}) has no head that answers", hint=hint)
    return load_model(folder, cast(Head, head_of(names)))
