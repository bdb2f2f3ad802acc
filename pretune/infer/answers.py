"""What models answer: a small closed set of types, each with its JSON.

Label    one of several labels       Span     a piece of a context
Labels   any number of labels        Text     words of its own
Score    a number                    Vector   numbers that stand for a text
Tags     a tag for each word         Ranking  candidates, the best first
Many     an answer to each of several tasks
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pretune.base.json import Json
from pretune.infer.calls import Call, read_calls

if TYPE_CHECKING:
    from numpy.typing import NDArray

Finish = Literal["stop", "length", "window", "too-long", "refused"]
"""Why a text ended: by itself, at the limit that was asked for, or where the model's window ends; or why there is none:
its prompt fills the window, or is no prompt."""


class Answer:
    """One answer of a model."""

    __slots__ = ()
    kind: ClassVar[str]
    """Its name in `bundle.json`."""
    plural: ClassVar[str]
    """What a model gives that answers like this."""
    reads: ClassVar[tuple[str, ...]] = ("text",)
    """What such a model is asked with: roles of a table's columns."""

    def to_json(self) -> Json:
        """What `predict --json` and the server show."""
        raise AssertionError("an answer has to_json()")


class Told(Answer):
    """An answer of an application, which says itself how a terminal shows it."""

    __slots__ = ()

    def told(self) -> str:
        """For people, on one line or several."""
        raise AssertionError("an answer of an application has told()")


class Shares(Mapping[str, float]):
    """The probability of each label for one text, where a table holds those of many: a dict for each would be large.

    Args:
        columns: label -> column; table: [texts, labels]; row: number of the text.
    """

    __slots__ = ("columns", "row", "table")

    def __init__(self, columns: Mapping[str, int], table: NDArray[Any], row: int):
        self.columns, self.table, self.row = columns, table, row

    def __getitem__(self, label: str) -> float:
        return float(self.table[self.row, self.columns[label]])

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


@dataclass(frozen=True, slots=True)
class Label(Answer):
    """A label and its probability; `scores` holds every label's.

    A text that is `rejected` (none of the labels is likely enough) has no label, or the one for such texts, and the
    probability of the likeliest.
    """

    kind: ClassVar[str] = "label"
    plural: ClassVar[str] = "labels"
    name: str
    score: float
    scores: Mapping[str, float] = field(default_factory=dict, repr=False)
    rejected: bool = False

    def to_json(self) -> Json:
        rejected = {"rejected": True} if self.rejected else {}
        return {"label": self.name, "score": self.score, **rejected, "scores": dict(self.scores)}


@dataclass(frozen=True, slots=True)
class Labels(Answer):
    """Every label that holds, and the probability of each."""

    kind: ClassVar[str] = "labels"
    plural: ClassVar[str] = "sets of labels"
    names: tuple[str, ...]
    scores: Mapping[str, float] = field(default_factory=dict, repr=False)

    def to_json(self) -> Json:
        return {"labels": list(self.names), "scores": dict(self.scores)}


@dataclass(frozen=True, slots=True)
class Score(Answer):
    """A number."""

    kind: ClassVar[str] = "score"
    plural: ClassVar[str] = "numbers"
    value: float

    def to_json(self) -> Json:
        return {"score": self.value}


@dataclass(frozen=True, slots=True)
class Entity:
    """A piece of a text, what it is, and its place in characters, `end` one past the last."""

    text: str
    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Tags(Answer):
    """A tag (IOB2) for each word, and what they mark; `num_unread` words are too far behind, or have no token."""

    kind: ClassVar[str] = "tags"
    plural: ClassVar[str] = "tags"
    tags: tuple[str, ...]
    words: tuple[str, ...] = ()
    entities: tuple[Entity, ...] = ()
    num_unread: int = 0

    def to_json(self) -> Json:
        entities = [asdict(entity) for entity in self.entities]
        return {"entities": entities, "words": list(self.words), "tags": list(self.tags), "unread": self.num_unread}


@dataclass(frozen=True, slots=True)
class Span(Answer):
    """A piece of a context, `start` in characters, and its probability; an empty one, at -1: the context does not tell.

    Args:
        others: the next best pieces.
        margin: how far "no answer" is ahead of the best piece, in logits.
    """

    kind: ClassVar[str] = "span"
    plural: ClassVar[str] = "pieces of a context"
    reads: ClassVar[tuple[str, ...]] = ("question", "context")
    text: str
    start: int
    score: float
    others: tuple[Span, ...] = field(default=(), repr=False)
    margin: float = field(default=0.0, repr=False)

    def to_json(self) -> Json:
        others = {"others": [one.to_json() for one in self.others]} if self.others else {}
        return {"answer": self.text, "start": self.start, "score": self.score, **others}


@dataclass(frozen=True, slots=True)
class Text(Answer):
    """A text that the model wrote, why it ended, and tokens read and written."""

    kind: ClassVar[str] = "text"
    plural: ClassVar[str] = "text"
    text: str
    finish: Finish = "stop"
    num_prompt_tokens: int = 0
    num_tokens: int = 0

    @property
    def calls(self) -> tuple[Call, ...]:
        """The tools that it calls."""
        return read_calls(self.text)[1]

    def to_json(self) -> Json:
        calls = [call.to_json() for call in self.calls]
        return {"answer": self.text, **({"calls": calls} if calls else {})}


@dataclass(frozen=True, slots=True)
class Vector(Answer):
    """Numbers that stand for a text."""

    kind: ClassVar[str] = "vector"
    plural: ClassVar[str] = "vectors"
    values: tuple[float, ...]

    def to_json(self) -> Json:
        return {"vector": list(self.values)}


@dataclass(frozen=True, slots=True)
class Ranking(Answer):
    """Numbers of the candidates, the best first, and their scores in the same order."""

    kind: ClassVar[str] = "ranking"
    plural: ClassVar[str] = "rankings"
    reads: ClassVar[tuple[str, ...]] = ("query", "candidates")
    order: tuple[int, ...]
    scores: tuple[float, ...]

    def to_json(self) -> Json:
        return {"order": list(self.order), "scores": list(self.scores)}


@dataclass(frozen=True, slots=True)
class Many(Answer):
    """The answer to each of several tasks, by name."""

    kind: ClassVar[str] = "several"
    plural: ClassVar[str] = "answers to several tasks"
    parts: Mapping[str, Answer]

    def to_json(self) -> Json:
        return {name: answer.to_json() for name, answer in self.parts.items()}


Given = str | tuple[str, str] | Mapping[str, Any]
"""What a model is asked: a text, two that are compared, or texts by their roles."""


def shown_given(given: Given) -> Json:
    """What was asked, for rows of answers."""
    if isinstance(given, str):
        return {"text": given}
    return dict(zip(("text", "second"), given, strict=True)) if isinstance(given, tuple) else {**given}


def failure(answer: Answer) -> str | None:
    """Why there is no answer: its prompt is too long or refused, or no head reads such an input; None: there is one."""
    if isinstance(answer, Text) and answer.finish in ("too-long", "refused"):
        return answer.finish
    return "unread" if isinstance(answer, Many) and not answer.parts else None


def line(answer: Answer, given: Given) -> str:
    """An answer as the terminal shows it, on one line with the text that it was given to; a text stands alone, and the
    candidates of a query on a line each, the best first."""
    if isinstance(answer, Ranking) and isinstance(given, Mapping):
        best = zip(answer.order, answer.scores, strict=True)
        return "\n".join(f"{score:.3f}\t{given['candidates'][k]}" for k, score in best)
    if isinstance(answer, Told):
        return answer.told()
    shown = "\t".join(map(str, shown_given(given).values()))
    if isinstance(answer, Label):
        return f"{answer.name or '(rejected)'}\t{answer.score:.3f}\t{shown}"
    if isinstance(answer, Labels):
        return f"{', '.join(answer.names) or '-'}\t{shown}"
    if isinstance(answer, Score):
        return f"{answer.value:.4g}\t{shown}"
    if isinstance(answer, Text):
        return answer.text
    if isinstance(answer, Tags) and isinstance(given, str):
        return _marked(answer, given)
    if isinstance(answer, Span) and isinstance(given, Mapping):
        return f"{answer.text or '-'}\t{answer.score:.3f}\t{given['question']}"
    if isinstance(answer, Many):
        return "\n".join(f"{name}\t{line(part, given)}" for name, part in answer.parts.items())
    return json.dumps({**answer.to_json(), **shown_given(given)}, ensure_ascii=False)


def _marked(answer: Tags, given: str) -> str:
    """[Ann Lee PER] lives in [Paris LOC]."""
    at, parts = 0, []
    for entity in answer.entities:
        parts += [given[at : entity.start], f"[{entity.text} {entity.label}]"]
        at = entity.end
    unread = f"\t({answer.num_unread} words were not read)" if answer.num_unread else ""
    return "".join([*parts, given[at:], unread])
