"""A model for a changed tokenizer: rows of the embeddings and of the head follow the tokens.

    token known before       its own row
    new word                 the mean of the rows of the pieces it was cut into

So on texts without the new words, and on texts that a cut tokenizer still cuts alike, the logits of the tokens that
are in both are what they were.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pretune.base.errors import NotSupported
from pretune.tokens.encode.tokenizer import encode_text, load_tokenizer, special_ids


def pieces_of(old: Path, new: Path) -> list[list[int]]:
    """For every id of the new tokenizer the old ids whose rows it is the mean of.

    Raises:
        NotSupported: a new token has no pieces.
    """
    before, after = load_tokenizer(old), load_tokenizer(new)
    known = before.get_vocab(with_added_tokens=True)
    found = []
    for number in range(after.get_vocab_size(with_added_tokens=True)):
        token = after.id_to_token(number)
        ids = [known[token]] if token in known else encode_text(before, token or "")
        if not ids:
            raise NotSupported(f"the new token {token!r} has no pieces in the model's tokenizer")
        found.append(ids)
    return found


def refit(model: Any, old: Path, new: Path) -> dict[str, int]:
    """Give a model in place the rows of another tokenizer.

    Args:
        model: a float32 transformers model; old: the folder of its tokenizer; new: that of the other.

    Returns:
        Numbers of tokens before, after and new; parameters before and after.
    """
    pieces = pieces_of(old, new)
    facts = {"tokens_before": model.config.vocab_size, "parameters_before": _size(model)}
    rows = _means(model.get_input_embeddings().weight.data, pieces)
    head = model.get_output_embeddings()
    tied = head is None or head.weight is model.get_input_embeddings().weight
    weight = None if tied else _means(head.weight.data, pieces)
    bias = _means(head.bias.data[:, None], pieces)[:, 0] if head is not None and head.bias is not None else None
    model.resize_token_embeddings(len(pieces), mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(rows)
        if weight is not None:
            model.get_output_embeddings().weight.copy_(weight)
        if bias is not None:
            model.get_output_embeddings().bias.copy_(bias)
    _name_specials(model, new)
    fresh = sum(len(ids) > 1 for ids in pieces)
    return {**facts, "tokens_after": len(pieces), "tokens_new": fresh, "parameters_after": _size(model)}


def _means(rows: Tensor, pieces: list[list[int]]) -> Tensor:
    flat = torch.tensor([i for ids in pieces for i in ids])
    starts = torch.tensor([0, *(len(ids) for ids in pieces)]).cumsum(0)[:-1]
    return nn.functional.embedding_bag(flat, rows, starts, mode="mean")


def _size(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _name_specials(model: Any, folder: Path) -> None:
    specials = special_ids(folder)
    for name in ("bos", "eos", "pad"):
        place, number = f"{name}_token_id", getattr(specials, name)
        for config in (model.config, getattr(model, "generation_config", None)):
            if config is not None and (number is not None or getattr(config, place, None) is not None):
                setattr(config, place, number)
