"""IA3 (arXiv:2205.05638): keys, values and the inside of the feed-forward part are stretched, each channel by a factor.

Very few weights, and merged into the base they cost nothing.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pretune.base.errors import NotSupported
from pretune.model.methods.by_peft import ByPeft

KEYS_AND_VALUES = r"k_proj|v_proj|key|value|k|v|k_lin|v_lin|c_attn|query_key_value|in_proj|Wqkv|qkv_proj"
"""Names of the layers that make keys and values, where one makes queries too they are stretched as well."""
BACK = r"down_proj|(?<!attention\.)output\.dense|wo|Wo|mlp\.c_proj|mlp\.fc_out|fc2|lin2|dense_4h_to_h|w2"
"""Names of the last layers of feed-forward parts, whose input is stretched."""
TARGETS, INPUTS = rf".*\b({KEYS_AND_VALUES}|{BACK})", rf".*\b({BACK})"


class Ia3(ByPeft):
    """Stretch keys, values and the inside of the feed-forward part; the base stays as it is."""

    usual_rate: ClassVar[float] = 3e-3

    def config(self, model: Any, *, heads: tuple[str, ...]) -> Any:
        from peft import IA3Config

        from pretune.model.methods.adapter import task_type_of

        names = [name for name, _ in model.named_modules() if set(heads).isdisjoint(name.split("."))]
        if not any(re.fullmatch(TARGETS, name) for name in names):
            problem = f"a {model.config.model_type} model has no layers of keys and values that method=ia3 knows"
            hint = "bert, gpt2, llama, qwen3, roberta, t5 and their like have; method=lora takes every linear layer"
            raise NotSupported(problem, hint=hint)
        return IA3Config(
            target_modules=TARGETS,
            feedforward_modules=INPUTS,
            exclude_modules=rf".*\b({'|'.join(heads)})\b.*" if heads else None,
            task_type=task_type_of(model),
            modules_to_save=list(heads) or None,
        )
