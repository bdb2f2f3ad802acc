"""Examples: labelled data, still text, in nine shapes. Read from a dataset folder.

    label       a text, one of several labels        reviews and their sentiment
    labels      a text, any number of labels         topics of an article
    score       a text, a number                     stars; how alike two texts are (`second`)
    tags        words, one tag each (IOB2)           names in a sentence
    span        a question, answers in a context     SQuAD, CMRC
    pair        a source, one or several targets     translation, summary
    dialogue    messages, perhaps tools              chat
    preference  messages, a better and a worse reply DPO; KTO, where one of the two is ""
    ranking     a query, candidates, their scores    multiple choice; a user and the films he rated

A shape is a dataclass and its line in SHAPES: the columns of a dataset's files are the fields, by their names.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pretune.base.errors import BadFile
from pretune.base.json import JsonMap
from pretune.text.read.shards import read_rows
from pretune.text.read.split import SPLITS


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text (or two, to be compared) and its label; `origin` is `path#record`."""

    text: str
    label: str
    origin: str
    second: str = ""

    @property
    def given(self) -> str | tuple[str, str]:
        """What a model reads."""
        return (self.text, self.second) if self.second else self.text


@dataclass(frozen=True, slots=True)
class MultiLabelled:
    """A text and any number of labels, sorted."""

    text: str
    labels: tuple[str, ...]
    origin: str

    @property
    def given(self) -> str:
        """What a model reads."""
        return self.text


@dataclass(frozen=True, slots=True)
class ScoredText:
    """A text (or two, to be compared) and a number."""

    text: str
    score: float
    origin: str
    second: str = ""

    @property
    def given(self) -> str | tuple[str, str]:
        """What a model reads."""
        return (self.text, self.second) if self.second else self.text


@dataclass(frozen=True, slots=True)
class Tagged:
    """Words (in Chinese, characters) and a tag of each in IOB2: O, B-PER, I-PER."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    origin: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A piece of the context; `start` counts characters (code points)."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answers in the context; none: the context does not say."""

    question: str
    context: str
    answers: tuple[Answer, ...]
    origin: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A source and what it becomes; several targets are all right ones."""

    source: str
    targets: tuple[str, ...]
    origin: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; `role` is system, user, assistant or tool; `calls`: JSON of the tools it calls, as OpenAI's.

    A reply that is not `learnt` is context only.
    """

    role: str
    content: str
    calls: str = ""
    learnt: bool = True

    @property
    def said(self) -> str:
        """The turn as one text, for templates without tools: the content, then the calls."""
        return "\n".join(part for part in (self.content, self.calls) if part)

    @property
    def turn(self) -> dict[str, Any]:
        """The turn as chat templates read it, with `tool_calls`; calls that are no list of objects are text."""
        calls = objects_in(self.calls)
        if not calls:
            return {"role": self.role, "content": self.said}
        return {"role": self.role, "content": self.content, "tool_calls": calls}


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Turns in order; `keywords`: words, or /patterns/, in a good last reply; `tools`: JSON of what may be called."""

    messages: tuple[Message, ...]
    origin: str
    keywords: tuple[str, ...] = ()
    tools: str = ""

    @property
    def callable(self) -> list[dict[str, Any]]:
        """The tools in OpenAI's form; none where they are no JSON list of objects."""
        tools = objects_in(self.tools)
        return [t if "function" in t else {"type": "function", "function": t} for t in tools]


@dataclass(frozen=True, slots=True)
class Preference:
    """A dialogue's beginning, a reply that is preferred and one that is not; "" where only one of them was judged."""

    messages: tuple[Message, ...]
    chosen: str
    rejected: str
    origin: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """What is asked for, candidates in the order of the data, a score of each; `times`: seconds, or none."""

    query: str
    candidates: tuple[str, ...]
    scores: tuple[float, ...]
    origin: str
    times: tuple[int, ...] = ()


Example = Labelled | MultiLabelled | ScoredText | Tagged | Question | Pair | Dialogue | Preference | Ranking
E = TypeVar("E", bound=Example)


@dataclass(frozen=True)
class Shape(Generic[E]):
    """What a shape is made of.

    Args:
        example: its class.
        columns: Arrow types of its fields.
        said: the text that decides in which split an example falls.
        names: the labels of one example, for labels.json; None for a shape without labels.
    """

    example: type[E]
    columns: Mapping[str, pa.DataType]
    said: Callable[[E], str]
    names: Callable[[E], set[str]] | None = None

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(list(self.columns.items()))

    def of_row(self, row: JsonMap) -> E:
        """The example in a row of a dataset's file; fields that an older file lacks have their defaults."""
        return self.example(**{name: _frozen(name, row[name]) for name in self.columns if row.get(name) is not None})

    def to_table(self, examples: Sequence[E]) -> pa.Table:
        """The rows of these examples, column by column."""
        read = {name: [_plain(getattr(e, name)) for e in examples] for name in self.columns}
        return pa.table([pa.array(read[name], kind) for name, kind in self.columns.items()], schema=self.schema)


_NESTED: dict[str, Callable[..., object]] = {"messages": Message, "answers": Answer}


def _frozen(name: str, value: object) -> Any:
    if not isinstance(value, list):
        return value
    nested = _NESTED.get(name)
    if nested is None:
        return tuple(value)
    return tuple(nested(**{k: v for k, v in one.items() if v is not None}) for one in value)


def _plain(value: object) -> object:
    if not isinstance(value, tuple):
        return value
    if not value or not dataclasses.is_dataclass(value[0]):
        return list(value)
    return [dataclasses.asdict(one) for one in value]


def objects_in(text: str) -> list[dict[str, Any]]:
    """The objects of a JSON list; empty where the text is anything else."""
    try:
        found = json.loads(text) if text else []
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) and all(isinstance(one, dict) for one in found) else []


def keyword_pattern(keyword: str) -> re.Pattern[str] | None:
    """The regular expression of a keyword between slashes, searched for in any case; None for words.

    Raises:
        BadFile: it is none that Python's `re` compiles.
    """
    if len(keyword) < 3 or not (keyword.startswith("/") and keyword.endswith("/")):
        return None
    try:
        return re.compile(keyword[1:-1], re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        hint = "a keyword between slashes is a regular expression of Python's re; write words without slashes"
        raise BadFile(f"the keyword {keyword!r} is no regular expression: {error}", hint=hint) from None


def asked_in(messages: tuple[Message, ...]) -> str:
    """What the user said in a dialogue."""
    return "\n".join(m.content for m in messages if m.role == "user")


def kinds_of(tags: tuple[str, ...]) -> set[str]:
    """PER and LOC of B-PER I-PER O B-LOC."""
    return {tag[2:] for tag in tags if tag != "O"}


_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())
_ANSWER = pa.struct([("text", pa.string()), ("start", pa.int64())])
_MESSAGES = pa.list_(
    pa.struct([("role", pa.string()), ("content", pa.string()), ("calls", pa.string()), ("learnt", pa.bool_())])
)
_ORIGIN = {"origin": _TEXT}

SHAPES: dict[str, Shape[Any]] = {
    "label": Shape(
        Labelled,
        {"text": _TEXT, "label": _TEXT, **_ORIGIN, "second": _TEXT},
        lambda e: f"{e.text}\n{e.second}" if e.second else e.text,
        lambda e: {e.label},
    ),
    "labels": Shape(
        MultiLabelled, {"text": _TEXT, "labels": _TEXTS, **_ORIGIN}, lambda e: e.text, lambda e: set(e.labels)
    ),
    "score": Shape(
        ScoredText,
        {"text": _TEXT, "score": pa.float64(), **_ORIGIN, "second": _TEXT},
        lambda e: f"{e.text}\n{e.second}" if e.second else e.text,
    ),
    "tags": Shape(
        Tagged,
        {"tokens": _TEXTS, "tags": _TEXTS, **_ORIGIN},
        lambda e: " ".join(e.tokens),
        lambda e: kinds_of(e.tags),
    ),
    "span": Shape(
        Question,
        {"question": _TEXT, "context": _TEXT, "answers": pa.list_(_ANSWER), **_ORIGIN},
        lambda e: e.context,  # questions about one passage are in one split
    ),
    "pair": Shape(Pair, {"source": _TEXT, "targets": _TEXTS, **_ORIGIN}, lambda e: e.source),
    "dialogue": Shape(
        Dialogue,
        {"messages": _MESSAGES, "keywords": _TEXTS, **_ORIGIN, "tools": _TEXT},
        lambda e: asked_in(e.messages),
    ),
    "preference": Shape(
        Preference,
        {"messages": _MESSAGES, "chosen": _TEXT, "rejected": _TEXT, **_ORIGIN},
        lambda e: asked_in(e.messages),
    ),
    "ranking": Shape(
        Ranking,
        {
            "query": _TEXT,
            "candidates": _TEXTS,
            "scores": pa.list_(pa.float64()),
            **_ORIGIN,
            "times": pa.list_(pa.int64()),
        },
        lambda e: e.query,
    ),
}


_BY_CLASS = {shape.example: name for name, shape in SHAPES.items()}


def shape_named(example: Example) -> str:
    """The name of an example's shape."""
    return _BY_CLASS[type(example)]


def said_by(example: Example) -> str:
    """The text that decides in which split an example falls."""
    return SHAPES[_BY_CLASS[type(example)]].said(example)


def read_split(folder: Path, split: str) -> list[Example]:
    """The examples of `train`, `validation` or `test`, in order; empty if the split is absent."""
    path = folder / f"{split}.parquet"
    if not path.exists():
        return []
    shape = SHAPES[shape_of(folder)]
    there = [n for n in pq.read_schema(path).names if n in shape.columns]
    return [shape.of_row(row) for row in read_rows(folder, split, there)]


def read_labels(folder: Path) -> list[str] | None:
    """The names of the labels in the order of their numbers, or None where there are none."""
    path = folder / "labels.json"
    if not path.exists():
        return None
    labels: list[str] = json.loads(path.read_text(encoding="utf-8"))
    return labels


def shape_of(folder: Path) -> str:
    """The shape of a dataset folder, by the columns of its files; "label" for a folder without any."""
    for split in SPLITS:
        path = folder / f"{split}.parquet"
        if path.exists():
            names = set(pq.read_schema(path).names)
            # A preference has all that a dialogue has: the shape that asks for most.
            return max((n for n, s in SHAPES.items() if required(s) <= names), key=lambda n: len(required(SHAPES[n])))
    return "label"


def required(shape: Shape[Any]) -> set[str]:
    """The columns without which a file is not of this shape."""
    fields = dataclasses.fields(shape.example)
    return {f.name for f in fields if f.default is dataclasses.MISSING}
