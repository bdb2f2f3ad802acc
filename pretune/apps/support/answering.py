"""From a question to a reply with its sources, or to a person.

    an entry of the FAQ asks the same      ─▶ its answer, word for word                          way "faq"
    one passage surely answers             ─▶ the passage                                        way "passage"
    a chat model is there                  ─▶ its words, if they quote a passage that was found  way "written"
                                              else the passage                                   way "passage"
    nothing is sure enough                 ─▶ "I do not know; a person will answer"              way "nobody"

The order is that of trust. A quote is a run of words that is in the answer and in the passage, letter by letter; an
answer without one, or with a number that no passage has, is thrown away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import ClassVar, Literal

from pretune.apps.support.index import Hit, Index, empty_words
from pretune.apps.support.passages import Passage, sentences
from pretune.base.json import Json
from pretune.infer.answers import Label, Text, Told
from pretune.infer.embed import Embedder
from pretune.infer.predictor import Predictor
from pretune.task.judge.closeness import is_cjk, words_of

Way = Literal["faq", "passage", "written", "nobody"]
NOBODY = {
    "en": "I do not know the answer. A person will reply to you here.",
    "zh": "这个问题我不知道答案。会有人工客服在这里回复您。",
}
ASKED = {
    "en": "Answer the question with the passages alone, in their words, in at most three sentences.\n\n{passages}\n\n"
    "Question: {question}",
    "zh": "只根据下面的资料回答问题，尽量用原文的话，最多三句。\n\n{passages}\n\n问题：{question}",
}
SHOWN = 3
"""Passages that a chat model is given, and that a reply names as sources."""
AS_SURE = 0.5
"""A source is shown if it is at least half as sure as the first."""
QUOTED = 5
"""Words (in Chinese characters, twice as many) of a quote at least."""
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(frozen=True)
class Source:
    """Where an answer is from: a passage, and the slice of it that says so."""

    passage: Passage
    confidence: float
    start: int
    end: int

    @property
    def quote(self) -> str:
        return self.passage.text[self.start : self.end]

    def to_json(self) -> Json:
        place = {"start": self.start, "end": self.end, "confidence": round(self.confidence, 4)}
        return {**self.passage.to_json(), "quote": self.quote, "place": place}


@dataclass(frozen=True, slots=True)
class Reply(Told):
    """What a desk says.

    Args:
        way: how it was found; nobody: a person is asked.
        confidence: how sure it is that this answers, 0 to 1.
        intent: what a classifier says that the question is about; None without one, rejected where it does not know.
    """

    kind: ClassVar[str] = "reply"
    plural: ClassVar[str] = "answers with sources"
    text: str
    way: Way
    confidence: float
    sources: tuple[Source, ...] = ()
    intent: Label | None = field(default=None)

    def to_json(self) -> Json:
        intent = {"intent": {"name": self.intent.name, "score": self.intent.score}} if self.intent else {}
        found = {"answer": self.text, "way": self.way, "confidence": round(self.confidence, 4)}
        return {**found, "sources": [source.to_json() for source in self.sources], **intent}

    def told(self) -> str:
        lines = [f"{self.text}\n  ({self.way}, {self.confidence:.2f})"]
        for source in self.sources if self.way != "nobody" else ():
            where = " > ".join(filter(None, [source.passage.title, source.passage.section]))
            lines.append(f"  {source.passage.source}  {where}: {' '.join(source.quote.split())!r}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Limits:
    """From which confidence on something is said.

    Args:
        faq: that an entry asks the same; passage: that one passage is the answer; refuse: below it nobody answers.
    """

    faq: float
    passage: float
    refuse: float


@dataclass(frozen=True)
class Models:
    """What a desk may have besides its knowledge."""

    chat: Predictor | None = None
    intents: Predictor | None = None
    embed: Embedder | None = None
    rank: Predictor | None = None
    turn: Lock = field(default_factory=Lock)
    """Who writes: one at a time, or all would take as long as the last."""


@dataclass(frozen=True)
class Knowledge:
    """What a desk knows at a moment: passages, entries of the FAQ among them, and how they are found.

    Args:
        asked: the questions of the entries; `entries`: their places among the passages.
    """

    passages: Sequence[Passage]
    index: Index
    asked: Index
    entries: Sequence[int]


@dataclass(frozen=True)
class Found:
    """What is said without a chat model.

    Args:
        passages: what a chat model answers from, if it may; none: the reply stands as it is.
    """

    reply: Reply
    passages: tuple[Passage, ...] = ()


def reply(question: str, knowledge: Knowledge, models: Models, limits: Limits) -> Reply:
    """What the desk says to a question."""
    found = find(question, knowledge, models, limits)
    return worded(question, found, models) if found.passages else found.reply


def find(question: str, knowledge: Knowledge, models: Models, limits: Limits) -> Found:
    """An entry of the FAQ, passages, or nothing; in milliseconds, next to what a chat model takes (`worded`)."""
    intent = intent_of(question, models.intents)
    if (same := same_question(question, knowledge, models, intent)) and same.confidence >= limits.faq:
        entry = knowledge.passages[same.number]
        return Found(Reply(entry.text, "faq", same.confidence, (whole(entry, same.confidence),), intent))
    hits = knowledge.index.search(question, models.embed, models.rank, top=SHOWN)
    best = hits[0].confidence if hits else 0.0
    sources = shown(question, hits, knowledge)
    if not hits or best < limits.refuse:
        return Found(Reply(NOBODY[language(question)], "nobody", best, sources, intent))
    first = sources[0].passage
    said = Reply(first.text, "faq" if first.question else "passage", best, sources, intent)
    is_written = models.chat is not None and best < limits.passage
    return Found(said, tuple(knowledge.passages[hit.number] for hit in hits) if is_written else ())


def worded(question: str, found: Found, models: Models) -> Reply:
    """What was found in a chat model's words, if they quote it."""
    assert models.chat is not None, "passages are for a chat model"
    with models.turn:
        written = write(question, found.passages, models.chat)
    said = found.reply
    if (quotes := quoted(written, question, said.sources)) is None:
        return said
    return Reply(written, "written", said.confidence, quotes, said.intent)


def same_question(question: str, knowledge: Knowledge, models: Models, intent: Label | None) -> Hit | None:
    """The entry of the FAQ that asks most nearly the same; its confidence: how much both questions say alike.

    An entry that answers what the classifier hears in the question is as sure as the classifier is.
    """
    best: Hit | None = None
    for hit in knowledge.asked.search(question, models.embed, top=5):
        number = knowledge.entries[hit.number]
        passage = knowledge.passages[number]
        alike = knowledge.asked.likeness(question, passage.question)
        sure = alike if hit.cosine is None else max(alike, hit.cosine)
        if intent is not None and not intent.rejected and passage.intent == intent.name:
            sure = max(sure, intent.score)
        if best is None or sure > best.score:
            best = Hit(number, sure, sure)
    heard = _of_intent(question, knowledge, intent)
    return heard if heard and (best is None or heard.score > best.score) else best


def _of_intent(question: str, knowledge: Knowledge, intent: Label | None) -> Hit | None:
    """The first entry of an intent, in the question's language if there is one; it may share no word with it."""
    if intent is None or intent.rejected:
        return None
    asked = {
        k: knowledge.passages[k].question for k in knowledge.entries if knowledge.passages[k].intent == intent.name
    }
    if not asked:
        return None
    found = min(asked, key=lambda k: language(asked[k]) != language(question))
    return Hit(found, intent.score, intent.score)


def intent_of(question: str, intents: Predictor | None) -> Label | None:
    if intents is None:
        return None
    (label,) = intents.answer([question])
    assert isinstance(label, Label), "intents are labels"
    return label


def language(text: str) -> str:
    return "zh" if is_cjk(text) else "en"


def shown(question: str, hits: Sequence[Hit], knowledge: Knowledge) -> tuple[Source, ...]:
    """The first passages that are about as sure, each with the sentence that says most of what is asked."""
    found, covers = list[Source](), knowledge.index.covering(question)
    for hit in [hit for hit in hits[:SHOWN] if hit.confidence >= AS_SURE * hits[0].confidence]:
        passage = knowledge.passages[hit.number]
        text = passage.text
        places = [*sentences(text, 0, len(text))] or [(0, len(text))]
        start, end = max(places, key=lambda at: covers(text[at[0] : at[1]]))
        found.append(Source(passage, hit.confidence, start, end))
    return tuple(found)


def whole(passage: Passage, confidence: float) -> Source:
    return Source(passage, confidence, 0, len(passage.text))


def write(question: str, passages: Sequence[Passage], chat: Predictor) -> str:
    """What a chat model says to the question, given passages; fewer of them where its window is small; "" for none."""
    for number in range(len(passages), 0, -1):
        shown = "\n\n".join(passage.text for passage in passages[:number])
        content = ASKED[language(question)].format(passages=shown, question=question)
        (answer,) = chat.answer([[{"role": "user", "content": content}]], max_tokens=200, strict=False)
        assert isinstance(answer, Text), "a chat model writes"
        if answer.finish not in ("too-long", "refused"):
            return answer.text.strip()
    return ""


def quoted(answer: str, question: str, sources: Sequence[Source]) -> tuple[Source, ...] | None:
    """The sources that an answer quotes, with the quotes; None where it quotes none, or has a number of its own."""
    known = {*NUMBER.findall(question)}.union(*(NUMBER.findall(source.passage.text) for source in sources))
    if not {*NUMBER.findall(answer)} <= known:
        return None
    found = []
    for source in sources:
        start, end = longest_run(answer, source.passage.text)
        if says_something(source.passage.text[start:end]):
            found.append(Source(source.passage, source.confidence, start, end))
    return tuple(found) or None


def says_something(quote: str) -> bool:
    """Whether a quote is long enough, and not of words alone that every text has."""
    words = words_of(quote)
    telling = [word for word in words if word not in empty_words()]
    return len(words) >= QUOTED * (2 if is_cjk(quote) else 1) and len(telling) >= 2


def longest_run(answer: str, text: str) -> tuple[int, int]:
    """(start, end) in the text of the longest run of whole words that the answer has too, letter by letter.

    Whether a run of n characters is shared holds for every shorter n too, so n is halved in on.
    """
    low, high, place = 0, min(len(answer), len(text)), 0
    while low < high:
        n = (low + high + 1) // 2
        there = {answer[k : k + n] for k in range(len(answer) - n + 1)}
        at = next((k for k in range(len(text) - n + 1) if text[k : k + n] in there), None)
        low, high, place = (n, high, at) if at is not None else (low, n - 1, place)
    return _whole_words(text, place, place + low)


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """The slice without halves of words at its ends, and without white space."""

    def inside(k: int) -> bool:
        return 0 < k < len(text) and all(one.isalnum() and not is_cjk(one) for one in text[k - 1 : k + 1])

    while start < end and (inside(start) or text[start].isspace()):
        start += 1
    while end > start and (inside(end) or text[end - 1].isspace()):
        end -= 1
    return start, end
