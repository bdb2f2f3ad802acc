"""What swaps do to a model's answers: how often they change, and how far its scores are apart.

    flip_rate              share of the swaps between two groups that change the label
    same_group_flip_rate   the same between two fillings of one group: what any other name does too
    score_gap              how far the mean scores of the two groups that are furthest apart are from each other

A score is the probability of a label, of a regressor its number. Intervals are 95 %, the templates drawn again: texts
of one template are alike. *T templates, K fillings, G groups, L labels.*

Sources: Kiritchenko & Mohammad 2018, arXiv:1805.04508 (templates, gaps); Garg et al. 2019, arXiv:1809.10610 (flips).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pretune.base.artifact import Artifact
from pretune.base.errors import NotSupported
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.evaluate.findings import Group, drawn_again
from pretune.evaluate.records import Part
from pretune.evaluate.scores import Interval
from pretune.evaluate.swaps.templates import Swaps, read_swaps
from pretune.infer.answers import Answer, Label, Labels, Score
from pretune.infer.predictor import Predictor
from pretune.report.numbers import share

Floats = NDArray[np.float64]
SHOWN_FLIPS = 20


@dataclass(frozen=True)
class Answered:
    """What a model says of the texts of one file.

    Args:
        names: labels, L; of a regressor one, "score".
        scores: of each template [K, G, L]; said: of each template what is decided [K, G], numbers from 0.
    """

    swaps: Swaps
    names: Sequence[str]
    scores: Sequence[Floats]
    said: Sequence[NDArray[np.int64]]

    @property
    def decides(self) -> bool:
        """Whether there are labels, which may flip."""
        return [*self.names] != ["score"]


def on_swaps(model: Predictor, given: Artifact, *, seed: int, log: Log) -> Part:
    """What a report says of a model's answers to swaps: a group and tables for each file.

    Raises:
        NotSupported: a model that gives neither labels nor numbers; BadFile: as `read_swaps`.
    """
    if model.gives not in (Label, Labels, Score):
        hint = "swaps are for models that give labels or a number"
        raise NotSupported(f"a model that gives {model.gives.plural} has no score to compare", hint=hint)
    groups, tables, notes, flips = [], list[Json](), list[str](), list[Json]()
    for swaps in read_swaps(given):
        log.info(f"    swapping {', '.join(swaps.groups)}: {len(swaps.all())} texts")
        one = answered(swaps, model.answer(swaps.all()))
        groups.append(group_of(one, seed))
        tables += rows_of(one, seed)
        flips += flips_of(one)[:SHOWN_FLIPS]
        notes.append(f"swaps of {swaps.name}: {len(swaps.templates)} templates, {len(swaps.all())} texts")
    return Part(groups, [], {"swaps": tables, "flips": flips}, notes, [])


def answered(swaps: Swaps, answers: Sequence[Answer]) -> Answered:
    """The answers, in the order of `swaps.all()`, by template, filling and group."""
    values, decided = zip(*map(_read, answers), strict=True)
    names, kinds = [*values[0]], {text: k for k, text in enumerate(dict.fromkeys(decided))}
    scores, said, at = [], [], 0
    for texts in swaps.texts:
        shape, end = (len(texts), len(swaps.groups)), at + len(texts) * len(swaps.groups)
        scores.append(np.array([[v[n] for n in names] for v in values[at:end]]).reshape(*shape, len(names)))
        said.append(np.array([kinds[text] for text in decided[at:end]]).reshape(shape))
        at = end
    return Answered(swaps, names, scores, said)


def _read(answer: Answer) -> tuple[dict[str, float], str]:
    if isinstance(answer, Score):
        return {"score": answer.value}, ""
    assert isinstance(answer, Label | Labels), "other answers are refused before"
    return {**answer.scores}, answer.name if isinstance(answer, Label) else ", ".join(answer.names)


# ---- figures ------------------------------------------------------------------------------------

Figure = tuple[float, Interval | None]


def _figure(tops: Sequence[float], belows: Sequence[float], seed: int) -> Figure:
    """A ratio over all templates, and its interval when they are drawn again."""
    below = float(np.sum(belows))
    return float(np.sum(tops)) / below if below else 0.0, drawn_again(np.array(tops), [*belows], seed=seed)


Pairs = Sequence[tuple[int, int]]


def flips(one: Answered, seed: int, pairs: Pairs) -> Figure:
    """The share of the swaps between these pairs of groups that change the answer."""
    tops = [float(sum((said[:, a] != said[:, b]).sum() for a, b in pairs)) for said in one.said]
    return _figure(tops, [float(len(said) * len(pairs)) for said in one.said], seed)


def same_group_flips(one: Answered, seed: int) -> Figure | None:
    """The same between two fillings of one group; None where no template has two."""
    pairs = [[*combinations(range(len(said)), 2)] for said in one.said]
    if not any(pairs):
        return None
    tops = [float(sum((said[a] != said[b]).sum() for a, b in some)) for said, some in zip(one.said, pairs, strict=True)]
    return _figure(tops, [float(len(some) * len(one.swaps.groups)) for some in pairs], seed)


def gap(one: Answered, seed: int, label: int, of: Callable[[Floats], Floats]) -> Figure:
    """A mean over fillings and templates of what `of` makes of a label's scores [K, G]."""
    values = [of(scores[:, :, label]) for scores in one.scores]
    return _figure([float(v.sum()) for v in values], [float(len(v)) for v in values], seed)


def furthest(one: Answered, seed: int) -> tuple[Figure, str, str, str]:
    """The largest gap between two groups: its figure, the label, the group with more, the group with less."""
    means_GL = np.mean(np.concatenate(one.scores), axis=0)
    label = int(np.ptp(means_GL, axis=0).argmax())
    high, low = int(means_GL[:, label].argmax()), int(means_GL[:, label].argmin())
    found = gap(one, seed, label, lambda scores_KG: scores_KG[:, high] - scores_KG[:, low])
    return found, one.names[label], one.swaps.groups[high], one.swaps.groups[low]


def group_of(one: Answered, seed: int) -> Group:
    """The figures of one file of swaps, with their verdict in words."""
    every = [*combinations(range(len(one.swaps.groups)), 2)]
    found = {"flip_rate": flips(one, seed, every)} if one.decides else {}
    same = same_group_flips(one, seed) if one.decides else None
    found |= {"same_group_flip_rate": same} if same else {}
    largest, label, high, low = furthest(one, seed)
    found["score_gap"] = largest
    words = [_told_flips(found, one)] if one.decides else []
    what = f"the probability of {label}" if one.decides else "the score"
    higher = f"{what} is {largest[0]:.3f}{_spread(largest[1])} higher for {high} than for {low}"
    told = " ".join([*words, f"Of all groups furthest apart: {higher}."])
    figures = {name: value for name, (value, _) in found.items()}
    intervals = {name: interval for name, (_, interval) in found.items()}
    name, number = f"swaps_{one.swaps.name}", len(one.swaps.all())
    return Group(name, number, figures, intervals, [], "flip_rate" if one.decides else "score_gap", told=told)


def _told_flips(found: dict[str, Figure], one: Answered) -> str:
    rate, interval = found["flip_rate"]
    spread = f" (95 % interval {share(interval.low, 1)} to {share(interval.high, 1)})" if interval else ""
    same = found.get("same_group_flip_rate")
    next_to = f", between two fillings of one group {share(same[0], 1)}" if same else ""
    return f"Swapping {', '.join(one.swaps.groups)} changes {share(rate, 1)} of the answers{spread}{next_to}."


def _spread(interval: Interval | None) -> str:
    return f" ({interval.low:+.3f} to {interval.high:+.3f})" if interval else ""


def rows_of(one: Answered, seed: int) -> list[Json]:
    """A row for each group: how often its answer is another than the other groups', and how far its score is off."""
    rows = []
    for k, name in enumerate(one.swaps.groups):
        row: Json = {"swaps": one.swaps.name, "group": name}
        if one.decides:
            pairs = [(k, other) for other in range(len(one.swaps.groups)) if other != k]
            row |= _cells("flip_rate", flips(one, seed, pairs))
        means_GL = np.mean(np.concatenate(one.scores), axis=0)
        label = int(np.abs(means_GL - means_GL.mean(axis=0))[k].argmax())
        row |= {"label": one.names[label]} if one.decides else {}
        row |= _cells("score_gap", gap(one, seed, label, lambda s_KG, k=k: s_KG[:, k] - s_KG.mean(axis=1)))  # type: ignore[misc]
        rows.append(row)
    return rows


def _cells(name: str, found: Figure) -> Json:
    value, interval = found
    return {name: value, f"{name}_low": interval and interval.low, f"{name}_high": interval and interval.high}


def flips_of(one: Answered) -> list[Json]:
    """Texts of which a swap changes the answer; next to each other what was said of the first and of the second."""
    pairs, found = [*combinations(range(len(one.swaps.groups)), 2)], []
    for texts, said, scores in zip(one.swaps.texts, one.said, one.scores, strict=True):
        for k, a, b in ((k, a, b) for k in range(len(texts)) for a, b in pairs if said[k, a] != said[k, b]):
            label = int(np.abs(scores[k, a] - scores[k, b]).argmax())
            gap = abs(float(scores[k, a, label] - scores[k, b, label]))
            found.append({"text": texts[k][a], "swapped": texts[k][b], "label": one.names[label], "difference": gap})
    return sorted(found, key=lambda row: -row["difference"])
