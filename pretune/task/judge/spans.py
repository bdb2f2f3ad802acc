"""The judge of answers in a context: the scripts' F1 and exact matches, next to the sentence most like the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from pretune.base.errors import NoTarget
from pretune.base.json import Json
from pretune.infer.answers import Span
from pretune.infer.predictor import Facts
from pretune.task.judge.baselines import tfidf
from pretune.task.judge.judge import Asked, Baseline, Judge, Marks
from pretune.task.judge.passages import exact_and_f1, sentences_of
from pretune.text.dataset.example import Question

HAS_ANSWER, NO_ANSWER = "has_answer", "no_answer"
AROUND = 60
"""Characters of a context that a page shows on both sides of an answer."""
NOTHING = Span("", -1, 1.0)


class SpanJudge(Judge):
    """F1 and exact matches; next to no answer at all, and the sentence most like the question."""

    main: ClassVar[str] = "f1"
    order: ClassVar[str] = "f1"
    subject: ClassVar[str] = "Answers in a context"
    columns: ClassVar[tuple[str, ...]] = ("question", "wanted", "in_context", "baseline_answer", "f1")

    def asked(
        self, examples: Sequence[Question], train: Sequence[Question], labels: Sequence[str] | None
    ) -> tuple[list[Asked], list[str]]:
        if not examples:
            raise NoTarget("this split asks nothing", hint="look at the dataset")
        return [asked_of(e) for e in examples], []

    def strange(self, examples: Sequence[Question], labels: Sequence[str]) -> list[str]:
        return []

    def marks(self, answer: Span, asked: Asked) -> Marks:
        exact, f1 = exact_and_f1(answer.text, asked.wanted, asked.text)
        return {"f1": f1, "exact": exact}

    def figures(self, answers: Sequence[Span], asked: Sequence[Asked]) -> dict[str, float]:
        return {}

    def tell(self, answers: Sequence[Span], asked: Sequence[Asked], facts: Facts) -> tuple[Json, list[str]]:
        """Of questions without an answer, asked of a model that always gives one."""
        number = sum(not one.wanted for one in asked)
        always = facts.more.get("no_answer") is None
        told = (
            f"{number} questions have no answer in their context; the model learnt from none such and always gives one"
        )
        return {}, [told] if number and always else []

    def baselines(self, asked: Sequence[Asked], train: Sequence[Question], *, seed: int) -> list[Baseline]:
        """No answer, where that is ever right; the sentence with the largest TF-IDF cosine to the question."""
        what = "the sentence of the context that is most like the question (TF-IDF)"
        best = Baseline("sentence", what, nearest_sentences(asked, train))
        if all(one.wanted for one in asked):
            return [best]
        return [Baseline("always_empty", "no answer to any question", [NOTHING] * len(asked)), best]

    def row(self, asked: Asked, answer: Span, marks: Marks, baselines: Mapping[str, Any]) -> Json:
        return {
            "origin": asked.origin,
            "group": asked.group,
            "question": asked.input["question"],
            "context": asked.text,
            "wanted": " | ".join(dict.fromkeys(asked.wanted)),
            "answer": answer.text,
            "start": answer.start,
            "chance": round(answer.score, 6),
            **marks,
            "baseline_answer": baselines["sentence"].text,
        }

    def shown(self, row: Mapping[str, Any]) -> Json:
        """With the answer marked in its context."""
        return {**row, "in_context": marked(row["context"], row["start"], row["answer"])}


def asked_of(example: Question) -> Asked:
    """A question; `wanted`: the texts of its answers, none where the context does not say."""
    wanted = [answer.text for answer in example.answers]
    given = {"question": example.question, "context": example.context}
    return Asked(given, wanted, example.context, example.origin, HAS_ANSWER if wanted else NO_ANSWER)


def best_threshold(judge: Judge, answers: Sequence[Any], asked: Sequence[Asked]) -> float:
    """The margin of "no answer" up to which giving an answer brings the most F1, as SQuAD 2.0's script searches it.

    Between the margins of two answers: no rounding turns one of these.
    """
    order = np.argsort([answer.margin for answer in answers], kind="stable")
    margins = [float(answers[k].margin) for k in order]
    gains = [judge.marks(answers[k], asked[k])["f1"] - judge.marks(NOTHING, asked[k])["f1"] for k in order]
    best = int(np.argmax(np.cumsum([0.0, *gains])))
    between = [margins[0] - 1, *((a + b) / 2 for a, b in pairwise(margins)), margins[-1] + 1]
    return between[best]


def nearest_sentences(asked: Sequence[Asked], train: Sequence[Question]) -> list[Span]:
    """Of each context the sentence most like the question, among equals the first; all contexts weigh words."""
    contexts = dict.fromkeys([*(e.context for e in train), *(one.text for one in asked)])
    vectoriser, _ = tfidf([text[a:b] for text in contexts for a, b in sentences_of(text)])
    found = []
    for one in asked:
        places = sentences_of(one.text)
        rows = vectoriser.transform([one.input["question"], *(one.text[a:b] for a, b in places)])
        start, end = places[int(np.argmax((rows[1:] @ rows[0].T).toarray()))] if places else (0, 0)
        found.append(Span(one.text[start:end], start, 1.0))
    return found


def marked(context: str, start: int, answer: str) -> list[tuple[str, bool]]:
    """Pieces of a context, the answer marked; its beginning where there is no answer."""
    if start < 0:
        return [(context[: 2 * AROUND], False)]
    end = start + len(answer)
    before, after = context[max(start - AROUND, 0) : start], context[end : end + AROUND]
    pieces = [("… " if start > AROUND else "", False), (before, False), (answer, True), (after, False)]
    return [*pieces, (" …" if end + AROUND < len(context) else "", False)]
