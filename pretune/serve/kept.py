"""Models that are opened when they are first asked; the one that was asked longest ago goes when there is no room.

    adapters of one base     each takes 1, most = how many may be open
    models under a cap       each takes the bytes of its weights, most = the cap

A model in use stays until its requests are answered: whoever needs its room waits. One that shall go is not given to
anybody else, so that a stream of requests for it cannot keep it for ever; models that are asked in turn, and do not fit
together, are opened over and over.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import re
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from anyio.to_thread import run_sync

from pretune.base.errors import DoesNotFit, UserError
from pretune.infer.batching import IDLE_SECONDS, Batching
from pretune.infer.predictor import Facts, Predictor, Streams
from pretune.serve.errors import check_queue
from pretune.serve.logs import current


@dataclass
class Served:
    """A model with its queue.

    Args:
        waiting: requests to a model that does not write; `engine`: of one that does, once it was asked.
        users: requests that hold it; `idle` is set while there are none.
    """

    name: str
    model: Predictor
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    engine: Batching | None = None
    users: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def batching(self, max_bytes: int) -> Batching:
        """The engine of a model that writes; keys and values take at most so many bytes."""
        assert isinstance(self.model, Streams), "what writes has an engine"
        self.engine = self.engine or Batching(self.model, max_bytes)
        return self.engine

    @property
    def num_waiting(self) -> int:
        """Requests that wait for this model."""
        return self.engine.num_waiting if self.engine else self.waiting - self.busy

    @property
    def busy(self) -> int:
        """Answers that are being made."""
        return len(self.engine.active) if self.engine else int(self.lock.locked())

    @property
    def slots(self) -> int:
        """Answers that may be made at a time."""
        return self.engine.max_rows if self.engine else 1

    @property
    def cache_bytes(self) -> int:
        """Keys and values that are in memory."""
        return self.engine.num_bytes if self.engine else 0

    def hold(self) -> None:
        """Keep it in memory until the request that is being answered ends."""
        self.users += 1
        self.idle.clear()
        current().done.append(self._leave)

    def _leave(self) -> None:
        self.users -= 1
        if not self.users:
            self.idle.set()


@dataclass(frozen=True)
class Closed:
    """A model on disk.

    Args:
        open: from any thread.
        takes: how much of the room.
    """

    open: Callable[[], Predictor]
    takes: int = 1


class Kept:
    """Some of many models; `facts` of each that was opened once."""

    def __init__(self, models: Mapping[str, Closed], most: int):
        self.models, self.most, self.facts = models, most, dict[str, Facts]()
        self.opening, self.opened = asyncio.Lock(), OrderedDict[str, Served]()
        self.waiting = Counter[str]()

    @property
    def taken(self) -> int:
        return sum(self.models[name].takes for name in self.opened)

    async def take(self, name: str, *, most_waiting: int) -> Served:
        """The model, in memory until the request that is being answered ends.

        Raises:
            ApiError: so many wait already until it is opened; RuntimeError: it cannot be.
        """
        check_queue(self.waiting[name], most_waiting)
        self.waiting[name] += 1
        try:
            served = await self.open(name)
        except UserError as error:  # whose files are ours: not a mistake of the client, who is not told their paths
            raise RuntimeError(f"the model {name!r} was served, and cannot be opened again") from error
        finally:
            self.waiting[name] -= 1
        served.hold()
        return served

    async def open(self, name: str) -> Served:
        """The model, opened if it is not in memory. One that is in memory waits for no other to open."""
        if name not in self.opened:
            async with self.opening:
                if name not in self.opened:  # who waited in front may have opened it
                    await self._make_room(self.models[name].takes)
                    self.opened[name] = Served(name, await run_sync(self.models[name].open))
                    self.facts[name] = self.opened[name].model.facts
        self.opened.move_to_end(name)
        return self.opened[name]

    async def _make_room(self, needed: int) -> None:
        while self.opened and self.taken + needed > self.most:
            idle = (name for name, served in self.opened.items() if not served.users)
            name = next(idle, next(iter(self.opened)))
            served = self.opened.pop(name)
            try:
                while served.users:
                    await served.idle.wait()
                # The engine's thread holds the model for a moment after its last answer.
                while served.engine is not None and served.engine.is_running:
                    await asyncio.sleep(IDLE_SECONDS / 5)
            except BaseException:  # who needed the room has left: it stays, as the next to go
                self.opened[name] = served
                self.opened.move_to_end(name, last=False)
                raise
            del served
            await run_sync(_given_back)


def _given_back() -> None:
    """Free what nobody refers to, and give it to the system: glibc would keep it for what may come."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # musl has none
            trim(0)


def check_fits(models: Mapping[str, Closed], most: int) -> None:
    """Raise DoesNotFit, naming them, when models can never be opened."""
    large = {name: model.takes for name, model in models.items() if model.takes > most}
    if large:
        told = ", ".join(f"{name} ({takes / 1e9:.2f} GB)" for name, takes in large.items())
        hint = "give it more, or leave them out"
        raise DoesNotFit(f"more than the {most / 1e9:.2f} GB of --memory: {told}", hint=hint)


def num_bytes(text: str) -> int:
    """2GB, 500MB, 1.5GiB or a plain number as bytes. Raises UserError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]?)(i?)b?", text.strip().lower())
    if found is None:
        raise UserError(f"{text!r} is no size", hint="write it as 2GB or 500MB")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit or " "))
