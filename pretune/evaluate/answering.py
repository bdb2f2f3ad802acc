"""A chat model on dialogues: its greedy answer in the place of each dialogue's last reply.

What a model *remembers* and what it *guesses* are two different figures, so they are told apart: by a prefix of
`origin` (`guessed:...`), else by whether the wanted answer stands word for word in the training split.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretune.base.errors import BadMessages, NoTarget
from pretune.base.log import Log
from pretune.evaluate.answers import has_keyword, rouge_l, word_for_word
from pretune.evaluate.baselines import most_frequent, nearest
from pretune.evaluate.findings import Baseline, Findings, Group, drawn_again, margin_of
from pretune.evaluate.scores import Interval, wilson
from pretune.infer.language import LanguageModel
from pretune.text.dataset.example import Dialogue

PROMPTS_AT_ONCE = 64
GROUP = re.compile(r"^(remembered|guessed|[a-z][a-z_]*(?=[:/][^#]*$))[:/]")
"""An origin that is a record of a file (`train.csv#3`) names no group."""
REMEMBERED, GUESSED = "remembered", "guessed"
READ_SHARE = 0.1
"""Of a group's answers, read in training: from here on looking them up is a ceiling, not a baseline."""


@dataclass(frozen=True)
class Asked:
    """A dialogue up to its last reply, and that reply."""

    messages: list[dict[str, str]]
    wanted: str
    keywords: tuple[str, ...]
    origin: str
    group: str = "all"

    @property
    def question(self) -> str:
        return next((m["content"] for m in reversed(self.messages) if m["role"] == "user"), "")


def asked_of(dialogue: Dialogue) -> Asked | None:
    """The last reply and what stands before it; None if nobody replies."""
    replies = [i for i, m in enumerate(dialogue.messages) if m.role == "assistant" and m.learnt]
    if not replies or replies[-1] == 0:
        return None
    before = [{"role": m.role, "content": m.said} for m in dialogue.messages[: replies[-1]]]
    return Asked(before, dialogue.messages[replies[-1]].said, dialogue.keywords, dialogue.origin)


def grouped(asked: Sequence[Asked], train: Sequence[Asked]) -> list[Asked]:
    """Each with its group; where no origin names one, by whether training had the answer."""
    named = [GROUP.match(a.origin) for a in asked]
    if any(named):
        names = [m[1] if m else "other" for m in named]
    else:
        known = {" ".join(t.wanted.split()) for t in train}
        names = [REMEMBERED if " ".join(a.wanted.split()) in known else GUESSED for a in asked]
    return [Asked(a.messages, a.wanted, a.keywords, a.origin, name) for a, name in zip(asked, names, strict=True)]


def evaluate_answers(
    model: LanguageModel,
    examples: Sequence[Dialogue],
    train: Sequence[Dialogue],
    *,
    max_tokens: int,
    seed: int,
    log: Log,
) -> Findings:
    """Figures, baselines and one row per dialogue.

    Raises:
        NoTarget: nobody replies; NotSupported: the model has no chat template.
    """
    known = [a for e in train if (a := asked_of(e))]
    asked = grouped([a for e in examples if (a := asked_of(e))], known)
    if not asked:
        raise NoTarget("no dialogue of this split has a reply after a question", hint="look at the dataset")
    answers, notes = answered(model, asked, max_tokens=max_tokens, log=log)
    baselines = baseline_answers(asked, known)
    rows = [
        _row(a, answer, {n: f[k] for n, (_, f) in baselines.items()})
        for k, (a, answer) in enumerate(zip(asked, answers, strict=True))
    ]
    names = sorted({a.group for a in asked}, reverse=True)
    read = {" ".join(k.wanted.split()) for k in known}
    groups = [_group("all", rows, baselines, read, seed)]
    groups += [_group(n, [r for r in rows if r["group"] == n], baselines, read, seed) for n in names if len(names) > 1]
    plain = [{k: v for k, v in row.items() if k != "baselines"} for row in rows]
    return Findings("chat", groups, plain, "rouge_l", notes=[*notes, *_told(names, asked)])


def _told(names: Sequence[str], asked: Sequence[Asked]) -> list[str]:
    if any(GROUP.match(a.origin) for a in asked) or not {*names} <= {REMEMBERED, GUESSED}:
        return []
    number = sum(a.group == REMEMBERED for a in asked)
    told = "the wanted answer of {} of {} examples stands word for word in the training split, under other questions"
    return [told.format(number, len(asked)) + ": these are `remembered`, the others `guessed`"]


def answered(model: LanguageModel, asked: Sequence[Asked], *, max_tokens: int, log: Log) -> tuple[list[str], list[str]]:
    """Greedy answers in the order of the questions; and what is told of those that cannot be asked ("")."""
    prompts = [_prompt(model, a) for a in asked]
    room = model.decoder.max_length
    fitting = sorted((k for k, p in enumerate(prompts) if 0 < len(p) < room), key=lambda k: len(prompts[k]))
    answers = [""] * len(prompts)
    with log.progress("answering", total=len(fitting), unit="questions") as bar:
        for start in range(0, len(fitting), PROMPTS_AT_ONCE):
            part = fitting[start : start + PROMPTS_AT_ONCE]
            for k, ids in zip(part, model.generate_many([prompts[k] for k in part], max_tokens), strict=True):
                answers[k] = model.text_of(prompts[k], ids)
            bar.advance(len(part))
    late, refused = sum(len(p) >= room for p in prompts), sum(not p for p in prompts)
    told = {
        f"{late} questions are longer than the model's {room} tokens and count as answered with nothing": late,
        f"{refused} questions cannot be written by the chat template and count as answered with nothing": refused,
    }
    return answers, [text for text, number in told.items() if number]


def _prompt(model: LanguageModel, asked: Asked) -> list[int]:
    """The tokens of a question; none where the template refuses it (two turns of one side, say)."""
    try:
        return model.chat_prompt(asked.messages)
    except BadMessages:
        return []


def baseline_answers(asked: Sequence[Asked], train: Sequence[Asked]) -> dict[str, tuple[str, list[str]]]:
    """name -> (in words, an answer to each question); only the question itself without a training split."""
    found = {"question": ("the words of the question", [a.question for a in asked])}
    if not train:
        return found
    near = nearest([t.question for t in train], [a.question for a in asked])
    often = most_frequent([t.wanted for t in train])
    found["most_frequent"] = ("always the most frequent answer of the training split", [often] * len(asked))
    found["nearest"] = ("the answer to the most similar training question (TF-IDF)", [train[k].wanted for k in near])
    return found


def _row(asked: Asked, answer: str, baselines: dict[str, str]) -> dict[str, Any]:
    return {
        "origin": asked.origin,
        "group": asked.group,
        "question": asked.question,
        "wanted": asked.wanted,
        "answer": answer,
        **answer_scores(answer, asked.wanted, asked.keywords),
        "baseline_answer": baselines.get("nearest"),
        "baselines": {n: answer_scores(text, asked.wanted, asked.keywords) for n, text in baselines.items()},
    }


def answer_scores(answer: str, wanted: str, keywords: Sequence[str]) -> dict[str, Any]:
    """rouge_l, word_for_word, and any_keyword and all_keywords (None without keywords)."""
    hits = [has_keyword(answer, keyword) for keyword in keywords]
    return {
        "rouge_l": round(rouge_l(answer, wanted), 6),
        "word_for_word": word_for_word(answer, wanted),
        "any_keyword": any(hits) if hits else None,
        "all_keywords": all(hits) if hits else None,
    }


def _figures(scores: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means over the examples; of keywords, over those that have any."""
    found: dict[str, float] = {}
    for name in ("rouge_l", "word_for_word", "any_keyword", "all_keywords"):
        values = [float(s[name]) for s in scores if s[name] is not None]
        if values:
            found[name] = sum(values) / len(values)
    return found


def _group(
    name: str, rows: Sequence[dict[str, Any]], baselines: dict[str, tuple[str, list[str]]], read: set[str], seed: int
) -> Group:
    """One group's figures; where training had many of its answers (`read`), the nearest question's is a ceiling."""
    figures, mine = _figures(rows), [r["rouge_l"] for r in rows]
    intervals: dict[str, Interval | None] = {"rouge_l": drawn_again(np.asarray(mine), seed=seed)}
    for share in ("word_for_word", "any_keyword", "all_keywords"):
        values = [r[share] for r in rows if r[share] is not None]
        if values:
            intervals[share] = wilson(sum(values), len(values))
    is_read = sum(" ".join(r["wanted"].split()) in read for r in rows) > READ_SHARE * len(rows)
    found = []
    for baseline, (what, _) in baselines.items():
        scores = [r["baselines"][baseline] for r in rows]
        margin, interval = margin_of(mine, [s["rouge_l"] for s in scores], seed=seed)
        found.append(Baseline(baseline, what, _figures(scores), margin, interval, is_read and baseline == "nearest"))
    return Group(name, len(rows), figures, intervals, found, "rouge_l")
