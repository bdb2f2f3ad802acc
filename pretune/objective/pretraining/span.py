"""Hide spans of a text and write them (T5, arXiv:1910.10683, section 3.1.4).

    text     Thank you for inviting me to your party last week .
    read     Thank you <extra_id_0> me to your party <extra_id_1> week . <end>
    written  <extra_id_0> for inviting <extra_id_1> last <extra_id_2> <end>

The hidden tokens are cut into a number of spans, all cuts alike, as T5's code does (`random_spans_noise_mask`), and the
spans lie anywhere, at least one shown token between two. In three points this is not that code:

* There a text always ends with a hidden span. In pieces of 512 tokens nobody notices; of a document of twenty tokens,
  which has one span, nothing but the end would ever be hidden.
* Where it rounds the numbers of tokens and of spans, here chance does, so that short documents too have the rate and
  the mean length that are asked for.
* The last sentinel is that of the paper ("plus a final sentinel token to mark the end of the target"); the code writes
  none, since nothing is shown behind its last span.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pretune.base.errors import WrongValue
from pretune.objective.pretraining.hiding import parts_of
from pretune.objective.pretraining.pieces import Ids, Rewritten
from pretune.tokens.rows import Vocabulary
from pretune.tokens.store.packing import RowForm


class Span(Rewritten):
    """Write the spans that are hidden from the encoder."""

    rate: float = Field(0.15, gt=0, lt=1)
    """Share of the tokens that is hidden."""
    mean_length: float = Field(3.0, ge=1)
    """Tokens of a span on the average."""
    sentinels: int = Field(100, gt=1)
    """How many control tokens there are to stand for spans; one more than a document of a row's length has spans."""

    @property
    def controls(self) -> tuple[str, ...]:  # type: ignore[override]  # it depends on settings
        return (*(sentinel(k) for k in range(self.sentinels)), *super().controls)

    @property
    def passed(self) -> tuple[float, float]:  # type: ignore[override]
        spans = self.rate / self.mean_length
        return 1 - self.rate + spans, self.rate + spans

    def form(self, length: int, vocabulary: Vocabulary) -> RowForm:
        """Raises WrongValue where a row has more spans than there are sentinels."""
        most = min((length + 1) // 2, int(length * self.rate / self.mean_length) + 2)
        if most >= self.sentinels:
            hint = f"objective.sentinels={most + 1}, a shorter length, or a longer objective.mean_length"
            raise WrongValue(
                f"length={length} has up to {most} spans; sentinels={self.sentinels} is too few", hint=hint
            )
        return super().form(length, vocabulary)

    def part(self, text: Ids, is_whole: bool, vocabulary: Vocabulary, rng: np.random.Generator) -> tuple[Ids, Ids]:
        shown, hidden = span_lengths(len(text), self.rate, self.mean_length, rng)
        borders = np.cumsum(np.column_stack([shown[:-1], hidden]).ravel())
        parts = np.split(text, borders)
        marks = [np.array([vocabulary.controls[sentinel(k)]]) for k in range(len(shown))]
        read = [part for k, seen in enumerate(parts[:-1:2]) for part in (seen, marks[k])]
        written = [part for k, gone in enumerate(parts[1::2]) for part in (marks[k], gone)]
        return np.concatenate([*read, parts[-1]]), np.concatenate([*written, marks[-1], [vocabulary.end]])


def sentinel(number: int) -> str:
    """The control token that stands for a span, as T5 calls it."""
    return f"<extra_id_{number}>"


def span_lengths(
    length: int, rate: float, mean: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens of each shown span, [N + 1], and of each of the N hidden ones between them; all together `length`, 2 or
    more. The first and the last shown one may be empty."""
    hidden = min(max(_rounded(length * rate, rng), 1), length - 1)
    number = min(max(_rounded(hidden / mean, rng), 1), hidden, length - hidden + 1)
    shown = parts_of(length - hidden + 2, number + 1, rng)
    shown[[0, -1]] -= 1
    return shown, parts_of(hidden, number, rng)


def _rounded(number: float, rng: np.random.Generator) -> int:
    """Down or up by chance, so that the mean stays."""
    return int(number + rng.random())
