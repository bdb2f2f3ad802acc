"""Architecture families: all that the house must know of one, in a file each, behind one table. No torch here.

An addition is a file with a `Family` (and the shapes that build it from scratch), its line in FAMILIES, and the lines
of its shapes in `model/shape.py`. A family without a file gets `Family` itself: everything works, by the class's own
forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from pretune.model.families.family import (
    LABELLED,
    SEES_ALL,
    SEES_WINDOW,
    Family,
    Head,
    States,
    Topped,
    plain_model,
    scores_of,
    tops,
)

__all__ = [
    "FAMILIES",
    "LABELLED",
    "SEES_ALL",
    "SEES_WINDOW",
    "Family",
    "Head",
    "States",
    "Topped",
    "family_named",
    "family_of",
    "num_positions",
    "plain_model",
    "scores_of",
    "tops",
]

BEHIND_PAD = (
    *("camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet"),
    *("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)
"""Kinds of models whose positions begin after the id of the padding."""
FAMILIES = {
    "qwen3": "pretune.model.families.qwen3:QWEN3",
    "qwen3_moe": "pretune.model.families.qwen3_moe:QWEN3_MOE",
    "llama": "pretune.model.families.llama:LLAMA",
    "mistral": "pretune.model.families.llama:LLAMA",
    "qwen2": "pretune.model.families.llama:LLAMA",
    "gemma3_text": "pretune.model.families.gemma3:GEMMA3",
    "gpt2": "pretune.model.families.gpt2:GPT2",
    "t5": "pretune.model.families.t5:T5",
    "bert": "pretune.model.families.bert:BERT",
    "modernbert": "pretune.model.families.modernbert:MODERNBERT",
    **dict.fromkeys(("pretune-bag", "pretune-cnn", "pretune-lstm"), "pretune.model.families.small:SMALL"),
    "electra": "pretune.model.families.electra:ELECTRA",
    **dict.fromkeys(BEHIND_PAD, "pretune.model.families.roberta:ROBERTA"),
}
"""transformers' model type -> the family."""


@cache
def family_named(model_type: str) -> Family:
    """The family of a transformers model type; a plain one where nobody wrote a file for it."""
    module, _, name = FAMILIES.get(model_type, "pretune.model.families.family:PLAIN").partition(":")
    found: Family = getattr(import_module(module), name)
    return found


def family_of(model: Any) -> Family:
    """The family of a transformers model, in a PEFT wrapper or not; the plain one of any other module."""
    return family_named(getattr(getattr(plain_model(model), "config", None), "model_type", ""))


def num_positions(config: Mapping[str, Any]) -> int | None:
    """Tokens of the longest row that a model of this config reads; None where it has no such limit."""
    return family_named(config.get("model_type", "")).longest(config)
