"""The models that a server holds: which one a request means, and adapters of one base, opened when first asked."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil
from anyio.to_thread import run_sync

from pretune.base.json import Json
from pretune.infer.answers import Answer, Label, Labels, Ranking, Score, Span, Tags, Text, Vector
from pretune.infer.batching import Batching
from pretune.infer.predictor import Predictor, Streams
from pretune.infer.shelf import Shelf
from pretune.serve.errors import ApiError

WAYS: dict[type[Answer], str] = {
    Label: "/v1/classify",
    Labels: "/v1/classify",
    Score: "/v1/score",
    Tags: "/v1/tag",
    Span: "/v1/answer",
    Text: "/v1/chat/completions or /v1/completions",
    Vector: "/v1/embeddings, /v1/rerank or, two texts at a time, /v1/score",
    Ranking: "/v1/rerank",
}
"""Where a model that answers so is asked."""


@dataclass
class Served:
    """A model with its queue.

    Args:
        writing: the engine of a model that writes.
        waiting: requests to a model that does not.
    """

    name: str
    model: Predictor
    writing: Batching | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0

    @property
    def batching(self) -> Batching:
        assert self.writing is not None, "what streams has an engine"
        return self.writing

    @property
    def num_waiting(self) -> int:
        """Requests that wait for this model."""
        return self.writing.num_waiting if self.writing else self.waiting


def served(name: str, model: Predictor, max_cache_bytes: int) -> Served:
    """A model with its queue, and its engine if it writes."""
    return Served(name, model, Batching(model, max_cache_bytes) if isinstance(model, Streams) else None)


class Models:
    """Models by the names that clients use.

    Args:
        shelf: adapters on one base, served too; at most `most_open` of them are in memory.
        max_cache_bytes: keys and values of each model that writes; None: a quarter of the memory that is free.
    """

    def __init__(
        self,
        models: Mapping[str, Predictor],
        shelf: Shelf | None = None,
        *,
        most_open: int = 1,
        max_cache_bytes: int | None = None,
    ):
        self.max_cache_bytes = max_cache_bytes or psutil.virtual_memory().available // 4
        self.served = {name: served(name, model, self.max_cache_bytes) for name, model in models.items()}
        self.shelf, self.most_open, self.created = shelf, most_open, int(time.time())
        self.opening, self.opened = asyncio.Lock(), OrderedDict[str, Served]()

    @property
    def names(self) -> list[str]:
        return [*self.served, *(self.shelf.folders if self.shelf else ())]

    def listed(self) -> list[Json]:
        """What is told of each."""
        return [self.about(name) for name in self.names]

    def about(self, name: str) -> Json:
        """What is told of a model; of an adapter, in memory or not, by its files. Raises ApiError: there is none."""
        self._check(name)
        about = {"id": name, "object": "model", "created": self.created, "owned_by": "pretune"}
        if self.shelf is not None and name in self.shelf.folders:
            return {**about, "task": self.shelf.task_of(name), "base": self.shelf.base.resolve().name}
        facts = self.served[name].model.facts
        return {**about, "task": facts.task, **({"labels": list(facts.labels)} if facts.labels else {})}

    async def giving(self, name: str | None, *answers: type[Answer]) -> Served:
        """The model a client means, if it answers so; it need not say when there is one. Raises ApiError."""
        served = await self._named(name)
        if served.model.gives not in answers:
            problem = f"the model {served.name!r} cannot do this; ask it at {WAYS[served.model.gives]}"
            raise ApiError(400, problem, code="wrong_model_kind", param="model")
        return served

    async def streaming(self, name: str | None) -> tuple[Served, Streams]:
        """The model a client means, if it writes text. Raises ApiError."""
        served = await self.giving(name, Text)
        assert isinstance(served.model, Streams), "what gives text can stream it"
        return served, served.model

    async def _named(self, name: str | None) -> Served:
        if name is None and len(self.names) == 1:
            name = self.names[0]
        if name is None:
            problem = f"say which model: {', '.join(self.names)}"
            raise ApiError(400, problem, code="missing_required_parameter", param="model")
        self._check(name)
        if self.shelf is not None and name in self.shelf.folders:
            return await self._taken(self.shelf, name)
        return self.served[name]

    def _check(self, name: str) -> None:
        if name not in self.names:
            refused = self.shelf.refused.get(name) if self.shelf else None
            problem = refused or f"there is no model {name!r} here, but {', '.join(self.names)}"
            raise ApiError(404, problem, code="model_not_found", param="model")

    def _open(self, shelf: Shelf, name: str) -> Served:
        return served(name, shelf.open(name), self.max_cache_bytes)

    async def _taken(self, shelf: Shelf, name: str) -> Served:
        """An adapter, opened if it is not in memory; the one that was asked longest ago may have to go.

        Whoever is still answered by that one keeps it until then. One that is in memory waits for no other to open.
        """
        if name not in self.opened:
            async with self.opening:
                if name not in self.opened:  # who waited in front may have opened it
                    self.opened[name] = await run_sync(self._open, shelf, name)
        found = self.opened[name]
        self.opened.move_to_end(name)
        while len(self.opened) > self.most_open:
            self.opened.popitem(last=False)
        return found
