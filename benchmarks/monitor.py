"""Bursts in hourly counts: how many are found within two hours, at how many false alarms a week.

    python benchmarks/monitor.py [--speed BUNDLE --texts FILE]

60 days of hourly Poisson counts, five topics, mean 6, each weekday of each topic times .5 ... 1.5; 20 bursts (times 4,
six hours) at random places behind the first week, in which a watch says nothing. Thresholds are chosen on seeds 0-4 and
reported on seeds 100-119. With --speed: texts a second of a classifier's bundle, through reading, counting and judging.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pretune.apps.monitor.detect.adwin import Adwin
from pretune.apps.monitor.detect.ewma import Ewma
from pretune.apps.monitor.detect.page_hinkley import PageHinkley
from pretune.apps.monitor.replay import Burst, History, chosen, outcomes, replayed
from pretune.apps.monitor.series import Watching

DAYS, TOPICS, MEAN, BURSTS, FACTOR, HOURS, WARM = 60, 5, 6.0, 20, 4, 6, 7
FIRST = 1_767_571_200  # Monday 2026-01-05, 00:00 UTC


def world(seed: int) -> History:
    """Counts and their bursts, of a seed."""
    rng, hours = np.random.default_rng(seed), np.arange(DAYS * 24)
    factors = np.array([rng.permutation(np.linspace(0.5, 1.5, 7)) for _ in range(TOPICS)])
    means = MEAN * factors[:, hours // 24 % 7]
    bursts: list[Burst] = []
    while len(bursts) < BURSTS:
        series, start = int(rng.integers(TOPICS)), int(rng.integers(WARM * 24, DAYS * 24 - HOURS))
        if all(one.series != series or abs(one.start - start) > 24 for one in bursts):
            bursts.append(Burst(series, start, start + HOURS))
            means[series, start : start + HOURS] *= FACTOR
    return History(FIRST, rng.poisson(means), tuple(bursts))


def report(watching: Watching) -> None:
    """Choose on seeds 0-4, report on 100-119."""
    tried = outcomes(watching, [world(seed) for seed in range(5)])
    print("\nseeds 0-4\nfalse a week   found in 2 h   hours until found   method")
    for one in tried:
        print(
            f"{one.false_a_week:>12.2f} {one.found:>14.3f} {one.delay_hours:>19.2f}   {one.method} {told(one.settings)}"
        )
    picked = chosen(watching, tried, most_false=1.0)
    print("\nseeds 100-119, with what was chosen")
    worlds = [world(seed) for seed in range(100, 120)]
    usual = [one.usual(watching) for one in worlds]
    for detector in picked.detect:
        each = [replayed(picked, detector, [one], [its]) for one, its in zip(worlds, usual, strict=True)]
        found, false = [round(one.found * BURSTS) for one in each], [one.false_a_week for one in each]
        print(
            f"{detector.kind} {told(each[0].settings)}: found {sum(found)} of {BURSTS * len(each)} within two hours, "
            f"{np.mean(found):.2f} of 20 a seed (least {min(found)}; 19 or more in {sum(n >= 19 for n in found)} of 20 "
            f"seeds); {np.mean(false):.2f} false alarms a week over five topics (most in one seed {max(false):.2f}); "
            f"{np.mean([one.delay_hours for one in each]):.2f} h until found"
        )


def told(settings: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in settings.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", metavar="BUNDLE")
    parser.add_argument("--texts", metavar="FILE", help="a text a line, or a table")
    args = parser.parse_args()
    if args.speed:
        speed(Path(args.speed), Path(args.texts))
        return
    report(Watching(detect=(Ewma(), PageHinkley(), Adwin())))


def speed(bundle: Path, texts: Path) -> None:
    """Texts a second: read, labelled, counted, judged."""
    from pretune.apps.monitor.following import Follower
    from pretune.apps.monitor.reading import Models
    from pretune.apps.monitor.sources.choosing import source_of
    from pretune.apps.monitor.store import MIGRATIONS, Store
    from pretune.apps.state import State
    from pretune.infer.load import open_model

    with TemporaryDirectory() as folder:
        store = Store(State(Path(folder), MIGRATIONS), Watching())
        models = Models(open_model(bundle))
        follower = Follower(store, models, [source_of(str(texts))], write=print)
        started, spent = time.perf_counter(), time.process_time()
        while follower.round():
            pass
        seconds, spent = time.perf_counter() - started, time.process_time() - spent
        number = sum(row["texts"] for row in store.state.rows("select texts from sources"))
        print(
            f"{number:,} texts labelled, counted and judged in {seconds:.1f} s: {number / seconds:,.0f} a second, "
            f"{number / spent:,.0f} a second of the processor's time"
        )


if __name__ == "__main__":
    main()
