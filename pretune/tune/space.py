"""What is searched: settings of a recipe and the values that each may take.

tuned.optim.learning_rate=1e-5..1e-3    a range; over more than a factor of ten on a logarithmic scale
tuned.batch=8..64:lin                   whole numbers stay whole; `:lin` and `:log` choose the scale
tuned.method.rank=4,8,16                one of these
tuned.epochs=2                          one value: set in every trial, not searched

Types and bounds are those of the settings: the ends of every range and every choice are checked before the first trial.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretune.base.checking import RESERVED, apply_overrides, copied
from pretune.base.errors import BadCommand
from pretune.base.json import Json, JsonMap
from pretune.base.recipe import Recipe
from pretune.base.yaml import parse_value, read_yaml

NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})(?::(lin|log))?")


@dataclass(frozen=True)
class Axis:
    """A setting that is searched: one of `choices`, or, without any, a number from `low` to `high`."""

    path: str
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    is_log: bool = False

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int)

    @property
    def ends(self) -> tuple[Any, ...]:
        """All choices, or both ends."""
        return self.choices or (self.low, self.high)

    def text(self) -> str:
        """The values in words."""
        if self.choices:
            return f"one of {', '.join(map(written, self.choices))}"
        return f"{self.low:g} ... {self.high:g}{', whole' * self.is_whole}{', on a logarithmic scale' * self.is_log}"

    def part(self, value: Any) -> float:
        """Where a value stands between the ends, from 0 to 1."""
        if self.choices:
            return self.choices.index(value) / (len(self.choices) - 1)
        low, high, at = (math.log(v) if self.is_log else v for v in (self.low, self.high, value))
        return (at - low) / (high - low)


@dataclass(frozen=True)
class Space:
    """A recipe with what is searched in it.

    Args:
        tree: the recipe as it is written; lines: of its settings.
        fixed: overrides that every trial has.
    """

    tree: JsonMap
    lines: Mapping[tuple[str, ...], int]
    source: str
    size: str | None
    fixed: tuple[str, ...]
    axes: tuple[Axis, ...]

    def recipe(self, values: JsonMap) -> Recipe:
        """The recipe with these values; raises SettingsError."""
        given = self._overrides(values)
        return Recipe.build(self.tree, overrides=given, size=self.size, source=self.source, lines=self.lines)

    def settings(self, values: JsonMap) -> Json:
        """The tree of the recipe with these values, as it may be written to a file."""
        tree: Json = copied(self.tree)
        apply_overrides(tree, self._overrides(values), self.size)
        return {name: part for name, part in tree.items() if name != "sizes"}

    @property
    def first(self) -> Json:
        """The first value of every axis."""
        return {axis.path: axis.ends[0] for axis in self.axes}

    def _overrides(self, values: JsonMap) -> tuple[str, ...]:
        return (*self.fixed, *(f"{path}={written(value)}" for path, value in values.items()))


def written(value: object) -> str:
    """A value as it is typed behind `=`."""
    return value if isinstance(value, str) and parse_value(value) == value else json.dumps(value, ensure_ascii=False)


def values_text(values: JsonMap) -> str:
    """Values as they are typed."""
    return ", ".join(f"{path}={written(value)}" for path, value in values.items())


def read_space(path: str | Path, words: tuple[str, ...], size: str | None = None) -> Space:
    """The recipe and what the words `setting=values` search in it.

    Raises:
        BadCommand: nothing is searched, or a range is empty; SettingsError: what the recipe or a value has wrong.
    """
    tree, lines = read_yaml(Path(path))
    given = dict(word.split("=", 1) for word in words)
    several = {name: found for name, text in given.items() if (found := _axis(name, text))}
    fixed = tuple(f"{name}={text}" for name, text in given.items() if name not in several)
    source = Path(path).as_posix()
    space = Space(tree, lines, source, size, fixed, tuple(several.values()))
    if not several:
        hint = "say tuned.optim.learning_rate=1e-5..1e-3, or tuned.method.rank=4,8,16"
        raise BadCommand("there is nothing to search: no setting has several values", hint=hint)
    checked = space.recipe(space.first)
    axes = tuple(_typed(axis, _value_at(checked, axis.path)) for axis in space.axes)
    space = Space(tree, lines, source, size, fixed, axes)
    for axis in axes:
        for end in axis.ends:
            space.recipe({**space.first, axis.path: end})
    return space


def _axis(path: str, text: str) -> Axis | None:
    """What is searched of a setting; None where it has one value."""
    if ranged := RANGE.fullmatch(text):
        low, high = parse_value(ranged[1]), parse_value(ranged[2])
        assert isinstance(low, int | float) and isinstance(high, int | float)
        if low >= high:
            raise BadCommand(f"{path}={text} is an empty range", hint="write the lower end first: 1e-5..1e-3")
        if ranged[3] == "log" and low <= 0:
            raise BadCommand(f"{path}={text}: only a range above 0 has a logarithmic scale", hint="leave out :log")
        is_log = ranged[3] == "log" if ranged[3] else 0 < 10 * low < high
        found = Axis(path, low=low, high=high, is_log=is_log)
    else:
        listed = parse_value(f"[{text}]")
        items = listed if isinstance(listed, list) else text.split(",")
        choices = [item for place, item in enumerate(items) if item not in items[:place]]
        if len(choices) < 2:
            return None
        found = Axis(path, choices=tuple(choices))
    if path.partition(".")[0] in RESERVED:
        raise BadCommand(f"{path} is no setting of a stage, so it has one value in all trials", hint=f"{path}=VALUE")
    return found


def _typed(axis: Axis, value: object) -> Axis:
    """A range of whole numbers, where the setting is one; else of numbers."""
    if axis.choices:
        return axis
    kind = int if isinstance(value, int) and axis.low % 1 == axis.high % 1 == 0 else float
    return Axis(axis.path, low=kind(axis.low), high=kind(axis.high), is_log=axis.is_log)


def _value_at(recipe: Recipe, path: str) -> object:
    """The checked value of a setting, of the first of several stages where seeds make them."""
    stage, *rest = path.split(".")
    found: Any = next(one for name, one in recipe.stages.items() if name.partition(".")[0] == stage)
    for name in rest:
        if isinstance(found, Mapping):
            found = found[name]
        else:
            found = found[int(name)] if isinstance(found, list | tuple) else getattr(found, name)
    return found
