"""What the methods with virtual tokens share: how many there are, and that nothing can be merged. No torch here."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from pretune.model.methods.by_peft import ByPeft


class Virtual(ByPeft):
    """Train virtual tokens in front of every text; the base stays as it is, and is needed to answer."""

    merges: ClassVar[bool] = False
    is_prefix: ClassVar[bool] = False
    """Whether they are keys and values of every layer, not embeddings."""

    tokens: int = Field(20, gt=0)
    """Virtual tokens; so many positions of the model are not left for text."""

    def taken(self) -> int:
        return self.tokens

    def check(self, config: Any) -> None:
        from pretune.model.methods.in_front import check_takes

        check_takes(config, self.kind, prefix=self.is_prefix)

    def config(self, model: Any, *, heads: tuple[str, ...]) -> Any:
        from pretune.model.methods.adapter import task_type_of

        self.check(model.config)
        shared = {"num_virtual_tokens": self.tokens, "num_transformer_submodules": 1, "task_type": task_type_of(model)}
        if not self.is_prefix:  # those of a prefix are as wide as the keys, which PEFT finds out
            shared["token_dim"] = model.get_input_embeddings().embedding_dim
        return self.encoder(model, **shared, modules_to_save=list(heads) or None)

    def encoder(self, model: Any, **shared: Any) -> Any:
        """PEFT's config of what makes the virtual tokens."""
        raise AssertionError("a method with virtual tokens has encoder()")

    def placed(self, adapted: Any) -> Any:
        from pretune.model.methods.in_front import in_front

        return in_front(adapted)

    def adapted(self, model: Any) -> Any:
        from pretune.model.methods.in_front import adapted_of

        return adapted_of(model)
