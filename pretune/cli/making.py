"""Verbs that make something: run, plan, quickstart, new, and one for each stage."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from pretune.cli.shared import (
    checked_settings,
    common,
    is_follower,
    log_of,
    print_json,
    run_recipe,
    stoppable,
    take_flags,
    typed,
)

STAGES = {
    "corpus": "Raw text to clean, deduplicated, split documents.",
    "dataset": "Labelled data to train, validation and test examples.",
    "tokenizer": "Train a tokenizer on a corpus.",
    "tokens": "Encode a corpus.",
    "pretrain": "Train a model from scratch on tokens (or on raw text).",
    "finetune": "Adapt a pretrained model to a task.",
    "evaluate": "Measure a model next to its baselines; writes a report.",
    "compress": "Make a model smaller, and tell what it cost.",
    "export": "Write a model as a bundle that needs no torch.",
    "monitor": "A watch over a stream of texts: counts of topics and sentiments, alerts.",
    "support": "A support desk over documents and an FAQ; answers name their sources.",
    "recommend": "What to show whom next, from items and what people did with them.",
}


@click.command()
@click.argument("recipe", type=click.Path())
@click.argument("settings", nargs=-1)
@click.option("--size", help="Take the overrides of this name under `sizes`, say smoke.")
@common
def run(recipe: str, settings: tuple[str, ...], size: str | None, as_json: bool, quiet: bool, rehash: bool) -> None:
    """Run a recipe; a second time runs only what changed."""
    take_flags(rehash)
    from pretune.base.recipe import Recipe

    run_recipe(Recipe.read(recipe, checked_settings(settings), size), as_json=as_json, quiet=quiet)


@click.command()
@click.argument("recipe", type=click.Path())
@click.argument("settings", nargs=-1)
@click.option("--size", help="Take the overrides of this name under `sizes`.")
@click.option("--gpus", help="8x80GB, 16xH100: on paper, on which mesh of such GPUs training fits, and how fast it is.")
@common
def plan(
    recipe: str,
    settings: tuple[str, ...],
    size: str | None,
    gpus: str | None,
    as_json: bool,
    quiet: bool,
    rehash: bool,
) -> None:
    """Say what a recipe would run and why, and whether it fits this machine, or such GPUs (exit code 3 if not)."""
    take_flags(rehash)
    from dataclasses import asdict, replace

    from pretune.base.recipe import Recipe
    from pretune.base.stage import Machine
    from pretune.report import view
    from pretune.train.forecast.mesh import gpus_of

    if gpus is not None:
        gpus_of(gpus)  # also where nothing is trained, or all is current
    checked = Recipe.read(recipe, checked_settings(settings), size)
    machine = replace(Machine.here(), gpus=gpus)
    plans = checked.plan(machine)
    tight = view.does_not_fit(plans, machine)
    if as_json:
        print_json({"stages": [asdict(p) for p in plans], "machine": asdict(machine), "does_not_fit": tight})
    else:
        click.echo(view.plan_text(plans, machine, tight))
    sys.exit(3 if tight else 0)


def stage_command(kind: str, summary: str) -> click.Command:
    @click.command(kind, help=f"{summary}\n\nSettings: `pretune explain {kind}`.", short_help=summary)
    @click.argument("arguments", nargs=-1, metavar="INPUT... [key=value ...]")
    @click.option("--out", required=True, type=click.Path(), help="Where the artifact will lie.")
    @common
    def command(arguments: tuple[str, ...], out: str, as_json: bool, quiet: bool, rehash: bool) -> None:
        take_flags(rehash)
        from pretune.base.oneline import stage_recipe

        recipe, text = stage_recipe(kind, _with_piped(arguments, out, quiet), out)
        if text is not None and not is_follower():
            path = Path(f"{out}.recipe.yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            if not quiet:
                click.echo(f"written: {path.as_posix()}", err=True)
        run_recipe(recipe, as_json=as_json, quiet=quiet)

    return command


def _with_piped(arguments: tuple[str, ...], out: str, quiet: bool) -> list[str]:
    """The arguments, with the file that what is piped in was written to for `-`."""
    if "-" not in arguments:
        return list(arguments)
    from pretune.base.errors import BadCommand
    from pretune.text.read.piped import spooled

    if arguments.count("-") > 1:
        raise BadCommand("`-` is given twice, but there is one pipe")
    path = spooled(sys.stdin.buffer, out).as_posix()
    if not quiet:
        click.echo(f"what was piped in lies in {path}", err=True)
    return [path if a == "-" else a for a in arguments]


@click.command()
@click.option("--out", default="runs/quickstart", show_default=True, help="Where everything will lie.")
@click.option("--size", help="`smoke` runs in seconds and learns nothing.")
@click.argument("settings", nargs=-1)
@common
def quickstart(out: str, size: str | None, settings: tuple[str, ...], as_json: bool, quiet: bool, rehash: bool) -> None:
    """Raw text to served model, offline, on the sources and docs of the Python that is installed here."""
    take_flags(rehash)
    from pretune.quickstart import quickstart as start

    with stoppable() as stopping:
        result = start(
            out, checked_settings(settings), size=size, log=log_of(quiet), command=typed(), stopping=stopping
        )
    if as_json:
        print_json(result)


@click.command()
@click.argument("name")
@click.option("--from", "source", type=click.Path(exists=True), help="Your text or labelled data.")
@click.option("--like", "shipped", help="A shipped recipe to begin with: support, search, answers ...")
@common
def new(name: str, source: str | None, shipped: str | None, as_json: bool, quiet: bool, rehash: bool) -> None:
    """Look at the data and write a commented recipe, NAME.yaml."""
    take_flags(rehash)
    from pretune.base.artifact import Artifact
    from pretune.base.new import like, new_recipe
    from pretune.task.task import task_for
    from pretune.text.dataset.recognised import recognised

    if (source is None) == (shipped is None):
        raise click.UsageError("give --from your data, or --like a shipped recipe")
    if source is None:
        path = like(name, shipped or "")
        print_json({"recipe": path.as_posix(), "like": shipped}) if as_json else click.echo(
            f"written: {path.as_posix()}"
        )
        return
    found = recognised(Artifact.open(source, "files|corpus|dataset"))
    task = task_for(found.shape, found.read_as)
    path = new_recipe(name, source, task=task, read_as=found.read_as)
    if as_json:
        print_json({"recipe": path.as_posix(), "shape": found.shape or "text", "read_as": found.read_as})
        return
    read_as = f"{found.shape} ({found.read_as})" if task else "text"
    command = f"pretune plan {shlex.quote(path.as_posix())}"
    click.echo(f"read as: {read_as}\nwritten: {path.as_posix()}\nnext:    {command}")
