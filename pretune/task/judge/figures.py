"""Figures for labels.

    gold  a a a b        class a: precision 2/2, recall 2/3, F1 0.8
    said  a a b b        class b: precision 1/2, recall 1/1, F1 0.667;  macro-F1 0.733, accuracy 0.75

Golden values in the tests come from scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


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
