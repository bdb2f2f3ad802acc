"""The verbs. Everything else - settings, defaults, kinds - is the recipe's tree, not flags.

Nothing heavy is imported before it is needed: `pretune --help` answers within a quarter of a second.
"""

from __future__ import annotations

import sys

import click

from pretune.base.limits import keep_to_cores
from pretune.cli.advising import advise
from pretune.cli.comparing import compare
from pretune.cli.converting import convert
from pretune.cli.forgetting import forget
from pretune.cli.launching import launch
from pretune.cli.looking import card, check, doctor, explain, show, tidy
from pretune.cli.making import STAGES, new, plan, quickstart, run, stage_command
from pretune.cli.models import chat, predict, serve
from pretune.cli.shared import is_follower, print_json
from pretune.cli.studio import studio
from pretune.cli.tuning import tune

__all__ = ["STAGES", "cli", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="pretune")
def cli() -> None:
    """Your own text in, your own language model out.

    \b
    pretune quickstart                  raw text -> served model, offline, in a few minutes
    pretune run recipe.yaml             run a recipe; again: only what changed
    pretune finetune MODEL data.csv --out clf task=classify
    pretune tune recipe.yaml tuned.optim.learning_rate=1e-5..1e-3

    Arguments of the form key.path=value are settings; `pretune explain STAGE` lists them.
    """


VERBS = (
    run,
    plan,
    quickstart,
    new,
    advise,
    predict,
    chat,
    serve,
    show,
    card,
    compare,
    check,
    explain,
    doctor,
    tidy,
    tune,
    forget,
    convert,
    launch,
    studio,
)
for _command in VERBS:
    cli.add_command(_command)
for _kind, _summary in STAGES.items():
    cli.add_command(stage_command(_kind, _summary))


def main(arguments: list[str] | None = None) -> None:
    """Run a command; prints problems with their hints and exits with the code of DESIGN section 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    keep_to_cores()
    try:
        sys.exit(cli.main(arguments, prog_name="pretune", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped; what was finished is kept, the same command continues  [stopped]", err=True)
        sys.exit(130)
    except Exception as error:
        from pretune.base.errors import PretuneError

        if not isinstance(error, PretuneError):
            raise
        if is_follower():  # rank 0 meets the same problem, and says so
            sys.exit(error.exit_code)
        if "--json" in (arguments or sys.argv):
            print_json({"error": {"code": error.code, "problem": error.problem, "hint": error.hint}})
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
