"""What all verbs share: their flags, settings, a run that can be stopped, and what is printed."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pretune.base.team import ALONE

if TYPE_CHECKING:
    from types import FrameType

    from pretune.base.log import Log
    from pretune.base.planning import Head
    from pretune.base.recipe import Recipe
    from pretune.base.team import Team


def common(command: Callable[..., None]) -> Callable[..., None]:
    """--json, --quiet and --rehash, which every command takes."""
    for option in (
        click.option("--rehash", is_flag=True, help="Read every file again instead of trusting remembered digests."),
        click.option("--quiet", is_flag=True, help="Print nothing but warnings and the result."),
        click.option("--json", "as_json", is_flag=True, help="One machine-readable object on stdout."),
    ):
        command = option(command)
    return command


def take_flags(rehash: bool) -> None:
    if rehash:
        from pretune.base.digest import reread

        reread()


def checked_settings(given: tuple[str, ...]) -> tuple[str, ...]:
    from pretune.base.yaml import SETTING

    strays = [g for g in given if not SETTING.match(g)]
    if strays:
        raise click.UsageError(f"{strays[0]!r} is no setting; write key.path=value")
    return given


def log_of(quiet: bool) -> Log:
    from pretune.base.log import Log

    return Log(quiet=quiet)


def run_recipe(recipe: Recipe, *, as_json: bool, quiet: bool) -> None:
    if "RANK" not in os.environ:
        _launch_ranks(recipe.head)
    team = team_of_process()
    with stoppable() as stopping:
        made = recipe.run(log=log_of(quiet), command=typed(), stopping=stopping, team=team)
    if team.rank:
        return
    from pretune.evaluate.card import write_cards

    write_cards(made.values())
    if as_json:
        found = ((n, a.path.as_posix(), a.card) for n, a in made.items())
        print_json({n: {"path": path, "id": card.id, "metrics": card.metrics} for n, path, card in found})
        return
    from pretune.report import view

    last = list(made.values())[-1]
    click.echo(view.result_text(last))


def _launch_ranks(head: Head) -> None:
    """Where several processes or a cluster are asked for: they run the command, and this process ends or tells."""
    if head.ray is not None:
        from pretune.cli.on_ray import launch_on_ray

        work = Path(head.work).parent if head.work.endswith(".") else Path(head.work)
        if code := launch_on_ray(head.ray, head.nproc, work, sys.argv[1:]):
            sys.exit(code)
    elif head.nproc > 1:
        from pretune.cli.launch import launch

        sys.exit(launch(head.nproc, sys.argv[1:]))


def team_of_process() -> Team:
    """The processes that torchrun or `nproc` started together; torch is loaded for several only."""
    if is_follower() or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from pretune.train.loop.ranks import team_here

        return team_here()
    return ALONE


def is_follower() -> bool:
    """Whether another process, rank 0, says what there is to say."""
    return os.environ.get("RANK", "0") != "0"


def typed() -> str:
    """What was typed, with an API key masked."""
    words = ["pretune", *sys.argv[1:]]
    masked = ["***" if i and words[i - 1] == "--api-key" else w for i, w in enumerate(words)]
    return shlex.join(masked)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


@contextmanager
def stoppable() -> Iterator[Callable[[bool], Callable[[], bool]]]:
    """Ctrl-C and SIGTERM: a stage that stops gently is asked to; a second time, or any other stage, at once.

    SIGUSR1 asks it for a checkpoint.
    """
    import signal

    from pretune.base.asked import ENDING, listen

    asked = False
    gentle = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked or not gentle:
            raise KeyboardInterrupt
        asked = True
        click.echo("stopping after this step; again to stop at once", err=True)

    def stopping(stops_gently: bool) -> Callable[[], bool]:
        nonlocal gentle
        gentle = stops_gently
        return lambda: asked

    listen()
    before = {s: signal.signal(s, handle) for s in ENDING}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
