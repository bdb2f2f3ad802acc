"""A desk whose chat model or state is slow: what does not need it is answered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from pretune.apps.app import Started
from pretune.apps.serving import asgi
from pretune.apps.support.answering import Models
from pretune.apps.support.desk import Desk
from pretune.infer.answers import Text
from pretune.serve.run import Options
from tests.apps.test_support import desk, opened

__all__ = ["desk", "opened"]
WRITTEN = "How long may I keep a lamp before I send it back?"
SECONDS = 20.0
"""Until what hangs is said to hang; on a machine that is idle all of it takes a tenth of a second."""


@asynccontextmanager
async def web(opened: Desk) -> AsyncIterator[httpx.AsyncClient]:
    transport: Any = httpx.ASGITransport(asgi(opened, Options()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


class Stuck:
    """A chat model that writes when it is let."""

    gives = Text

    def __init__(self) -> None:
        self.goes_on = threading.Event()

    def answer(self, inputs: Any, **more: Any) -> list[Text]:
        self.goes_on.wait(2 * SECONDS)
        return [Text("")]


def test_customers_who_wait_for_a_slow_chat_model_stop_nobody_else(opened: Desk) -> None:
    chat: Any = Stuck()
    opened.models = Models(chat)

    async def asked() -> tuple[Any, Any, set[str]]:
        async with web(opened) as client:
            ask = [asyncio.create_task(client.post("/v1/ask", json={"question": WRITTEN})) for _ in range(45)]
            while opened.waiting < 45:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            try:
                async with asyncio.timeout(SECONDS):
                    inbox = (await client.get("/v1/inbox")).json()
                    faq = (await client.post("/v1/ask", json={"question": "Can I dim the lamps?"})).json()
            finally:
                chat.goes_on.set()
                said = await asyncio.gather(*ask)
            return inbox, faq, {one.json()["way"] for one in said}

    with opened.running(Started(lambda line: None)):
        inbox, faq, ways = asyncio.run(asked())
    assert (inbox["waiting"], faq["way"], ways) == ([], "faq", {"passage"})


@pytest.mark.parametrize("path", ["/metrics", "/v1/inbox", "/v1/knowledge"])
def test_who_waits_for_the_state_does_not_stop_the_server(opened: Desk, path: str) -> None:
    has_it, gives_it = threading.Event(), threading.Event()

    def hold() -> None:
        assert opened.record is not None
        with opened.record.state.lock:
            has_it.set()
            gives_it.wait(2)

    async def asked() -> list[str]:
        order = list[str]()

        async def get(client: httpx.AsyncClient, path: str) -> None:
            assert (await client.get(path)).status_code == 200
            order.append(path)

        async with web(opened) as client:
            waits = asyncio.create_task(get(client, path))
            await asyncio.sleep(0.05)
            await get(client, "/health")
            gives_it.set()
            await waits
        return order

    with opened.running(Started(lambda line: None)):
        holder = threading.Thread(target=hold)
        holder.start()
        has_it.wait()
        order = asyncio.run(asked())
        holder.join()
    assert order == ["/health", path]
