"""Where the lines and bars of a run are drawn, and the one line over all of its parts.

    base: 1,204 of 2,610 steps, 2:10 left          what the part says
    all: 38 %, about 6:10 left (base)              what is left of everything, drawn here

On a terminal the two are drawn under the lines that were said; elsewhere the second is a line of its own every half
minute, so nobody waits before a silent screen.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

TELL_EVERY_SECONDS = 30.0
TICK_SECONDS = 1.0


class Whole:
    """How far a run of several parts is, reckoned from the seconds that each is expected to take.

    A part that takes longer than expected holds the time left; it never counts backwards.

    Args:
        seconds: part -> expected seconds, in their order.
        clock: seconds from any beginning.
    """

    def __init__(self, seconds: Mapping[str, float], clock: Callable[[], float] = time.monotonic):
        self._waiting, self._clock = dict(seconds), clock
        self._started = self._entered = clock()
        self._expected = 0.0
        self.part = ""

    def enter(self, part: str) -> None:
        """Begin a part; the one before is done."""
        self.part, self._entered = part, self._clock()
        self._expected = self._waiting.pop(part, 0.0)

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Reckon anew with the parts that are still to come."""
        self._waiting = dict(seconds)

    @property
    def seconds_left(self) -> float:
        """Expected seconds of what is still to be done."""
        here = self._expected - (self._clock() - self._entered)
        return sum(tuple(self._waiting.values())) + max(here, 0.0)

    @property
    def share(self) -> float:
        """The part of the whole time that is over, in [0, 1]."""
        over = self._clock() - self._started
        return over / (over + self.seconds_left) if over else 0.0

    def text(self) -> str:
        """One line: the share of the time that is over, and the time left."""
        return f"all: {self.share:.0%}, about {duration(self.seconds_left)} left ({self.part})"


class Screen:
    """Stderr: a terminal with live bars, or lines in a file."""

    def __init__(self) -> None:
        self.is_terminal = sys.stderr.isatty()
        self.whole: Whole | None = None
        self._bars: Progress | None = None

    def say(self, text: str, style: str | None = None) -> None:
        """A line."""
        if self.is_terminal:
            console = self._bars.console if self._bars else _console()
            console.print(text, style=style, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def bars(self) -> Iterator[Progress]:
        """The bars of the terminal; those that are there, or new ones that go when the block ends."""
        if self._bars is not None:
            yield self._bars
            return
        with _bars() as self._bars:
            try:
                yield self._bars
            finally:
                self._bars = None

    @contextmanager
    def over(self, whole: Whole) -> Iterator[None]:
        """Show how far everything is until the block ends."""
        done = threading.Event()
        with self.bars() if self.is_terminal else nullcontext() as bars:
            ticker = threading.Thread(target=self._tick, args=(whole, done, bars), daemon=True)
            self.whole = whole
            try:
                ticker.start()
                yield
            finally:
                done.set()
                ticker.join()
                self.whole = None

    def _tick(self, whole: Whole, done: threading.Event, bars: Progress | None) -> None:
        if bars is None:
            while not done.wait(TELL_EVERY_SECONDS):
                self.say(whole.text())
            return
        line = bars.add_task("", total=1.0, shown="")
        while not done.wait(TICK_SECONDS):
            bars.update(line, description=whole.text(), completed=whole.share)


def duration(seconds: float) -> str:
    """4:05, or 1:04:05."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def _bars() -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[shown]}"))
    return Progress(*columns, console=_console(), transient=True)
