"""Qwen3: a Llama whose queries and keys are normalised. Our default decoder."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pretune.model.families.llama import LLAMA, Rotary

QWEN3 = LLAMA


class Qwen3(Rotary):
    """Qwen3: a Llama whose queries and keys are normalised (QK-norm; arXiv:2505.09388)."""

    family: ClassVar[str] = "qwen3"


class Qwen3Nano(Qwen3):
    """About 5 million parameters with a vocabulary of 8,192."""

    layers: int = Field(4, gt=0)
    hidden: int = Field(704, gt=0)


class Qwen3Mini(Qwen3):
    """About 15 million parameters with a vocabulary of 8,192."""

    layers: int = Field(7, gt=0)
    width: int = Field(384, gt=0)
    heads: int = Field(6, gt=0)
    kv_heads: int = Field(3, gt=0)
    hidden: int = Field(1024, gt=0)


class Qwen3Small(Qwen3):
    """About 60 million parameters with a vocabulary of 16,000."""

    layers: int = Field(12, gt=0)
    width: int = Field(640, gt=0)
    heads: int = Field(10, gt=0)
    kv_heads: int = Field(5, gt=0)
    hidden: int = Field(1728, gt=0)
