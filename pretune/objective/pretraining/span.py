"""Hide spans of a text and write them (T5, arXiv:1910.10683, section 3.1.4).

    text     Thank you for inviting me to your party last week .
    read     Thank you <extra_id_0> me to your party <extra_id_1> week . <end>
    written  <extra_id_0> for inviting <extra_id_1> last <extra_id_2> <end>

Lengths are drawn as T5's code draws them (`random_spans_noise_mask`): the hidden tokens are cut into a number of spans,
the others into as many, all cuts alike, and they take turns, the first one shown, the last one hidden. Where the code
rounds the two numbers, here chance does, so that short documents too have the rate and the mean length that are asked.

The last sentinel is that of the paper (its figure 2 and its text: "plus a final sentinel token to mark the end"); T5's
code writes none, since a text that it hides parts of always ends with one of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pretune.base.errors import WrongValue
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
        most = min(length // 2, int(length * self.rate / self.mean_length) + 2)
        if most >= self.sentinels:
            hint = f"objective.sentinels={most + 1}, a shorter length, or a longer objective.mean_length"
            raise WrongValue(
                f"length={length} has up to {most} spans; sentinels={self.sentinels} is too few", hint=hint
            )
        return super().form(length, vocabulary)

    def part(self, text: Ids, is_whole: bool, vocabulary: Vocabulary, rng: np.random.Generator) -> tuple[Ids, Ids]:
        shown, hidden = span_lengths(len(text), self.rate, self.mean_length, rng)
        places = np.cumsum(np.column_stack([shown, hidden]).ravel())
        marks = [[vocabulary.controls[sentinel(k)]] for k in range(len(shown) + 1)]
        parts = np.split(text, places[:-1])
        read = [part for k, seen in enumerate(parts[::2]) for part in (seen, marks[k])]
        written = [part for k, gone in enumerate(parts[1::2]) for part in (marks[k], gone)]
        return np.concatenate(read), np.concatenate([*written, marks[-1], [vocabulary.end]])


def sentinel(number: int) -> str:
    """The control token that stands for a span, as T5 calls it."""
    return f"<extra_id_{number}>"


def span_lengths(
    length: int, rate: float, mean: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens of each span that is shown and of the hidden one behind it; all together `length`, which is 2 or more."""
    hidden = min(max(_rounded(length * rate, rng), 1), length - 1)
    number = min(max(_rounded(hidden / mean, rng), 1), hidden, length - hidden)
    return _cut(length - hidden, number, rng), _cut(hidden, number, rng)


def _rounded(number: float, rng: np.random.Generator) -> int:
    """Down or up by chance, so that the mean stays."""
    return int(number + rng.random())


def _cut(length: int, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The lengths of so many parts of at least one token each, every way to cut alike."""
    borders = np.sort(rng.choice(length - 1, number - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], borders, [length]]))
