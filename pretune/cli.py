"""The verbs. Everything else - settings, defaults, kinds - is the recipe's tree, not flags.

Nothing heavy is imported before it is needed: `pretune --help` answers within a quarter of a second.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pretune.base.log import Log
    from pretune.base.recipe import Recipe

STAGES = {
    "corpus": "Raw text to clean, deduplicated, split documents.",
    "dataset": "Labelled data to train, validation and test examples.",
    "tokenizer": "Train a tokenizer on a corpus.",
    "tokens": "Encode a corpus.",
    "pretrain": "Train a model from scratch on tokens (or on raw text).",
    "finetune": "Adapt a pretrained model to a task.",
    "evaluate": "Measure a model beside its baselines; writes a report.",
    "compress": "Make a model smaller, and tell what it cost.",
    "export": "Write a model as a bundle that needs no torch.",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="pretune")
def cli() -> None:
    """Your own text in, your own language model out.

    \b
    pretune quickstart                  raw text -> served model, offline, in a few minutes
    pretune run recipe.yaml             run a recipe; again: only what changed
    pretune finetune MODEL data.csv --out clf task=classify

    Arguments of the form key.path=value are settings; `pretune explain STAGE` lists them.
    """


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """--json, --quiet and --rehash, which every command takes."""
    for option in (
        click.option("--rehash", is_flag=True, help="Read every file again instead of trusting remembered digests."),
        click.option("--quiet", is_flag=True, help="Print nothing but warnings and the result."),
        click.option("--json", "as_json", is_flag=True, help="One machine-readable object on stdout."),
    ):
        command = option(command)
    return command


# ---- recipes and stages --------------------------------------------------------------------------


@cli.command()
@click.argument("recipe", type=click.Path())
@click.argument("settings", nargs=-1)
@click.option("--size", help="Take the overrides of this name under `sizes`, say smoke.")
@common
def run(recipe: str, settings: tuple[str, ...], size: str | None, as_json: bool, quiet: bool, rehash: bool) -> None:
    """Run a recipe; a second time runs only what changed."""
    _flags(rehash)
    from pretune.base.recipe import Recipe

    _run_recipe(Recipe.read(recipe, _settings(settings), size), as_json=as_json, quiet=quiet)


@cli.command()
@click.argument("recipe", type=click.Path())
@click.argument("settings", nargs=-1)
@click.option("--size", help="Take the overrides of this name under `sizes`.")
@common
def plan(recipe: str, settings: tuple[str, ...], size: str | None, as_json: bool, quiet: bool, rehash: bool) -> None:
    """Say what a recipe would run and why, and whether it fits this machine (exit code 3 if not)."""
    _flags(rehash)
    from dataclasses import asdict

    from pretune.base import view
    from pretune.base.recipe import Recipe
    from pretune.base.stage import Machine

    checked = Recipe.read(recipe, _settings(settings), size)
    plans, machine = checked.plan(), Machine.here()
    tight = view.does_not_fit(plans, machine)
    if as_json:
        _print_json({"stages": [asdict(p) for p in plans], "machine": asdict(machine), "does_not_fit": tight})
    else:
        click.echo(view.plan_text(plans, machine, tight))
    sys.exit(3 if tight else 0)


def _stage_command(kind: str, summary: str) -> click.Command:
    @click.command(kind, help=f"{summary}\n\nSettings: `pretune explain {kind}`.", short_help=summary)
    @click.argument("arguments", nargs=-1, metavar="INPUT... [key=value ...]")
    @click.option("--out", required=True, type=click.Path(), help="Where the artifact will lie.")
    @common
    def command(arguments: tuple[str, ...], out: str, as_json: bool, quiet: bool, rehash: bool) -> None:
        _flags(rehash)
        from pretune.base.oneline import stage_recipe

        recipe, text = stage_recipe(kind, _with_piped(arguments, out, quiet), out)
        if text is not None:
            path = Path(f"{out}.recipe.yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            if not quiet:
                click.echo(f"written: {path.as_posix()}", err=True)
        _run_recipe(recipe, as_json=as_json, quiet=quiet)

    return command


def _with_piped(arguments: tuple[str, ...], out: str, quiet: bool) -> list[str]:
    """The arguments, with the file that what is piped in was written to for `-`."""
    if "-" not in arguments:
        return list(arguments)
    from pretune.base.errors import BadCommand
    from pretune.text.piped import spooled

    if arguments.count("-") > 1:
        raise BadCommand("`-` is given twice, but there is one pipe")
    path = spooled(sys.stdin.buffer, out).as_posix()
    if not quiet:
        click.echo(f"what was piped in lies in {path}", err=True)
    return [path if a == "-" else a for a in arguments]


for _kind, _summary in STAGES.items():
    cli.add_command(_stage_command(_kind, _summary))


@cli.command()
@click.option("--out", default="runs/quickstart", show_default=True, help="Where everything will lie.")
@click.option("--size", help="`smoke` runs in seconds and learns nothing.")
@click.argument("settings", nargs=-1)
@common
def quickstart(out: str, size: str | None, settings: tuple[str, ...], as_json: bool, quiet: bool, rehash: bool) -> None:
    """Raw text to served model, offline, on the sources and docs of the Python that is installed here."""
    _flags(rehash)
    from pretune.quickstart import quickstart as start

    with _stoppable() as stopping:
        result = start(out, _settings(settings), size=size, log=_log(quiet), command=_command(), stopping=stopping)
    if as_json:
        _print_json(result)


@cli.command()
@click.argument("name")
@click.option("--from", "source", required=True, type=click.Path(exists=True), help="Your text or labelled data.")
@common
def new(name: str, source: str, as_json: bool, quiet: bool, rehash: bool) -> None:
    """Look at the data and write a commented recipe, NAME.yaml."""
    _flags(rehash)
    from pretune.base.new import new_recipe

    path = new_recipe(name, source)
    _print_json({"recipe": path.as_posix()}) if as_json else click.echo(
        f"written: {path.as_posix()}\nnext:    pretune plan {path.as_posix()}"
    )


# ---- using models --------------------------------------------------------------------------------


@cli.command()
@click.argument("model", type=click.Path())
@click.argument("texts", nargs=-1)
@click.option("--input", "input_file", type=click.Path(), help="A file with one text a line (or jsonl with `text`).")
@click.option("--output", "output_file", type=click.Path(), help="Where the answers go, as jsonl.")
@click.option("--max-tokens", default=256, show_default=True, help="Longest answer of a language model.")
@common
def predict(
    model: str,
    texts: tuple[str, ...],
    input_file: str | None,
    output_file: str | None,
    max_tokens: int,
    as_json: bool,
    quiet: bool,
    rehash: bool,
) -> None:
    """Labels for texts, or answers to prompts."""
    _flags(rehash)
    from pretune.api import load

    given = [*texts, *_lines_of(input_file)]
    if not given:
        raise click.UsageError("give TEXT or --input FILE")
    answers = [_plain(a) for a in load(model).predict(given, max_tokens=max_tokens)]
    rows = [{"text": text, **answer} for text, answer in zip(given, answers, strict=True)]
    if output_file:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        Path(output_file).write_text(lines, encoding="utf-8")
    if as_json:
        _print_json(rows)
    elif not output_file:
        for row in rows:
            click.echo(f"{row['label']}\t{row['score']:.3f}\t{row['text']}" if "label" in row else row["answer"])


@cli.command()
@click.argument("model", type=click.Path())
@click.option("--system", default=None, help="A system message.")
@click.option("--max-tokens", default=512, show_default=True)
@click.option("--temperature", default=0.7, show_default=True, help="0 always takes the likeliest token.")
@common
def chat(
    model: str, system: str | None, max_tokens: int, temperature: float, as_json: bool, quiet: bool, rehash: bool
) -> None:
    """Talk with a model in the terminal."""
    _flags(rehash)
    from pretune.api import load

    load(model).chat(system=system, max_tokens=max_tokens, temperature=temperature)


@cli.command()
@click.argument("models", nargs=-1, required=True, type=click.Path())
@click.option("--host", default="127.0.0.1", show_default=True, help="Anything but loopback needs an API key.")
@click.option("--port", default=8000, show_default=True)
@click.option("--api-key-file", type=click.Path(exists=True), help="File that holds the API key.")
@click.option("--api-key", help="The API key itself; better: PRETUNE_API_KEY or --api-key-file.")
@common
def serve(
    models: tuple[str, ...],
    host: str,
    port: int,
    api_key_file: str | None,
    api_key: str | None,
    as_json: bool,
    quiet: bool,
    rehash: bool,
) -> None:
    """Serve models over an OpenAI-compatible API, with a small chat page."""
    _flags(rehash)
    from pretune.base.extras import need

    need(["serve"])
    from pretune.serve.run import serve as start

    start(list(models), host=host, port=port, api_key=_api_key(api_key, api_key_file))


# ---- looking -------------------------------------------------------------------------------------


@cli.command()
@click.argument("path", type=click.Path())
@click.option("--token", type=int, help="Of tokens: the document and the bytes that token number N was made from.")
@click.option("--split", default="train", show_default=True, help="The split that the token is counted in.")
@click.option(
    "--compare",
    is_flag=False,
    flag_value="",
    metavar="[OTHER]",
    help="Of a trained model: is its loss normal? Or beside OTHER.",
)
@common
def show(
    path: str, token: int | None, split: str, compare: str | None, as_json: bool, quiet: bool, rehash: bool
) -> None:
    """What this folder is, what made it, from what, and how good it is."""
    _flags(rehash)
    from dataclasses import asdict

    from pretune.base import view
    from pretune.base.artifact import Artifact

    artifact = Artifact.open(path)
    if token is not None:
        from pretune.tokens.lineage import lineage_of, lineage_text

        found = lineage_of(artifact, token, split)
        _print_json(asdict(found)) if as_json else click.echo(lineage_text(found))
        return
    if compare is not None:
        from pretune.train.normal.telling import compared

        told = compared(path, compare, as_json=as_json)
        _print_json(told) if as_json else click.echo(told)
        return
    _print_json(asdict(artifact.card)) if as_json else click.echo(view.artifact_text(artifact))


@cli.command()
@click.argument("path", type=click.Path())
@click.argument("settings", nargs=-1)
@click.option(
    "--tokenizer", type=click.Path(), help="Folder of a tokenizer or model: tokens are counted, not estimated."
)
@click.option("--max-length", type=int, help="Tokens at which texts will be cut.")
@common
def check(
    path: str,
    settings: tuple[str, ...],
    tokenizer: str | None,
    max_length: int | None,
    as_json: bool,
    quiet: bool,
    rehash: bool,
) -> None:
    """Compare an artifact, back to the raw files, with the digests on its card; then, for labelled data, the doctor.

    DATA may be a dataset or the files of one; SETTINGS are those of stage dataset, say label=stars.
    """
    _flags(rehash)
    from pretune.base import view
    from pretune.base.artifact import Artifact
    from pretune.text.doctor.telling import findings_text
    from pretune.text.doctor.visit import visit

    artifact = Artifact.open(path)
    rows = view.check_rows(artifact)
    sound = rows[0]["ok"]  # what was changed is not read
    found = visit(artifact, _settings(settings), tokenizer=tokenizer, max_length=max_length) if sound else None
    if as_json:
        _print_json(rows if found is None else {"digests": rows, "doctor": [f.fact() for f in found]})
    else:
        click.echo("\n\n".join([view.check_text(rows), *([] if found is None else [findings_text(found)])]))
    bad = any(f.level == "error" for f in found or ())
    sys.exit(1 if bad or not all(row["ok"] for row in rows) else 0)


@cli.command()
@click.argument("name")
@common
def explain(name: str, as_json: bool, quiet: bool, rehash: bool) -> None:
    """What a setting, a stage, an error code or a metric means."""
    from pretune.base.explain import explain as answer

    _print_json({"name": name, "text": answer(name)}) if as_json else click.echo(answer(name))


@cli.command()
@common
def doctor(as_json: bool, quiet: bool, rehash: bool) -> None:
    """This machine: cores, memory, matrix speed, and which models can be trained here."""
    from pretune.train.doctor import doctor_facts, doctor_text

    found = doctor_facts()
    _print_json(found) if as_json else click.echo(doctor_text(found))


@cli.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def tidy(folder: str, yes: bool, as_json: bool, quiet: bool, rehash: bool) -> None:
    """Delete artifacts that were set aside, and scratch folders, after asking."""
    from pretune.base import tidy as tidying

    found = tidying.leftovers(Path(folder))
    rows: list[dict[str, Any]] = [{"path": p.as_posix(), "bytes": tidying.size(p)} for p in found]
    for row in rows if not as_json else []:
        click.echo(f"{row['bytes'] / 1e6:10.1f} MB  {row['path']}")
    if not found and not as_json:
        click.echo("nothing to tidy")
    if found and (yes or (not as_json and click.confirm(f"delete these {len(found)} folders?"))):
        tidying.delete(found)
        rows = [{**row, "deleted": True} for row in rows]
    if as_json:
        _print_json(rows)


# ---- what they share -----------------------------------------------------------------------------


def _run_recipe(recipe: Recipe, *, as_json: bool, quiet: bool) -> None:
    with _stoppable() as stopping:
        made = recipe.run(log=_log(quiet), command=_command(), stopping=stopping)
    if as_json:
        found = ((n, a.path.as_posix(), a.card) for n, a in made.items())
        _print_json({n: {"path": path, "id": card.id, "metrics": card.metrics} for n, path, card in found})
        return
    from pretune.base import view

    last = list(made.values())[-1]
    click.echo(view.result_text(last))


def _log(quiet: bool) -> Log:
    from pretune.base.log import Log

    return Log(quiet=quiet)


def _flags(rehash: bool) -> None:
    if rehash:
        from pretune.base.digest import reread

        reread()


def _settings(given: tuple[str, ...]) -> tuple[str, ...]:
    from pretune.base.yaml import SETTING

    strays = [g for g in given if not SETTING.match(g)]
    if strays:
        raise click.UsageError(f"{strays[0]!r} is no setting; write key.path=value")
    return given


def _lines_of(path: str | None) -> list[str]:
    if path is None:
        return []
    from pretune.base.errors import NoSuchFile

    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise NoSuchFile(f"there is no file {path!r}") from None
    if path.endswith(".jsonl"):
        return [str(json.loads(line)["text"]) for line in lines if line.strip()]
    return [line for line in lines if line.strip()]


def _plain(answer: Any) -> dict[str, Any]:
    if hasattr(answer, "scores"):
        return {"label": answer.name, "score": answer.score, "scores": answer.scores}
    return {"answer": answer if isinstance(answer, str) else answer.text}


def _api_key(given: str | None, file: str | None) -> str | None:
    if given is not None:
        click.echo("warning: --api-key can be read by others in the list of processes; use --api-key-file", err=True)
        return given
    if file is not None:
        return Path(file).read_text(encoding="utf-8").strip()
    return os.environ.get("PRETUNE_API_KEY") or None


def _command() -> str:
    """What was typed, with an API key masked."""
    words = ["pretune", *sys.argv[1:]]
    masked = ["***" if i and words[i - 1] == "--api-key" else w for i, w in enumerate(words)]
    return shlex.join(masked)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


@contextmanager
def _stoppable() -> Iterator[Callable[[bool], Callable[[], bool]]]:
    """Ctrl-C and SIGTERM: a stage that stops gently is asked to; a second time, or any other stage, at once."""
    import signal

    asked = False
    gentle = False

    def handle(number: int, frame: Any) -> None:
        nonlocal asked
        if asked or not gentle:
            raise KeyboardInterrupt
        asked = True
        click.echo("stopping after this step; again to stop at once", err=True)

    def stopping(stops_gently: bool) -> Callable[[], bool]:
        nonlocal gentle
        gentle = stops_gently
        return lambda: asked

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; prints problems with their hints and exits with the code of DESIGN section 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
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
        if "--json" in (arguments or sys.argv):
            _print_json({"error": {"code": error.code, "problem": error.problem, "hint": error.hint}})
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
