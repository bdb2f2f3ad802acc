"""Another vocabulary for a model: more words of a domain, or only the tokens that a corpus uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pretune.base.config import Input
from pretune.compress.compressor import Compressed, Compressor, Work

if TYPE_CHECKING:
    pass


class Vocabulary(Compressor):
    """Take the tokenizer made by `algorithm=extend` or `algorithm=cut`; a new word's row is the mean of its pieces'."""

    kind: str = "vocabulary"
    tokenizer: Annotated[str, Input("tokenizer")]
    """The tokenizer that the model gets."""

    def compress(self, work: Work) -> Compressed:
        from pretune.model.vocabulary import refit

        assert work.source is not None and work.tokenizer is not None, "rows follow from one tokenizer to another"
        return Compressed(metrics=refit(work.model, work.source, work.tokenizer))
