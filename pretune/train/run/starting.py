"""The model that pretraining begins with: a new one of a shape, or one that learns on from other text.

    fresh(shape, ...)        weights drawn from the seed
    going_on(folder, ...)    those of a model folder; new words of the tokenizer get the mean of their pieces' rows

Going on warms the rate again and takes a lower one than a new model: what is known is not to be lost in the first
steps. (Ibrahim et al. 2024, arXiv:2403.08763: warm again, decay again, replay some of what was read before.)
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig

from pretune.base.errors import NotSupported, WrongValue
from pretune.base.json import Json, JsonMap
from pretune.model.build import build_model
from pretune.model.families import Head, family_named, num_positions
from pretune.model.folder import config_of, load_model, weight_bytes
from pretune.model.methods.scratch import GoingOn, Scratch
from pretune.model.shape import Layout, Shape
from pretune.model.vocabulary import refit
from pretune.tokens.encode.additions import only_adds
from pretune.tokens.encode.tokenizer import Specials, load_tokenizer
from pretune.tokens.rows import Vocabulary

if TYPE_CHECKING:
    from pretune.model.methods.method import Method

SHORTEST_WINDOW = 512
"""Positions that a new model has at least, however short its rows are."""


@dataclass(frozen=True)
class Start:
    """A model before its first step.

    Args:
        make: the model of a seed, in float32.
        outline: the same with any weights.
        known_by: what its size depends on (JSON).
        told: what the card says of it.
    """

    make: Callable[[int], Any]
    outline: Callable[[], Any]
    known_by: list[Any]
    layout: Layout
    method: Method
    name: str
    told: Json


def fresh(
    shape: Shape, head: Head, vocabulary: Vocabulary, specials: Specials, *, length: int, attention: str
) -> Start:
    """A new model of a shape, for rows of `length`."""
    window = max(length, SHORTEST_WINDOW)
    sizes: Json = {"vocab_size": vocabulary.size, "max_length": window}
    build = partial(build_model, shape, head, specials=specials, attention=attention, **sizes)
    known = [shape.model_dump(mode="json"), vocabulary.size, window, attention]
    return Start(
        make=lambda seed: build(seed=seed),
        outline=lambda: build(seed=0),
        known_by=known,
        layout=shape.layout(),
        method=Scratch(kind="scratch"),
        name=shape.kind,
        told={"shape": shape.model_dump(mode="json")},
    )


def going_on(
    folder: Path, head: Head, tokenizer: Path, vocabulary: Vocabulary, *, length: int, attention: str
) -> Start:
    """A model folder, with rows for the words of a tokenizer.

    Raises:
        NotSupported: it has no such head; WrongValue: it reads shorter rows.
    """
    config = config_of(folder)
    parameters = weight_bytes(folder) // 4

    def make(seed: int) -> Any:
        torch.manual_seed(seed)  # a head that the folder lacks is drawn
        model = load_model(folder, head, attention=attention)
        if load_tokenizer(folder).to_str() != load_tokenizer(tokenizer).to_str():
            refit(model, folder, tokenizer)
        return model

    start = outlined(config, head, parameters, vocabulary.size, length=length, attention=attention)
    return replace(start, make=make)


def outlined(config: JsonMap, head: Head, parameters: float, vocab_size: int, *, length: int, attention: str) -> Start:
    """A model that goes on, from its config and its size alone; without its weights."""
    kind = str(config["model_type"])
    maker = family_named(kind).class_for(head, kind)
    if (longest := num_positions(config)) is not None and longest < length:
        problem = f"rows of {length} tokens are longer than the {longest} that the base reads"
        raise WrongValue(problem, hint=f"length={longest}")
    plain = {name: value for name, value in config.items() if name != "torch_dtype"} | {"dtype": "float32"}
    known = AutoConfig.for_model(**plain)
    width, layers = int(known.hidden_size), int(known.num_hidden_layers)
    layout = Layout(
        layers=layers, width=width, matrix_parameters=max(0, int(parameters) - int(known.vocab_size) * width)
    )
    known.vocab_size = vocab_size

    def outline() -> Any:
        return maker.from_config(copy.deepcopy(known), attn_implementation=attention or None, dtype=torch.float32)

    return Start(
        make=lambda seed: outline(),
        outline=outline,
        known_by=[plain, vocab_size, attention],
        layout=layout,
        method=GoingOn(kind="going-on"),
        name=kind,
        told={"started_from": kind},
    )


def tokenizer_for(base: Path, tokens: Path) -> Path:
    """The tokenizer that both speak of: that of the tokens, which may have words more, or that of the base.

    Raises:
        NotSupported: the tokens were made with another one.
    """
    mine, theirs = load_tokenizer(base), load_tokenizer(tokens)
    if only_adds(theirs, mine):
        return tokens
    if only_adds(mine, theirs):
        return base
    hint = "make tokens with the model's own: pretune tokens CORPUS MODEL --out TOKENS"
    raise NotSupported(f"the tokens were made with another tokenizer than that of {base.as_posix()}", hint=hint)
