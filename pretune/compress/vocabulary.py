"""Another vocabulary for a model: more words of a domain, or only the tokens that a corpus uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pretune.base.config import Input
from pretune.compress.compressor import Compressed, Compressor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pretune.compress.calibration import Calibration


class Vocabulary(Compressor):
    """Take the tokenizer made by `algorithm=extend` or `algorithm=cut`; a new word's row is the mean of its pieces'."""

    kind: str = "vocabulary"
    tokenizer: Annotated[str, Input("tokenizer")]
    """The tokenizer that the model gets."""

    def compress(
        self,
        model: PreTrainedModel,
        *,
        source: Path | None = None,
        tokenizer: Path | None = None,
        text: Calibration | None = None,
        teacher: PreTrainedModel | None = None,
    ) -> Compressed:
        from pretune.model.vocabulary import refit

        assert source is not None and tokenizer is not None, "rows follow from one tokenizer to another"
        return Compressed(metrics=refit(model, source, tokenizer))
