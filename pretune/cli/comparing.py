"""The verb `compare`: reports next to each other."""

from __future__ import annotations

from pathlib import Path

import click

from pretune.cli.shared import common, print_json, take_flags, typed


@click.command()
@click.argument("arguments", nargs=-1, metavar="REPORT REPORT ... [by=COLUMN,...]")
@click.option("--out", type=click.Path(dir_okay=False), help="Write a page here: FILE.html.")
@common
def compare(arguments: tuple[str, ...], out: str | None, as_json: bool, quiet: bool, rehash: bool) -> None:
    """Which of several models is better, how sure that is, on which examples and in which slices.

    The reports must be on the same examples. by=COLUMN makes slices of a column of your data, next to those by label,
    length, language, file and group. Right or wrong is compared by McNemar's test, other figures by swaps; p values are
    corrected for all comparisons (Holm; --json has Benjamini and Hochberg's too).
    """
    take_flags(rehash)
    from pretune.evaluate.compare import comparing, telling

    columns = [name for word in arguments if word.startswith("by=") for name in word[3:].split(",") if name]
    reports, made = comparing.compare([word for word in arguments if not word.startswith("by=")], columns)
    if out:
        telling.write_page(Path(out), reports, made, typed())
    print_json(comparing.facts(reports, made)) if as_json else click.echo(telling.text(made))
