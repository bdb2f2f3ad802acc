"""Which column holds what: the one that is given (`columns.text=review`), or the first well-known name.

A role is what a column is for: text, label, question ... Each role has the names by which its column is known, in
order; case makes no difference. The roles are the fields of `Columns`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pretune.base.config import Config
from pretune.base.errors import NoSuchColumn, did_you_mean

TEXT = (
    *("text", "sentence", "content", "review", "query", "question", "title", "comment", "message", "utterance"),
    *("tweet", "headline", "body", "document", "description", "input", "文本", "内容", "评论", "句子", "标题"),
)
LABEL = (
    *("label", "class", "category", "sentiment", "intent", "target", "labels", "tag", "topic", "label_text", "type"),
    *("polarity", "rating", "stars", "标签", "类别", "情感", "分类"),
)
COMPARED = (
    *(("sentence1", "sentence2"), ("sentence_a", "sentence_b"), ("text1", "text2"), ("text_a", "text_b")),
    *(("texta", "textb"), ("premise", "hypothesis"), ("question1", "question2"), ("sent1", "sent2")),
)
"""Columns of two texts that are compared."""
KNOWN: dict[str, tuple[str, ...]] = {
    "text": (*TEXT, *(a for a, _ in COMPARED)),
    "second": ("second", *(b for _, b in COMPARED)),
    "label": LABEL,
    "score": ("score", "similarity", "similarity_score", "relevance", "评分", "分数", "得分"),
    "tokens": ("tokens", "words", "chars", "characters", "token"),
    "tags": ("tags", "ner_tags", "ner", "bio", "slots", "labels", "label", "tag", "pos_tags"),
    "entities": ("entities", "spans", "label", "labels", "annotations", "实体"),
    "question": ("question", "query", "query_text", "问题"),
    "context": ("context", "passage", "paragraph", "context_text", "article", "document", "上下文"),
    "answers": ("answers", "answer", "答案"),
    "source": ("source", "src", "原文"),
    "target": ("targets", "target", "tgt", "译文"),
    "messages": ("messages", "conversations", "conversation", "dialogue", "dialog", "turns"),
    "prompt": ("prompt", "instruction", "question", "query", "问题"),
    "reply": ("completion", "response", "output", "answer", "reply", "回答", "答案"),
    "chosen": ("chosen", "preferred", "better"),
    "rejected": ("rejected", "dispreferred", "worse"),
    "query": ("query", "question", "ctx", "goal", "prompt", "context", "user_id", "userid", "user", "问题"),
    "candidates": ("candidates", "choices", "options", "endings", "item_id", "movieid", "itemid", "item", "选项"),
    "scores": ("scores", "gold", "answer", "label", "answerkey", "answer_idx", "rating", "ratings", "答案"),
    "times": ("times", "timestamp", "time"),
}
"""The names of each role's column, the surest first."""


class Columns(Config):
    """The column of each role; one that is not given is found by its name."""

    text: str | None = None
    """The text; of two that are compared, the first."""
    second: str | None = None
    """The text that the first is compared with."""
    label: str | None = None
    """The label, or a list of labels."""
    score: str | None = None
    """The number that belongs to a text."""
    tokens: str | None = None
    """Words: a list, or a text with blanks between them."""
    tags: str | None = None
    """One tag for each word: a list, or a text with blanks between them."""
    entities: str | None = None
    """Pieces of the text with their kinds, by their places."""
    question: str | None = None
    """What is asked about the context."""
    context: str | None = None
    """The text in which the answers stand."""
    answers: str | None = None
    """Pieces of the context that answer."""
    source: str | None = None
    """What is to be turned into the target; of parallel files, the ending (`columns.source=en`)."""
    target: str | None = None
    """What the source becomes, or a list of right ones."""
    messages: str | None = None
    """The turns of a dialogue."""
    prompt: str | None = None
    """What the user says, where a dialogue is two columns."""
    reply: str | None = None
    """What is answered, where a dialogue is two columns."""
    chosen: str | None = None
    """The reply that is liked."""
    rejected: str | None = None
    """The reply that is not."""
    query: str | None = None
    """What candidates are ranked for: a question, a user."""
    candidates: str | None = None
    """What is ranked: a list, or one candidate a row."""
    scores: str | None = None
    """Of each candidate its score, or which of them is right."""
    times: str | None = None
    """When a candidate was scored, in seconds."""

    def __str__(self) -> str:
        return " ".join(f"{role}={column}" for role, column in self.given().items()) or "(found by name)"

    def given(self) -> dict[str, str]:
        """Role -> column, of those that are given."""
        return {role: column for role, column in self.model_dump().items() if column is not None}


def find_column(
    names: Collection[str], *, given: str | None, known: Sequence[str], what: str, where: str, stage: str
) -> str:
    """The column for `what` ("text", say), case ignored.

    Raises:
        NoSuchColumn: names the columns that exist, and the nearest.
    """
    by_case = {n.lower(): n for n in reversed([str(n) for n in names])}
    found = [by_case[n] for n in ([given.lower()] if given else known) if n in by_case]
    if found:
        return found[0]
    there = ", ".join(map(str, names)) or "none"
    if given:
        raise NoSuchColumn(f"{where!r} has no column {given!r}; it has: {there}", hint=did_you_mean(given, by_case))
    setting = f"{stage}.columns.{what}" if stage == "dataset" else f"{stage}.{what}"
    near = [n for n in by_case if difflib.get_close_matches(n, known, n=1, cutoff=0.75)]
    hint = f"name it: {setting}={by_case[near[0]] if near else 'COLUMN'}"
    raise NoSuchColumn(f"{where!r} has no column that could be the {what}; it has: {there}", hint=hint)


@dataclass(frozen=True)
class Table:
    """The beginning of a file of records: what its columns are called, and what lies in them.

    Args:
        where: the file, as errors name it.
        rows: the first records.
        given: role -> column, as the settings say.
    """

    where: str
    rows: Sequence[Mapping[str, Any]]
    given: Mapping[str, str]

    @cached_property
    def names(self) -> dict[str, str]:
        """Lower case -> as it is written; `split` and `origin` are of no shape."""
        found: dict[str, str] = {}
        for row in self.rows:
            for name in row:
                found.setdefault(str(name).lower(), str(name))
        return {low: name for low, name in found.items() if low not in ("split", "origin")}

    def has(self, *names: str) -> bool:
        return all(name in self.names for name in names)

    def column(self, role: str) -> str | None:
        """The column of a role, or None."""
        known = [self.given[role].lower()] if role in self.given else KNOWN[role]
        return next((self.names[n] for n in known if n in self.names), None)

    def need(self, role: str, *, but: str | None = None) -> str:
        """The column of a role, other than `but`; raises NoSuchColumn with the nearest name."""
        names = [n for n in self.names.values() if n != but]
        return find_column(
            names, given=self.given.get(role), known=KNOWN[role], what=role, where=self.where, stage="dataset"
        )

    def values(self, column: str | None) -> list[Any]:
        """What the first records hold there; nothing is left out."""
        found = (row.get(column) for row in self.rows) if column is not None else ()
        return [value for value in found if value is not None and value != ""]
