"""The verb that advises."""

from __future__ import annotations

import click

from pretune.cli.shared import checked_settings, common, print_json, take_flags


@click.command()
@click.argument("data", type=click.Path())
@click.argument("settings", nargs=-1)
@click.option(
    "--model", type=click.Path(), help="A model folder, or a folder of models; else those near are looked at."
)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="How long training may take.")
@common
def advise(
    data: str,
    settings: tuple[str, ...],
    model: str | None,
    minutes: float | None,
    as_json: bool,
    quiet: bool,
    rehash: bool,
) -> None:
    """Which task DATA is, which method, model and size, why, and the command to type.

    SETTINGS are those of stage dataset, say label=stars, where it reads DATA wrongly by itself.
    """
    take_flags(rehash)
    from pretune.task.advice.advise import Asked
    from pretune.task.advice.advise import advise as answer
    from pretune.task.advice.words import advice_text

    told = answer(Asked(data, model, minutes, checked_settings(settings)))
    print_json(told) if as_json else click.echo(advice_text(told))
