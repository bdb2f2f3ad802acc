"""The judge of replies: a chat model's greedy answer in the place of each dialogue's last reply.

What a model *remembers* and what it *guesses* are two different figures, so they stand apart: by a prefix of
`origin` (`guessed:...`), else by whether the wanted answer stands word for word in the training split.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from pretune.base.errors import NoTarget
from pretune.base.json import Json
from pretune.infer.answers import Text
from pretune.infer.calls import read_calls, said_with
from pretune.infer.chat import messages_in
from pretune.infer.predictor import Facts
from pretune.report.numbers import share
from pretune.task.judge.baselines import most_frequent, nearest
from pretune.task.judge.closeness import has_keyword, rouge_l, word_for_word
from pretune.task.judge.judge import Asked, Baseline, Judge, Marks
from pretune.text.dataset.example import Dialogue

GROUP = re.compile(r"^(remembered|guessed|[a-z][a-z_]*(?=[:/][^#]*$))[:/]")
"""An origin that is a record of a file (`train.csv#3`) names no group."""
REMEMBERED, GUESSED = "remembered", "guessed"
MOST_UNFINISHED = 0.2
"""Of the answers: above this share it is said that the model does not stop."""
READ_SHARE = 0.1
"""Of a group's answers, read in training: from here on looking them up is a ceiling, not a baseline."""


class ReplyJudge(Judge):
    """ROUGE-L, word for word, keywords, calls; next to the question, the most frequent and the nearest answer."""

    main: ClassVar[str] = "rouge_l"
    order: ClassVar[str] = "rouge_l"
    subject: ClassVar[str] = "Answers"
    columns: ClassVar[tuple[str, ...]] = ("question", "wanted", "answer", "baseline_answer", "rouge_l")

    def asked(
        self, examples: Sequence[Dialogue], train: Sequence[Dialogue], labels: Sequence[str] | None
    ) -> tuple[list[Asked], list[str]]:
        asked = grouped([a for e in examples if (a := asked_of(e))], [a for e in train if (a := asked_of(e))])
        if not asked:
            raise NoTarget("no dialogue of this split has a reply after a question", hint="look at the dataset")
        return asked, _told(asked)

    def strange(self, examples: Sequence[Dialogue], labels: Sequence[str]) -> list[str]:
        return []

    def marks(self, answer: Text, asked: Asked) -> Marks:
        return {**answer_scores(answer.text, asked.wanted, asked.keywords), "unfinished": is_unfinished(answer)}

    def figures(self, answers: Sequence[Text], asked: Sequence[Asked]) -> dict[str, float]:
        return {}

    def tell(self, answers: Sequence[Text], asked: Sequence[Asked], facts: Facts) -> tuple[Json, list[str]]:
        """Of questions that cannot be asked."""
        late, refused, cut = (sum(a.finish == why for a in answers) for why in ("too-long", "refused", "window"))
        empty = "and count as answered with nothing"
        told = {
            f"{late} questions are longer than the model's {facts.max_length} tokens {empty}": late,
            f"{refused} questions cannot be written by the chat template {empty}": refused,
            f"{cut} answers end where the model's {facts.max_length} tokens do; whether they would have stopped by "
            "themselves is not known, so `unfinished` leaves them out": cut,
        }
        return {}, [
            *never_ends(answers, ", or max_tokens is too small for replies this long (raise it)"),
            *(text for text, number in told.items() if number),
        ]

    def baselines(self, asked: Sequence[Asked], train: Sequence[Dialogue], *, seed: int) -> list[Baseline]:
        """The question itself; of the training split, the most frequent reply and that to the nearest question."""
        found = [Baseline("question", "the words of the question", [Text(question_of(a)) for a in asked])]
        known = [a for e in train if (a := asked_of(e))]
        if not known:
            return found
        near = nearest([question_of(k) for k in known], [question_of(a) for a in asked])
        often = Text(most_frequent([k.wanted for k in known]))
        said = [Text(known[k].wanted) for k in near]
        what = "the answer to the most similar training question (TF-IDF)"
        is_read = partial(_is_read, frozenset(" ".join(k.wanted.split()) for k in known))
        return [
            *found,
            Baseline("most_frequent", "always the most frequent answer of the training split", [often] * len(asked)),
            Baseline("nearest", what, said, is_read),
        ]

    def row(self, asked: Asked, answer: Text, marks: Marks, baselines: Mapping[str, Any]) -> Json:
        nearest = baselines.get("nearest")
        return {
            "origin": asked.origin,
            "group": asked.group,
            "question": question_of(asked),
            "wanted": asked.wanted,
            "answer": answer.text,
            **marks,
            "baseline_answer": nearest and nearest.text,
        }


def asked_of(dialogue: Dialogue) -> Asked | None:
    """The last reply and what stands before it; None if nobody replies."""
    replies = [i for i, m in enumerate(dialogue.messages) if m.role == "assistant" and m.learnt]
    if not replies or replies[-1] == 0:
        return None
    before, tools = [m.turn for m in dialogue.messages[: replies[-1]]], dialogue.callable
    wanted = dialogue.messages[replies[-1]].said
    talk = {"messages": before, "tools": tools} if tools else before
    return Asked(talk, wanted, wanted, dialogue.origin, keywords=dialogue.keywords)


def question_of(asked: Asked) -> str:
    """What the user said last."""
    return next((m["content"] for m in reversed(messages_in(asked.input)) if m["role"] == "user"), "")


def grouped(asked: Sequence[Asked], train: Sequence[Asked]) -> list[Asked]:
    """Each with its group; where no origin names one, by whether training had the answer."""
    named = [GROUP.match(a.origin) for a in asked]
    if any(named):
        names = [m[1] if m else "other" for m in named]
    else:
        known = {" ".join(t.wanted.split()) for t in train}
        names = [REMEMBERED if " ".join(a.wanted.split()) in known else GUESSED for a in asked]
    return [replace(a, group=name) for a, name in zip(asked, names, strict=True)]


def _told(asked: Sequence[Asked]) -> list[str]:
    """What is said of groups that no origin names."""
    if any(GROUP.match(a.origin) for a in asked):
        return []
    number = sum(a.group == REMEMBERED for a in asked)
    told = "the wanted answer of {} of {} examples stands word for word in the training split, under other questions"
    return [told.format(number, len(asked)) + ": these are `remembered`, the others `guessed`"]


def _is_read(read: frozenset[str], group: Sequence[Asked]) -> bool:
    """Whether training had so many of the answers that looking them up is the most there is to reach."""
    return sum(" ".join(a.wanted.split()) in read for a in group) > READ_SHARE * len(group)


def answer_scores(answer: str, wanted: str, keywords: Sequence[str]) -> Json:
    """rouge_l, word_for_word; any_keyword and all_keywords (None without keywords); call_name and call_arguments (None
    where no call is wanted): the same names in order, and with them the same JSON. Texts are compared with calls in one
    form."""
    hits = [has_keyword(answer, keyword) for keyword in keywords]
    (said, given), (asked, calls) = read_calls(answer), read_calls(wanted)
    if calls:
        answer, wanted = said_with(said, given), said_with(asked, calls)
    return {
        "rouge_l": round(rouge_l(answer, wanted), 6),
        "word_for_word": word_for_word(answer, wanted),
        "any_keyword": any(hits) if hits else None,
        "all_keywords": all(hits) if hits else None,
        "call_name": [c.name for c in given] == [c.name for c in calls] if calls else None,
        "call_arguments": [c.signed for c in given] == [c.signed for c in calls] if calls else None,
    }


def is_unfinished(answer: Text) -> bool | None:
    """Whether an answer went on to the limit that was asked for; None where the model's window ended it, or it is none
    that a model wrote."""
    return answer.finish == "length" if answer.finish in ("stop", "length") and answer.num_prompt_tokens else None


def never_ends(answers: Sequence[Text], more: str = "") -> list[str]:
    """What is said of a model that often does not end its replies; nothing of one that does."""
    ended = [found for a in answers if (found := is_unfinished(a)) is not None]
    if not ended or sum(ended) <= MOST_UNFINISHED * len(ended):
        return []
    limit = max(a.num_tokens for a in answers if is_unfinished(a))
    return [
        f"{sum(ended)} of {len(ended)} answers ({share(sum(ended) / len(ended))}) did not end by themselves within "
        f"{limit} tokens: the token that ends a reply is not learnt (train longer; raise max_length where finetune "
        f"says that replies lose their end){more}"
    ]
