"""Checking the tree of a recipe: overrides, stages, references - and every mistake at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pretune.base.config import Input, Mistake, check, inputs_of
from pretune.base.errors import UnknownKind, did_you_mean
from pretune.base.json import Json
from pretune.base.stage import STAGE, Stage
from pretune.base.yaml import parse_assignment, set_in

RESERVED = ("name", "work", "seed", "seeds", "sizes", "nproc", "ray")
STAGE_NAME = re.compile(r"^[a-z][a-z0-9_]*$")


def apply_overrides(tree: Json, overrides: tuple[str, ...], size: str | None) -> list[Mistake]:
    """Apply a size and overrides in place; a first part that is no stage is a mistake."""
    mistakes: list[Mistake] = []
    stages = tree.get("stages") if isinstance(tree.get("stages"), dict) else {}
    assert isinstance(stages, dict)
    sizes = tree.get("sizes") if isinstance(tree.get("sizes"), dict) else {}
    assert isinstance(sizes, dict)
    if size is not None and size not in sizes:
        mistakes.append(Mistake(("sizes", size), f"no such size; {did_you_mean(size, sizes)}", size, "unknown-setting"))
    for path, value in (sizes.get(size) or {}).items():
        mistakes += _set(tree, stages, str(path).split("."), value)
    for assignment in overrides:
        mistakes += _set(tree, stages, *parse_assignment(assignment))
    return mistakes


def _set(tree: Json, stages: Json, path: list[str], value: object) -> list[Mistake]:
    if path[0] in RESERVED:
        set_in(tree, path, value)
    elif path[0] in stages and len(path) > 1:
        set_in(stages, path, value)
    else:
        problem = "no such stage; " + did_you_mean(path[0], [*stages, *RESERVED])
        return [Mistake(tuple(path), problem, value, "unknown-setting")]
    return []


def check_stage(name: str, settings: object, *, prefix: tuple[str, ...]) -> tuple[Stage | None, list[Mistake]]:
    if not STAGE_NAME.match(name) or name in (*RESERVED, "stages"):
        return None, [
            Mistake(
                (name,), "a stage's name is lower-case letters, digits and _, and not reserved", name, "wrong-value"
            )
        ]
    if isinstance(settings, str):
        settings = {"kind": settings}
    if not isinstance(settings, dict) or not isinstance(settings.get("kind"), str):
        return None, [
            Mistake(
                (name,), f"a stage needs `kind`; choose one of: {', '.join(STAGE.kinds())}", settings, "missing-setting"
            )
        ]
    try:
        cls = STAGE.find(settings["kind"])
    except UnknownKind as error:
        return None, [Mistake((name, "kind"), error.sentence, settings["kind"], "unknown-kind")]
    return check(cls, settings, prefix=prefix)


def references(stage: Stage) -> list[tuple[str, str]]:
    """(place, stage name) of every `$name`."""
    return [(place, given[1:]) for place, given, _ in inputs_of(stage) if given.startswith("$")]


def bad_references(stages: Mapping[str, Stage], main: str | None) -> Iterator[Mistake]:
    for name, stage in stages.items():
        marks: dict[str, Input] = {place: mark for place, _, mark in inputs_of(stage)}
        for place, target in references(stage):
            where = (*(() if name == main else (name,)), *place.split("."))
            if target not in stages:
                yield Mistake(where, f"no such stage; {did_you_mean(target, stages)}", f"${target}", "bad-reference")
            elif (kind := marks[place].kind) != "files" and stages[target].makes not in kind.split("|"):
                made = stages[target].makes
                yield Mistake(where, f"{target} makes a {made}, but a {kind} is needed", f"${target}", "bad-reference")
    if _circle(stages):
        yield Mistake(("stages",), "these stages need each other in a circle", _circle(stages), "bad-reference")


def _circle(stages: Mapping[str, Stage]) -> list[str]:
    left = {n: {t for _, t in references(s) if t in stages} for n, s in stages.items()}
    while free := [n for n, needs in left.items() if not needs & left.keys()]:
        for n in free:
            del left[n]
    return sorted(left)


def in_order(stages: dict[str, Stage]) -> dict[str, Stage]:
    """In the order of writing, but each after what it needs."""
    done: dict[str, Stage] = {}
    while len(done) < len(stages):
        for name, stage in stages.items():
            if name not in done and all(t in done for _, t in references(stage)):
                done[name] = stage
                break
    return done


def copied(tree: object) -> Any:
    if isinstance(tree, Mapping):
        return {k: copied(v) for k, v in tree.items()}
    return [copied(v) for v in tree] if isinstance(tree, list | tuple) else tree
