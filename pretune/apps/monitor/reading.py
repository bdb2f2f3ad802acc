"""What the models say of a text: its sentiment, its topic, and who and what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pretune.apps.app import model_of
from pretune.apps.monitor.sources.source import Item
from pretune.base.artifact import Artifact
from pretune.infer.answers import Answer, Label, Labels, Tags
from pretune.infer.bulk import in_order
from pretune.infer.predictor import Predictor

ENTITIES = 20
"""Different entities of one text that are counted, at most."""


class Subject(NamedTuple):
    """What a text is about: a topic ("" where nobody says), or an entity by its own words."""

    kind: str
    name: str


ALL = Subject("all", "")
"""The subject of every text."""


@dataclass(frozen=True)
class Seen:
    """A text and what was said of it.

    Args:
        score: probability of the sentiment.
        subjects: what its sentiment counts for, `ALL` first.
    """

    item: Item
    sentiment: str
    score: float
    subjects: tuple[Subject, ...] = (ALL,)


@dataclass(frozen=True)
class Models:
    """The models of a watch, opened.

    Args:
        sentiment: gives a label; `topics` a label or several, `tags` entities.
    """

    sentiment: Predictor
    topics: Predictor | None = None
    tags: Predictor | None = None
    answers: dict[str, Predictor] = field(init=False)

    def __post_init__(self) -> None:
        named = {"sentiment": self.sentiment, "topics": self.topics, "tags": self.tags}
        object.__setattr__(self, "answers", {name: model for name, model in named.items() if model is not None})

    @classmethod
    def of(cls, artifact: Artifact) -> Models:
        """The models that an application names. Raises NoSuchFile, NotSupported, and what opening raises."""
        sentiment = model_of(artifact, "model", Label)
        assert sentiment is not None, "the stage needs a model"
        return cls(sentiment, model_of(artifact, "topics", Label, Labels), model_of(artifact, "tags", Tags))

    def say(self, texts: Sequence[str]) -> list[dict[str, Answer]]:
        """The answers of each model to each text, by its name."""
        each = {name: in_order(model, texts, 1) for name, model in self.answers.items()}
        return [{name: answers[place] for name, answers in each.items()} for place in range(len(texts))]

    def see(self, items: Sequence[Item]) -> list[Seen]:
        """Every item with what is said of it."""
        told = self.say([item.text for item in items])
        return [_seen(item, answers) for item, answers in zip(items, told, strict=True)]


def _seen(item: Item, answers: dict[str, Answer]) -> Seen:
    sentiment = answers["sentiment"]
    assert isinstance(sentiment, Label), "the model gives labels"
    subjects = dict.fromkeys([ALL, *_topics(answers.get("topics")), *_entities(answers.get("tags"))])
    return Seen(item, sentiment.name or "(rejected)", sentiment.score, tuple(subjects))


def _topics(answer: Answer | None) -> list[Subject]:
    if isinstance(answer, Label):
        return [Subject("topic", answer.name or "(rejected)")]
    return [Subject("topic", name) for name in answer.names] if isinstance(answer, Labels) else []


def _entities(answer: Answer | None) -> list[Subject]:
    found = answer.entities if isinstance(answer, Tags) else ()
    return list(dict.fromkeys(Subject("entity", " ".join(one.text.split())) for one in found))[:ENTITIES]
