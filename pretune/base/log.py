"""What a run tells: lines and progress bars on stderr, numbers in `metrics.jsonl`.

The bar shows what is done, the time left, and whatever the work wants to show (loss, tokens/s, share of
the machine's matrix speed). Nothing is drawn when stderr is no terminal: then a line every ten seconds. A run of
several parts has one line more, over all of them (screen.py).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pretune.base.json import JsonMap
from pretune.base.screen import Screen, Whole, duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY_SECONDS = 10.0


class Bar:
    """Progress of one piece of work; made by `Log.progress`."""

    def __init__(self, log: Log, title: str, total: float | None, unit: str):
        self._log, self._title, self._total, self._unit = log, title, total, unit
        self._started = self._told = time.monotonic()
        self.done = 0.0
        self._first = 0.0
        self._shown: dict[str, object] = {}
        self._live: tuple[Progress, TaskID] | None = None

    def start_at(self, done: float) -> None:
        """Work that was done before (a resumed run): counts as done, not as speed."""
        self.done = self._first = done
        self._draw()

    def advance(self, amount: float = 1, **shown: object) -> None:
        self.done += amount
        self._shown |= shown
        self._draw()

    def _text(self) -> str:
        shown = "  ".join(f"{k.replace('_', ' ')} {_number(v)}" for k, v in self._shown.items())
        return shown

    def _draw(self) -> None:
        if self._live is not None:
            shown = f"{self._progress()}  {self._text()}"
            bars, task = self._live
            bars.update(task, completed=self.done, shown=shown)
        elif not self._log.quiet and time.monotonic() - self._told > LINE_EVERY_SECONDS:
            self._told = time.monotonic()
            self._log.info(f"{self._title}: {self._progress()}  {self._text()}")

    def _progress(self) -> str:
        if not self._total:
            return f"{self.done:,.0f} {self._unit}"
        speed = (self.done - self._first) / max(time.monotonic() - self._started, 1e-9)
        left = (self._total - self.done) / speed if speed > 0 else math.inf
        eta = f", {duration(left)} left" if math.isfinite(left) else ""
        return f"{self.done:,.0f} of {self._total:,.0f} {self._unit}{eta}"


class Log:
    """Console and metrics of one run.

    Args:
        quiet: nothing but warnings on the console.
        silent: not even warnings: another rank gives them.
        metrics_file: where `metrics` appends; None keeps no file.
        screen: where lines go; stderr if not given.

    `seconds` says how long was spent on what (measuring, validation, ...), as `timing` counted it.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        metrics_file: Path | None = None,
        screen: Screen | None = None,
        silent: bool = False,
    ):
        self.quiet, self.metrics_file, self.silent = quiet or silent, metrics_file, silent
        self.screen = screen or Screen()
        self.warnings: list[str] = []
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Count the time inside as spent on `name`; `seconds` holds the sums."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started

    def info(self, text: str) -> None:
        if not self.quiet:
            self.screen.say(text)

    def warn(self, text: str) -> None:
        """Something the user can act on."""
        self.warnings.append(text)
        if not self.silent:
            self.screen.say(f"warning: {text}", style="yellow")

    @contextmanager
    def progress(self, title: str, *, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        bar = Bar(self, title, total, unit)
        if self.quiet or not self.screen.is_terminal:
            yield bar
            return
        with self.screen.bars() as bars:
            task = bars.add_task(title, total=total, shown="")
            bar._live = bars, task
            try:
                yield bar
            finally:
                bars.remove_task(task)

    @contextmanager
    def over(self, seconds: Mapping[str, float]) -> Iterator[None]:
        """Show how far all parts are together; part -> expected seconds. `entering` tells which one it is."""
        if self.quiet or not seconds:
            yield
            return
        with self.screen.over(Whole(seconds)):
            yield

    def entering(self, part: str) -> None:
        """A part of `over` begins."""
        if self.screen.whole:
            self.screen.whole.enter(part)

    def metrics(self, **values: object) -> None:
        """Append one JSON line; numbers that are not finite are written as text."""
        if self.metrics_file is None:
            return
        append_line(self.metrics_file, values)

    def cut_metrics(self, step: int, *, last_with: str = "") -> None:
        """Drop the lines that a resumed run writes again: behind `step`, and those of `step` that hold `last_with`."""
        if self.metrics_file is not None:
            cut_lines(self.metrics_file, step, last_with=last_with)


def append_line(path: Path, values: JsonMap) -> None:
    """Append one line of JSON; numbers that are not finite are written as text."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(_plain(values), ensure_ascii=False) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def cut_lines(path: Path, step: int, *, last_with: str = "") -> None:
    """Drop the lines of steps after `step`, and those of `step` that hold `last_with`, if the file is there."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").split("\n")  # a text may hold other line ends than this one
        kept = [line for line in lines if line and _is_kept(line, step, last_with)]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _is_kept(line: str, step: int, last_with: str) -> bool:
    try:
        point = json.loads(line)
        at = float(point.get("step", 0))
    except (ValueError, AttributeError):  # a line that was cut by a crash
        return False
    return at < step or (at == step and last_with not in point)


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
