"""`pretune forget`: a person's texts out of all that a recipe made."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from pretune.base.errors import NoSuchColumn, UserError
from pretune.cli.shared import common, log_of, print_json, stoppable, take_flags

if TYPE_CHECKING:
    from pretune.base.artifact import Artifact
    from pretune.base.json import Json
    from pretune.base.recipe import Recipe
    from pretune.base.stage import Stage
    from pretune.text.forget import Read, Where

READING = ("corpus", "dataset")
"""Stages that read raw records."""


@dataclass
class Found:
    """What of a stage's raw records is meant.

    Args:
        digests: of those that are not left out yet; files: file -> how many; texts: of all that are meant.
        listed: how many are left out already; columns: that the records have.
        without_column: files that have not a column of the condition.
        unread: files that hold what is meant where no record is.
        outside: files that hold it in records, and outside of these as well.
        named_so: (file, column whose name holds it).
    """

    digests: list[str] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)
    listed: int = 0
    columns: set[str] = field(default_factory=set)
    without_column: set[str] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    named_so: set[tuple[str, str]] = field(default_factory=set)

    @property
    def number(self) -> int:
        """Records that are meant, those that are left out already too."""
        return self.listed + len(self.digests)


@click.command()
@click.argument("recipe", type=click.Path())
@click.option(
    "--where", "wheres", multiple=True, required=True, metavar="COLUMN=VALUE|text~REGEX", help="Which records."
)
@click.option("--size", help="Take the overrides of this name under `sizes`, as `run` did.")
@click.option("--yes", is_flag=True, help="Do not ask before making again and before deleting.")
@common
def forget(
    recipe: str, wheres: tuple[str, ...], size: str | None, yes: bool, as_json: bool, quiet: bool, rehash: bool
) -> None:
    """Take records out of all that a recipe made: make it again without them, prove it, delete the old.

    Raw files are named, never edited. `any~REGEX` looks into every column; several --where: any of them.
    """
    take_flags(rehash)
    from pretune.base.recipe import Recipe
    from pretune.text.forget import Where

    meant = [Where.of(one) for one in wheres]
    checked = Recipe.read(recipe, size=size)
    found = _found(checked, meant)
    _refuse_what_is_in_no_record(found, meant)
    facts = _told(checked, found)
    if not as_json:
        click.echo(_told_text(facts))
    if facts["records"]:
        _write_list(Path(recipe), checked, found)
    again = Recipe.read(recipe, size=size)
    made: dict[str, Artifact] = {}
    if any(one.number for one in found.values()):
        stale = [plan.name for plan in again.plan() if plan.status != "current"]
        if stale and not as_json:
            click.echo(f"to be made again: {', '.join(stale)}; the raw files above still hold the texts")
        if stale and not (yes or as_json or click.confirm("make them again now?")):
            return
        made = _make(again, Path(recipe), size, quiet=quiet or as_json)
        facts |= {"made_again": stale}
    old = _old(again)
    deleted = bool(made and old) and (
        yes or (not as_json and click.confirm(f"delete {len(old)} old and scratch folders?"))
    )
    if deleted:
        from pretune.base.tidy import delete

        delete(old)
    proof = [*_proof(again, made, found, meant), *_strangers(again, made, found)]
    proof += _left(again, Path(recipe), found, meant)
    facts |= {"proof": proof, "old": [path.as_posix() for path in old], "deleted": deleted}
    print_json(facts) if as_json else click.echo(_text(proof, old if made else [], deleted=deleted))
    sys.exit(0 if all(row["ok"] for row in proof) else 1)


# ---- which records ------------------------------------------------------------------------------


def _found(recipe: Recipe, meant: list[Where]) -> dict[str, Found]:
    """By stage, the raw records that are meant, read as the stage reads them."""
    with TemporaryDirectory() as scratch:
        stages = {name: stage for name, stage in recipe.stages.items() if stage.kind in READING}
        return {name: _found_by(stage, meant, Path(scratch) / name) for name, stage in stages.items()}


def _found_by(stage: Stage, meant: list[Where], scratch: Path) -> Found:
    from pretune.text.forget import record_digest

    found, known = Found(), _known(stage)
    paths: dict[Path, list[Json]] = {}
    for read in _records(stage, scratch):
        is_meant = read.is_meant(meant)
        paths.setdefault(read.path, []).extend([read.record] if is_meant else [])
        _look_at_columns(read, meant, found)
        if is_meant:
            digest = record_digest(read.record)
            found.texts |= _texts(read)
            found.listed += digest in known
            if digest not in known:
                found.digests.append(digest)
                found.files[read.file] = found.files.get(read.file, 0) + 1
    _look_outside(stage, paths, meant, found)
    return found


def _look_outside(stage: Stage, paths: dict[Path, list[Json]], meant: list[Where], found: Found) -> None:
    """Files that hold what is meant in no record, or outside of those that are meant."""
    from pretune.text.traces import is_written_in, stays_outside

    read = [one for place, one in _raw(stage).items() if _is_read(place) and not one.scheme]
    for path in dict.fromkeys([*paths, *(file for one in read for file in one.files())]):
        if not (records := paths.get(path)):
            found.unread += [path.as_posix()] if is_written_in(path, meant) else []
        elif stays_outside(path, meant, records):
            found.outside.append(path.as_posix())


def _records(stage: Stage, scratch: Path) -> Iterator[Read]:
    from pretune.text.corpus.stage import CorpusStage
    from pretune.text.dataset.stage import DatasetStage

    assert isinstance(stage, CorpusStage | DatasetStage), "only stages that read records are asked"
    yield from stage.records({place: one for place, one in _raw(stage).items() if _is_read(place)}, scratch)


def _look_at_columns(read: Read, meant: list[Where], found: Found) -> None:
    from pretune.text.forget import ANY

    found.columns |= {*read.record}
    if any(where.column not in (ANY, "text") and where.column not in read.record for where in meant):
        found.without_column.add(read.file)
    whole = [where for where in meant if where.column == ANY]
    found.named_so |= {(read.file, name) for name in read.record for where in whole if where.is_in([name])}


def _texts(read: Read) -> set[str]:
    from pretune.text.forget import texts_in

    return {*texts_in(read.record), *texts_in({n: v for n, v in read.made().items() if n != "origin"})}


def _is_read(place: str) -> bool:
    return place.split(".", maxsplit=1)[0] == "read"


def _raw(stage: Stage) -> dict[str, Artifact]:
    """The raw files that a stage reads itself, by place; none of `without`."""
    from pretune.base.config import inputs_of
    from pretune.base.planning import opened_input

    given = [(place, value, mark) for place, value, mark in inputs_of(stage) if not value.startswith("$")]
    opened = {place: opened_input(value, mark, stage) for place, value, mark in given if place != "without"}
    return {place: one for place, one in opened.items() if one.card.kind == "files"}


def _known(stage: Stage) -> frozenset[str]:
    """The digests of records that a stage leaves out already."""
    from pretune.text.forget import listed

    return listed(_without(stage))


def _without(stage: Stage) -> Artifact | None:
    from pretune.base.artifact import Artifact
    from pretune.text.corpus.stage import CorpusStage
    from pretune.text.dataset.stage import DatasetStage

    assert isinstance(stage, CorpusStage | DatasetStage), "only stages that read records are asked"
    return Artifact.open(stage.without) if stage.without else None


def _refuse_what_is_in_no_record(found: dict[str, Found], meant: list[Where]) -> None:
    """What no digest can name must not pass for forgotten."""
    from pretune.text.forget import ANY

    if named := sorted({one for many in found.values() for one in many.named_so}):
        told = "\n".join(f"{file}: the name of column {column!r} holds it" for file, column in named)
        raise UserError(
            told, hint="is the first line a row? then name the columns (dataset: names=[...]); or rename it"
        )
    unread = sorted({path for many in found.values() for path in many.unread})
    outside = sorted({path for many in found.values() for path in many.outside})
    if unread or outside:
        lines = [f"{path} holds it, but in no record that is read" for path in unread]
        lines += [f"{path} holds it in a record, and outside of records too (a broken line?)" for path in outside]
        hint = "take it out of the file yourself, or write a narrower condition"
        raise UserError("\n".join(lines), hint=hint)
    there = {"text", ANY}.union(*(one.columns for one in found.values()))
    if missing := [where.column for where in meant if where.column not in there]:
        hint = f"there are {', '.join(sorted(there))}"
        raise NoSuchColumn(f"no raw file of the recipe has a column {missing[0]!r}", hint=hint)


def _told(recipe: Recipe, found: dict[str, Found]) -> Json:
    """How many records of which files are meant, and what cannot be looked into."""
    files: dict[str, int] = {}
    for one in found.values():
        for file, number in one.files.items():
            files[file] = files.get(file, 0) + number
    schemes = {one.scheme for stage in recipe.stages.values() for one in _raw(stage).values() if one.scheme}
    told: Json = {"records": sum(len(one.digests) for one in found.values()), "files": files}
    told |= {"left_out_before": sum(one.listed for one in found.values())}
    without = {file for one in found.values() for file in one.without_column}
    return told | {"not_searched": sorted(schemes), "without_column": sorted(without)}


def _told_text(facts: Json) -> str:
    lines = [f"{number:>8}  {path}" for path, number in facts["files"].items()]
    if not lines:
        before = f", besides {facts['left_out_before']} left out before" if facts["left_out_before"] else ""
        lines = [f"no record of the recipe's raw files is meant{before}"]
    if some := facts["without_column"]:
        lines.append(f"{len(some)} files have not all columns that were asked for: {', '.join(some[:5])}")
    if some := facts["not_searched"]:
        lines.append(f"not searched, for it is in no file: {', '.join(some)}")
    return "\n".join(lines)


def _write_list(path: Path, recipe: Recipe, found: dict[str, Found]) -> None:
    """The list next to the recipe, and the setting in the stages that lack it."""
    from pretune.base.seeds import without_seed
    from pretune.base.staging import write_durably
    from pretune.base.yaml import read_yaml
    from pretune.text.forget import read_digests, with_setting

    _, lines = read_yaml(path)
    text = path.read_text(encoding="utf-8")
    given = {name: _without(recipe.stages[name]) for name, one in found.items() if one.digests}
    target = path.with_name(f"{path.stem}.forgotten")
    lists = {name: one.files()[0] if one else target for name, one in given.items()}  # of a folder the first
    for one in {*lists.values()}:
        mine = [digest for name, file in lists.items() if file == one for digest in found[name].digests]
        known = read_digests(one) if one.is_file() else frozenset()
        write_durably(one, "".join(f"{digest}\n" for digest in sorted({*known, *mine})))
    value = os.path.relpath(target).replace(os.sep, "/")
    names = {without_seed(name) if ("stages", name) not in lines else name for name, one in given.items() if not one}
    for name in sorted(names, key=lambda n: -lines[("stages", n)]):
        text = with_setting(text, lines[("stages", name)], "without", value)
    write_durably(path, text)


# ---- made again, and proven ---------------------------------------------------------------------


def _make(recipe: Recipe, path: Path, size: str | None, *, quiet: bool) -> dict[str, Artifact]:
    """Everything anew. Cards keep a command: this one would hold what is to be forgotten, so it is `run`."""
    from pretune.evaluate.card import write_cards

    command = f"pretune run {path.as_posix()}" + (f" --size {size}" if size else "")
    with stoppable() as stopping:
        made = recipe.run(log=log_of(quiet), command=command, stopping=stopping)
    write_cards(made.values())
    return made


def _proof(recipe: Recipe, made: dict[str, Artifact], found: dict[str, Found], meant: list[Where]) -> list[Json]:
    """Of each artifact, whether it can have seen the records."""
    from pretune.text.forget import rows_with

    rows: list[Json] = []
    for name, one in made.items():
        reading = [a for a in one.ancestors() if a.card.kind in READING]
        left = {a.path.as_posix(): rows_with(a.path, meant) for a in reading}
        known = {made[stage].card.id: stage for stage in found if stage in made}
        wrong = [f"{path}: {number} rows" for path, number in left.items() if number]
        wrong += [_too_few(a, found[known[a.card.id]]) for a in reading if a.card.id in known]
        wrong += [f"reads it itself: take it out of {path}" for path in _reads_itself(recipe.stages[name], meant)]
        strange = [a.path.as_posix() for a in reading if a.card.id not in known]
        wrong += [f"{path} is not made by this recipe: forget them where it is made" for path in strange if left[path]]
        wrong = [*filter(None, wrong)]
        rows.append({"stage": name, "id": one.card.id, "made_from": sorted(left), "ok": not wrong, "wrong": wrong})
    return rows


def _too_few(made: Artifact, found: Found) -> str:
    """What is wrong where a stage left out fewer records than are meant; "" where nothing is."""
    number = made.card.metrics.get("forgotten", 0)
    short = number < found.number
    return f"{made.path.as_posix()} left out {number} of {found.number} records" if short else ""


def _reads_itself(stage: Stage, meant: list[Where]) -> list[str]:
    """The raw files that hold what is meant and that a stage does not read record by record."""
    from pretune.text.traces import raw_with

    some = [one for place, one in _raw(stage).items() if not (stage.kind in READING and _is_read(place))]
    return [path.as_posix() for one in some if not one.scheme for path in raw_with(one, meant)]


def _strangers(recipe: Recipe, made: dict[str, Artifact], found: dict[str, Found]) -> list[Json]:
    """What no stage makes now, as a seed more, though it is in the recipe's folders, made from what is replaced."""
    from pretune.base.artifact import CARD

    ids = {made[name].card.id for name, one in found.items() if one.number and name in made}
    touched = {n: one for n, one in made.items() if ids & {a.card.id for a in one.ancestors()}}
    now = {recipe.out(name).absolute(): one.card.id for name, one in touched.items()}
    outs = {recipe.out(name).absolute() for name in recipe.stages}
    folders = {path.parent for folder in {out.parent for out in now} for path in folder.rglob(CARD)}
    strange = sorted(path for path in folders if not _is_or_was_of(path, outs) and _is_of_earlier(path, now))
    hint = "was made from what held it, and no stage of the recipe makes it: delete it, or make it again"
    return [
        {"stage": os.path.relpath(path).replace(os.sep, "/"), "id": "", "made_from": [], "ok": False, "wrong": [hint]}
        for path in strange
    ]


def _is_or_was_of(path: Path, outs: set[Path]) -> bool:
    """Whether a folder is a stage's, or set aside or scratch of one: `_old` has these."""
    return any(one in outs or any(_is_set_aside(one, out) for out in outs) for one in (path, *path.parents))


def _is_set_aside(path: Path, out: Path) -> bool:
    rest = path.name.removeprefix(out.name)
    return path.parent == out.parent and rest != path.name and rest.startswith(("@", ".scratch"))


def _is_of_earlier(path: Path, now: dict[Path, str]) -> bool:
    """Whether an artifact was made from an earlier one of these, itself or on the way."""
    from pretune.base.artifact import Artifact
    from pretune.base.errors import PretuneError

    try:
        inputs = [(one.path, said) for one in Artifact.open(path).ancestors() for said in one.card.inputs.values()]
    except PretuneError:  # a damaged card says nothing
        return False
    places = [(Path(os.path.normpath(home.absolute() / said["path"])), said["id"]) for home, said in inputs]
    return any(place in now and now[place] != id for place, id in places)


def _left(recipe: Recipe, path: Path, found: dict[str, Found], meant: list[Where]) -> list[Json]:
    """The recipe and all that is in its folders: reports of other commands, cards, logs that still hold the texts."""
    from pretune.text.traces import Traces

    folders = {recipe.out(name).absolute().parent for name in recipe.stages}
    there = sorted({file for folder in folders if folder.is_dir() for file in folder.rglob("*") if file.is_file()})
    traces = Traces.of(meant, {text for one in found.values() for text in one.texts})
    raw = {file.absolute() for stage in recipe.stages.values() for one in _raw(stage).values() for file in one.files()}
    left = traces.files_with([path, *(file for file in there if file not in raw)])
    by_folder: dict[str, list[str]] = {}
    for file in left:
        by_folder.setdefault(os.path.relpath(file.parent).replace(os.sep, "/"), []).append(file.name)
    hint = "holds it still: make it again, or delete it"
    return [
        {"stage": folder, "id": "", "made_from": [], "ok": False, "wrong": [f"{', '.join(names)} {hint}"]}
        for folder, names in by_folder.items()
    ]


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
