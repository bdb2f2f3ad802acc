"""Virtual tokens: learnt vectors in front of every row, in a model that stays as it is.

    prompt, p-tuning     v v v The cat sat       the vectors are embeddings, read by every layer
    prefix               k v   The cat sat       they are keys and values, in every layer, and have no output

The text begins at position n: n positions fewer are left for it. Every call of the model's body is intercepted, so that
loss, answers, cache and explanation all see the same; what the virtual tokens themselves give is cut off, so that rows
keep their lengths. Documents in one row each see the virtual tokens and themselves. Nothing can be merged into a base.

The answers are those of plain PEFT for the same folder, but for decoders that classify a padded batch, where PEFT
(0.21) reads the padding. An encoder that classifies reads its first position, the first virtual token, there as here.

B rows, L positions, K keys, D width, H heads of keys, W width of a head, n virtual tokens.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer
from transformers.modeling_layers import GradientCheckpointingLayer

from pretune.base.errors import NotSupported
from pretune.model.families import SEES_ALL, family_of, num_positions

NAME = "virtual_tokens"
TAKERS = "bert, electra, roberta, llama, mistral without a window, qwen2, qwen3 and gpt2 take it"


class Ahead(DynamicLayer):  # type: ignore[misc]
    """Keys and values in front of those of one layer. Does not grow: a block that is computed again sees the same."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        assert self.keys is not None and self.values is not None, "made with both"
        return torch.cat([self.keys, key_states], dim=-2), torch.cat([self.values, value_states], dim=-2)


def ahead(pairs: list[Tensor]) -> Cache:
    """A cache of layers that do not grow; pairs: keys and values [2, B, H, n, W] of each."""
    layers = []
    for keys, values in pairs:
        layer = Ahead()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        layers.append(layer)
    return Cache(layers=layers)


class VirtualTokens(nn.Module):
    """What PEFT's encoder gives, put in front of what a body reads."""

    def __init__(self, adapted: Any):
        super().__init__()
        self.encoder, self.config = adapted.prompt_encoder["default"], adapted.peft_config["default"]
        self.number = int(self.config.num_virtual_tokens)
        self.is_prefix = self.config.peft_type == "PREFIX_TUNING"
        plain = adapted.get_base_model()
        reads_first = self.config.task_type == "SEQ_CLS" and is_encoder(plain)
        self.is_cut = not (self.is_prefix or reads_first)
        self.held = (adapted,)  # in a tuple: as a module of its own it would hold the body that holds it

    def vectors(self) -> Tensor:
        """[n, D]; of a prefix all keys and values, [n, layers * 2 * H * W]."""
        if self.config.inference_mode:
            return self.encoder.embedding.weight  # type: ignore[no-any-return]
        # As one row: an LSTM reads them in order.
        places = torch.arange(self.number, device=self.encoder.embedding.weight.device)
        return self.encoder(places[None])[0]  # type: ignore[no-any-return]

    def pairs(self, rows: int) -> list[Tensor]:
        """Keys and values of each layer [2, B, H, n, W], as PEFT lays them out."""
        heads = self.config.num_attention_heads
        shape = self.number, self.config.num_layers, 2, heads, self.config.token_dim // heads
        return list(self.vectors().view(shape).permute(1, 2, 3, 0, 4)[:, :, None].expand(-1, -1, rows, -1, -1, -1))

    def put_in(
        self, body: Any, args: tuple[Any, ...], given: dict[str, Any]
    ) -> tuple[tuple[()], dict[str, Any]] | None:
        """Before the body runs: what it shall read instead; None where a cache has the virtual tokens already."""
        names = inspect.signature(body.forward).parameters
        given = {**dict(zip(names, args, strict=False)), **given}
        cache = given.get("past_key_values")
        if cache is not None and cache.get_seq_length():
            return None
        read = given.get("input_ids")
        states_BLD = body.get_input_embeddings()(read) if read is not None else given["inputs_embeds"]
        rows, length = states_BLD.shape[:2]
        given |= self._around(rows, length, given, states_BLD.device, own=not self.is_prefix)
        if self.is_prefix:
            return (), given | {"past_key_values": self._filled(cache, rows)}
        front_BnD = self.vectors().to(states_BLD.dtype).expand(rows, -1, -1)
        return (), given | {"input_ids": None, "inputs_embeds": torch.cat([front_BnD, states_BLD], dim=1)}

    def take_out(self, body: Any, args: tuple[Any, ...], given: dict[str, Any], found: Any) -> Any:
        """After the body ran: the states of the text alone, where it is not asked for the first of all."""
        if self.is_cut and given.get("inputs_embeds") is not None:
            found.last_hidden_state = found.last_hidden_state[:, self.number :]
        return found

    def _filled(self, cache: Any, rows: int) -> Any:
        if cache is None:
            return ahead(self.pairs(rows))
        for number, (keys, values) in enumerate(self.pairs(rows)):
            cache.update(keys, values, number)
        return cache

    def _around(self, rows: int, length: int, given: Mapping[str, Any], device: Any, *, own: bool) -> dict[str, Any]:
        """Mask, positions and types with room for the virtual tokens; `own`: they are positions of the row."""
        n, found = self.number, {}
        if given.get("attention_mask") is None:
            found["attention_mask"] = torch.ones(rows, n + length, dtype=torch.int64, device=device)
        else:
            found["attention_mask"] = self._mask(given["attention_mask"], own=own)
        if (places := given.get("position_ids")) is not None:
            first = torch.arange(n, device=device).expand(len(places), -1)
            found["position_ids"] = torch.cat([first, places + n], dim=1) if own else places + n
        if own and (types := given.get("token_type_ids")) is not None:
            found["token_type_ids"] = torch.cat([types.new_zeros(rows, n), types], dim=1)
        return found

    def _mask(self, mask: Tensor, *, own: bool) -> Tensor:
        """Every token sees the virtual ones, in a row [B, L] as in packed documents [B, 1, L, K]; a virtual one those
        before it, and no text: in packed rows only decoders read, where it would not see the text alone either."""
        n = self.number
        if mask.dim() == 2:
            return torch.cat([mask.new_ones(len(mask), n), mask], dim=1)
        seen = torch.cat([mask.new_zeros(*mask.shape[:3], n), mask], dim=3)
        if not own:
            return seen
        least = torch.finfo(mask.dtype).min
        first = mask.new_full((*mask.shape[:2], n, n + mask.shape[3]), least).triu(1)
        return torch.cat([first, seen], dim=2)


def is_encoder(model: Any) -> bool:
    """Whether a transformers model reads a text from both sides."""
    return family_of(model).architecture_of(model.config.model_type) == "encoder"


def in_front(adapted: Any) -> Any:
    """The plain model of what PEFT has adapted, with its virtual tokens in every call of its body."""
    model, tokens = adapted.get_base_model(), VirtualTokens(adapted)
    body = model.base_model
    body.add_module(NAME, tokens)
    body.register_forward_pre_hook(tokens.put_in, with_kwargs=True)
    body.register_forward_hook(tokens.take_out, with_kwargs=True)
    for block in model.modules():
        if isinstance(block, GradientCheckpointingLayer):
            block._can_checkpoint_with_cache = True  # else transformers drops it: it may have grown meanwhile
    if num_positions(model.config.to_dict()):
        model.config.max_position_embeddings -= tokens.number
    return model


def adapted_of(model: Any) -> Any:
    """PEFT's model of one with virtual tokens in front."""
    return getattr(model.base_model, NAME).held[0]


def has_virtual_tokens(model: Any) -> bool:
    """Whether a model with a head reads virtual tokens first."""
    return NAME in dict(model.base_model.named_children())


def check_takes(config: Any, kind: str, *, prefix: bool) -> None:
    """Raise NotSupported for the config of an architecture that cannot have virtual tokens in front."""
    from transformers import AutoModel

    body = AutoModel._model_mapping.get(type(config), None)
    names = inspect.signature(body.forward).parameters if body else {}
    odd = sorted(set(getattr(config, "layer_types", None) or ()) - {SEES_ALL})
    why = ""
    if config.is_encoder_decoder:
        why = "reads in one stack and writes in another"
    elif odd or getattr(config, "sliding_window", None):
        why = f"has layers that lose sight of them ({', '.join(odd) or 'sliding_attention'})"
    elif "inputs_embeds" not in names or (prefix and "past_key_values" not in names):
        why = "has no place for keys and values from outside" if prefix else "reads tokens only"
    if why:
        problem = f"method={kind} puts virtual tokens in front of a text, and a {config.model_type} model {why}"
        raise NotSupported(problem, hint=f"{TAKERS}; this one takes method=lora")
