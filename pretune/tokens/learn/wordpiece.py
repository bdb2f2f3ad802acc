"""WordPiece: the longest known piece first, `##` before what continues a word.

Source: Devlin et al. 2019, arXiv:1810.04805, for the form; trained by `tokenizers` (merges by frequency).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pretune.tokens.learn.algorithm import SPECIALS, UNKNOWN, Algorithm, Learning, add_specials
from pretune.tokens.learn.character import common_characters

if TYPE_CHECKING:
    from tokenizers import Tokenizer, trainers


class WordPiece(Algorithm):
    """WordPiece, as in BERT: spaces are not kept and unknown characters are lost, so texts do not come back exactly."""

    kind: str = "wordpiece"
    round_trips: ClassVar[bool] = False
    lowercase: bool = False
    """Fold case, as in bert-base-uncased."""

    def learn(self, learning: Learning) -> Tokenizer:
        from tokenizers import Tokenizer, models

        scratch = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
        self._frame(scratch)
        scratch.train_from_iterator(learning.texts(), _trainer(learning, self._letters(scratch, learning)))
        tokenizer = Tokenizer(models.WordPiece(scratch.get_vocab(), unk_token=UNKNOWN))
        self._frame(tokenizer)
        add_specials(tokenizer, (*SPECIALS, UNKNOWN))
        return tokenizer

    def _frame(self, tokenizer: Tokenizer) -> None:
        from tokenizers import decoders, normalizers, pre_tokenizers

        tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=False, lowercase=self.lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()

    def _letters(self, tokenizer: Tokenizer, learning: Learning) -> list[str]:
        common = common_characters(learning)[: learning.vocab_size // 4]
        folded = tokenizer.normalizer.normalize_str("".join(common))
        return sorted({c for c in folded if not c.isspace()})


def _trainer(learning: Learning, letters: list[str]) -> trainers.WordPieceTrainer:
    """The library's trainer; letters and their `##` forms get their ids here, else their order changes by the run."""
    from tokenizers import trainers

    continuing = [f"##{letter}" for letter in letters]
    return trainers.WordPieceTrainer(
        vocab_size=learning.vocab_size,
        min_frequency=learning.min_frequency,
        special_tokens=[*SPECIALS, UNKNOWN, *letters, *continuing],
        initial_alphabet=letters,
        limit_alphabet=max(1, len(letters)),
        show_progress=False,
    )
