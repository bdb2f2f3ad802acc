"""Multiple choice and cloze, by the likelihood of what may follow.

    {"query": ..., "choices": [...], "gold": 0}      accuracy: the likeliest choice, by the sum of log-probabilities
                                                     accuracy_per_character: by that sum over the choice's characters
    {"context": ..., "continuation": ...}            accuracy: every token of it is the likeliest at its place
                                                     perplexity: exp of the mean nats of a continuation

These are acc and acc_norm, and LAMBADA's acc and perplexity, of lm-evaluation-harness (there a tie goes to the first
choice; here it counts in parts, and a question that is cut to the model's length keeps its bos). Each file has figures
of its own, next to chance.

C choices of a question.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretune.base.artifact import Artifact
from pretune.base.errors import BadFile, EmptyInput
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.evaluate.findings import Compared, Group, drawn_again, margin_of
from pretune.evaluate.likelihood import (
    Asked,
    CausalScorer,
    MaskedScorer,
    NGramScorer,
    Said,
    UniformScorer,
    ahead,
    encoded_behind,
    fitted,
)
from pretune.evaluate.pairs import REMEDY
from pretune.evaluate.records import Columns, Part, read_file, tables_of

QUERY = ("query", "question", "context", "ctx", "prompt", "text")
CHOICES = Columns(
    {
        "query": QUERY,
        "choices": ("choices", "options", "endings"),
        "gold": ("gold", "answer", "label"),
    },
    {},
)
CLOZE = Columns({"query": QUERY, "gold": ("continuation", "target", "last_word", "word")}, {})
SHOWN_CHARACTERS = 300
MANY = 64
"""Choices from which on the rank of the right one is told, as its exposure."""


@dataclass(frozen=True)
class Question:
    """What is asked, what may follow, and which of it is right; of a cloze the one thing that may."""

    query: str
    choices: tuple[str, ...]
    gold: int = 0

    @property
    def is_cloze(self) -> bool:
        return len(self.choices) == 1


def _question(values: Mapping[str, Any]) -> Question | str:
    query = values["query"]
    choices = values.get("choices", [values["gold"]])
    if not isinstance(query, str) or not isinstance(choices, list):
        return "has no text and list of choices"
    if not choices or not all(isinstance(one, str) and one.strip() for one in choices):
        return "has an empty choice, or none"
    if "choices" not in values:
        return Question(query, (choices[0],)) if query.strip() else "has no context"
    gold = _place(values["gold"], choices)
    if gold is None:
        return f"names as right {values['gold']!r}, which is none of its {len(choices)} choices"
    return Question(query, tuple(choices), gold)


def _place(gold: object, choices: Sequence[str]) -> int | None:
    """The place of the right choice, given as a place or as its text."""
    if isinstance(gold, str) and gold in choices:
        return choices.index(gold)
    number = int(gold) if isinstance(gold, int | str) and str(gold).isdigit() else -1
    return number if 0 <= number < len(choices) and len(choices) > 1 else None


def on_choices(
    scorer: CausalScorer | MaskedScorer,
    given: Artifact,
    *,
    between: str | None,
    counted: NGramScorer | None,
    most: int | None,
    seed: int,
    log: Log,
) -> Part:
    """What a report says of a model's choices: a group for each file. Raises as `read_file`, and EmptyInput."""
    groups, rows, notes, whole = [], list[Json](), [], []
    uniform = UniformScorer(scorer.tokenizer.get_vocab_size())
    for path_name, path in tables_of(given):
        name = PurePosixPath(path_name).as_posix().partition(".")[0].replace("/", "_")
        questions = read_file(path_name, path, [CHOICES, CLOZE], _question, most)
        if len({one.is_cloze for one in questions}) > 1:
            raise BadFile(f"{path_name!r} has questions of one choice and of several", hint="put them into two files")
        answered = Answered.of(scorer, questions, between, name, log)
        chance = Answered.by(uniform, answered)
        cloze = questions[0].is_cloze
        others = {"chance": chance} | ({"ngram": Answered.by(counted, answered)} if counted and not cloze else {})
        groups.append((_cloze_group if cloze else _choice_group)(name, answered, others, seed))
        rows += answered.rows(name)
        notes += answered.notes(name, between)
        whole += [f"{one.query} {one.choices[one.gold]}" for one in answered.questions]
    return Part(groups, rows, {}, notes, whole)


@dataclass(frozen=True)
class Answered:
    """Questions with what a model says of their choices.

    Args:
        asked: of every choice of every question, one after the other.
        cut: questions whose beginning was left out; `left`: that were left out.
    """

    questions: Sequence[Question]
    asked: Sequence[Asked]
    said: Sequence[Said]
    cut: int = 0
    left: int = 0

    @classmethod
    def of(
        cls,
        scorer: CausalScorer | MaskedScorer,
        questions: Sequence[Question],
        between: str | None,
        name: str,
        log: Log,
    ) -> Answered:
        """Ask a model; a question that is longer than its window loses its beginning."""
        asked = encoded_behind(scorer.tokenizer, [pair for one in questions for pair in texts_of(one, between)])
        kept, lines, cut, at = [], list[Asked](), 0, 0
        for one in questions:
            mine, at = asked[at : at + len(one.choices)], at + len(one.choices)
            room = scorer.room(True)
            if all(0 < len(after) < room for _, after in mine):
                short = [fitted(before, after, room) for before, after in mine]
                kept.append(one)
                lines += short
                cut += short != mine
        if not kept:
            raise EmptyInput(f"no question of {name!r} is short enough for the model's {scorer.room(True)} tokens")
        with log.progress(f"scoring {name}", total=len(lines), unit="choices") as bar:
            said = scorer.said(lines, bar.advance)
        return cls(kept, lines, said, cut, len(questions) - len(kept))

    @classmethod
    def by(cls, scorer: NGramScorer | UniformScorer, mine: Answered) -> Answered:
        """The same questions by another scorer."""
        return cls(mine.questions, mine.asked, scorer.said(mine.asked))

    def scores(self, *, per_character: bool) -> list[NDArray[np.float64]]:
        """Of each question the score of each choice, [C]."""
        found, at = [], 0
        for one in self.questions:
            sums_C = np.array([said.total for said in self.said[at : at + len(one.choices)]])
            found.append(sums_C / [len(choice) if per_character else 1 for choice in one.choices])
            at += len(one.choices)
        return found

    def hits(self, *, per_character: bool = False) -> NDArray[np.float64]:
        """1 where the right choice is the likeliest, its part of a tie of the likeliest, else 0."""
        scores = zip(self.scores(per_character=per_character), self.questions, strict=True)
        return np.array([_share(scores_C, one.gold) for scores_C, one in scores])

    def exposures(self) -> NDArray[np.float64] | None:
        """In bits, how much likelier the right choice is than its rank by chance, where it is one of very many: how
        much of a planted secret was learnt (pretune/text/canaries.py)."""
        if min(len(one.choices) for one in self.questions) < MANY:
            return None
        scores = zip(self.scores(per_character=False), self.questions, strict=True)
        return np.array([math.log2(len(s_C) / (1 + (s_C > s_C[one.gold]).sum())) for s_C, one in scores])

    def rows(self, name: str) -> list[Json]:
        """One row a question; `gain`: of the right choice over the best other one, of a cloze its log-probability."""
        return [
            {
                "part": name,
                "group": name,
                "text": one.query[-SHOWN_CHARACTERS:],
                "label": one.choices[one.gold],
                "said": None if one.is_cloze else one.choices[int(s_C.argmax())],
                "gain": round(float(s_C[one.gold] - (0.0 if one.is_cloze else np.delete(s_C, one.gold).max())), 6),
            }
            for one, s_C in zip(self.questions, self.scores(per_character=False), strict=True)
        ]

    def notes(self, name: str, between: str | None) -> list[str]:
        kind = "cloze" if self.questions[0].is_cloze else "multiple choice"
        stands = repr(lead(self.questions[0].query, between))
        told = [f"{name}: {len(self.questions)} questions, {kind}; {stands} stands between question and answer"]
        bits = self.exposures()
        told += [] if bits is None else [_exposed(name, bits, len(self.questions[0].choices))]
        told += [f"{self.cut} of them are longer than the model reads and lose their beginning"] if self.cut else []
        return [*told, *([f"{self.left} have a choice longer than that and are left out"] if self.left else [])]


def _exposed(name: str, bits: NDArray[np.float64], choices: int) -> str:
    unseen = f"a model that never saw them has {1 / math.log(2):.2f}, one that knows them {math.log2(choices):.2f}"
    return f"{name}: exposure {bits.mean():.2f} bits on the average, of one {bits.max():.2f} ({unseen})"


def _share(scores_C: NDArray[np.float64], gold: int) -> float:
    best = ahead(scores_C, np.full(len(scores_C), scores_C.max())) == 0.5
    return float(best[gold] / best.sum())


def lead(query: str, between: str | None) -> str:
    """What stands between a question and an answer: a line `Answer:` where the question says that it is one."""
    if between is not None:
        return between
    return "\nAnswer: " if query.startswith("Question:") else " "


def texts_of(one: Question, between: str | None) -> list[tuple[str, str]]:
    """Context and text of each choice; the blanks between them are of the text, as words begin with theirs."""
    context = one.query.rstrip() + lead(one.query, between)
    plain = context.rstrip(" ")
    return [(plain, context[len(plain) :] + choice) for choice in one.choices]


def _choice_group(name: str, mine: Answered, others: Mapping[str, Answered], seed: int) -> Group:
    figures = {"accuracy": False, "accuracy_per_character": True}
    hits = {figure: mine.hits(per_character=by) for figure, by in figures.items()}
    even = np.array([1 / len(one.choices) for one in mine.questions])
    compared = []
    for other, answered in others.items():
        theirs = {f: even if other == "chance" else answered.hits(per_character=by) for f, by in figures.items()}
        margin, interval = margin_of(hits["accuracy"].tolist(), theirs["accuracy"].tolist(), seed=seed)
        compared.append(Compared(other, WHAT[other], _means(theirs), margin, interval))
    if (bits := mine.exposures()) is not None:
        hits["exposure"] = bits
    intervals = {figure: drawn_again(values, seed=seed) for figure, values in hits.items()}
    return Group(name, len(mine.questions), _means(hits), intervals, compared, "accuracy", REMEDY)


WHAT = {
    "chance": "a model to which all choices are alike",
    "ngram": "a 5-gram model counted on the tokens that it was trained on",
}


def _means(values: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    return {name: float(some.mean()) for name, some in values.items()}


def _cloze_group(name: str, mine: Answered, others: Mapping[str, Answered], seed: int) -> Group:
    right = np.array([said.is_greedy for said in mine.said], dtype=np.float64)
    by_chance = np.array([math.exp(said.total) for said in others["chance"].said])
    margin, interval = margin_of(right.tolist(), by_chance.tolist(), seed=seed)
    figures = {"accuracy": float(right.mean()), "perplexity": _perplexity(mine.said)}
    chance = {"accuracy": float(by_chance.mean()), "perplexity": _perplexity(others["chance"].said)}
    compared = [Compared("chance", "a model to which all tokens are alike", chance, margin, interval)]
    intervals = {"accuracy": drawn_again(right, seed=seed)}
    return Group(name, len(right), figures, intervals, compared, "accuracy", REMEDY)


def _perplexity(said: Sequence[Said]) -> float:
    """exp of the mean nats of a continuation; infinite beyond what a float holds."""
    nats = -sum(one.total for one in said) / len(said)
    return math.exp(nats) if nats < 700 else math.inf
