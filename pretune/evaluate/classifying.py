"""A classifier on labelled texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pretune.base.errors import NotSupported
from pretune.base.log import Log
from pretune.evaluate.baselines import most_frequent, svm_labels
from pretune.evaluate.findings import Baseline, Findings, Group, margin_of
from pretune.evaluate.scores import Interval, class_scores, confusion, label_figures, report_text, wilson
from pretune.infer.classify import Label, TextClassifier
from pretune.text.dataset.example import Labelled

TEXTS_AT_ONCE = 128


def evaluate_labels(
    model: TextClassifier, examples: Sequence[Labelled], train: Sequence[Labelled], *, seed: int, log: Log
) -> Findings:
    """Figures, baselines and one row per text.

    Raises:
        NotSupported: the data has none of the model's labels.
    """
    notes = check_labels(model.labels, examples)
    gold = [e.label for e in examples]
    answers = predicted(model, [e.text for e in examples], log)
    said = [answer.name for answer in answers]
    labels = [*model.labels, *sorted({*gold} - {*model.labels})]
    figures = label_figures(gold, said, labels)
    intervals: dict[str, Interval | None] = {"accuracy": wilson(sum(_hits(gold, said)), len(gold))}
    baselines, baseline_said = label_baselines(gold, said, labels, examples, train, seed=seed)
    group = Group("all", len(gold), figures, intervals, baselines, "accuracy")
    counts = confusion(gold, said, labels)
    classes = class_scores(counts, labels)
    tables: dict[str, Any] = {"classes": classes, "confusion": {"labels": labels, "counts": counts.tolist()}}
    tables |= {"text": report_text(classes, figures)}
    rows = [_row(e, a, f) for e, a, f in zip(examples, answers, baseline_said, strict=True)]
    return Findings("classify", [group], rows, "chance_of_label", tables, notes)


def check_labels(known: Sequence[str], examples: Sequence[Labelled]) -> list[str]:
    """What to say of labels in the data that the model never tells; NotSupported when it tells none of them."""
    strange = sorted({e.label for e in examples} - {*known})
    if not strange:
        return []
    if len(strange) == len({e.label for e in examples}):
        problem = f"the model tells {', '.join(known[:8])}, the data holds {', '.join(strange[:8])}"
        raise NotSupported(problem, hint="evaluate on data with the labels that the model was fine-tuned on")
    number = sum(e.label in strange for e in examples)
    return [f"{number} examples carry a label that the model does not know and count as wrong: {', '.join(strange)}"]


def predicted(model: TextClassifier, texts: Sequence[str], log: Log) -> list[Label]:
    """The model's labels, in the order of the texts."""
    found: list[Label] = []
    with log.progress("classifying", total=len(texts), unit="texts") as bar:
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            part = texts[start : start + TEXTS_AT_ONCE]
            found += model.predict(part)
            bar.advance(len(part))
    return found


def label_baselines(
    gold: Sequence[str],
    said: Sequence[str],
    labels: Sequence[str],
    examples: Sequence[Labelled],
    train: Sequence[Labelled],
    *,
    seed: int,
) -> tuple[list[Baseline], list[str | None]]:
    """The baselines, and what the last and strongest one says of each text; none without a training split."""
    if not train:
        return [], [None] * len(gold)
    often = [most_frequent([e.label for e in train])] * len(gold)
    texts, names = [e.text for e in train], [e.label for e in train]
    svm = svm_labels(texts, names, [e.text for e in examples], seed=seed)
    systems = [
        ("majority", "always the most frequent label of the training split", often),
        ("tfidf_svm", "a linear SVM on TF-IDF", svm),
    ]
    found, right = [], _hits(gold, said)
    for name, what, answers in systems:
        everything = sorted({*labels, *answers})
        margin, interval = margin_of(right, _hits(gold, answers), seed=seed)
        found.append(Baseline(name, what, label_figures(gold, answers, everything), margin, interval))
    return found, [*svm]


def _hits(gold: Sequence[str], said: Sequence[str]) -> list[bool]:
    return [g == s for g, s in zip(gold, said, strict=True)]


def _row(example: Labelled, answer: Label, baseline: str | None) -> dict[str, Any]:
    return {
        "origin": example.origin,
        "group": "all",
        "text": example.text,
        "label": example.label,
        "said": answer.name,
        "right": answer.name == example.label,
        "chance": round(answer.score, 6),
        "chance_of_label": round(answer.scores.get(example.label, 0.0), 6),
        "baseline_said": baseline,
    }
