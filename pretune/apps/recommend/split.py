"""What is learnt from, what chooses, and what the report is made of.

    last     of each user the last event is test, the one before it validation      what comes next?
    time     what happened last, of all users, is test; what came before, validation    as it will be when it is served
    random   a keyed draw of pairs                                                   as most papers do it

A pair's place is a hash of its names: rows that are added move no other. `last` and `random` learn from what other
users did later than the event that they ask for; `time` does not, and is the harder question.

*E events, U users.*
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pretune.apps.recommend.tables import Events, Items
from pretune.base.errors import EmptyInput, WrongValue
from pretune.text.read.split import place_of

How = Literal["auto", "last", "time", "random"]


@dataclass(frozen=True)
class Seen:
    """What each user has seen, the oldest first.

    Args:
        starts: [U + 1]; user u has item_E[starts[u]:starts[u + 1]].
    """

    starts: NDArray[np.int64]
    item_E: NDArray[np.int64]

    @classmethod
    def of(cls, events: Events) -> Seen:
        order = np.argsort(events.user_E, kind="stable")
        counts = np.bincount(events.user_E, minlength=len(events.users))
        return cls(np.concatenate([[0], np.cumsum(counts)]), events.item_E[order])

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, user: int) -> NDArray[np.int64]:
        return self.item_E[self.starts[user] : self.starts[user + 1]]


@dataclass(frozen=True)
class Parts:
    """The events, divided.

    Args:
        how: which of the ways was taken.
        before: train and validation together, in the order of all.
        cold_N: marks the items whose events were taken out of train and validation, to see what text does for them.
    """

    how: str
    train: Events
    validation: Events
    test: Events
    before: Events
    cold_N: NDArray[np.bool_]


def divided(events: Events, items: Items, *, how: How, validation: float, test: float, cold: float) -> Parts:
    """Every event in one of three parts.

    Args:
        validation, test: shares of the events, for `time` and `random`.
        cold: share of the items that nobody has seen before the test.

    Raises:
        WrongValue: an order in time is wanted, and there are no times; EmptyInput: too few events for three parts.
    """
    if how in ("last", "time") and events.time_E is None:
        raise WrongValue(f"split={how} needs times, and the events have none", hint="split=random needs none")
    way = how if how != "auto" else "random" if events.time_E is None else "last"
    number_E = _last(events) if way == "last" else _by_share(_places(events, items, way), validation, test)
    cold_N = np.array([place_of(f"cold/{name}") < cold for name in items.ids], dtype=np.bool_)
    known_E = ~cold_N[events.item_E]
    parts = Parts(
        way,
        events.only((number_E == 0) & known_E),
        events.only((number_E == 1) & known_E),
        events.only(number_E == 2),
        events.only((number_E < 2) & known_E),
        cold_N,
    )
    for name, part in (("train", parts.train), ("validation", parts.validation), ("test", parts.test)):
        if not len(part):
            hint = "more events are needed, or another split=" if way != "last" else "every user has one event"
            raise EmptyInput(f"split={way} leaves no event for {name} ({len(events)} events in all)", hint=hint)
    return parts


def _last(events: Events) -> NDArray[np.int64]:
    """2 for the last event of each user that has two, 1 for the one before it of each that has three, else 0."""
    order = np.argsort(events.user_E, kind="stable")
    counts = np.bincount(events.user_E, minlength=len(events.users))
    ends = np.cumsum(counts)
    part = np.zeros(len(events), dtype=np.int64)
    part[order[ends[counts >= 2] - 1]] = 2
    part[order[ends[counts >= 3] - 2]] = 1
    return part


def _places(events: Events, items: Items, way: str) -> NDArray[np.float64]:
    """A number in [0, 1) of each event, the test at the top: its place in time, or a hash of its names."""
    if way == "time":
        assert events.time_E is not None, "it was checked"
        return np.searchsorted(np.sort(events.time_E), events.time_E, side="left") / len(events)
    pairs = zip(events.user_E.tolist(), events.item_E.tolist(), strict=True)
    return np.array([place_of(f"{events.users[user]}\t{items.ids[item]}") for user, item in pairs])


def _by_share(place_E: NDArray[np.float64], validation: float, test: float) -> NDArray[np.int64]:
    return np.where(place_E >= 1 - test, 2, np.where(place_E >= 1 - test - validation, 1, 0))
