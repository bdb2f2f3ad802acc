"""Minimal pairs: of two sentences that differ in one thing, is the good one likelier?

    good                                     bad                                      paradigm
    Who had that doctor concealed before ... Who had that doctor concealed Holly ...  adjunct_island

Two figures: by the log-probability of the whole sentence, and by its mean per token, for sentences of unequal length.
Ties count half, so a model that gives every sentence the same score has 50.0; the figure of all pairs is the mean over
the paradigms (Warstadt et al. 2020, arXiv:1912.00582; in Chinese ZhoBLiMP, Liu et al. 2024, arXiv:2411.06096).

Next to it: chance; the sentence of fewer tokens, which is all that a model of equal chances says by its sums; and a
5-gram model that was counted on the tokens which the model was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretune.base.artifact import Artifact
from pretune.base.errors import EmptyInput
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.evaluate.findings import Compared, Group, drawn_again
from pretune.evaluate.likelihood import (
    Asked,
    CausalScorer,
    MaskedScorer,
    NGramScorer,
    Scorer,
    UniformScorer,
    ahead,
    encoded,
)
from pretune.evaluate.records import Columns, Part, grouped, read_file, tables_of

COLUMNS = Columns(
    {
        "good": ("good", "sentence_good", "sen_good", "acceptable", "grammatical"),
        "bad": ("bad", "sentence_bad", "sen_bad", "unacceptable", "ungrammatical"),
    },
    {"paradigm": ("paradigm", "uid", "phenomenon", "category")},
)
REMEDY = "more text, more minutes of training, or a larger model"
FIGURES = ("accuracy", "accuracy_per_token")


@dataclass(frozen=True)
class Pair:
    """Two sentences; `paradigm` is what they differ in."""

    good: str
    bad: str
    paradigm: str


@dataclass(frozen=True)
class Scored:
    """Log-probabilities of both sides, float64 [P, 2], by the whole sentence and by the mean of its tokens."""

    sums_P2: NDArray[np.float64]
    means_P2: NDArray[np.float64]

    def hits(self, figure: str) -> NDArray[np.float64]:
        """1, 0, or 0.5 of a tie, of each pair."""
        scores_P2 = self.sums_P2 if figure == "accuracy" else self.means_P2
        return ahead(scores_P2[:, 0], scores_P2[:, 1])


def read_pairs(given: Artifact, most: int | None = None) -> list[Pair]:
    """The pairs of an input, at most so many of a file, evenly spread. Raises as `read_file`."""
    found = (pair for name, path in tables_of(given) for pair in read_file(name, path, [COLUMNS], _pair, most))
    return list(found)


def _pair(values: Mapping[str, Any]) -> Pair | str:
    good, bad = values["good"], values["bad"]
    if not all(isinstance(text, str) and text.strip() for text in (good, bad)):
        return "has no text on both sides"
    return Pair(good, bad, str(values.get("paradigm") or "all"))


def on_pairs(
    scorer: CausalScorer | MaskedScorer,
    given: Artifact,
    *,
    counted: NGramScorer | None,
    most: int | None,
    seed: int,
    log: Log,
) -> Part:
    """What a report says of a model's pairs.

    Raises:
        EmptyInput: no pair fits into the model's window; as `read_file`.
    """
    pairs = read_pairs(given, most)
    asked = _asked(scorer, pairs)
    fits = [k for k, two in enumerate(asked) if all(0 < len(ids) <= scorer.room(False) for _, ids in two)]
    if not fits:
        raise EmptyInput(
            f"no pair is short enough: the model reads {scorer.room(False)} tokens", hint="take shorter ones"
        )
    left, pairs, asked = len(pairs) - len(fits), [pairs[k] for k in fits], [asked[k] for k in fits]
    mine = score_pairs(scorer, asked, log)
    others = _others(asked, counted, scorer.tokenizer.get_vocab_size())
    paradigms = dict(grouped([pair.paradigm for pair in pairs]))
    group = _group(mine, others, paradigms, seed=seed)
    tables = {"paradigms": [_line(name, places, mine, others) for name, places in paradigms.items()]}
    notes = _notes(scorer, pairs, left, len(paradigms), mine)
    return Part([group], _rows(pairs, mine, others), tables, notes, [pair.good for pair in pairs])


def _asked(scorer: CausalScorer | MaskedScorer, pairs: Sequence[Pair]) -> list[tuple[Asked, Asked]]:
    good, bad = (encoded(scorer.tokenizer, texts) for texts in ([p.good for p in pairs], [p.bad for p in pairs]))
    return [(((), one), ((), other)) for one, other in zip(good, bad, strict=True)]


def score_pairs(scorer: Scorer, asked: Sequence[tuple[Asked, Asked]], log: Log | None = None) -> Scored:
    """Both scores of both sides of each pair."""
    flat = [side for two in asked for side in two]
    with (log or Log(quiet=True)).progress("scoring", total=len(flat), unit="sentences") as bar:
        said = scorer.said(flat, bar.advance)
    sums = np.array([one.total for one in said])
    return Scored(sums.reshape(-1, 2), (sums / [len(one.nats) for one in said]).reshape(-1, 2))


def _others(asked: Sequence[tuple[Asked, Asked]], counted: NGramScorer | None, vocab_size: int) -> dict[str, Scored]:
    even = np.zeros((len(asked), 2))
    found = {"chance": Scored(even, even), "fewer_tokens": score_pairs(UniformScorer(vocab_size), asked)}
    return found | ({"ngram": score_pairs(counted, asked)} if counted else {})


WHAT = {
    "chance": "a model that gives every sentence the same score",
    "fewer_tokens": "the sentence of fewer tokens, by sums, and chance by the mean per token",
    "ngram": "a 5-gram model counted on the tokens that it was trained on",
}


Paradigms = Mapping[str, Sequence[int]]
"""Paradigm -> its pairs."""


def mean_over(paradigms: Paradigms, hits: NDArray[np.float64]) -> float:
    """The mean over the paradigms of the mean of each."""
    return float(np.mean([hits[places].mean() for places in paradigms.values()]))


def weights_of(paradigms: Paradigms) -> NDArray[np.float64]:
    """What each pair adds to that; 1 in all."""
    weights = np.zeros(sum(map(len, paradigms.values())))
    for places in paradigms.values():
        weights[places] = 1 / (len(paradigms) * len(places))
    return weights


def _group(mine: Scored, others: Mapping[str, Scored], paradigms: Paradigms, *, seed: int) -> Group:
    weights = weights_of(paradigms)

    def figures(scored: Scored) -> dict[str, float]:
        return {name: mean_over(paradigms, scored.hits(name)) for name in FIGURES}

    def drawn(values: NDArray[np.float64]) -> Any:
        return drawn_again(values * weights, weights.tolist(), seed=seed)

    hits = mine.hits("accuracy")
    compared = []
    for name, other in others.items():
        gap = hits - other.hits("accuracy")
        compared.append(Compared(name, WHAT[name], figures(other), mean_over(paradigms, gap), drawn(gap)))
    intervals = {name: drawn(mine.hits(name)) for name in FIGURES}
    return Group("pairs", len(weights), figures(mine), intervals, compared, "accuracy", REMEDY)


def _line(name: str, places: Sequence[int], mine: Scored, others: Mapping[str, Scored]) -> Json:
    """The row of a paradigm in the table."""
    found: Json = {"paradigm": name, "pairs": len(places)}
    found |= {figure: float(mine.hits(figure)[places].mean()) for figure in FIGURES}
    return found | {f"{name}_accuracy": float(other.hits("accuracy")[places].mean()) for name, other in others.items()}


def _rows(pairs: Sequence[Pair], mine: Scored, others: Mapping[str, Scored]) -> list[Json]:
    gaps = mine.sums_P2[:, 0] - mine.sums_P2[:, 1]
    means = mine.means_P2[:, 0] - mine.means_P2[:, 1]
    ngram = others.get("ngram")
    return [
        {
            "part": "pairs",
            "group": pair.paradigm,
            "good": pair.good,
            "bad": pair.bad,
            "gain": round(float(gaps[k]), 6),
            "gain_per_token": round(float(means[k]), 6),
            "ngram_gain": None if ngram is None else round(float(ngram.sums_P2[k, 0] - ngram.sums_P2[k, 1]), 6),
        }
        for k, pair in enumerate(pairs)
    ]


def _notes(
    scorer: CausalScorer | MaskedScorer, pairs: Sequence[Pair], left: int, paradigms: int, mine: Scored
) -> list[str]:
    equal = sum(pair.good == pair.bad for pair in pairs)
    ties = int((mine.hits("accuracy") == 0.5).sum())
    notes = [
        f"pairs: {len(pairs)}, by {scorer.what} in float32; figures are means over {paradigms} paradigms",
        f"{ties} pairs are ties and count half; of {equal} both sides are the same text",
        f"a sentence stands {begun(scorer)}",
    ]
    return [*notes, *([f"{left} pairs are longer than the model reads, or empty, and are left out"] if left else [])]


def begun(scorer: CausalScorer | MaskedScorer) -> str:
    """With what a text that stands alone begins."""
    ids = scorer.before if isinstance(scorer, MaskedScorer) else scorer.alone
    names = " ".join(str(scorer.tokenizer.id_to_token(token)) for token in ids)
    return f"behind {names}" if names else "alone"
