"""One stage's command as a recipe.

    pretune finetune MODEL reviews.csv --out clf task=classify

Unnamed inputs go to the one field of their kind. A rawer input than the stage needs brings the stages that
make it: here a `dataset`, at `clf.dataset`, and the recipe is written to `clf.recipe.yaml`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pretune.base.artifact import Artifact
from pretune.base.checking import RESERVED
from pretune.base.config import Input, facts
from pretune.base.errors import BadCommand
from pretune.base.json import Json
from pretune.base.recipe import Recipe
from pretune.base.stage import STAGE
from pretune.base.yaml import SETTING, override, write_yaml

MAKERS = {"corpus": "corpus", "dataset": "dataset", "tokenizer": "tokenizer", "tokens": "tokens"}
"""Kind of artifact -> the stage that makes it from something rawer."""


@dataclass
class Building:
    """A recipe in the making: stages in the order of their needs, and inputs not yet given a place.

    Args:
        model: that learns on; text is tokenised by its own tokenizer.
    """

    left: list[tuple[str, str]]
    stages: dict[str, Json] = field(default_factory=dict)
    model: str | None = None


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(inputs, settings) of a command line; `a.b=c` is a setting, `./a=b` a path."""
    settings = [a for a in arguments if SETTING.match(a)]
    return [a for a in arguments if not SETTING.match(a)], settings


def stage_recipe(kind: str, arguments: Sequence[str], out: str) -> tuple[Recipe, str | None]:
    """The recipe of one stage's command, and its YAML when it has more than one stage.

    Raises:
        BadCommand: an input that no field takes; SettingsError; what opening the inputs raises.
    """
    inputs, settings = split_arguments(arguments)
    base = next((setting.partition("=")[2] for setting in settings if setting.startswith("base=")), None)
    building = Building([(Artifact.open(path).card.kind, path) for path in inputs], model=base)
    main = _stage_of(kind, building, named=_named(settings))
    building.stages[kind] = main
    if building.left:
        stray = ", ".join(f"{path!r} (a {k})" for k, path in building.left)
        takes = ", ".join(f"{name} ({mark.kind})" for name, mark in _input_fields(kind))
        raise BadCommand(f"{kind} has no place for {stray}", hint=f"it takes: {takes}; name one as FIELD=PATH")
    tree = {"name": Path(out).name, "work": f"{Path(out).as_posix()}.", "stages": building.stages}
    _apply_settings(tree, kind, settings)
    recipe = Recipe.build(tree, source=f"pretune {kind}", main=kind)
    return recipe, (write_yaml(tree) if len(building.stages) > 1 else None)


def _named(settings: Sequence[str]) -> set[str]:
    """Fields that are given by name; a dotted one reaches into a stage or a block."""
    return {name for s in settings if "." not in (name := s.partition("=")[0])}


def _input_fields(kind: str) -> list[tuple[str, Input]]:
    cls = STAGE.find(kind)
    found = ((name, facts(cls, name).input) for name in cls.model_fields)
    return [(name, mark) for name, mark in found if mark is not None]


def _stage_of(kind: str, building: Building, *, named: set[str]) -> Json:
    """Settings of a stage whose inputs are taken from what was given, made by further stages where rawer."""
    cls = STAGE.find(kind)
    tree: Json = {"kind": kind}
    fields = [(n, m) for n, m in _input_fields(kind) if n not in named and not m.by_name]
    for name, mark in fields:
        if (taken := _take(building, mark.kind, many=mark.kind.split("|")[0] in ("files", "ids"))) is not None:
            tree[name] = taken
    needed = sorted((f for f in fields if f[0] not in tree), key=lambda f: not cls.model_fields[f[0]].is_required())
    for name, mark in needed:
        made = _made_by(mark.kind, building, required=cls.model_fields[name].is_required())
        if made is not None:
            tree[name] = made
    return tree


def _take(building: Building, kinds: str, *, many: bool) -> str | list[str] | None:
    """Take the first input of one of these kinds (all of them where raw files are taken) out of what is left."""
    fitting = [item for item in building.left if item[0] in kinds.split("|")]
    if not fitting:
        return building.model if kinds.startswith("tokenizer") else None
    if fitting[0][0] == "model":
        building.model = fitting[0][1]
    taken = fitting if many else fitting[:1]
    for item in taken:
        building.left.remove(item)
    paths = [path for _, path in taken]
    return paths if many else paths[0]


def _made_by(kinds: str, building: Building, *, required: bool) -> str | None:
    """`$stage` of a stage that makes one of these kinds from what is left, if it can."""
    for kind in kinds.split("|"):
        maker = MAKERS.get(kind) if not kinds.startswith("model") else None  # none is made in a model's place
        if maker in building.stages:
            return f"${maker}"
        rawer = any(k in ("files", "corpus") for k, _ in building.left) or "corpus" in building.stages
        if maker and rawer and (required or any(k == "files" for k, _ in building.left)):
            building.stages[maker] = _stage_of(maker, building, named=set())
            return f"${maker}"
    return None


def _apply_settings(tree: Json, main: str, settings: Sequence[str]) -> None:
    """`tokenizer.vocab_size=8000` goes to that stage, `seed=1` to the head, all else to the main stage."""
    stages = tree["stages"]
    for assignment in settings:
        first, dot, _ = assignment.partition("=")[0].partition(".")
        if first in RESERVED and not dot and first not in STAGE.find(main).model_fields:
            override(tree, assignment)
        elif dot and first in stages and first != main:
            override(stages, assignment)
        elif dot and first == main and first not in STAGE.find(main).model_fields:
            override(stages, assignment)  # `pretune dataset ... dataset.label=stars`, as a recipe would spell it
        else:
            override(stages[main], assignment)
