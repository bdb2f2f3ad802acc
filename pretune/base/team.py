"""The processes that run one recipe together, as a recipe sees them. No torch here.

Rank 0 takes the lock, decides what is current, makes what needs one process, chooses, writes and publishes; the
others follow, and take part where a stage trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")
STORE_FILE = "PRETUNE_STORE_FILE"
"""The variable with the number of an open socket, on which rank 0 is to listen."""


class Team(Protocol):
    """The place of this process among them."""

    @property
    def rank(self) -> int:
        """From 0, which leads."""

    @property
    def world(self) -> int:
        """How many there are."""

    def share(self, value: T) -> T:
        """What rank 0 gives (JSON), on every rank; the others wait for it.

        Raises:
            LeaderGone: rank 0 failed, or the wait took too long.
        """

    def fail(self, problem: str) -> None:
        """Let those who wait know that nothing more comes."""


@dataclass(frozen=True)
class Alone:
    """One process."""

    rank: int = 0
    world: int = 1

    def share(self, value: T) -> T:
        return value

    def fail(self, problem: str) -> None:
        pass


ALONE = Alone()
