"""The models that a server holds, and which one a request means (kept.py: those that are opened when first asked)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from pretune.base.json import Json
from pretune.infer.answers import Answer, Label, Labels, Ranking, Score, Span, Tags, Text, Vector
from pretune.infer.predictor import Predictor, Streams
from pretune.infer.shelf import Shelf
from pretune.serve.errors import ApiError
from pretune.serve.kept import Closed, Kept, Served
from pretune.serve.logs import current
from pretune.serve.metrics import Gauge, Sample
from pretune.serve.requests import Limits

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


class Models:
    """Models by the names that clients use.

    Args:
        models: in memory for good.
        shelf: adapters on one base, served too; at most `max_adapters` of them are in memory.
        kept: models that are opened when there is room for them.
    """

    def __init__(
        self,
        models: Mapping[str, Predictor],
        shelf: Shelf | None = None,
        *,
        kept: Kept | None = None,
        limits: Limits | None = None,
    ):
        self.limits = limits or Limits()
        self.served = {name: Served(name, model) for name, model in models.items()}
        self.shelf, self.created = shelf, int(time.time())
        self.adapters = Kept(
            {name: Closed(partial(_opened, shelf, name)) for name in _adapters(shelf)}, self.limits.max_adapters
        )
        self.kept = kept or Kept({}, 0)

    @property
    def names(self) -> list[str]:
        return [*self.served, *self.kept.models, *self.adapters.models]

    def open(self) -> list[Served]:
        """Those in memory."""
        return [*self.served.values(), *self.kept.opened.values(), *self.adapters.opened.values()]

    def listed(self) -> list[Json]:
        """What is told of each."""
        return [self.about(name) for name in self.names]

    def gauges(self) -> list[Gauge]:
        """For /metrics: what is waiting, answered and in memory now."""
        each = self.open()

        def of_each(value: Callable[[Served], int]) -> list[Sample]:
            return [({"model": one.name}, value(one)) for one in each]

        weights: list[Sample] = [({"model": name}, self.kept.models[name].takes) for name in self.kept.opened]
        return [
            ("model_open", "Whether a model is in memory.", of_each(lambda _: 1)),
            ("queue_length", "Requests that wait for a model.", of_each(lambda one: one.num_waiting)),
            ("slots", "Answers that a model makes at a time.", of_each(lambda one: one.slots)),
            ("slots_busy", "Answers that a model is making.", of_each(lambda one: one.busy)),
            ("cache_bytes", "Keys and values of a model that writes.", of_each(lambda one: one.cache_bytes)),
            ("model_bytes", "Memory of the weights of a model, where --memory caps it.", weights),
        ]

    def about(self, name: str) -> Json:
        """What is told of a model; of an adapter, in memory or not, by its files. Raises ApiError: there is none."""
        self._check(name)
        about = {"id": name, "object": "model", "created": self.created, "owned_by": "pretune"}
        if self.shelf is not None and name in self.shelf.folders:
            return {**about, "task": self.shelf.task_of(name), "base": self.shelf.base.resolve().name}
        facts = self.kept.facts[name] if name in self.kept.models else self.served[name].model.facts
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
        served = await self._found(name)
        current().model = served.name
        return served

    async def _found(self, name: str) -> Served:
        for kept in (self.adapters, self.kept):
            if name in kept.models:
                return await kept.take(name, most_waiting=self.limits.max_waiting)
        return self.served[name]

    def _check(self, name: str) -> None:
        if name not in self.names:
            refused = self.shelf.refused.get(name) if self.shelf else None
            problem = refused or f"there is no model {name!r} here, but {', '.join(self.names)}"
            raise ApiError(404, problem, code="model_not_found", param="model")


def _adapters(shelf: Shelf | None) -> Iterable[str]:
    return shelf.folders if shelf else ()


def _opened(shelf: Shelf | None, name: str) -> Predictor:
    assert shelf is not None, "who has adapters has a shelf"
    return shelf.open(name)
