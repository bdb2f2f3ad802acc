"""What is piped in: `tail -F news.log | pretune serve watch --source -`, a line a text, or a record as JSON.

A pipe cannot be asked again. What was read and not yet counted when the watch is killed is lost with the pipe; all else
is counted once. A file that the other program writes (`--source FILE`) loses nothing.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time as clock
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import BinaryIO

from pretune.apps.monitor.sources.items import item_of
from pretune.apps.monitor.sources.source import Batch, Item, Source
from pretune.base.errors import UserError
from pretune.base.json import Json

END = b""


class Piped(Source):
    """Standard input, read in a thread of its own."""

    name = "-"

    def __init__(self, column: str | None = None, time: str | None = None, stream: BinaryIO | None = None):
        self.column, self.time = column, time
        self.lines: queue.Queue[tuple[float, bytes]] = queue.Queue(maxsize=10_000)
        threading.Thread(target=self._fill, args=(stream or sys.stdin.buffer,), daemon=True).start()

    def _fill(self, stream: BinaryIO) -> None:
        for line in stream:
            self.lines.put((clock.time(), line))
        self.lines.put((clock.time(), END))

    def read(self, places: Mapping[str, Json], most: int) -> Batch:
        found, refused, is_over = list[Item](), list[str](), False
        with suppress(queue.Empty):
            while len(found) < most and not is_over:
                when, line = self.lines.get_nowait()
                is_over = line == END
                self._add(found, refused, line, when)
        place = {"lines": places.get("", {}).get("lines", 0) + len(found)}
        return Batch(found, {"": place} if found else {}, not self.lines.empty() and not is_over, refused, is_over)

    def _add(self, found: list[Item], refused: list[str], line: bytes, when: float) -> None:
        text = line.decode("utf-8", errors="replace").strip()
        if not text:
            return
        try:
            record = json.loads(text) if text.startswith("{") else {"text": text}
            item = item_of(record, column=self.column, time=self.time, where="-")
        except (ValueError, UserError) as error:
            refused.append(getattr(error, "problem", f"a line of - is no JSON: {error}"))
            return
        if item is not None:
            found.append(replace(item, time=when if item.time is None else item.time))
