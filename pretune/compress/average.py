"""One model of several: the weighted sum of their weights.

    weights = share_0 model + share_1 others[0] + ... + (1 - sum of shares) base

Models that were trained from one start lie in one basin, and their mean is often better than each (model soups,
arXiv:2203.05482). Adapters on one base are merged into it first, so shares that do not sum to 1 add what each learnt
to the base itself: task arithmetic, arXiv:2212.04089; of LoRA it is PEFT's combination "cat".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from pretune.base.config import Input
from pretune.base.errors import WrongValue
from pretune.compress.compressor import Compressed, Compressor, Work

if TYPE_CHECKING:
    from torch import Tensor


class Average(Compressor):
    """One model of several of one shape, or of several adapters on one base: the weighted sum of their weights."""

    kind: str = "average"
    others: list[Annotated[str, Input("model")]] = Field(min_length=1)
    """The models besides the one that is given."""
    shares: list[float] | None = None
    """The weight of the given model and of each of the others; equal if none are given. Where they do not sum to 1 the
    rest is the base's, and all must be adapters on it."""

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if self.shares is not None and len(self.shares) != 1 + len(self.others):
            raise ValueError(f"shares has {len(self.shares)} numbers for {1 + len(self.others)} models")
        return self

    @property
    def copies(self) -> float:
        """All of them, and perhaps the base."""
        return 2 + len(self.others)

    def compress(self, work: Work) -> Compressed:
        """Put the sum into the model, in float64, in place.

        Raises:
            WrongValue: models of several shapes or labels; a rest, and no one base that could have it.
        """
        import torch

        from pretune.model.generate import module_of, open_folder

        assert work.source is not None, "models are opened from their folders"
        folders = [work.source, *work.others]
        shares = self.shares or [1 / len(folders)] * len(folders)
        models: list[Any] = [work.model, *(module_of(open_folder(folder)) for folder in work.others)]
        _check_alike(folders, models)
        if not math.isclose(rest := 1 - sum(shares), 0, abs_tol=1e-9):
            models, shares = [*models, _base_below(folders)], [*shares, rest]
        weights = [_weights(model) for model in models]
        with torch.no_grad():
            for name, into in weights[0].items():
                parts = (share * each[name].double() for share, each in zip(shares, weights, strict=True))
                into.copy_(sum(parts, torch.zeros_like(into, dtype=torch.float64)))
        return Compressed(metrics={"models": len(folders), "shares": [round(share, 6) for share in shares]})


def _weights(model: Any) -> dict[str, Tensor]:
    buffers = {name: one for name, one in model.named_buffers() if one.is_floating_point()}
    return {**dict(model.named_parameters()), **buffers}


def _check_alike(folders: Sequence[Path], models: Sequence[Any]) -> None:
    def shape(model: Any) -> object:
        return {name: one.shape for name, one in _weights(model).items()}, getattr(model.config, "id2label", None)

    for folder, model in zip(folders, models, strict=True):
        if shape(model) != shape(models[0]):
            problem = f"{folder.as_posix()} has other weights or labels than {folders[0].as_posix()}"
            raise WrongValue(problem, hint="average models that were trained from one start, for one task")


def _base_below(folders: Sequence[Path]) -> Any:
    """The one base of these adapters."""
    from pretune.infer.trusted import read_json
    from pretune.model.methods.adapter import BASE, open_base

    odd = [one for one in folders if not (one / BASE).is_file() or (one / "labels.json").is_file()]
    if odd:
        problem = f"the shares do not sum to 1, and {odd[0].as_posix()} is no adapter whose base could have the rest"
        raise WrongValue(problem, hint="give shares that sum to 1; adapters with a head of their own need them too")
    if len({read_json(one / BASE)["weights"] for one in folders}) > 1:
        raise WrongValue("the shares do not sum to 1, and the adapters are of several bases")
    return open_base(folders[0])
