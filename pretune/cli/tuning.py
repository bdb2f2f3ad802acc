"""The verb `tune`: a search over settings of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pretune.cli.shared import checked_settings, common, log_of, print_json, stoppable, take_flags, typed

if TYPE_CHECKING:
    from pretune.tune.proposing import Sampler


@click.command()
@click.argument("recipe", type=click.Path())
@click.argument("settings", nargs=-1, metavar="SETTING=RANGE...")
@click.option(
    "--trials",
    type=click.IntRange(1),
    help="So many in all; by default 16, with --minutes as many as fit, of a grid all.",
)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Begin no trial that would not fit.")
@click.option("--sampler", type=click.Choice(["tpe", "random", "grid"]), default="tpe", show_default=True)
@click.option("--halving", is_flag=True, help="Stop trials whose validation curve is behind the best third.")
@click.option("--by", default="", metavar="[STAGE.]METRIC", help="A number of the trained model's card.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same trials.")
@click.option("--size", help="Take the overrides of this name under `sizes`.")
@click.option("--from", "start", type=click.Path(), help="An earlier study of this recipe and ranges to begin with.")
@click.option("--out", type=click.Path(), help="Where the study lies; by default WORK.tune.")
@common
def tune(
    recipe: str,
    settings: tuple[str, ...],
    trials: int | None,
    minutes: float | None,
    sampler: Sampler,
    halving: bool,
    by: str,
    seed: int,
    size: str | None,
    start: str | None,
    out: str | None,
    as_json: bool,
    quiet: bool,
    rehash: bool,
) -> None:
    """Search settings of a recipe; the best recipe comes out as a file.

    SETTING=RANGE is tuned.optim.learning_rate=1e-5..1e-3 (over more than a factor of ten on a logarithmic scale; :lin
    and :log say which), tuned.method.rank=4,8,16 (one of these), or one value for all trials. Whole numbers stay whole.

    A trial is a run of the recipe up to its last stage that trains; what the search does not touch is made once. Scores
    are of the validation split. At the end all stages run once, with the best values. Stopped or killed, the same
    command goes on. With ray=ADDRESS every node of the cluster runs a trial at a time, or every GPU one.
    """
    take_flags(rehash)
    from pretune.cli.trials_on_ray import places_of
    from pretune.tune.command import Wanted, opened, tuned

    given = checked_settings(settings)
    wanted = Wanted(recipe, given, size, trials, minutes, sampler, halving, by, seed, start, out)
    job, study = opened(wanted)
    log = log_of(quiet or as_json)
    with places_of(job) as places, stoppable() as stopping:  # in this order: Ray handles SIGTERM, too
        found = tuned(job, study, log=log, command=typed(), stopping=stopping, places=places)
    print_json(found.facts) if as_json else click.echo(found.text)
