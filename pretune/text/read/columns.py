"""Which column holds what: the one that is given (`columns.text=review`), or the first well-known name.

    title, body                the long text wins: body
    my_text, airline_sentiment no name is known as it is: a text and a label by their last words

A role is what a column is for: text, label, question ... Each role has the names by which its column is known, in
order; case makes no difference. The roles are the fields of `Columns`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pretune.base.config import Config
from pretune.base.errors import NoSuchColumn, did_you_mean
from pretune.base.json import JsonMap
from pretune.text.read.values import is_nothing

FIRST = 50
"""So many records are looked at before the shape and the columns of a file are chosen."""
SURE = (
    *("text", "sentence", "content", "review", "comment", "message", "utterance", "tweet"),
    *("文本", "内容", "评论", "句子"),
)
"""A column of such a name is the text, whatever is in it; the first of them."""
TEXT = (
    *SURE,
    *("body", "document", "article", "abstract", "selftext", "description", "input", "query", "question"),
    *("title", "headline", "标题"),
)
"""Of those that are not sure the one with the longest texts is taken: a title is shorter than its article."""
LABEL = (
    *("label", "class", "category", "sentiment", "intent", "target", "labels", "tag", "topic", "label_text", "type"),
    *("polarity", "rating", "stars", "标签", "类别", "情感", "分类"),
)
WORDS = {
    "text": tuple(name for name in TEXT if name not in ("input", "query")),
    "label": ("label", "labels", "class", "category", "sentiment", "intent", "topic", "标签", "类别", "情感", "分类"),
}
"""Last words that say what a column is for where no name is known as it is."""
LAST_WORD = re.compile(r"([A-Z]+|[A-Z]?[^\W\dA-Z_]+)\W*$")

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
    """The text in which the answers are."""
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
    """The reply that is preferred."""
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


def text_column(rows: Sequence[JsonMap], *, given: str | None, where: str) -> str:
    """The column of a corpus's text in these records; raises NoSuchColumn, which names those that there are."""
    return Table(where, rows, {"text": given} if given else {}, stage="corpus").need("text")


@dataclass(frozen=True)
class Table:
    """The beginning of a file of records: what its columns are called, and what is in them.

    Args:
        where: the file, as errors name it.
        rows: the first records.
        given: role -> column, as the settings say.
        stage: whose settings errors name; a corpus compares no texts.
    """

    where: str
    rows: Sequence[JsonMap]
    given: Mapping[str, str]
    stage: str = "dataset"

    @cached_property
    def every_name(self) -> dict[str, str]:
        """Lower case -> as it is written."""
        found: dict[str, str] = {}
        for row in self.rows:
            for name in row:
                found.setdefault(str(name).lower(), str(name))
        return found

    @cached_property
    def names(self) -> dict[str, str]:
        """The same without `split` and `origin`, which are of no shape."""
        return {low: name for low, name in self.every_name.items() if low not in ("split", "origin")}

    def has(self, *names: str) -> bool:
        return all(name in self.names for name in names)

    def column(self, role: str, *, but: str | None = None) -> str | None:
        """The column of a role, other than `but`, by its name as it is; or None."""
        if role in self.given:
            found = self.every_name.get(self.given[role].lower())
            return None if found == but else found
        known = TEXT if self.stage == "corpus" else KNOWN[role]
        there = [self.names[low] for low in known if low in self.names and self.names[low] != but]
        return self._longest(there) if role == "text" else next(iter(there), None)

    def need(self, role: str, *, but: str | None = None) -> str:
        """The column of a role, other than `but`, if need be by the last word of its name.

        Raises:
            NoSuchColumn: names the columns that exist, and the nearest.
        """
        found = self.column(role, but=but) or (None if role in self.given else self._by_word(role, but))
        if found is None:
            raise self._none_for(role, but)
        return found

    def values(self, column: str | None) -> list[object]:
        """What the first records hold there; nothing is left out."""
        found = (row.get(column) for row in self.rows) if column is not None else ()
        return [value for value in found if not is_nothing(value) and value != ""]

    def _size(self, column: str) -> int:
        """Characters that the first records hold there."""
        return sum(len(value if isinstance(value, str) else str(value)) for value in self.values(column))

    def _longest(self, columns: Sequence[str]) -> str | None:
        """The first that is sure and not empty, else the one that holds most; None of none."""
        sure = (c for c in columns if c.lower() in SURE and self._size(c))
        return next(sure, None) or max(columns, key=self._size, default=None)

    def _by_word(self, role: str, but: str | None) -> str | None:
        """`airline_sentiment`, `reviewText`: of texts the longest, of labels the only one."""
        there = [name for name in self.names.values() if name != but and _ends_with(name, WORDS.get(role, ()))]
        if role == "text":
            return self._longest(there)
        return there[0] if len(there) == 1 else None

    def _none_for(self, role: str, but: str | None) -> NoSuchColumn:
        names = {low: name for low, name in self.every_name.items() if name != but}
        there = ", ".join(names.values()) or "none"
        if given := self.given.get(role):
            return NoSuchColumn(
                f"{self.where!r} has no column {given!r}; it has: {there}", hint=did_you_mean(given, names)
            )
        near = [n for low, n in names.items() if difflib.get_close_matches(low, KNOWN[role], n=1, cutoff=0.75)]
        worded = [n for n in names.values() if any(c.isalpha() for v in self.values(n) for c in str(v))]
        likely = near or ([max(worded, key=self._size)] if worded and role == "text" else ["COLUMN"])
        setting = f"dataset.columns.{role}" if self.stage == "dataset" else f"{self.stage}.{role}"
        return NoSuchColumn(
            f"{self.where!r} has no column that could be the {role}; it has: {there}",
            hint=f"name it: {setting}={likely[0]}",
        )


def _ends_with(name: str, words: Sequence[str]) -> bool:
    """Whether the last word of a name, in whichever way it is written, is one of these."""
    found = LAST_WORD.search(name)
    last = found[1].lower() if found else ""
    return last in words or any(last.endswith(word) for word in words if not word.isascii())
