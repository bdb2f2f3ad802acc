"""A support desk, opened and served.

    /                   the customer's page         POST /v1/ask        {question, talk}  -> the reply, its sources
    /inbox              the page of who answers     POST /v1/talk       {talk}            -> its turns, people's answers
    GET  /v1/inbox      tickets                     POST /v1/feedback   {id, talk, vote}
    POST /v1/inbox      {ticket, answer, question}  POST /v1/hand-over  {id, talk}
    POST /v1/forget     {days} | {ticket}
    GET  /v1/knowledge  what was learnt             POST /v1/knowledge  {text, title} | {question, answer} | {forget}

A customer's key has the scope `ask`; that of who works here `desk`.
"""

from __future__ import annotations

import threading
import traceback
from asyncio import Lock
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from pydantic import AfterValidator, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pretune.apps import outbox
from pretune.apps.app import App, Started, model_of
from pretune.apps.state import is_there
from pretune.apps.support.answering import Limits, Models, Reply, find, reply, worded
from pretune.apps.support.live import Live
from pretune.apps.support.record import Record
from pretune.base.artifact import Artifact
from pretune.base.json import Json
from pretune.infer.answers import Answer, Label, Ranking, Text, Vector
from pretune.infer.embed import Embedder
from pretune.infer.predictor import Advance, unheard
from pretune.serve.app import html
from pretune.serve.errors import check_queue
from pretune.serve.metrics import Gauge, Sample
from pretune.serve.reading import read
from pretune.serve.requests import Limits as Served
from pretune.serve.requests import Strict

ROOM = "pretune.apps.support"
DAY = 86_400.0
FINDING = 8
"""Threads that look for passages; the others of the server's pool are for who reads a talk or the inbox."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("there is no text in it")
    return text


Words = Annotated[str, Field(max_length=20_000), AfterValidator(_not_blank)]
Question = Annotated[str, Field(max_length=2_000), AfterValidator(_not_blank)]
Number = Annotated[int, Field(ge=0, lt=2**63)]
"""Of a row in SQLite."""


class Ask(Strict):
    question: Question
    talk: Annotated[str, Field(max_length=100)] | None = None


class Talk(Strict):
    talk: Annotated[str, Field(max_length=100)]


class Vote(Strict):
    id: Number
    talk: str
    vote: Literal[-1, 0, 1]


class HandOver(Strict):
    id: Number
    talk: str


class Answered(Strict):
    """A person's answer to a ticket."""

    ticket: Number
    answer: Words
    question: Question | None = None
    """Under which it is an entry of the FAQ from then on, for everybody to see; None: it is none."""


class Forget(Strict):
    """Talks in which nothing happened for so many days, or the whole talk that a ticket is from."""

    days: Annotated[int, Field(ge=0, le=36_500)] | None = None
    ticket: Number | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.days is None) == (self.ticket is None):
            raise ValueError("give days or ticket")
        return self


class Learn(Strict):
    """A text, a question with its answer, or the number of what shall be forgotten."""

    text: Words | None = None
    title: Annotated[str, Field(max_length=200)] = ""
    question: Question | None = None
    answer: Words | None = None
    forget: Number | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum([self.text is not None, self.question is not None, self.forget is not None]) != 1:
            raise ValueError("give text, or question and answer, or forget")
        if (self.question is None) != (self.answer is None):
            raise ValueError("a question needs its answer")
        return self


class Desk(App):
    """A desk with its models and its knowledge."""

    def __init__(self, live: Live, models: Models, limits: Limits, state: Path):
        self.live, self.models, self.limits, self.folder = live, models, limits, state
        self.record: Record | None = None
        self.news, self.waiting = threading.Event(), 0

    @classmethod
    def open(cls, artifact: Artifact, state: Path) -> Self:
        models = models_of(artifact)
        live = Live(artifact, models.embed)
        live.refresh(lambda line: None)
        limits = Limits(**live.facts["limits"])
        desk = cls(live, models, limits, state)
        if is_there(state):
            record = Record(state, reads=True)
            try:
                live.learn(record)
            finally:
                record.close()
        return desk

    @classmethod
    def told(cls, artifact: Artifact, state: Path) -> Json:
        if not is_there(state):
            return {}
        record = Record(state, reads=True)
        try:
            return {**record.counts(), "problems": outbox.problems(record.state)}
        finally:
            record.close()

    @property
    def gives(self) -> type[Answer]:
        return Reply

    def answer(
        self, inputs: Sequence[Any], *, max_tokens: int = 256, strict: bool = True, advance: Advance = unheard
    ) -> list[Answer]:
        found: list[Answer] = []
        for question in inputs:
            found.append(self.reply(question))
            advance(1)
        return found

    def reply(self, question: str) -> Reply:
        return reply(question, self.live.now, self.models, self.limits)

    # ---- served ----

    @contextmanager
    def running(self, started: Started) -> Iterator[None]:
        """The record is open, changed files are looked for, and the webhook hears of tickets."""
        record = self.record = Record(self.folder, posts=bool(started.webhook))
        record.write_examples()
        self.live.learn(record)
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(started, ended), name="watcher", daemon=True)
        try:
            with outbox.sending(record.state, started.webhook, started.write) as self.news:
                watcher.start()
                yield
        finally:
            ended.set()
            watcher.join()
            self.record = None
            record.close()

    def _watch(self, started: Started, ended: threading.Event) -> None:
        seconds = float(self.live.artifact.card.settings["watch"])
        while seconds and not ended.wait(seconds):
            try:
                self.live.refresh(started.write)
            except Exception:
                # Whatever it was (memory, say): the desk answers from what it knows, and looks again.
                started.write(f"the knowledge could not be brought up to date:\n{traceback.format_exc()}")

    def gauges(self) -> list[Gauge]:
        counts = self._record.counts()
        ways: list[Sample] = [
            ({"way": name.removeprefix("way_")}, n) for name, n in counts.items() if name.startswith("way_")
        ]
        return [
            ("support_questions", "Questions by how they were answered.", ways),
            ("support_tickets_waiting", "Tickets that wait for a person.", [({}, counts["tickets_waiting"])]),
            ("support_webhook_waiting", "Messages that the webhook has not taken.", [({}, self._num_unsent())]),
            ("support_passages", "Passages that can be found.", [({}, len(self.live.now.passages))]),
        ]

    def _num_unsent(self) -> int:
        return outbox.num_waiting(self._record.state)

    @property
    def _record(self) -> Record:
        assert self.record is not None, "routes are asked while it runs"
        return self.record

    def routes(self, limits: Served) -> list[Route]:
        return Routes(self, limits).all()


def models_of(artifact: Artifact) -> Models:
    """The models of a desk, opened."""
    embed = model_of(artifact, "embed", Vector)
    assert embed is None or isinstance(embed, Embedder), "what gives vectors is an embedder"
    chat, intents = model_of(artifact, "model", Text), model_of(artifact, "intents", Label)
    return Models(chat, intents, embed, model_of(artifact, "rank", Ranking, Vector))


class Routes:
    """What clients ask of a desk."""

    def __init__(self, desk: Desk, limits: Served):
        self.desk, self.limits = desk, limits
        self.finding, self.writing = CapacityLimiter(FINDING), Lock()

    def all(self) -> list[Route]:
        return [
            Route("/", self.page),
            Route("/inbox", self.inbox_page),
            Route("/v1/ask", self.ask, methods=["POST"]),
            Route("/v1/talk", self.talk, methods=["POST"]),
            Route("/v1/feedback", self.feedback, methods=["POST"]),
            Route("/v1/hand-over", self.hand_over, methods=["POST"]),
            Route("/v1/inbox", self.inbox),
            Route("/v1/inbox", self.answer, methods=["POST"]),
            Route("/v1/forget", self.forget, methods=["POST"]),
            Route("/v1/knowledge", self.knowledge),
            Route("/v1/knowledge", self.learn, methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        return html(ROOM, "desk.html")

    async def inbox_page(self, request: Request) -> Response:
        return html(ROOM, "inbox.html")

    async def ask(self, request: Request) -> Response:
        asked = await read(request, Ask, self.limits)
        check_queue(self.desk.waiting, self.limits.max_waiting)
        self.desk.waiting += 1
        try:
            found = await self._reply(asked.question)
        finally:
            self.desk.waiting -= 1
        kept = await run_sync(self.desk._record.said, asked.question, found, asked.talk)
        self._tell_news("ticket" in kept)
        return JSONResponse({**kept, **found.to_json()})

    async def _reply(self, question: str) -> Reply:
        """As `Desk.reply`; who waits for the chat model holds no thread, or forty of them would stop every page."""
        now, models = self.desk.live.now, self.desk.models
        found = await run_sync(find, question, now, models, self.desk.limits, limiter=self.finding)
        if not found.passages:
            return found.reply
        async with self.writing:
            return await run_sync(worded, question, found, models)

    async def talk(self, request: Request) -> Response:
        asked = await read(request, Talk, self.limits)
        return JSONResponse({"turns": await run_sync(self.desk._record.talk, asked.talk)})

    async def feedback(self, request: Request) -> Response:
        asked = await read(request, Vote, self.limits)
        await run_sync(self.desk._record.vote, asked.id, asked.talk, asked.vote)
        return JSONResponse({"id": asked.id, "vote": asked.vote})

    async def hand_over(self, request: Request) -> Response:
        asked = await read(request, HandOver, self.limits)
        ticket = await run_sync(self.desk._record.hand_over, asked.id, asked.talk, "asked for a person")
        self._tell_news(True)
        return JSONResponse({"ticket": ticket})

    async def inbox(self, request: Request) -> Response:
        record = self.desk._record
        waiting = await run_sync(lambda: record.tickets(is_open=True))
        answered = await run_sync(lambda: record.tickets(is_open=False))
        unsent = await run_sync(self.desk._num_unsent)
        return JSONResponse({"waiting": waiting, "answered": answered, "unsent": unsent})

    async def answer(self, request: Request) -> Response:
        given = await read(request, Answered, self.limits)
        await run_sync(lambda: self.desk._record.answer(given.ticket, given.answer, published=given.question or ""))
        await run_sync(self.desk.live.learn, self.desk._record)
        return JSONResponse({"ticket": given.ticket})

    async def forget(self, request: Request) -> Response:
        given, record = await read(request, Forget, self.limits), self.desk._record
        before = record.now() - DAY * (given.days or 0)
        number = await run_sync(lambda: record.forget_talks(ticket=given.ticket, before=before))
        return JSONResponse({"talks": number})

    async def knowledge(self, request: Request) -> Response:
        learnt = await run_sync(self.desk._record.learnt)
        known, problems = len(self.desk.live.now.passages), [*self.desk.live.problems.values()]
        return JSONResponse({"passages": known, "learnt": learnt, "problems": problems})

    async def learn(self, request: Request) -> Response:
        given = await read(request, Learn, self.limits)
        number = await run_sync(_learn, self.desk._record, given)
        await run_sync(self.desk.live.learn, self.desk._record)
        return JSONResponse({"id": number, "passages": len(self.desk.live.now.passages)})

    def _tell_news(self, has_news: bool) -> None:
        if has_news:
            self.desk.news.set()


def _learn(record: Record, given: Learn) -> int:
    """Keep or forget knowledge; its number. Raises UserError: there is none of this number."""
    if given.forget is not None:
        record.forget(given.forget)
        return given.forget
    text = given.text if given.text is not None else given.answer
    assert text is not None, "a question has its answer"
    return record.learn(text, title=given.title, question=given.question or "")
