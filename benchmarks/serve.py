"""How many tokens a second do many clients get together, next to one alone; and how long does the first token take?

    python benchmarks/serve.py MODEL                    the engine in this process, then `pretune serve` over HTTP
    python benchmarks/serve.py MODEL --seconds 300      64 clients for five minutes

MODEL is a folder or bundle that chats. Each answer is drawn (temperature 1) and has `--tokens` tokens, whatever the
model would say. One stream and sixteen go in turn, `--rounds` times, and the median ratio counts: by the clock, and by
the processor's time, which other people's work on the machine changes less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil

from pretune.base.measurements import processor, usable_cores
from pretune.infer.batching import Batching
from pretune.infer.load import open_model
from pretune.infer.predictor import Streams
from pretune.infer.sampling import Sampling
from pretune.infer.streaming import Piece

STREAMS = 16
ASKED = "Write a short poem about the sea, number {}. 请写一首关于春天的诗。"
CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Speed:
    """Tokens a second, by the clock and by the processor's time; seconds to the first token of all."""

    wall: float
    busy: float
    first: float


def together(model: Streams, number: int, tokens: int) -> Speed:
    """So many answers that begin at once."""
    engine, told = Batching(model, own_thread=False), list[Piece | Exception]()
    wall, busy, first = time.perf_counter(), time.process_time(), 0.0
    for k in range(number):
        prompt = model.chat_prompt([{"role": "user", "content": ASKED.format(k)}])
        draft = replace(model.draft(prompt, Sampling(max_tokens=tokens, temperature=1.0, seed=k)), ends=())
        engine.ask(draft, told.append, client=k)
    while engine.active or engine.waiting or engine.inbox:
        engine.step()
        first = first or time.perf_counter() - wall
    assert not any(isinstance(one, Exception) for one in told), "every answer is written"
    written = number * tokens
    return Speed(written / (time.perf_counter() - wall), written / (time.process_time() - busy), first)


def side_by_side(model: Streams, tokens: int, rounds: int) -> list[dict[str, str]]:
    """One stream and sixteen, in turn."""
    together(model, 1, tokens)
    pairs = [(together(model, 1, tokens), together(model, STREAMS, tokens)) for _ in range(rounds)]
    rows = []
    for name in ("wall", "busy"):
        one, many = ([getattr(speed, name) for speed in side] for side in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in zip(one, many, strict=True))
        rows.append({
            "tokens/s by": {"wall": "the clock", "busy": "processor time"}[name],
            "one stream": f"{statistics.median(one):.0f}",
            f"{STREAMS} together": f"{statistics.median(many):.0f}",
            "ratio": f"{ratio:.1f}",
        })  # fmt: skip
    return rows


# ---- over HTTP ----------------------------------------------------------------------------------


@contextmanager
def server(model: Path) -> Iterator[tuple[str, psutil.Process]]:
    """`pretune serve` in a process of its own: its address, and the process."""
    command = [sys.executable, "-m", "pretune", "serve", str(model), "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment)
    try:
        assert child.stdout is not None, "its output is piped"
        line = next(line for line in child.stdout if "http://" in line)
        yield next(word for word in line.split() if word.startswith("http://")), psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(timeout=60)


async def answered(client: httpx.AsyncClient, k: int, tokens: int) -> tuple[float, float, int]:
    """Seconds to the first text and to the end of an answer that is streamed, and its tokens."""
    start, first, written = time.perf_counter(), 0.0, 0
    body = {"messages": [{"role": "user", "content": ASKED.format(k)}], "max_tokens": tokens, "stream": True}
    body |= {"temperature": 1.0, "seed": k, "stream_options": {"include_usage": True}}
    async with client.stream("POST", CHAT, json=body) as reply:
        assert reply.status_code == 200, await reply.aread()
        async for line in reply.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            assert "error" not in event, event
            if event["choices"] and event["choices"][0]["delta"].get("content"):
                first = first or time.perf_counter() - start
            written = event.get("usage", {}).get("completion_tokens", written)
    return first, time.perf_counter() - start, written


async def first_tokens(url: str, tokens: int) -> list[dict[str, str]]:
    """Of a client that is alone, and of one that comes while sixteen are answered."""
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:
        await answered(client, 0, 4)
        alone = [(await answered(client, 100 + k, 4))[0] for k in range(9)]

        async def again(k: int) -> None:
            while True:  # an answer may end early
                await answered(client, k, 8 * tokens)

        others = [asyncio.create_task(again(k)) for k in range(STREAMS)]
        await asyncio.sleep(2)
        loaded = [(await answered(client, 200 + k, 4))[0] for k in range(9)]
        assert not any(task.done() for task in others), "one of the sixteen failed"
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    return [
        {
            "first text, ms": name,
            "median": f"{1000 * statistics.median(found):.0f}",
            "worst": f"{1000 * max(found):.0f}",
        }
        for name, found in (("alone", alone), (f"while {STREAMS} are answered", loaded))
    ]


async def for_a_while(url: str, process: psutil.Process, clients: int, seconds: float, tokens: int) -> dict[str, str]:
    """Clients that ask again and again."""
    found: list[tuple[float, float, int]] = []
    memory: list[int] = []
    end = time.perf_counter() + seconds
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=httpx.Limits(max_connections=clients)) as client:

        async def one(k: int) -> None:
            while time.perf_counter() < end:
                found.append(await answered(client, k, tokens))
                memory.append(process.memory_info().rss)

        start = time.perf_counter()
        await asyncio.gather(*map(one, range(clients)))
        took = time.perf_counter() - start
    whole = sorted(each for _, each, _ in found)
    p50, p99 = (whole[int(share * (len(whole) - 1))] for share in (0.5, 0.99))
    half = len(memory) // 2
    return {
        "clients": str(clients),
        "answers, no error": str(len(found)),
        "tokens/s": f"{sum(number for _, _, number in found) / took:.0f}",
        "p50, s": f"{p50:.1f}",
        "p99, s": f"{p99:.1f}",
        "first text p50, s": f"{statistics.median(first for first, _, _ in found):.2f}",
        "memory, MB, first half and end": f"{max(memory[:half]) / 1e6:.0f}, {memory[-1] / 1e6:.0f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    model = open_model(given.model)
    assert isinstance(model, Streams), "a model that writes"
    tables: dict[str, Any] = {"engine": side_by_side(model, given.tokens, given.rounds)}
    with server(given.model) as (url, process):
        tables["first text"] = asyncio.run(first_tokens(url, given.tokens))
        long = for_a_while(url, process, given.clients, given.seconds, given.tokens)
        tables["a while"] = [asyncio.run(long)]
    about = {"processor": processor(), "cores": usable_cores(), "threads": os.environ.get("OMP_NUM_THREADS", "all")}
    if given.json:
        print(json.dumps({**about, **tables}, ensure_ascii=False))
        return
    print(about)
    for rows in tables.values():
        print(*(" | ".join(f"{name}: {value}" for name, value in row.items()) for row in rows), sep="\n")


if __name__ == "__main__":
    main()
