"""A recommender that is served: lists for users, things that are alike, and events, which count at once.

    GET  /                the page
    POST /v1/recommend    {"user_id": "7"} or {"liked": ["42", ...]}  a list, each item with what speaks for it
    POST /v1/similar      {"item_id": "42"}                           what those who saw it saw, and what is alike
    POST /v1/search       {"query": "space"}                          items by the words of their texts (BM25)
    POST /v1/events       {"events": [{"user_id", "item_id"}]}        counted, and kept in state/ before the answer
    POST /v1/history      {"user_id": "7"}                            what a user has seen, the newest first

An event of an item that is not known is kept and reported: it counts when the recommender is made again with that item.
A user who is not known gets what most have seen, until the first event.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from anyio.to_thread import run_sync
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pretune.apps.app import App, Started, model_of
from pretune.apps.recommend.mixing import Mixture
from pretune.apps.recommend.ordering import Ordering
from pretune.apps.recommend.picking import Picked, picked
from pretune.apps.recommend.shop import Shop
from pretune.apps.recommend.split import Seen
from pretune.apps.recommend.systems import Numbers, Popularity
from pretune.apps.state import State, is_there
from pretune.base.artifact import Artifact
from pretune.base.json import Json
from pretune.infer.answers import Answer, Ranking
from pretune.infer.predictor import Advance, unheard
from pretune.serve.app import html
from pretune.serve.errors import ApiError
from pretune.serve.metrics import Gauge
from pretune.serve.reading import read
from pretune.serve.requests import Limits, Strict, within
from pretune.task.judge.bm25 import Bm25

MIGRATIONS = ("create table event (id integer primary key, user text not null, item text not null, time real)",)
"""The tables of the state, version by version."""
PLACES, MOST_PLACES = 10, 100
Name = Annotated[str, Field(min_length=1, max_length=512)]


@dataclass(frozen=True, slots=True)
class Recommended(Answer):
    """Items for a user, the best first, each with its score and what speaks for it."""

    kind: ClassVar[str] = "items"
    plural: ClassVar[str] = "lists of items"
    items: tuple[Json, ...]
    known: bool

    def to_json(self) -> Json:
        return {"items": list(self.items), "known": self.known}


class Event(Strict):
    user_id: Name
    item_id: Name
    timestamp: Annotated[float, Field(allow_inf_nan=False)] | None = None


class Events(Strict):
    events: list[Event]


class ForUser(Strict):
    """A list for a user, or for who likes these things."""

    user_id: Name | None = None
    liked: list[Name] = []
    places: Annotated[int, Field(ge=1)] = PLACES
    diversity: Annotated[float, Field(ge=0, lt=1)] | None = None
    only: dict[str, str] = {}


class Similar(Strict):
    item_id: Name
    places: Annotated[int, Field(ge=1)] = PLACES


class Search(Strict):
    query: Annotated[str, Field(min_length=1, max_length=1000)]
    places: Annotated[int, Field(ge=1)] = PLACES


class History(Strict):
    user_id: Name
    places: Annotated[int, Field(ge=1)] = PLACES


class Recommend(App):
    """The application: what was learnt, and who has seen what by now."""

    def __init__(self, shop: Shop, state: Path, ordering: Ordering | None):
        self.shop, self.folder, self.ordering = shop, state, ordering
        self.number = shop.items.numbers()
        self.state: State | None = None
        self.lock = threading.Lock()
        seen, times = Seen.of(shop.events), shop.events.times_of_users()
        self.seen: dict[str, list[int]] = {user: seen[k].tolist() for k, user in enumerate(shop.events.users)}
        self.when: dict[str, list[float]] = dict(zip(shop.events.users, times, strict=True))
        self.counted = 0
        if is_there(state):
            kept = State(state, MIGRATIONS, reads=True)
            try:
                self._replay(kept)
            finally:
                kept.close()

    @classmethod
    def open(cls, artifact: Artifact, state: Path) -> Recommend:
        shop = Shop.open(artifact.path)
        facts = shop.facts
        model = model_of(artifact, "rank", Ranking) if facts.rank_weight else None
        ordering = Ordering(model, shop.items, facts.rank_candidates, facts.rank_weight) if model else None
        return cls(shop, state, ordering)

    @classmethod
    def told(cls, artifact: Artifact, state: Path) -> Json:
        if not is_there(state):
            return {}
        kept = State(state, MIGRATIONS, reads=True)
        try:
            return dict(kept.one("select count(*) as events, count(distinct user) as users from event") or {})
        finally:
            kept.close()

    @property
    def gives(self) -> type[Answer]:
        return Recommended

    @property
    def mixture(self) -> Mixture:
        return self.shop.mixture

    def answer(
        self, inputs: Sequence[Any], *, max_tokens: int = 256, strict: bool = True, advance: Advance = unheard
    ) -> list[Answer]:
        """A list for each user."""
        found: list[Answer] = []
        for user in inputs:
            found.append(self.list_for(ForUser(user_id=str(user))))
            advance(1)
        return found

    # ---- lists --------------------------------------------------------------------------------------

    def list_for(self, asked: ForUser) -> Recommended:
        """What to show. Raises ApiError: an item or a column that is not known."""
        liked = [self._item(name) for name in asked.liked]
        with self.lock:
            seen = [*self.seen.get(asked.user_id or "", ()), *liked]
        seen = [*dict.fromkeys(reversed(seen))][::-1]  # once, where it was last
        items = self._picked(np.array(seen, dtype=np.int64), asked)
        return Recommended(tuple(self._shown(one) for one in items), bool(seen))

    def _picked(self, seen_H: Numbers, asked: ForUser) -> list[Picked]:
        facts = self.shop.facts
        return picked(
            self.mixture,
            seen_H,
            self._out(asked.only),
            places=asked.places,
            diversity=facts.diversity if asked.diversity is None else asked.diversity,
            unit_ND=self.shop.unit_ND,
            repeat=facts.repeat,
            ordering=self.ordering,
        )

    def _out(self, only: dict[str, str]) -> np.ndarray:
        """[N], what is not shown: by the rules of the recommender, and by what the request wants."""
        rows, out_N = self.shop.items.rows, self.shop.facts.out_N.copy()
        for column, value in only.items():
            if not any(column in row for row in rows):
                raise ApiError(400, f"no item has a column {column!r}", code="unknown_column", param="only")
            out_N |= np.array([str(row.get(column, "")) != value for row in rows])
        return out_N

    def similar_to(self, asked: Similar) -> Json:
        """What one thing speaks for."""
        item = np.array([self._item(asked.item_id)], dtype=np.int64)
        mixture = replace(self.mixture, weights={**self.mixture.weights, "popularity": 0.0})
        if not any(mixture.weights.values()):
            mixture = self.mixture.alone("neighbours")
        found = picked(mixture, item, self.shop.facts.out_N, places=asked.places)
        return {"items": [self._shown(one, why=False) for one in found if one.because is not None]}

    def search(self, asked: Search) -> Json:
        """Items whose texts have words of the query, the best first, without those that are never shown."""
        score_N = np.where(self.shop.facts.out_N, 0.0, self.index.scores(asked.query))
        order = np.argsort(-score_N, kind="stable")[: asked.places]
        return {"items": [self._shown(Picked(int(k), float(score_N[k]), None)) for k in order if score_N[k] > 0]}

    @cached_property
    def index(self) -> Bm25:
        """Of titles and texts."""
        items = self.shop.items
        return Bm25.of([f"{title} {text}" for title, text in zip(items.titles, items.texts, strict=True)])

    def _item(self, name: str) -> int:
        if name not in self.number:
            raise ApiError(404, f"there is no item {name[:80]!r}", code="unknown_item", param="item_id")
        return self.number[name]

    def _shown(self, one: Picked, *, why: bool = True) -> Json:
        items = self.shop.items
        reason = None if one.because is None else {"id": items.ids[one.because], "title": items.titles[one.because]}
        about = {"id": items.ids[one.item], "title": items.titles[one.item], "text": items.texts[one.item]}
        return {**about, "score": round(one.score, 6), **({"because": reason} if why else {})}

    # ---- events -------------------------------------------------------------------------------------

    def record(self, events: Sequence[Event]) -> Json:
        """Keep events, then count them; those of unknown items are kept and named."""
        assert self.state is not None, "it is served"
        with self.lock:
            with self.state.writing() as db:
                rows = [(one.user_id, one.item_id, one.timestamp) for one in events]
                db.executemany("insert into event (user, item, time) values (?, ?, ?)", rows)
            unknown = [one.item_id for one in events if not self._count(one.user_id, one.item_id, one.timestamp)]
        return {"counted": len(events) - len(unknown), "unknown": sorted(set(unknown))}

    def _count(self, user: str, name: str, time: float | None) -> bool:
        """Whether the item is known: then its user has seen it last, or when the event says; one more if it is new."""
        item = self.number.get(name)
        if item is None:
            return False
        seen, when = self.seen.setdefault(user, []), self.when.setdefault(user, [])
        at = time if time is not None else when[-1] if when else -math.inf
        self.counted += 1
        if item in seen:
            place = seen.index(item)
            if at < when[place]:
                return True
            del seen[place], when[place]
        else:
            popular = self.shop.systems["popularity"]
            assert isinstance(popular, Popularity), "that is its name"
            popular.count_N[item] += 1
        place = bisect_right(when, at)  # of two at one time the one that came later is the newer
        seen.insert(place, item)
        when.insert(place, at)
        return True

    def _replay(self, kept: State) -> None:
        """Count what was kept before."""
        for row in kept.rows("select user, item, time from event order by id"):
            self._count(row["user"], row["item"], row["time"])

    def history_of(self, asked: History) -> Json:
        with self.lock:
            seen = self.seen.get(asked.user_id, [])[: -asked.places - 1 : -1]
        items = self.shop.items
        return {"items": [{"id": items.ids[k], "title": items.titles[k]} for k in seen]}

    # ---- serving ------------------------------------------------------------------------------------

    def routes(self, limits: Limits) -> list[Route]:
        async def page(request: Request) -> Response:
            return html("pretune.apps.recommend", "page.html")

        async def recommend(request: Request) -> Response:
            asked = await read(request, ForUser, limits)
            within(asked.places, MOST_PLACES, "places")
            within(len(asked.liked), limits.max_inputs, "liked")
            return JSONResponse((await run_sync(self.list_for, asked)).to_json())

        async def similar(request: Request) -> Response:
            asked = await read(request, Similar, limits)
            within(asked.places, MOST_PLACES, "places")
            return JSONResponse(await run_sync(self.similar_to, asked))

        async def search(request: Request) -> Response:
            asked = await read(request, Search, limits)
            within(asked.places, MOST_PLACES, "places")
            return JSONResponse(await run_sync(self.search, asked))

        async def events(request: Request) -> Response:
            asked = await read(request, Events, limits)
            within(len(asked.events), limits.max_inputs, "events")
            return JSONResponse(await run_sync(self.record, asked.events))

        async def history(request: Request) -> Response:
            asked = await read(request, History, limits)
            within(asked.places, MOST_PLACES, "places")
            return JSONResponse(await run_sync(self.history_of, asked))

        posts = {"recommend": recommend, "similar": similar, "search": search, "events": events, "history": history}
        return [Route("/", page), *(Route(f"/v1/{name}", one, methods=["POST"]) for name, one in posts.items())]

    def gauges(self) -> list[Gauge]:
        return [
            ("recommend_users", "Users who have seen something", [({}, float(len(self.seen)))]),
            ("recommend_items", "Items", [({}, float(len(self.number)))]),
            ("recommend_events", "Events that arrived here and count", [({}, float(self.counted))]),
        ]

    @contextmanager
    def running(self, started: Started) -> Iterator[None]:
        self.state = State(self.folder, MIGRATIONS)
        try:
            yield
        finally:
            self.state.close()
            self.state = None
