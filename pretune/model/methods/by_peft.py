"""What all methods of the PEFT library share: a config, and how what was trained is opened, merged and written.

A method is a file with its settings and `config`; its line in METHOD (method.py) and, where PEFT calls it otherwise, in
KINDS (adapter.py).
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

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
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*_pattern keys did not match any", category=RuntimeWarning)
        yield


class ByPeft(Method):
    """Train what the PEFT library puts into a model; the base stays as it is."""

    keeps_base: ClassVar[bool] = True

    def config(self, model: Any, *, heads: tuple[str, ...]) -> Any:
        """PEFT's config of the method for a model; `heads`: names of new modules, which are saved too."""
        raise AssertionError("a method by PEFT has config()")

    def placed(self, adapted: Any) -> Any:
        """What is trained, and answers, of a model that PEFT has adapted: here the same."""
        return adapted

    def adapted(self, model: Any) -> Any:
        """PEFT's model of what `placed` gave."""
        return model

    def learnt(self, model: Any, tensors: dict[str, Tensor], config: dict[str, Any]) -> None:
        """Change what is written into the folder, tensors and config, where that is not what was trained."""

    def apply(self, model: Any, *, heads: tuple[str, ...]) -> nn.Module:
        from peft import get_peft_model

        with quiet_peft():
            return self.placed(get_peft_model(model, self.config(model, heads=heads)))  # type: ignore[no-any-return]

    def load(self, model: Any, folder: Path) -> Any:
        from peft import PeftModel

        with quiet_peft():
            return self.placed(PeftModel.from_pretrained(model, str(folder)))

    def merge(self, model: Any) -> Any:
        if not self.merges:
            return model
        _unwrap(model.get_base_model())
        with quiet_peft():
            return model.merge_and_unload()

    def save(self, model: Any, out: Path, *, base: str, tokenizer: Path, weights: Mapping[str, Tensor]) -> None:
        from peft import get_peft_model_state_dict

        from pretune.model.families import plain_model
        from pretune.model.folder import write_search
        from pretune.model.methods.adapter import head_facts, write_adapter, write_base

        adapted, plain = self.adapted(model), plain_model(model)
        prefix = "" if adapted is model else "base_model."
        state = {**adapted.state_dict(), **{f"{prefix}{name}": tensor for name, tensor in weights.items()}}
        tensors = get_peft_model_state_dict(adapted, state_dict=state, save_embedding_layers=False)
        config = adapted.peft_config["default"].to_dict() | {"inference_mode": True}
        self.learnt(model, tensors, config)
        labels = plain.config.id2label if config["modules_to_save"] else None
        facts: dict[str, Any] = {"labels": labels, "head": head_facts(plain.config), "plain": _by_value}
        write_adapter(out, tensors, config, base=base, tokenizer=tokenizer, **facts)
        write_base(out, tokenizer)
        write_search(plain, out)


def _unwrap(plain: Any) -> None:
    """Trained heads in place of PEFT's wrappers, which IA3 cannot take off a head of several layers (peft#3114)."""
    from peft.utils import ModulesToSaveWrapper

    for name, module in list(plain.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            plain.set_submodule(name, module.modules_to_save["default"])


def _by_value(value: Any) -> Any:
    """Enums of PEFT by their value; sets sorted. Anything else is a bug."""
    if isinstance(value, set):
        return sorted(value)
    return value.value
