"""The engine on torch: a model folder, or a model in memory, behind the protocols of `pretune.infer.engine`.

Everything is computed in float32 unless the model in memory says otherwise: in bf16 greedy texts differ (trap 44).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pretune.base.artifact import CARD, Artifact
from pretune.base.errors import BadFile, NoSuchFile, NotSupported
from pretune.infer.classify import Architecture, frame_for
from pretune.infer.engine import ROWS_AT_ONCE, by_length, padded
from pretune.infer.load import predictor_of, task_of
from pretune.infer.predictor import Facts, Predictor
from pretune.model.families import family_named, num_positions
from pretune.model.folder import load_model
from pretune.model.methods.lora import quiet_peft
from pretune.tokens.encode.tokenizer import special_ids

NO_LIMIT = 1 << 20
"""Tokens of a row, for models whose config names no limit."""


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

    def start(self) -> Any:
        """An empty cache."""
        from transformers import DynamicCache

        return DynamicCache(config=self.model.config)

    def feed(self, state: Any, ids_BL: np.ndarray) -> tuple[np.ndarray, Any]:
        """float32 logits_BV of the last position, and the cache, which grew in place."""
        ids = torch.from_numpy(np.ascontiguousarray(ids_BL, dtype=np.int64)).to(self.model.device)
        with torch.inference_mode():
            output = self.model(input_ids=ids, past_key_values=state, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1].float().cpu().numpy(), output.past_key_values

    def whole(self, ids: Sequence[int], keep: int) -> np.ndarray:
        """float32 logits_LV of the last `keep` positions, from one forward pass without a cache."""
        ids_BL = torch.tensor([list(ids)]).to(self.model.device)
        with torch.inference_mode():
            logits_BLV = self.model(input_ids=ids_BL, use_cache=False, logits_to_keep=keep).logits
        return np.asarray(logits_BLV[0, -keep:].float().cpu().numpy())


@dataclass(frozen=True)
class TorchEncoder:
    """A sequence classifier, called as in training: padded on the right, with a mask."""

    model: Any
    pad_id: int | None

    @property
    def max_length(self) -> int:
        return longest_of(self.model.config)

    def logits(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        """float32 [rows, labels]; rows of like length run together."""
        return by_length(rows, self._run, at_once=ROWS_AT_ONCE if self.pad_id is not None else 1)

    def _run(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        ids_BL, mask_BL = (torch.from_numpy(a).to(self.model.device) for a in padded(rows, self.pad_id or 0))
        with torch.inference_mode():
            logits: torch.Tensor = self.model(input_ids=ids_BL, attention_mask=mask_BL).logits
        return np.asarray(logits.float().cpu().numpy())


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
    model = _adapted(folder) if (folder / "adapter_config.json").is_file() else _plain(folder)
    return from_objects(model, folder)


def from_objects(model: Any, tokenizer_folder: str | Path) -> Predictor:
    """A model in memory, put into eval mode, with the tokenizer of a folder; what it answers is known by its class."""
    model.eval()
    folder = Path(tokenizer_folder)
    found = task_of([type(model).__name__], folder)
    assert found is not None, f"{type(model).__name__} has a head that answers"
    if found[1] == "text":
        facts = Facts(*found, longest_of(model.config), eos_ids=end_ids(model))
        return predictor_of(TorchDecoder(model), folder, facts)
    encoder = TorchEncoder(model, model.config.pad_token_id)
    return predictor_of(encoder, folder, _facts(model.config, folder, found))


def module_of(predictor: Predictor) -> Any:
    """The torch module that answers; None where another engine does."""
    engine = predictor.engine
    return engine.model if isinstance(engine, TorchDecoder | TorchEncoder) else None


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


def longest_of(config: Any) -> int:
    """How many tokens a model of this transformers config reads."""
    return num_positions(config.to_dict()) or NO_LIMIT


def _facts(config: Any, folder: Path, task: tuple[str, str]) -> Facts:
    """Of a classifier: the labels of its config, and a frame around a text."""
    labels = tuple(config.id2label[k] for k in range(config.num_labels))
    frame = frame_for(architecture_of(config.model_type), special_ids(folder))
    return Facts(*task, read_length(folder, config), labels, before=frame.before, after=frame.after)


def _plain(folder: Path) -> Any:
    """A model folder by the head that its config names."""
    config = _json(folder / "config.json")
    names = config.get("architectures") or []
    found = task_of(names, folder)
    if found is None or (found[1] == "text" and config.get("is_encoder_decoder")):
        hint = "fine-tune it first: pretune finetune MODEL DATA task=classify"
        raise NotSupported(f"{folder.as_posix()} ({', '.join(names) or 'unknown'}) has no head that answers", hint=hint)
    return load_model(folder, "next" if found[1] == "text" else "label")


def _adapted(folder: Path) -> Any:
    """An adapter on its base, merged in float32 (in bf16 merging moves logits by 1e-2, trap 12)."""
    from peft import PeftModel

    config = _json(folder / "adapter_config.json")
    base = _base(folder, config)
    if config.get("task_type") == "SEQ_CLS":
        labels = dict(enumerate(_json(folder / "labels.json")))
        named: dict[str, Any] = {
            "num_labels": len(labels),
            "id2label": labels,
            "label2id": {n: k for k, n in labels.items()},
        }
        pad = special_ids(folder).pad
        model: Any = load_model(base, "label", **named)
        if model.config.pad_token_id is None:
            model.config.pad_token_id = pad
    else:
        model = load_model(base, "next")
    with quiet_peft():
        return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()


def _base(folder: Path, config: dict[str, Any]) -> Path:
    """Where the base model lies: as the adapter says, or, when it was moved, by the id on the card."""
    said = config.get("base_model_name_or_path") or ""
    near = folder / said
    if said and (near / "config.json").is_file():
        return near
    if (folder / CARD).is_file():
        found = Artifact.open(folder)
        for place, one in found.card.inputs.items():
            if one["kind"] == "model" and (base := found.source(place)):
                return base.path
    hint = "put the base model back; the path is counted from the adapter's folder"
    raise NoSuchFile(f"the base model {said!r} of the adapter {folder.as_posix()} is not there", hint=hint)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadFile(f"{path.as_posix()} cannot be read: {error}", hint="write the model folder again") from None
