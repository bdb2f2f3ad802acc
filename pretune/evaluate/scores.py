"""Figures for labels, and how sure they are.

    gold  a a a b        class a: precision 2/2, recall 2/3, F1 0.8
    said  a a b b        class b: precision 1/2, recall 1/1, F1 0.667;  macro-F1 0.733, accuracy 0.75

Golden values in the tests come from scikit-learn. Intervals are 95 %: Wilson for a share, the bootstrap for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""
DRAWS = 2000
BOOTSTRAP_CELLS = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float

    def pair(self) -> list[float]:
        return [self.low, self.high]


def confusion(gold: Sequence[str], said: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """How often label i (row) was called label j (column), [labels, labels]; both must be among `labels`."""
    number = {name: i for i, name in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(counts, ([number[g] for g in gold], [number[s] for s in said]), 1)
    return counts


def class_scores(counts: NDArray[np.int64], labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support (examples of it) of every label; what divides by nothing is 0."""
    rows = {}
    for i, name in enumerate(labels):
        hits, said, true = int(counts[i, i]), int(counts[:, i].sum()), int(counts[i].sum())
        f1 = 2 * hits / (said + true) if said + true else 0.0
        rows[name] = {"precision": _share(hits, said), "recall": _share(hits, true), "f1": f1, "support": true}
    return rows


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def label_figures(gold: Sequence[str], said: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """accuracy, macro_precision, macro_recall, macro_f1 and weighted_f1.

    Macro means run over the labels that occur, in the data or in the answers, as in scikit-learn. (Over a label that
    neither has nor gets an example, the mean would fall for no mistake.)
    """
    counts = confusion(gold, said, labels)
    rows = class_scores(counts, labels)
    there = [rows[name] for i, name in enumerate(labels) if counts[i].sum() + counts[:, i].sum()]
    macro = {f"macro_{what}": sum(r[what] for r in there) / len(there) for what in ("precision", "recall", "f1")}
    weighted = sum(r["f1"] * r["support"] for r in there) / len(gold)
    return {"accuracy": int(np.trace(counts)) / len(gold), **macro, "weighted_f1": weighted}


def report_text(classes: dict[str, dict[str, float]], figures: dict[str, float]) -> str:
    """A classification report as scikit-learn prints it: a line for each label, then the means."""
    width = max(len("weighted F1"), *(len(name) for name in classes))
    lines = [f"{'':<{width}} precision    recall  f1-score   support"]
    for name, row in classes.items():
        shown = (f"{row[k]:>9.4f}" for k in ("precision", "recall", "f1"))
        lines.append(f"{name:<{width}} " + " ".join(shown) + f" {int(row['support']):>9}")
    means = {"accuracy": "accuracy", "macro F1": "macro_f1", "weighted F1": "weighted_f1"}
    return "\n".join([*lines, "", *(f"{name:<{width}} {figures[key]:>29.4f}" for name, key in means.items())]) + "\n"


def wilson(hits: float, total: int) -> Interval:
    """Where the true share lies when `hits` of `total` were seen; [0, 1] when nothing was.

    Source: Wilson 1927; it stays inside [0, 1] and holds for small counts, unlike mean +- 2 standard errors.
    """
    if total == 0:
        return Interval(0.0, 1.0)
    share, z2 = hits / total, Z * Z
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def bootstrap(sums: Sequence[float] | NDArray[Any], weights: Sequence[float] | None = None, *, seed: int) -> Interval:
    """Interval of sum(sums) / sum(weights) when the examples are drawn again, 2,000 times (Efron 1979, percentiles).

    Args:
        sums: one number per example; for a margin, the difference between two systems on the same example.
        weights: what each example adds to the denominator; 1 if not given.
    """
    top = np.asarray(sums, dtype=np.float64)
    below = np.ones_like(top) if weights is None else np.asarray(weights, dtype=np.float64)
    rng, found = np.random.default_rng(seed), []
    at_once = max(1, BOOTSTRAP_CELLS // len(top))
    for start in range(0, DRAWS, at_once):
        drawn = rng.integers(len(top), size=(min(at_once, DRAWS - start), len(top)))
        found.append(top[drawn].sum(axis=1) / below[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return Interval(float(low), float(high))
