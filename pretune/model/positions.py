"""How many tokens a model reads: the rows of its table of positions, without those that no token has.

    BERT       512 positions, 0 ... 511                                           512 tokens
    RoBERTa    514 positions, of which those up to the padding's id are no text's 512 tokens

fairseq's models number the first token `pad + 1`, so `max_position_embeddings` is not what they read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEHIND_PAD = (
    *("camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet"),
    *("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)
"""Kinds of models whose positions begin behind the id of the padding."""


def num_positions(config: Mapping[str, Any]) -> int | None:
    """Tokens of the longest row that a model of this config reads; None where it has no such limit."""
    found = config.get("max_position_embeddings") or config.get("n_positions")
    if not found:
        return None
    if config.get("model_type") not in BEHIND_PAD:
        return int(found)
    pad = 1 if config["model_type"] == "mpnet" else config.get("pad_token_id", 1)  # MPNet's does not follow its config
    return int(found) - int(pad or 0) - 1
