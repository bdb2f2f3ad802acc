"""Read the beginning of a text and write the rest (prefix language model, arXiv:1910.10683, section 3.2.1).

text     The cat sat on the mat . <end>
read     The cat sat <end>                 an encoder sees it from both sides
written  on the mat . <end>                the end token only where the document ends
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from pretune.objective.pretraining.pieces import Ids, Rewritten
from pretune.tokens.rows import Vocabulary


class Prefix(Rewritten):
    """Write how a text goes on from where it was cut."""

    most: float = Field(1.0, gt=0, le=1)
    """How much of a text is written at most; how much it is, is drawn evenly, from one token on."""

    @property
    def passed(self) -> tuple[float, float]:  # type: ignore[override]  # it depends on a setting
        return 1 - self.most / 2, self.most / 2

    def part(self, text: Ids, is_whole: bool, vocabulary: Vocabulary, rng: np.random.Generator) -> tuple[Ids, Ids]:
        most = max(1, min(int(self.most * len(text)), len(text) - 1))
        cut = len(text) - int(rng.integers(1, most + 1))
        end = [vocabulary.end] if is_whole else []
        return text[:cut], np.concatenate([text[cut:], end]).astype(np.int64)
