"""The settings of stages recommend and together. No torch here."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from pretune.apps.recommend.columns import ShopColumns
from pretune.base.config import Input
from pretune.base.stage import Stage


class OfEvents(Stage):
    """What both stages read, and how they divide it: the same settings divide it in the same way."""

    read: Annotated[list[str], Input("files")] = []
    """Tables of items and of events (csv, jsonl, parquet, RecBole's .item and .inter); which is which is told by their
    columns."""
    items: Annotated[list[str], Input("files", by_name=True)] = []
    """Tables of items, by name: an id, and texts. Without any, the events say what there is."""
    events: Annotated[list[str], Input("files", by_name=True)] = []
    """Tables of events, by name: a user, an item, and maybe a rating and a time."""
    columns: ShopColumns = ShopColumns()
    """Which column holds what (`columns.item=isbn`); found by name where it is not given."""
    min_rating: float | None = None
    """Events with a smaller rating do not count; all count if not given."""
    split: Literal["auto", "last", "time", "random"] = "auto"
    """What is held out: of each user the last event, what happened last of all, or random events. auto: last where
    there are times, else random."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share of the events that chooses the weights; split=last takes one of each user."""
    test: float = Field(default=0.1, gt=0, lt=1)
    """Share of the events that the report is made of; split=last takes one of each user."""
    cold: float = Field(default=0.0, ge=0, lt=1)
    """Share of the items that nobody has seen before the test, to measure what text does for new ones; what is served
    knows their events."""

    @field_validator("test")
    @classmethod
    def _not_too_much(cls, value: float, info: ValidationInfo) -> float:
        if value + info.data.get("validation", 0) >= 1:
            raise ValueError("validation and test together leave nothing to learn from")
        return value


class RecommendSettings(OfEvents):
    """Items and events in, a recommender out."""

    makes: ClassVar[str] = "app"
    kind: str = "recommend"
    embed: Annotated[str | None, Input("model|bundle", by_name=True)] = None
    """A model that gives an item's text a vector (task=embed); without one its words are counted."""
    rank: Annotated[str | None, Input("model|bundle", by_name=True)] = None
    """A model that puts the best candidates in order (task=rank). It reads each of them: some milliseconds apiece."""
    neighbours: int = Field(default=200, gt=0)
    """Of each item the most alike in who has seen them, for ItemKNN."""
    shrinkage: float = Field(default=10.0, ge=0)
    """Added below the cosine of two items, so that a few common users do not make them alike."""
    ridge: float = Field(default=200.0, gt=0)
    """How strongly EASE is held back; the more events, the larger."""
    most_items: int = Field(default=5000, gt=0)
    """Items that behaviour says something of, the most seen ones; the others live by their text. Memory grows with the
    square: 5,000 need 100 MB for each of two systems."""
    diversity: float = Field(default=0.0, ge=0, lt=1)
    """How much a list avoids things that are alike in text: 0 not at all. A request may say otherwise."""
    exclude: list[str] = []
    """Rules COLUMN=VALUE of items that are never shown: `exclude=stock=0,adult=1`."""
    repeat: bool = False
    """Whether what a user has seen may be shown again: a grocer's yes, a bookseller's no."""
    rank_candidates: int = Field(default=50, gt=1)
    """How many of the best the ranking model reads."""


class TogetherSettings(OfEvents):
    """What an embed or a ranking model learns from events, as a file that stage dataset reads.

    It has the part of the events that stage recommend, with the same settings, learns from: nothing of its test.
    """

    makes: ClassVar[str] = "files"
    kind: str = "together"
    shape: Literal["pairs", "lists"] = "pairs"
    """pairs: each item's text with those of the items that most often were seen by the same people, for task=embed;
    lists: what a user saw last, with the next one and others, for task=rank."""
    most: int = Field(default=5, gt=0)
    """Texts that belong to an item (pairs), or lists of a user (lists)."""
    others: int = Field(default=9, gt=0)
    """Items that a list has besides the right one: seen by others, and not by this user."""
