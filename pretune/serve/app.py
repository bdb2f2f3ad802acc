"""The server's routes: those of OpenAI, /v1/rerank as Cohere and Jina have it, /v1/classify, /v1/score, /v1/tag and
/v1/answer, and a page to talk to.

    GET  /                     the page            POST /v1/chat/completions   plain, or streaming as SSE
    GET  /health               {"status": "ok"}    POST /v1/completions        the same for text
    GET  /ready                or 503              POST /v1/classify           {"input": text or [texts]}
    GET  /metrics              for Prometheus      POST /v1/score, /v1/tag    the same
    GET  /openapi.json         this, for programs  POST /v1/answer            {"input": {question, context} or several}
    GET  /v1/models            what is served      POST /v1/embeddings        {"input": text or [texts]}
                                                   POST /v1/rerank            {"query": text, "documents": [texts]}

A model that writes gives all requests their next tokens together (infer/batching.py); others answer one request at a
time, in a thread. A client that leaves stops its answer. Adapters of one base (model/shelf.py) are opened when they are
first asked.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from threading import Event
from typing import Any

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pretune.base.errors import BadGrammar, TooLong
from pretune.infer.answers import Answer, Label, Labels, Ranking, Score, Span, Tags, Vector
from pretune.infer.embed import Embedder
from pretune.infer.explain import explain
from pretune.infer.predictor import Predictor, Streams
from pretune.infer.shelf import Shelf
from pretune.serve.completion import Completion, EventStream, events, pieces_of, plain
from pretune.serve.deadline import Deadline
from pretune.serve.documents import document, template
from pretune.serve.errors import HANDLERS, ApiError, check_queue
from pretune.serve.generating import Chat, Complete
from pretune.serve.guard import Guard
from pretune.serve.kept import Kept, Served
from pretune.serve.keys import Key, Keys
from pretune.serve.logprobs import Logprobs
from pretune.serve.logs import Logging, Watch, counted, current
from pretune.serve.metrics import CONTENT_TYPE, Gauge, Metrics
from pretune.serve.models import Models
from pretune.serve.pages import page
from pretune.serve.reading import read
from pretune.serve.requests import AnswerIn, Embed, Limits, Rerank, Texts

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(
    models: Mapping[str, Predictor],
    *,
    api_key: str | None = None,
    keys: Sequence[Key] = (),
    limits: Limits | None = None,
    shelf: Shelf | None = None,
    kept: Kept | None = None,
    logging: Logging | None = None,
    leaving: Event | None = None,
) -> ASGIApp:
    """The server as an ASGI application.

    Args:
        models: what is served, by the names that clients use.
        shelf: adapters on one base, served too.
        kept: models that are in memory as long as there is room, served too.
        api_key: a key for everything; keys: others, with what each is good for. Every route but the probes needs one;
            without any, only requests whose Host is this machine are answered.
        leaving: set when the server takes no more requests: /ready says so.
    """
    limits = limits or Limits()
    server = Server(Models(models, shelf, kept=kept, limits=limits), limits, leaving or Event())
    all_keys = [*keys, *([] if api_key is None else [Key.of(api_key, "PRETUNE_API_KEY")])]
    return guarded(server.routes(), server.probes.metrics, all_keys, limits, template=template, logging=logging)


def guarded(
    routes: Sequence[Route],
    metrics: Metrics,
    keys: Sequence[Key],
    limits: Limits,
    *,
    template: Callable[[str], str],
    logging: Logging | None = None,
    pages: Collection[str] = ("/",),
) -> ASGIApp:
    """Routes behind keys, limits of time, counts and the log.

    Args:
        template: what metrics and log may say of a path.
        pages: paths for browsers, which are asked for the key.
    """
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    behind = Guard(Deadline(app, limits.max_seconds), Keys(keys), pages)
    write, prompts = (logging.write, logging.prompts) if logging else (None, False)
    return Watch(behind, metrics, routes=template, write=write, prompts=prompts)


class Probes:
    """The routes of whoever watches a server: does it live, does it take requests, what has it counted.

    Args:
        leaving: set when the server takes no more requests.
        gauges: measures now; asked in the event loop, so what takes time does it in a thread.
    """

    def __init__(self, leaving: Event, gauges: Callable[[], Awaitable[Iterable[Gauge]]]):
        self.leaving, self.gauges, self.metrics = leaving, gauges, Metrics()

    def routes(self) -> list[Route]:
        return [Route("/health", self.health), Route("/ready", self.ready), Route("/metrics", self.measured)]

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Whether to send requests here: the models were opened before this was asked; 503 once it is leaving."""
        if self.leaving.is_set():
            return JSONResponse({"status": "leaving"}, 503)
        return JSONResponse({"status": "ready"})

    async def measured(self, request: Request) -> Response:
        return Response(self.metrics.text(await self.gauges()), media_type=CONTENT_TYPE)


def html(room: str, name: str) -> Response:
    """A page of a room of pretune."""
    return HTMLResponse(page(room, name), headers=PAGE_HEADERS)


class Server:
    """The routes' functions over the models that are served."""

    def __init__(self, models: Models, limits: Limits, leaving: Event):
        self.models, self.limits, self.probes = models, limits, Probes(leaving, self._gauges)

    def routes(self) -> list[Route]:
        return [
            Route("/", self.page),
            *self.probes.routes(),
            Route("/openapi.json", self.document),
            Route("/v1/models", self.list_models),
            Route("/v1/models/{name:path}", self.one_model),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
            Route("/v1/classify", self.classify, methods=["POST"]),
            Route("/v1/score", self.score, methods=["POST"]),
            Route("/v1/answer", self.answer, methods=["POST"]),
            Route("/v1/tag", self.tag, methods=["POST"]),
            Route("/v1/embeddings", self.embed, methods=["POST"]),
            Route("/v1/rerank", self.rerank, methods=["POST"]),
        ]

    async def _gauges(self) -> list[Gauge]:
        return self.models.gauges()

    async def page(self, request: Request) -> Response:
        return html("pretune.serve", "page.html")

    async def document(self, request: Request) -> Response:
        return JSONResponse(document(self.limits, self.models.names))

    async def list_models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": self.models.listed()})

    async def one_model(self, request: Request) -> Response:
        return JSONResponse(self.models.about(request.path_params["name"]))

    async def chat(self, request: Request) -> Response:
        asked = await read(request, Chat, self.limits)
        asked.check(self.limits)
        served, model = await self.models.streaming(asked.model)
        sampling = asked.sampling(model, self.limits, _seed)
        messages = [message.plain() for message in asked.messages]
        tools = asked.callable()
        prompt = await run_sync(model.chat_prompt, messages, tools)
        told = Logprobs(model, sampling, is_chat=True)
        answer = Completion("chat.completion", asked, served.name, [prompt], sampling, told, calls=bool(tools))
        return await self._generated(request, served, model, answer)

    async def complete(self, request: Request) -> Response:
        asked = await read(request, Complete, self.limits)
        served, model = await self.models.streaming(asked.model)
        sampling = asked.sampling(model, self.limits, _seed)
        texts = asked.prompts(self.limits)
        prompts = await run_sync(lambda: [model.text_prompt(text) for text in texts])
        told, echoed = Logprobs(model, sampling, is_chat=False), texts if asked.echo else ()
        answer = Completion("text_completion", asked, served.name, prompts, sampling, told, echoed=echoed)
        return await self._generated(request, served, model, answer)

    async def classify(self, request: Request) -> Response:
        return await self._each(request, Label, Labels)

    async def score(self, request: Request) -> Response:
        asked = await read(request, Texts, self.limits)
        inputs = asked.inputs(self.limits)
        pairs = (Vector,) if all(isinstance(one, tuple) for one in inputs) else ()
        return await self._answered(await self.models.giving(asked.model, Score, *pairs), inputs)

    async def tag(self, request: Request) -> Response:
        return await self._each(request, Tags)

    async def _each(self, request: Request, *answers: type[Answer]) -> Response:
        """An answer to each input."""
        asked = await read(request, Texts, self.limits)
        served, inputs = await self.models.giving(asked.model, *answers), asked.inputs(self.limits)
        return await self._answered(served, inputs, explained=asked.explain)

    async def answer(self, request: Request) -> Response:
        asked = await read(request, AnswerIn, self.limits)
        return await self._answered(await self.models.giving(asked.model, Span), asked.inputs(self.limits))

    async def embed(self, request: Request) -> Response:
        asked = await read(request, Embed, self.limits)
        served, texts = await self.models.giving(asked.model, Vector), asked.texts(self.limits)
        assert isinstance(served.model, Embedder), "what gives vectors is an embedder"
        answers = await self._told(served, texts)
        number = sum(map(len, await run_sync(served.model.rows, texts)))
        data = [asked.one(index, answer.values) for index, answer in enumerate(answers)]
        usage = {"prompt_tokens": number, "total_tokens": number}
        return JSONResponse({"object": "list", "model": served.name, "data": data, "usage": usage})

    async def rerank(self, request: Request) -> Response:
        asked = await read(request, Rerank, self.limits)
        served, queried = await self.models.giving(asked.model, Ranking, Vector), asked.queried(self.limits)
        (answer,) = await self._told(served, [queried])
        results = asked.results(answer.order, answer.scores)
        return JSONResponse({"id": f"rerank-{secrets.token_hex(12)}", "model": served.name, "results": results})

    async def _told(self, served: Served, inputs: Sequence[Any], *, explained: bool = False) -> list[Any]:
        """The answers to all inputs, when it is their turn."""
        async with self._turn(served):
            return await run_sync(partial(explain, served.model) if explained else served.model.answer, inputs)

    async def _answered(self, served: Served, inputs: Sequence[Any], *, explained: bool = False) -> Response:
        """The answers to all inputs in one list."""
        answers = await self._told(served, inputs, explained=explained)
        data = [{"index": index, **answer.to_json()} for index, answer in enumerate(answers)]
        return JSONResponse({"object": "list", "model": served.name, "data": data})

    async def _generated(self, request: Request, served: Served, model: Streams, answer: Completion) -> Response:
        self._check_size(model, answer)
        engine = served.batching(self.limits.cache_bytes)
        check_queue(engine.num_waiting, self.limits.max_waiting)
        try:
            drafts = await run_sync(answer.drafts, model)
        except BadGrammar as error:
            param = next(iter(answer.asked.forms(model)), None)
            raise ApiError(400, error.problem, code=error.code, param=param) from None
        for draft in drafts:
            engine.check(draft)
        # Again: of a burst, all came as far as this while nobody was waiting.
        check_queue(engine.num_waiting, self.limits.max_waiting)
        current().read(sum(map(len, answer.prompts)))
        pieces = counted(pieces_of(engine, answer, drafts, None if answer.asked.stream else request))
        if answer.asked.stream:
            return EventStream(events(pieces, answer, len(drafts)))
        return await plain(pieces, answer)

    def _check_size(self, model: Streams, answer: Completion) -> None:
        """Raise ApiError when a prompt leaves no room, or there are too many answers in one request."""
        number = len(answer.prompts) * (answer.asked.n or 1)
        if number > self.limits.max_inputs:
            problem = f"{number} answers in one request; this server allows {self.limits.max_inputs}"
            raise ApiError(400, problem, code="invalid_value", param="n")
        try:
            for prompt in answer.prompts:
                model.room(prompt)
        except TooLong as error:
            param = "messages" if answer.is_chat else "prompt"
            raise ApiError(400, error.problem, code="context_length_exceeded", param=param) from None

    @asynccontextmanager
    async def _turn(self, served: Served) -> AsyncIterator[None]:
        """Wait for the model; it answers one request at a time."""
        check_queue(served.waiting, self.limits.max_waiting)
        served.waiting += 1
        try:
            async with served.lock:
                yield
        finally:
            served.waiting -= 1


def _seed() -> int:
    return secrets.randbits(32)
