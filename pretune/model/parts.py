"""Parts and layers of a model by the names of its parameters, whatever the family calls them. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterable

PARTS = {
    "norms": r"norm|\bln_|LayerNorm",
    "head": r"lm_head|classifier|\bscore\b|\bcls\b|pooler",
    "embeddings": r"embed|\bwte\b|\bwpe\b",
    "attention": r"attn|attention",
    "mlp": r"mlp|intermediate|output\.dense|\bffn?\b|feed_forward",
}
"""The first that is found in a parameter's name is its part."""
BLOCK = re.compile(r"\b(?:layers?|h|blocks?)\.(\d+)\.")


def part_of(name: str) -> str:
    """embeddings, attention, mlp, norms, head, or other."""
    return next((part for part, pattern in PARTS.items() if re.search(pattern, name)), "other")


def layer_scales(names: Iterable[str], decay: float) -> dict[str, float]:
    """What the learning rate of each parameter is multiplied with, so that low layers move less.

    Low layers hold general knowledge. Block i of n gets decay ** (n - i); the embeddings count as block 0, and what
    lies above the blocks (head, last norm) moves in full, as the last block does.

    Args:
        decay: factor per layer, in (0, 1].

    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.2 (they use 1 / 2.6).
    """
    levels = {name: _level(name) for name in names}
    top = max((level for level in levels.values() if level is not None), default=0)
    return {name: decay ** (top - level) if level is not None else 1.0 for name, level in levels.items()}


def _level(name: str) -> int | None:
    """1 for the first block, 0 for the embeddings, None above the blocks."""
    found = BLOCK.search(name)
    if found:
        return int(found[1]) + 1
    return 0 if part_of(name) == "embeddings" or "embed" in name else None
