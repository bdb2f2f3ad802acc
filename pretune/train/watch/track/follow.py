"""Listeners at work: each in a process of its own that reads what metrics.jsonl gains.

    training ──appends──▶ metrics.jsonl ◀──reads── listener ──▶ OUT.track/tensorboard/base@1a2b3c4d/

A library that hangs, prints, takes Ctrl-C for itself or crashes cannot touch the training: one warning, then silence.
The training holds a pipe open; when it is done, or gone, the listener reads to the end of the file and leaves.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pretune.base.stage import Context
from pretune.base.staging import beside
from pretune.report.training import numbers_of
from pretune.train.watch.track.listener import LISTENER, Curves, Listener, Place

LOOK_EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
"""How long a run waits for a listener at its end."""


@contextmanager
def following(listeners: Sequence[Listener], context: Context, settings: Mapping[str, Any]) -> Iterator[None]:
    """The listeners follow the run's metrics inside this block; begin it when metrics.jsonl is cut to its step."""
    started = [_start(one, context, settings) for one in listeners]
    try:
        yield
    finally:
        for one in started:
            _finish(one, context)


@dataclass(frozen=True)
class Started:
    """A listener's process, and the file that holds what it printed."""

    kind: str
    process: subprocess.Popen[bytes]
    said: Path


def _start(listener: Listener, context: Context, settings: Mapping[str, Any]) -> Started:
    place = place_of(listener, context, settings)
    said = place.folder.with_name(f"{place.name}.log")
    said.parent.mkdir(parents=True, exist_ok=True)
    order = {
        "listener": listener.model_dump(mode="json"),
        "file": str(context.log.metrics_file),
        "folder": str(place.folder),
        "name": place.name,
        "settings": place.settings,
    }
    with said.open("wb") as log:
        command = [sys.executable, "-m", "pretune.train.watch.track.follow"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
    with suppress(OSError):  # it died at once: `_finish` will say so
        _pipe(process).write(json.dumps(order).encode() + b"\n")
        _pipe(process).flush()
    return Started(listener.kind, process, said)


def place_of(listener: Listener, context: Context, settings: Mapping[str, Any]) -> Place:
    """`OUT.track/KIND/NAME@KEY`: runs with other settings lie side by side."""
    key = context.scratch / "key"
    name = f"{context.home.name}@{key.read_text(encoding='utf-8')[:8]}" if key.is_file() else context.home.name
    return Place(beside(context.home, ".track").absolute() / listener.kind / name, name, settings)


def _finish(started: Started, context: Context) -> None:
    with suppress(OSError):
        _pipe(started.process).close()
    try:
        code = started.process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        started.process.kill()
        code = started.process.wait()
    if code:
        context.log.warn(f"{started.kind} did not follow to the end; what it said: {started.said.as_posix()}")


def _pipe(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None, "started with a pipe"
    return process.stdin


# ---- the listener's own process ------------------------------------------------------------------


def main() -> None:
    """Follow the file that the order on stdin names, until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training, which then closes the pipe
    order = json.loads(sys.stdin.buffer.readline())
    place = Place(Path(order["folder"]), order["name"], order["settings"])
    shutil.rmtree(place.folder, ignore_errors=True)
    place.folder.mkdir(parents=True)
    is_over = threading.Event()
    threading.Thread(target=_wait_for_end, args=[is_over], daemon=True).start()
    curves = LISTENER(order["listener"]).open(place)
    follow(Path(order["file"]), curves, is_over)
    curves.close()


def _wait_for_end(is_over: threading.Event) -> None:
    sys.stdin.buffer.read()
    is_over.set()


def follow(file: Path, curves: Curves, is_over: threading.Event) -> None:
    """Hand on every whole line of the file, once, until it is over."""
    at, last = 0, False
    while not last:
        last = is_over.wait(LOOK_EVERY_SECONDS)  # asked before reading: what came before the end is read
        lines, at = whole_lines(file, at)
        for line in lines:
            point = json.loads(line)
            if numbers := numbers_of(point):
                curves.add(int(point.get("step", 0)), numbers)


def whole_lines(file: Path, start: int) -> tuple[list[bytes], int]:
    """The lines of a file from byte `start` on that are written to their end, and where the next one begins."""
    if not file.is_file():
        return [], start
    with file.open("rb") as stream:
        stream.seek(start)
        whole, newline, _ = stream.read().rpartition(b"\n")
    return whole.splitlines(), start + len(whole) + len(newline)


if __name__ == "__main__":
    main()
