"""Figures for labels, and for scores.

    gold  a a a b        class a: precision 2/2, recall 2/3, F1 0.8
    said  a a b b        class b: precision 1/2, recall 1/1, F1 0.667;  macro-F1 0.733, accuracy 0.75

Golden values in the tests come from scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pretune.infer.correlation import pearson, spearman


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
    # A text that is rejected without a label ("") has no class of its own.
    there = [rows[name] for i, name in enumerate(labels) if name and counts[i].sum() + counts[:, i].sum()]
    macro = {f"macro_{what}": sum(r[what] for r in there) / len(there) for what in ("precision", "recall", "f1")}
    weighted = sum(r["f1"] * r["support"] for r in there) / len(gold)
    return {"accuracy": int(np.trace(counts)) / len(gold), **macro, "weighted_f1": weighted}


def set_figures(gold: NDArray[np.bool_], said: NDArray[np.bool_]) -> dict[str, float]:
    """micro_precision, micro_recall and micro_f1 of all decisions together, and macro_f1, from [texts, labels].

    The macro mean runs over the labels that occur, in the data or in the answers.
    """
    hits, given, true = int((gold & said).sum()), int(said.sum()), int(gold.sum())
    micro = {"precision": _share(hits, given), "recall": _share(hits, true), "f1": _share(2 * hits, given + true)}
    return {**{f"micro_{what}": value for what, value in micro.items()}, "macro_f1": macro_f1(gold, said)}


def macro_f1(gold: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    """The mean of every occurring label's F1, from [texts, labels]; 0 where none occurs."""
    below = gold.sum(axis=0) + said.sum(axis=0)
    there = below > 0
    return float((2 * (gold & said).sum(axis=0)[there] / below[there]).mean()) if there.any() else 0.0


def best_cut(values: NDArray[np.float64], holds: NDArray[np.bool_], *, default: float) -> float:
    """From which value on a label is best said to hold: the highest F1; `default` where it holds of no text.

    The cut lies half way to the next lower value; among equals the highest is taken.
    """
    if not holds.any():
        return default
    order = np.argsort(-values, kind="stable")
    ranked, hits = values[order], np.cumsum(holds[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + holds.sum())
    f1[:-1][ranked[:-1] == ranked[1:]] = -1.0  # equal values are on one side
    best = int(f1.argmax())
    return float(ranked[best : best + 2].mean())


def score_figures(wanted: NDArray[np.float64], said: NDArray[np.float64]) -> dict[str, float]:
    """spearman, pearson, mae and rmse (root mean square error)."""
    errors = said - wanted
    correlations = {"spearman": spearman(wanted, said), "pearson": pearson(wanted, said)}
    return {**correlations, "mae": float(np.abs(errors).mean()), "rmse": float(np.sqrt((errors**2).mean()))}


def report_text(classes: dict[str, dict[str, float]], figures: dict[str, float]) -> str:
    """A classification report as scikit-learn prints it: a line for each label, then the means."""
    width = max(len("weighted F1"), *(len(name) for name in classes))
    lines = [f"{'':<{width}} precision    recall  f1-score   support"]
    for name, row in classes.items():
        shown = (f"{row[k]:>9.4f}" for k in ("precision", "recall", "f1"))
        lines.append(f"{name:<{width}} " + " ".join(shown) + f" {int(row['support']):>9}")
    means = {"accuracy": "accuracy", "macro F1": "macro_f1", "weighted F1": "weighted_f1"}
    return "\n".join([*lines, "", *(f"{name:<{width}} {figures[key]:>29.4f}" for name, key in means.items())]) + "\n"
