"""The judge of classifiers: one label for each text, or for two that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pretune.base.errors import NotSupported
from pretune.base.json import Json, JsonMap
from pretune.infer.answers import Label
from pretune.infer.predictor import Facts
from pretune.task.judge.baselines import most_frequent, svm_labels
from pretune.task.judge.calibration import (
    Chances,
    at_temperature,
    auroc,
    brier,
    calibration_error,
    chances_of,
    negative_log_likelihood,
    reliability,
)
from pretune.task.judge.figures import class_scores, confusion, label_figures, report_text
from pretune.task.judge.judge import Asked, Baseline, Judge, Marks
from pretune.text.dataset.example import Labelled

TEXTS_AT_ONCE = 1024


class LabelJudge(Judge):
    """Accuracy, precision, recall and F1; next to the most frequent label and a linear SVM."""

    main: ClassVar[str] = "accuracy"
    order: ClassVar[str] = "chance_of_label"
    subject: ClassVar[str] = "Labels"
    columns: ClassVar[tuple[str, ...]] = ("text", "second", "label", "said", "chance_of_label")

    def asked(
        self, examples: Sequence[Labelled], train: Sequence[Labelled], labels: Sequence[str] | None
    ) -> tuple[list[Asked], list[str]]:
        asked = [Asked(e.given, e.label, e.text, e.origin) for e in examples]
        notes = [] if labels is None else _check_labels(labels, asked, self.strange(examples, labels))
        return asked, notes

    def strange(self, examples: Sequence[Labelled], labels: Sequence[str]) -> list[str]:
        return sorted({e.label for e in examples} - {*labels})

    def marks(self, answer: Label, asked: Asked) -> Marks:
        return {"accuracy": answer.name == asked.wanted}

    def figures(self, answers: Sequence[Label], asked: Sequence[Asked]) -> dict[str, float]:
        """Those of scikit-learn; ece, nll and brier of texts in scope; how well other texts are told from them."""
        gold, said = _named(answers, asked)
        figures = label_figures(gold, said, sorted({*gold, *said}))
        return figures | _of_chances(answers, asked) | _of_scope(answers, asked)

    def tell(self, answers: Sequence[Label], asked: Sequence[Asked], facts: Facts) -> tuple[Json, list[str]]:
        """Figures by label, the confusion matrix, and both as text."""
        gold, said = _named(answers, asked)
        known = facts.said or ()
        every = [*known, *sorted({*gold, *said} - {*known})]
        counts = confusion(gold, said, every)
        classes = {name: row for name, row in class_scores(counts, every).items() if name}
        table = {"labels": [name or "(rejected)" for name in every], "counts": counts.tolist()}
        text = report_text(classes, label_figures(gold, said, every))
        tables = {"classes": classes, "confusion": table, "text": text}
        return tables | _calibration(answers, asked, facts.more.get("temperature")), []

    def baselines(self, asked: Sequence[Asked], train: Sequence[Labelled], *, seed: int) -> list[Baseline]:
        """None without a training split."""
        if not train:
            return []
        inputs, names = [e.given for e in train], [e.label for e in train]
        often = [most_frequent(names)] * len(asked)
        svm = svm_labels(inputs, names, [a.input for a in asked], seed=seed)
        systems = {
            ("majority", "always the most frequent label of the training split"): often,
            ("tfidf_svm", "a linear SVM on TF-IDF"): svm,
        }
        one = {name: Label(name, 1.0) for name in {*names, *svm}}  # equal answers are one object
        return [Baseline(*name, [one[n] for n in said]) for name, said in systems.items()]

    def row(self, asked: Asked, answer: Label, marks: Marks, baselines: Mapping[str, Any]) -> Json:
        strongest = baselines.get("tfidf_svm")
        return {
            "origin": asked.origin,
            "group": asked.group,
            **asked.texts,
            "label": asked.wanted,
            "said": answer.name or "(rejected)",
            "right": marks["accuracy"],
            "chance": round(answer.score, 6),
            "chance_of_label": round(answer.scores.get(asked.wanted, 0.0), 6),
            "baseline_said": strongest and strongest.name,
        }

    def mark_in(self, row: JsonMap) -> bool:
        return bool(row["right"])


def _in_scope(answers: Sequence[Label], asked: Sequence[Asked]) -> NDArray[np.bool_]:
    """Whether the model has the label of each text."""
    return np.array([a.wanted in answer.scores for answer, a in zip(answers, asked, strict=True)], dtype=bool)


def _chances(
    answers: Sequence[Label], asked: Sequence[Asked], power: float | None = None
) -> tuple[Chances, NDArray[np.bool_]] | None:
    """The probabilities of the texts in scope, and whether the likeliest label is theirs.

    None where there is none, or where the answers are a baseline's, which has no probabilities.

    Args:
        power: as `at_temperature` has it; None: probabilities as they were given.
    """
    some = [k for k, inside in enumerate(_in_scope(answers, asked)) if inside]
    if not some:
        return None
    number = {name: i for i, name in enumerate(answers[some[0]].scores)}
    parts, right = [], []
    for start in range(0, len(some), TEXTS_AT_ONCE):
        few = some[start : start + TEXTS_AT_ONCE]
        chances_BC = np.array([list(answers[k].scores.values()) for k in few])
        gold_B = np.array([number[asked[k].wanted] for k in few])
        right.append(chances_BC.argmax(axis=1) == gold_B)
        parts.append(chances_of(chances_BC if power is None else at_temperature(chances_BC, power), gold_B))
    return Chances(*map(np.concatenate, zip(*parts, strict=True))), np.concatenate(right)


def _of_chances(answers: Sequence[Label], asked: Sequence[Asked]) -> dict[str, float]:
    if (found := _chances(answers, asked)) is None:
        return {}
    chances, right = found
    error = calibration_error(reliability(chances.top, right))
    return {"ece": error, "nll": negative_log_likelihood(chances), "brier": brier(chances)}


def _of_scope(answers: Sequence[Label], asked: Sequence[Asked]) -> dict[str, float]:
    """Where texts are rejected or have labels that the model does not know; nothing elsewhere."""
    inside, rejected = _in_scope(answers, asked), np.array([answer.rejected for answer in answers])
    if not rejected.any() and (inside.all() or not inside.any()):
        return {}
    right = np.array([answer.name == a.wanted for answer, a in zip(answers, asked, strict=True)])
    found = {"rejected": float(rejected.mean())}
    found |= {"in_scope_accuracy": float(right[inside].mean())} if inside.any() else {}
    if inside.any() and not inside.all():
        found["auroc"] = auroc(np.array([answer.score for answer in answers]), inside)
    return found


def _calibration(answers: Sequence[Label], asked: Sequence[Asked], temperature: float | None) -> Json:
    """Bins of probability and share of right ones, without the temperature and with it."""
    if (found := _chances(answers, asked)) is None:
        return {}
    chances, right = found
    table: Json = {"bins": reliability(chances.top, right)}
    if temperature is not None and (without := _chances(answers, asked, temperature)):
        plain, _ = without
        bins = reliability(plain.top, right)
        before = {"ece": calibration_error(bins), "nll": negative_log_likelihood(plain)}
        table |= {"temperature": temperature, "before": {**before, "brier": brier(plain), "bins": bins}}
    return {"calibration": table}


def _named(answers: Sequence[Label], asked: Sequence[Asked]) -> tuple[list[str], list[str]]:
    """Labels of the data, and those that were given."""
    return [a.wanted for a in asked], [answer.name for answer in answers]


def _check_labels(known: Sequence[str], asked: Sequence[Asked], strange: Sequence[str]) -> list[str]:
    """What to say of labels in the data that the model never gives; NotSupported when it gives none of them."""
    if not strange:
        return []
    if len(strange) == len({a.wanted for a in asked}):
        problem = f"the model tells {', '.join(known[:8])}, the data holds {', '.join(strange[:8])}"
        raise NotSupported(problem, hint="evaluate on data with the labels that the model was fine-tuned on")
    number = sum(a.wanted in strange for a in asked)
    return [f"{number} examples carry a label that the model does not know and count as wrong: {', '.join(strange)}"]
