"""Verbs that use a model: predict, chat, serve."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pretune.cli.shared import common, log_of, print_json, take_flags

if TYPE_CHECKING:
    from pretune.api import Loaded
    from pretune.base.log import Log
    from pretune.infer.answers import Answer, Given
    from pretune.infer.explain import Explanation, Word


def forms(command: Callable[..., None]) -> Callable[..., None]:
    """--schema, --choices and --regex: what every answer of a model that writes must be."""
    for option in (
        click.option("--regex", help="A model that writes answers with what this pattern matches."),
        click.option("--choices", help="A model that writes answers with one of these: a,b,c."),
        click.option(
            "--schema", type=click.Path(), help="A model that writes answers with JSON of the schema in a file."
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("model", type=click.Path())
@click.argument("texts", nargs=-1)
@click.option(
    "--input",
    "input_file",
    type=click.Path(),
    help="A file: a text a line, or jsonl, csv, parquet (two columns: pairs).",
)
@click.option("--question", help="Asked about each TEXT, of a model that finds answers in a context.")
@click.option("--query", help="The TEXTs are its candidates: they are put in order.")
@click.option("--column", help="Where the texts of a table stand; by default found by its name.")
@click.option(
    "--output",
    "output_file",
    type=click.Path(),
    help="Where the answers go, as jsonl or .csv; stopped, the same command goes on.",
)
@click.option("--explain", is_flag=True, help="Which words spoke for each label or score, and which against.")
@click.option("--max-tokens", default=256, show_default=True, help="Longest answer of a language model.")
@forms
@common
def predict(
    model: str,
    texts: tuple[str, ...],
    input_file: str | None,
    question: str | None,
    query: str | None,
    column: str | None,
    output_file: str | None,
    explain: bool,
    max_tokens: int,
    schema: str | None,
    choices: str | None,
    regex: str | None,
    as_json: bool,
    quiet: bool,
    rehash: bool,
) -> None:
    """Labels, scores, tags or vectors for texts, answers to prompts or to a question, candidates in order."""
    take_flags(rehash)
    from pretune.api import load
    from pretune.infer.bulk import row_of
    from pretune.infer.given import check_output
    from pretune.text.read.values import mend_surrogates

    if output_file:
        check_output(Path(output_file))
    log, opened = log_of(quiet), _kept_to(load(model), schema, choices, regex)
    given: list[Given] = [mend_surrogates(text) for text in texts]
    if question is not None:
        given = [{"question": mend_surrogates(question), "context": str(text)} for text in given]
    if query is not None:
        given = [{"query": mend_surrogates(query), "candidates": given}] if given else []
    if not given and not input_file:
        raise click.UsageError("give TEXT or --input FILE")
    if output_file:
        made = opened.predict_file(
            input_file, output_file, first=given, column=column, max_tokens=max_tokens, explain=explain, log=log
        )
        if as_json:
            print_json({"output": output_file, "rows": made.rows, "failed": made.failed})
        return
    if input_file:
        given += _read(Path(input_file), opened, column, log)
    answers = _answers(opened, given, max_tokens, explained=explain)
    if as_json:
        print_json([row_of(*one) for one in zip(given, answers, strict=True)])
    else:
        for one, answer in zip(given, answers, strict=True):
            click.echo(_line(answer, one))


def _kept_to(opened: Loaded, schema: str | None, choices: str | None, regex: str | None) -> Loaded:
    """The model, kept to the form that is asked for."""
    if schema is None and choices is None and regex is None:
        return opened
    from pretune.infer.grammar import read_schema

    texts = None if choices is None else choices.split(",")
    return opened.keeping_to(schema=None if schema is None else read_schema(Path(schema)), choices=texts, regex=regex)


def _answers(
    opened: Loaded, given: Sequence[Given], max_tokens: int, *, explained: bool
) -> Sequence[Answer | Explanation]:
    return opened.explain(given) if explained else opened.predict(given, max_tokens=max_tokens)


def _line(answer: Answer | Explanation, given: Given) -> str:
    """An answer for the terminal; an explained one with its words marked, then the two checks of it."""
    from pretune.infer.answers import line
    from pretune.infer.explain import Explanation

    if not isinstance(answer, Explanation):
        return line(answer, given)
    texts = [given] if isinstance(given, str) else [*given]
    told = "\t".join(_weighed(text, words) for text, words in zip(texts, answer.texts, strict=True))
    checks = (
        f"sum of the words off by {answer.completeness_error:.1g}; "
        f"rank correlation with leaving out each word {answer.leave_one_out:.2f}"
    )
    return f"{line(answer.answer, told)}\n  {click.style(checks, dim=True)}"


def _weighed(text: str, words: Sequence[Word]) -> str:
    """A [lovely +1.3] film: what speaks for the answer in green, against it in red."""
    from pretune.infer.explain import marked

    def shown(piece: str, weight: float | None) -> str:
        color = "green" if (weight or 0) > 0 else "red"
        return piece if weight is None else click.style(f"[{piece} {weight:+.2g}]", fg=color)

    return "".join(shown(piece, weight) for piece, weight in marked(text, words))


def _read(path: Path, opened: Loaded, column: str | None, log: Log) -> Iterator[Given]:
    """What a file asks of a model: texts, or what its answers need besides."""
    from pretune.infer.given import given_in

    return given_in(path, opened.gives.reads, column, tell=log.info, warn=log.warn)


@click.command()
@click.argument("model", type=click.Path())
@click.option("--system", default=None, help="A system message.")
@click.option("--max-tokens", default=512, show_default=True)
@click.option("--temperature", default=0.7, show_default=True, help="0 always takes the likeliest token.")
@forms
@common
def chat(
    model: str,
    system: str | None,
    max_tokens: int,
    temperature: float,
    schema: str | None,
    choices: str | None,
    regex: str | None,
    as_json: bool,
    quiet: bool,
    rehash: bool,
) -> None:
    """Talk with a model in the terminal."""
    take_flags(rehash)
    from pretune.api import load

    _kept_to(load(model), schema, choices, regex).chat(system=system, max_tokens=max_tokens, temperature=temperature)


@click.command()
@click.argument("models", nargs=-1, type=click.Path())
@click.option(
    "--adapters", type=click.Path(exists=True, file_okay=False), help="A folder of adapters of the one MODEL."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Anything but loopback needs an API key.")
@click.option("--port", default=8000, show_default=True)
@click.option(
    "--api-key-file",
    type=click.Path(exists=True),
    help="File of API keys: one a line, or a YAML list of {name, hash, scopes, rate, tokens}.",
)
@click.option("--api-key", help="The API key itself; better: PRETUNE_API_KEY or --api-key-file.")
@click.option("--new-key", metavar="NAME", help="Print a new key, once, and its entry for --api-key-file.")
@click.option(
    "--memory", metavar="SIZE", help="2GB: as many models stay open as fit into this; the others open when asked."
)
@click.option(
    "--limit", "limits", multiple=True, metavar="NAME=NUMBER", help="max_seconds=60; an unknown name lists all."
)
@click.option("--log", "log_lines", is_flag=True, help="A line of JSON for every request, on standard error.")
@click.option("--log-prompts", is_flag=True, help="--log, with the texts that were sent.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="DIR|FILE|FEED|-",
    help="Of a watch: where texts come from; may stand more than once.",
)
@click.option("--state", type=click.Path(), help="Of an application: the folder of what its users do [APP/state].")
@common
def serve(
    models: tuple[str, ...],
    adapters: str | None,
    host: str,
    port: int,
    api_key_file: str | None,
    api_key: str | None,
    new_key: str | None,
    memory: str | None,
    limits: tuple[str, ...],
    log_lines: bool,
    log_prompts: bool,
    state: str | None,
    sources: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    rehash: bool,
) -> None:
    """Serve models over an OpenAI-compatible API, with a small chat page; or one application with its pages."""
    take_flags(rehash)
    from pretune.base.extras import need

    need(["serve"])
    if new_key is not None:
        _print_key(new_key, as_json=as_json)
        return
    if not models:
        raise click.UsageError("Missing argument 'MODELS...'.")
    from pretune.serve.kept import num_bytes
    from pretune.serve.keys import read_keys
    from pretune.serve.requests import Limits
    from pretune.serve.run import Options
    from pretune.serve.run import serve as start

    options = Options(
        keys=read_keys(Path(api_key_file)) if api_key_file and api_key is None else (),
        limits=Limits.of(limits),
        memory=None if memory is None else num_bytes(memory),
        log=partial(click.echo, err=True) if log_lines or log_prompts else None,
        log_prompts=log_prompts,
    )
    key = _api_key(api_key, api_key_file)
    if _is_app(models, adapters, memory):
        from pretune.apps.serving import serve_app

        serve_app(
            models[0],
            host,
            port,
            api_key=key,
            options=options,
            state=None if state is None else Path(state),
            webhook=os.environ.get("PRETUNE_WEBHOOK") or None,
            sources=sources,
        )
        return
    if sources:
        raise click.UsageError("--source is for what `pretune monitor` makes")
    start(list(models), host=host, port=port, api_key=key, adapters=adapters, options=options)


def _is_app(paths: tuple[str, ...], adapters: str | None, memory: str | None) -> bool:
    """Whether an application is served. Raises UserError: not alone."""
    from pretune.base.artifact import CARD, read_card
    from pretune.base.errors import UserError

    apps = [path for path in paths if (Path(path) / CARD).is_file() and read_card(Path(path)).kind == "app"]
    if apps and (len(paths) > 1 or adapters or memory):
        hint = "serve models next to it on another --port"
        raise UserError(f"{apps[0]!r} is an application, which is served by itself", hint=hint)
    return bool(apps)


def _print_key(name: str, *, as_json: bool) -> None:
    from pretune.serve.keys import new_key

    secret, key = new_key(name)
    entry = key.model_dump(exclude_none=True)
    if as_json:
        print_json({"key": secret, "entry": entry})
        return
    click.echo(secret)
    click.echo("this is the only time it is shown; for --api-key-file:", err=True)
    click.echo(f"- {json.dumps(entry, ensure_ascii=False)}", err=True)


def _api_key(given: str | None, file: str | None) -> str | None:
    if given is not None:
        click.echo("warning: --api-key can be read by others in the list of processes; use --api-key-file", err=True)
        return given
    return None if file is not None else os.environ.get("PRETUNE_API_KEY") or None
