"""The judge of classifiers that give any number of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pretune.base.errors import NotSupported
from pretune.base.json import Json, JsonMap
from pretune.infer.answers import Labels
from pretune.infer.predictor import Facts
from pretune.task.judge.baselines import most_frequent, svm_sets
from pretune.task.judge.figures import macro_f1, set_figures
from pretune.task.judge.judge import Asked, Baseline, Judge, Marks
from pretune.text.dataset.example import MultiLabelled


class LabelSetJudge(Judge):
    """Micro- and macro-F1, share with all labels right; next to the most frequent label and a linear SVM for each."""

    main: ClassVar[str] = "macro_f1"
    order: ClassVar[str] = "f1"
    subject: ClassVar[str] = "Labels"
    columns: ClassVar[tuple[str, ...]] = ("text", "labels", "said", "baseline_said")

    def asked(
        self, examples: Sequence[MultiLabelled], train: Sequence[MultiLabelled], labels: Sequence[str] | None
    ) -> tuple[list[Asked], list[str]]:
        strange = self.strange(examples, labels) if labels else []
        if strange and not {name for e in examples for name in e.labels} - {*strange}:
            problem = f"the model tells {', '.join((labels or ())[:8])}, the data holds {', '.join(strange[:8])}"
            raise NotSupported(problem, hint="evaluate on data with the labels that the model was fine-tuned on")
        told = [f"the model does not know the labels {', '.join(strange)}: it misses them all"] if strange else []
        return [Asked(e.given, e.labels, e.text, e.origin) for e in examples], told

    def strange(self, examples: Sequence[MultiLabelled], labels: Sequence[str]) -> list[str]:
        return sorted({name for e in examples for name in e.labels} - {*labels})

    def marks(self, answer: Labels, asked: Asked) -> Marks:
        return {"subset_accuracy": {*answer.names} == {*asked.wanted}}

    def figures(self, answers: Sequence[Labels], asked: Sequence[Asked]) -> dict[str, float]:
        return set_figures(*_sets(answers, asked)[1:])

    def drawn(self, answers: Sequence[Labels], asked: Sequence[Asked]) -> Callable[[NDArray[np.int64]], float]:
        _, gold, said = _sets(answers, asked)
        return lambda numbers: macro_f1(gold[numbers], said[numbers])

    def tell(self, answers: Sequence[Labels], asked: Sequence[Asked], facts: Facts) -> tuple[Json, list[str]]:
        """Figures by label, with the threshold of each."""
        names, gold, said = _sets(answers, asked)
        known = dict(zip(facts.labels or (), facts.more.get("thresholds") or (), strict=False))
        rows = {}
        for name, true, given in zip(names, gold.T, said.T, strict=True):
            figures = set_figures(true[:, None], given[:, None])
            row = {what: figures[f"micro_{what}"] for what in ("precision", "recall", "f1")}
            rows[name] = {**row, "support": int(true.sum()), "threshold": known.get(name, 0.5)}
        return {"classes": rows}, []

    def baselines(self, asked: Sequence[Asked], train: Sequence[MultiLabelled], *, seed: int) -> list[Baseline]:
        """None without a training split."""
        if not train:
            return []
        names = [name for e in train for name in e.labels]
        often = Labels((most_frequent(names),) if names else ())
        svm = svm_sets([e.given for e in train], [e.labels for e in train], [a.input for a in asked], seed=seed)
        return [
            Baseline("majority", "always the most frequent label of the training split", [often] * len(asked)),
            Baseline("tfidf_svm", "a linear SVM for each label on TF-IDF", [Labels(said) for said in svm]),
        ]

    def row(self, asked: Asked, answer: Labels, marks: Marks, baselines: Mapping[str, Any]) -> Json:
        strongest = baselines.get("tfidf_svm")
        right, every = len({*asked.wanted} & {*answer.names}), len(asked.wanted) + len(answer.names)
        return {
            "origin": asked.origin,
            "group": asked.group,
            **asked.texts,
            "labels": ", ".join(asked.wanted),
            "said": ", ".join(answer.names),
            "right": marks["subset_accuracy"],
            "f1": round(2 * right / every, 6) if every else 1.0,
            "baseline_said": strongest and ", ".join(strongest.names),
        }

    def again(self, row: JsonMap) -> tuple[Labels, Asked]:
        said, wanted = (tuple(filter(None, row[name].split(", "))) for name in ("said", "labels"))
        return Labels(said), Asked("", wanted, "", row["origin"])


def held(sets: Sequence[Sequence[str]], names: Sequence[str]) -> NDArray[np.bool_]:
    """Which of the names each set holds, [sets, names]."""
    return np.array([[name in one for name in names] for one in sets], dtype=bool).reshape(len(sets), len(names))


def _sets(answers: Sequence[Labels], asked: Sequence[Asked]) -> tuple[list[str], NDArray[np.bool_], NDArray[np.bool_]]:
    """The labels that occur, those of the data [texts, labels], and those that were given."""
    gold, said = [a.wanted for a in asked], [answer.names for answer in answers]
    names = sorted({name for one in (*gold, *said) for name in one})
    return names, held(gold, names), held(said, names)
