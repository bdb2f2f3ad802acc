"""Verbs that look: show, check, explain, doctor; and tidy, which clears away."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pretune.base.json import Json
from pretune.cli.shared import checked_settings, common, log_of, print_json, take_flags

if TYPE_CHECKING:
    from pretune.base.artifact import Artifact


@click.command()
@click.argument("path", type=click.Path())
@click.option("--token", type=int, help="Of tokens: the document and the bytes that token number N was made from.")
@click.option("--split", default="train", show_default=True, help="The split that the token is counted in.")
@click.option("--text", help="Of a tokenizer or model: how this text is cut into tokens.")
@click.option(
    "--compare",
    is_flag=False,
    flag_value="",
    metavar="[OTHER]",
    help="Of a trained model: is its loss normal? Or next to OTHER.",
)
@common
def show(
    path: str,
    token: int | None,
    split: str,
    text: str | None,
    compare: str | None,
    as_json: bool,
    quiet: bool,
    rehash: bool,
) -> None:
    """What this folder is, what made it, from what, and how good it is."""
    take_flags(rehash)
    from dataclasses import asdict

    from pretune.base.artifact import Artifact
    from pretune.report import view

    artifact = Artifact.open(path)
    if token is not None:
        from pretune.tokens.store.lineage import lineage_of, lineage_text

        found = lineage_of(artifact, token, split)
        print_json(asdict(found)) if as_json else click.echo(lineage_text(found))
        return
    if text is not None:
        from pretune.tokens.encode.shown import pieces_of, pieces_text

        pieces = pieces_of(artifact.path, text)
        print_json([{"text": one, "ids": ids} for one, ids in pieces]) if as_json else click.echo(pieces_text(pieces))
        return
    if compare is not None:
        from pretune.train.watch.diagnosis.report import compared

        told = compared(path, compare, as_json=as_json)
        print_json(told) if as_json else click.echo(told)
        return
    state = _state_of(artifact)
    if as_json:
        print_json({**asdict(artifact.card), **({"state": state} if state else {})})
        return
    click.echo(view.artifact_text(artifact))
    for name, value in state.items():
        click.echo(f"  {name:<24} {'; '.join(value) if isinstance(value, list) else value}")


def _state_of(artifact: Artifact) -> Json:
    """What is in the state of an application."""
    if artifact.card.kind != "app":
        return {}
    from pretune.apps.app import app_class, state_of

    return app_class(artifact).told(artifact, state_of(artifact))


@click.command()
@click.argument("model", type=click.Path())
@click.argument("reports", nargs=-1, type=click.Path())
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False), help="Write it here instead of printing it.")
@common
def card(
    model: str, reports: tuple[str, ...], language: str, out: str | None, as_json: bool, quiet: bool, rehash: bool
) -> None:
    """A model's card from its lineage: data, licences, scores, bias, limits, how to make it again.

    REPORTS are of this model; without any, those in the same folder are taken. `pretune run` and the commands of stages
    write it as README.md into the folders of the models that they make or judge.
    """
    take_flags(rehash)
    from pretune.base.artifact import Artifact
    from pretune.evaluate.card.facts import open_reports
    from pretune.evaluate.card.writing import card_text

    opened = Artifact.open(model, "model")
    text = card_text(opened, open_reports(reports, opened) if reports else None, language=language)
    if out:
        Path(out).write_text(text, encoding="utf-8", newline="\n")
    print_json({"card": text, "out": out}) if as_json else click.echo(text if out is None else out)


@click.command()
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

    DATA may be a dataset or the files of one; SETTINGS are those of stage dataset, say label=stars. Where it sees no
    labels it says so, and what it looked for.
    """
    take_flags(rehash)
    from pretune.base.artifact import Artifact
    from pretune.report import view
    from pretune.text.dataset.doctor.report import NO_LABELS, findings_text
    from pretune.text.dataset.doctor.visit import visit

    artifact = Artifact.open(path)
    rows = view.check_rows(artifact)
    problems = _state_of(artifact).get("problems", [])
    there = f"{artifact.path.as_posix()}/state"
    rows += [{"path": there, "kind": "state", "ok": False, "problem": problem} for problem in problems]
    sound = rows[0]["ok"]  # what was changed is not read
    found = visit(artifact, checked_settings(settings), tokenizer=tokenizer, max_length=max_length) if sound else None
    is_text = sound and found is None and artifact.card.kind == "files"
    if as_json:
        facts = {"labels": " ".join(NO_LABELS.split())} if is_text else {"doctor": [f.fact() for f in found or ()]}
        print_json({"digests": rows, **facts} if is_text or found is not None else rows)
    else:
        told = NO_LABELS if is_text else "" if found is None else findings_text(found)
        click.echo("\n\n".join(filter(None, [view.check_text(rows), told])))
    bad = any(f.level == "error" for f in found or ())
    sys.exit(1 if bad or not all(row["ok"] for row in rows) else 0)


@click.command()
@click.argument("name", required=False)
@click.option("--schema", is_flag=True, help="The JSON schema of recipes instead, which editors read.")
@common
def explain(name: str | None, schema: bool, as_json: bool, quiet: bool, rehash: bool) -> None:
    """What a setting, a stage, an error code or a metric means."""
    from pretune.base.errors import BadCommand

    if schema:
        from pretune.base.schema import recipe_schema

        print_json(recipe_schema())
        return
    if name is None:
        raise BadCommand("name what is to be explained", hint="pretune explain finetune; or --schema")
    from pretune.base.explain import explain as answer

    print_json({"name": name, "text": answer(name)}) if as_json else click.echo(answer(name))


@click.command()
@common
def doctor(as_json: bool, quiet: bool, rehash: bool) -> None:
    """This machine: cores, memory, matrix speed, and which models can be trained here."""
    from pretune.train.run.doctor import doctor_facts, doctor_text

    found = doctor_facts(log_of(quiet))
    print_json(found) if as_json else click.echo(doctor_text(found))


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def tidy(folder: str, yes: bool, as_json: bool, quiet: bool, rehash: bool) -> None:
    """Delete artifacts that were set aside, and scratch folders, after asking."""
    from pretune.base import tidy as tidying
    from pretune.report.numbers import size

    found = tidying.leftovers(Path(folder))
    rows: list[Json] = [{"path": p.as_posix(), "bytes": tidying.size(p)} for p in found]
    for row in rows if not as_json else []:
        click.echo(f"{size(row['bytes']):>10}  {row['path']}")
    if not found and not as_json:
        click.echo("nothing to tidy")
    if found and (yes or (not as_json and click.confirm(f"delete these {len(found)} folders?"))):
        tidying.delete(found)
        rows = [{**row, "deleted": True} for row in rows]
    if as_json:
        print_json(rows)
