"""The verb `studio`."""

from __future__ import annotations

import click

from pretune.cli.shared import common, print_json, take_flags


@click.command()
@click.argument("folder", default=".", type=click.Path())
@click.option("--port", default=8100, show_default=True, help="On 127.0.0.1; 0 takes any that is free.")
@click.option(
    "--also", multiple=True, type=click.Path(exists=True), help="Data or models elsewhere that recipes may read."
)
@common
def studio(folder: str, port: int, also: tuple[str, ...], as_json: bool, quiet: bool, rehash: bool) -> None:
    """Look at data, make recipes, run, watch, label, try and export, in a page on loopback."""
    take_flags(rehash)
    from pretune.studio.start import studio as start

    def told(address: str) -> None:
        print_json({"address": address})

    start(folder, port, also=also, tell=told if as_json else None)
