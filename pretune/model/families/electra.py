"""ELECTRA (arXiv:2003.10555): a BERT that tells which tokens were replaced, and while it learns a small one that
replaces them.

    a [M] sat on the mat   ->   generator   ->   a dog sat on the mat   ->   discriminator   ->   0 1 0 0 0 0
                                one table of embeddings for both

After pretraining the generator is thrown away (section 3.2): the folder is a plain ElectraForPreTraining.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from pretune.model.families.bert import Bert
from pretune.model.families.family import AS_BERT, CUTS_AS_BERT, PLAN_AS_BERT, Family, Head, States, plain_model
from pretune.model.shape import Layout

if TYPE_CHECKING:
    from torch import Tensor, nn


class ElectraFamily(Family):
    """Both heads are a layer and a matrix, computed only where they are asked."""

    def states(self, model: Any, inputs: Mapping[str, Any], at: Tensor | None = None) -> States:
        """Of the discriminator logits [N, 1]: how surely a token was replaced."""
        if not (is_generator := hasattr(model, "generator_predictions")) and not hasattr(
            model, "discriminator_predictions"
        ):
            return super().states(model, inputs, at)
        hidden_ND = model.base_model(**inputs).last_hidden_state.flatten(0, 1)
        hidden_ND = hidden_ND if at is None else hidden_ND[at]
        if is_generator:
            return States(model.generator_predictions(hidden_ND), model.generator_lm_head)
        return States(model.discriminator_predictions(hidden_ND)[:, None])

    def kept(self, model: Any) -> Any:
        """The discriminator, with the same weights."""
        alone = copy(plain_model(model))
        alone._modules = {name: module for name, module in alone._modules.items() if name != GENERATOR}
        return alone

    def stacks(self, model: Any) -> list[list[nn.Module]]:
        core = plain_model(model)
        both = [core, *([core.generator] if GENERATOR in core._modules else [])]
        return [list(one.base_model.encoder.layer) for one in both]


GENERATOR = "generator"
"""The name of the generator in the model that is trained."""
ELECTRA = ElectraFamily(
    classes={"replaced": "AutoModelForPreTraining"},
    architecture="encoder",
    branches=AS_BERT,
    cuts=CUTS_AS_BERT,
    tensor_plan=PLAN_AS_BERT,
    keeps=True,
)


class Electra(Bert):
    """ELECTRA: an encoder that learns from all tokens which of them were replaced (arXiv:2003.10555)."""

    family: ClassVar[str] = "electra"
    generator: float = Field(0.25, gt=0, le=1)
    """Width of the generator, of its heads' number and of its feed-forward part, as a share of the discriminator's;
    1/4 to 1/2 is best (section 3.2, figure 3)."""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self._width % self._heads:
            problem = (
                f"generator={self.generator} gives a width of {self._width}, which {self._heads} heads do not divide"
            )
            raise ValueError(f"{problem}; take 0.25 or 0.5, or other heads")
        return self

    @property
    def _width(self) -> int:
        return max(1, round(self.width * self.generator))

    @property
    def _heads(self) -> int:
        return max(1, round(self.heads * self.generator))

    @property
    def _hidden(self) -> int:
        return max(1, round(self.hidden * self.generator))

    def layout(self) -> Layout:
        """Both models: the generator's matrices too, with what leads from the table to its width and back."""
        one = super().layout()
        block = 4 * self._width**2 + 2 * self._width * self._hidden
        matrices = one.matrix_parameters + self.layers * block + 2 * self.width * self._width
        return one.model_copy(update={"matrix_parameters": matrices})

    def config(self, **about: Any) -> dict[str, Any]:
        return {**super().config(**about), "embedding_size": self.width}

    def complete(self, model: Any, head: Head) -> None:
        """The generator, which shares the discriminator's embeddings."""
        if head != "replaced":
            return
        from transformers import ElectraForMaskedLM

        config = deepcopy(model.config)
        sizes = {"hidden_size": self._width, "num_attention_heads": self._heads, "intermediate_size": self._hidden}
        config.update(sizes)
        generator = ElectraForMaskedLM._from_config(config, attn_implementation=config._attn_implementation)
        generator.electra.embeddings = model.electra.embeddings
        generator.generator_lm_head.weight = model.electra.embeddings.word_embeddings.weight
        model.add_module(GENERATOR, generator)


class ElectraMini(Electra):
    """About 5 million parameters with a vocabulary of 8,192, and a generator of a quarter million."""
