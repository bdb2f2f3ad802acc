"""The verb convert: a folder with pickled weights, made safe to load."""

from __future__ import annotations

from pathlib import Path

import click

from pretune.cli.shared import common, print_json, take_flags


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option("--out", required=True, type=click.Path(), help="Where the model with safetensors weights will lie.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def convert(folder: str, out: str, yes: bool, as_json: bool, quiet: bool, rehash: bool) -> None:
    """Write a model's .bin weights as safetensors, in a process without network."""
    take_flags(rehash)
    from pretune.model.converting import convert as convert_folder
    from pretune.model.converting import pickles

    names = ", ".join(path.name for path in pickles(Path(folder))) or "nothing"
    said = f"{names}: a pickle is a program of whoever wrote it. torch reads it with weights_only, without network."
    if not yes:
        click.echo(said, err=True)
        click.confirm("Do you trust its source enough to go on?", abort=True, err=True)
    how = convert_folder(Path(folder), Path(out))
    if as_json:
        print_json({"path": Path(out).as_posix(), "how": how})
    elif not quiet:
        click.echo(f"written: {Path(out).as_posix()} (read {how})")
