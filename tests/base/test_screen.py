"""What is said while a run goes on, and how far all of its parts are together."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Iterator

import pytest

from pretune.base import screen
from pretune.base.log import Log
from pretune.base.screen import Whole, duration


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_time_left_is_what_the_parts_ahead_are_expected_to_take_and_the_rest_of_this_one() -> None:
    clock = Clock()
    whole = Whole({"corpus": 10, "base": 240, "chat": 150}, clock)
    whole.enter("corpus")
    clock.now += 20  # twice as long as expected
    assert whole.seconds_left == 390
    whole.enter("base")
    clock.now += 60
    assert whole.seconds_left == 180 + 150
    assert whole.text() == "all: 20%, about 5:30 left (base)"  # 80 of 80 + 330 seconds


def test_a_part_that_takes_longer_than_expected_holds_the_time_left_and_nothing_runs_backwards() -> None:
    clock = Clock()
    whole = Whole({"base": 10, "chat": 30}, clock)
    whole.enter("base")
    seen = []
    for _ in range(50):
        clock.now += 1
        seen.append((whole.share, -whole.seconds_left))
    assert seen == sorted(seen)
    assert whole.seconds_left == 30


def test_a_part_nobody_reckoned_with_takes_no_time_off_the_others() -> None:
    clock = Clock()
    whole = Whole({"base": 10}, clock)
    whole.enter("report")
    clock.now += 5
    assert whole.seconds_left == 10


def test_everything_done_is_all_of_it() -> None:
    clock = Clock()
    whole = Whole({"base": 10}, clock)
    whole.enter("base")
    clock.now += 10
    assert whole.text() == "all: 100%, about 0:00 left (base)"


@pytest.mark.parametrize(("seconds", "told"), [(0.4, "0:00"), (65, "1:05"), (3725, "1:02:05")])
def test_seconds_are_told_as_a_clock_does(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(screen, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(screen, "TELL_EVERY_SECONDS", 0.05)
    yield


def test_in_a_file_the_line_over_all_parts_is_said_again_and_again(
    impatient: None, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log()
    with log.over({"corpus": 5.0, "base": 60.0}):
        log.entering("corpus")
        time.sleep(0.3)
    told = capsys.readouterr().err
    assert re.search(r"^all: \d+%, about 1:05 left \(corpus\)$", told, re.MULTILINE)


def test_a_quiet_log_says_nothing_of_it(impatient: None, capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(quiet=True)
    with log.over({"corpus": 5.0}):
        log.entering("corpus")
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_line_stays_under_the_bar_of_every_part_and_lines_go_above(
    impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    log = Log()
    with log.over({"base": 60.0, "chat": 30.0}):
        for part in ("base", "chat"):
            log.entering(part)
            log.info(f"[1/2] {part}: not made yet")
            with Log(screen=log.screen).progress("training", total=4, unit="steps") as bar:
                bar.advance(loss=5.5)
                time.sleep(0.3)
    told = stderr.getvalue()
    assert "[1/2] base: not made yet" in told and "[1/2] chat: not made yet" in told
    for part, left in (("base", "1:30"), ("chat", "0:30")):
        assert re.search(rf"all: \d+%, about {left} left \({part}\)", told)
    assert re.search(r"training .*1 of 4 steps.* loss 5.5", told)
