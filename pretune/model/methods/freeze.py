"""The lower blocks stay as they are: they hold what is general, and nothing need be computed backwards through them.

    embeddings, blocks 1 .. k    frozen, in eval mode; their outputs are kept on disk (model/kept.py)
    blocks k+1 .. n, head        train

Source: Lee et al. 2019, arXiv:1911.03090 (the upper quarter of BERT's blocks reaches 90 % of the quality).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pretune.base.errors import WrongValue
from pretune.model.methods.method import HEAD_PACE, Keep, Method

if TYPE_CHECKING:
    from torch import nn


class Freeze(Method):
    """Train the upper blocks and the head; what is below them is computed once for each row."""

    usual_width: ClassVar[float] = 768
    head_pace: ClassVar[float] = HEAD_PACE
    eval_frozen: ClassVar[bool] = True

    blocks: int | None = Field(None, ge=0)
    """How many of the lower blocks are frozen, with the embeddings; none given: half of them, rounded down."""
    keep: Keep = "auto"
    """Whether what the frozen blocks give is kept on disk, so that later epochs begin above them: auto, where rows are
    read more than once and are the same each time; or no."""

    def check(self, config: Any) -> None:
        from pretune.model.methods.own import num_blocks

        if (self.blocks or 0) > (number := num_blocks(config)):
            problem = f"method.blocks={self.blocks}, and a {config.model_type} model of this size has {number} blocks"
            raise WrongValue(problem, hint=f"method.blocks={number // 2} freezes the lower half")

    def apply(self, model: Any, *, heads: tuple[str, ...]) -> nn.Module:
        from pretune.model.families import family_of, plain_model
        from pretune.model.methods.own import train_only

        core = plain_model(model)
        family, table = family_of(core), core.get_input_embeddings().weight
        frozen = len(family.stacks(core)[0]) // 2 if self.blocks is None else self.blocks
        tables = {name for name, parameter in model.named_parameters() if parameter is table}

        def is_above(name: str) -> bool:
            level = 0 if name in tables else family.level_of(name)
            return level is None or level > frozen

        return train_only(model, heads, is_above)  # type: ignore[no-any-return]

    def keeps(self) -> bool:
        return self.keep == "auto"
