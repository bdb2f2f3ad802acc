"""Another vocabulary for a model: more words of a domain, or only the tokens that a corpus uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pretune.base.artifact import Artifact
from pretune.base.config import Input
from pretune.compress.base import Compressed, Compressor


class Vocabulary(Compressor):
    """Take the tokenizer made by `algorithm=extend` or `algorithm=cut`; a new word's row is the mean of its pieces'."""

    kind: str = "vocabulary"
    tokenizer: Annotated[str, Input("tokenizer")]
    """The tokenizer that the model gets."""

    def tokenizer_folder(self, inputs: Mapping[str, Artifact], model: Path) -> Path:
        return inputs["method.tokenizer"].path

    def compress_with(self, model: Any, folder: Path, tokenizer: Path) -> Compressed:
        from pretune.model.vocabulary import refit

        return Compressed(metrics=refit(model, folder, tokenizer))
