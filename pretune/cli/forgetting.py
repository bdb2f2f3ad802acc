"""`pretune forget`: a person's texts out of all that a recipe made."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pretune.cli.shared import common, log_of, print_json, stoppable, take_flags, typed

if TYPE_CHECKING:
    from pretune.base.artifact import Artifact
    from pretune.base.json import Json
    from pretune.base.recipe import Recipe
    from pretune.base.stage import Stage
    from pretune.text.forget import Place, Where

READING = ("corpus", "dataset")
"""Stages that read raw records."""


@click.command()
@click.argument("recipe", type=click.Path())
@click.option(
    "--where", "wheres", multiple=True, required=True, metavar="COLUMN=VALUE|text~REGEX", help="Which records."
)
@click.option("--yes", is_flag=True, help="Do not ask before making again and before deleting.")
@common
def forget(recipe: str, wheres: tuple[str, ...], yes: bool, as_json: bool, quiet: bool, rehash: bool) -> None:
    """Take records out of all that a recipe made: make it again without them, prove it, delete the old.

    Raw files are named, never edited. `any~REGEX` looks into every column; several --where: any of them.
    """
    take_flags(rehash)
    from pretune.base.recipe import Recipe
    from pretune.text.forget import Where

    meant = [Where.of(one) for one in wheres]
    checked = Recipe.read(recipe)
    found = _found(checked, meant)
    told = _of_files([place for many in found.values() for place in many])
    for path, number in told.items() if not as_json else ():
        click.echo(f"{number:>8}  {path}")
    if not any(found.values()):
        print_json({"records": 0}) if as_json else click.echo("no record of the recipe's raw files is meant")
        return
    _write_list(Path(recipe), checked, found)
    again = Recipe.read(recipe)
    stale = [plan.name for plan in again.plan() if plan.status != "current"]
    if not as_json:
        click.echo(f"to be made again: {', '.join(stale)}; the raw files above still hold the texts")
    if not (yes or as_json or click.confirm("make them again now?")):
        return
    with stoppable() as stopping:
        made = again.run(log=log_of(quiet or as_json), command=typed(), stopping=stopping)
    proof = _proof(again, made, found, meant)
    old = _old(again)
    deleted = bool(old) and (yes or (not as_json and click.confirm(f"delete {len(old)} old and scratch folders?")))
    if deleted:
        from pretune.base.tidy import delete

        delete(old)
    facts = {"records": sum(map(len, found.values())), "files": told, "made_again": stale, "proof": proof}
    facts |= {"old": [path.as_posix() for path in old], "deleted": deleted}
    print_json(facts) if as_json else click.echo(_text(proof, old, deleted=deleted))
    sys.exit(0 if all(row["ok"] for row in proof) else 1)


def _found(recipe: Recipe, meant: list[Where]) -> dict[str, list[Place]]:
    """By stage, the raw records that are meant and are not left out yet."""
    from pretune.text.forget import read_digests

    found = {}
    for name, stage in recipe.stages.items():
        if stage.kind not in READING:
            continue
        without = getattr(stage, "without", None)
        known = read_digests(Path(without)) if without else frozenset()
        found[name] = [place for place in _raw(stage, meant, "read") if place.digest not in known]
    return found


def _raw(stage: Stage, meant: list[Where], under: str = "") -> list[Place]:
    """The raw records that are meant among the files that a stage reads itself, of a setting or of all."""
    from pretune.base.artifact import Artifact
    from pretune.base.config import inputs_of
    from pretune.text.forget import places

    named = [(place.split(".")[0], value) for place, value, _ in inputs_of(stage)]
    paths = [value for place, value in named if under in ("", place)]
    raw = [Artifact.open(value) for value in paths if not value.startswith("$")]
    files = [one for one in raw if one.card.kind == "files" and not one.scheme]
    return [place for one in files for place in places(one, meant)]


def _of_files(places: list[Place]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for place in places:
        counts[place.file.as_posix()] = counts.get(place.file.as_posix(), 0) + 1
    return counts


def _write_list(path: Path, recipe: Recipe, found: dict[str, list[Place]]) -> None:
    """The list next to the recipe, and the setting in the stages that lack it."""
    from pretune.base.staging import write_durably
    from pretune.base.yaml import read_yaml
    from pretune.text.forget import read_digests, with_setting

    _, lines = read_yaml(path)
    text = path.read_text(encoding="utf-8")
    named = {name: getattr(recipe.stages[name], "without", None) for name, many in found.items() if many}
    target = path.with_name(f"{path.stem}.forgotten")
    lists = {Path(one) if one else target for one in named.values()}
    for one in lists:
        mine = [p.digest for name, many in found.items() for p in many if Path(named.get(name) or target) == one]
        known = read_digests(one) if one.is_file() else frozenset()
        write_durably(one, "".join(f"{digest}\n" for digest in sorted({*known, *mine})))
    value = os.path.relpath(target).replace(os.sep, "/")
    for name in sorted((n for n, one in named.items() if one is None), key=lambda n: -lines[("stages", n)]):
        text = with_setting(text, lines[("stages", name)], "without", value)
    write_durably(path, text)


def _proof(recipe: Recipe, made: dict[str, Artifact], found: dict[str, list[Place]], meant: list[Where]) -> list[Json]:
    """Of each artifact, whether it can have seen the records."""
    from pretune.text.forget import rows_with

    rows: list[Json] = []
    for name, one in made.items():
        reading = [a for a in one.ancestors() if a.card.kind in READING]
        left = {a.path.as_posix(): rows_with(a.path, meant) for a in reading}
        known = {made[stage].card.id for stage in found if stage in made}
        strange = [a.path.as_posix() for a in reading if a.card.id not in known]
        wrong = [f"{path}: {number} rows" for path, number in left.items() if number]
        if recipe.stages[name].kind not in READING and (itself := _raw(recipe.stages[name], meant)):
            wrong.append(f"reads {len(itself)} of the records itself: take them out of {itself[0].file.as_posix()}")
        wrong += [f"{path} is not made by this recipe: forget them where it is made" for path in strange if left[path]]
        rows.append({"stage": name, "id": one.card.id, "made_from": sorted(left), "ok": not wrong, "wrong": wrong})
    return rows


def _old(recipe: Recipe) -> list[Path]:
    """What was set aside or is scratch of this recipe's artifacts."""
    from pretune.base.tidy import leftovers

    outs = {recipe.out(name).absolute() for name in recipe.stages}
    folders = {out.parent for out in outs}
    mine = [path for folder in sorted(folders) if folder.is_dir() for path in leftovers(folder)]
    return sorted({path for path in mine if any(_is_of(path, out) for out in outs)})


def _is_of(path: Path, out: Path) -> bool:
    name = path.name.removeprefix(out.name)
    return path.absolute().parent == out.parent and name != path.name and name[:1] in ("@", ".")


def _text(proof: list[Json], old: list[Path], *, deleted: bool) -> str:
    lines = [
        f"{'ok ' if row['ok'] else 'NOT'} {row['stage']}: {'; '.join(row['wrong']) or _seen(row)}" for row in proof
    ]
    end = f"{'deleted' if deleted else 'still there'}: {', '.join(p.as_posix() for p in old)}" if old else ""
    return "\n".join(filter(None, [*lines, end]))


def _seen(row: Json) -> str:
    return (
        f"made from {', '.join(row['made_from'])}, which have none of them" if row["made_from"] else "reads no raw text"
    )
