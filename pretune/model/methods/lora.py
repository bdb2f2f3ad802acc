"""LoRA (arXiv:2106.09685): a low-rank change next to every linear layer, by PEFT.

The result is an adapter folder in PEFT's layout; it names its base model by a path relative to itself.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pretune.model.methods.method import Method

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Nothing a user could act on: peft (to 0.21) asks transformers 5.23 by a name that it is about to lose, and says
    that it mends how GPT-2's matrices lie, and that it looks for experts under two names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*_pattern keys did not match any", category=RuntimeWarning)
        yield


class Lora(Method):
    """Train low-rank changes of the linear layers; the base stays as it is."""

    usual_rate: ClassVar[float] = 5e-4
    keeps_base: ClassVar[bool] = True

    rank: int = Field(16, gt=0)
    """Rank of the change."""
    alpha: float = Field(32.0, gt=0)
    """The change is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout in front of the change."""
    target: str = "all-linear"
    """Which layers: `all-linear`, or a regular expression over module names."""

    def apply(self, model: Any, *, heads: tuple[str, ...]) -> nn.Module:
        from peft import LoraConfig, get_peft_model

        from pretune.model.methods.adapter import task_type_of

        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=self.target,
            task_type=task_type_of(model),
            modules_to_save=list(heads) or None,
            exclude_modules=rf".*\b({'|'.join(heads)})\b.*" if heads else None,
        )
        with quiet_peft():
            return get_peft_model(model, config)  # type: ignore[no-any-return]

    def load(self, model: Any, folder: Path) -> Any:
        from peft import PeftModel

        with quiet_peft():
            return PeftModel.from_pretrained(model, str(folder))

    def merge(self, model: Any) -> Any:
        with quiet_peft():
            return model.merge_and_unload()

    def save(self, model: Any, out: Path, *, base: str, tokenizer: Path, weights: Mapping[str, Tensor]) -> None:
        from peft import get_peft_model_state_dict

        from pretune.model.families import plain_model
        from pretune.model.folder import write_search
        from pretune.model.methods.adapter import head_facts, write_adapter

        state = {**model.state_dict(), **weights}
        adapter = get_peft_model_state_dict(model, state_dict=state, save_embedding_layers=False)
        config = model.peft_config["default"].to_dict() | {"inference_mode": True}
        labels = model.config.id2label if model.peft_config["default"].modules_to_save else None
        head = head_facts(model.config)
        write_adapter(out, adapter, config, base=base, tokenizer=tokenizer, labels=labels, head=head, plain=_by_value)
        write_search(plain_model(model), out)


def _by_value(value: Any) -> Any:
    """Enums of PEFT by their value; sets sorted. Anything else is a bug."""
    if isinstance(value, set):
        return sorted(value)
    return value.value
