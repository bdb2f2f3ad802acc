"""`seeds: 3` in a recipe: the stages that train, and all that is made of them, once for each of three seeds.

tuned    ──▶ tuned.s0 tuned.s1 tuned.s2
report   ──▶ report.s0 report.s1 report.s2       of: [$report]  ──▶  of: [$report.s0, $report.s1, $report.s2]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pretune.base.json import Json, JsonMap
from pretune.base.stage import STAGE, Stage

SEEDED = re.compile(r"(.+)\.s\d+")
"""The name of what was made with one of several seeds."""


def without_seed(name: str) -> str:
    """The stage's name in the recipe: `report` of `report.s1`, and of `report` itself."""
    found = SEEDED.fullmatch(name)
    return found[1] if found else name


def for_each_seed(stages: JsonMap, kinds: Mapping[str, type[Stage]], seeds: int) -> tuple[Json, dict[str, int]]:
    """The settings of all stages, by name, in their order; and of those that are made several times how far their seed
    is from the recipe's.

    Args:
        stages: settings by name; kinds: the class of each.
    """
    several = {name for name, kind in kinds.items() if kind.trains}
    while more := {
        n for n in stages if n not in several and not kinds[n].gathers_seeds and several & {*_named(stages[n])}
    }:
        several |= more
    if seeds == 1 or not several:
        return dict(stages), {}
    found: Json = {}
    number: dict[str, int] = {}
    for name, settings in stages.items():
        if name not in several:
            found[name] = _gathered(settings, several, seeds)
        for k in range(seeds if name in several else 0):
            found[f"{name}.s{k}"] = _renamed(settings, several, k)
            number[f"{name}.s{k}"] = k
    return found, number


def kinds_of(stages: JsonMap) -> dict[str, type[Stage]]:
    """The class of each stage, by name."""
    return {name: STAGE.find(one if isinstance(one, str) else one["kind"]) for name, one in stages.items()}


def _named(tree: object) -> Iterator[str]:
    """The stages that settings name."""
    if isinstance(tree, str) and tree.startswith("$"):
        yield tree[1:]
    for part in tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else ():
        yield from _named(part)


def _renamed(tree: Any, several: set[str], k: int) -> Any:
    """The settings with the names of the k-th of each."""
    if isinstance(tree, str):
        return f"{tree}.s{k}" if tree[1:] in several and tree.startswith("$") else tree
    if isinstance(tree, Mapping):
        return {name: _renamed(part, several, k) for name, part in tree.items()}
    return [_renamed(part, several, k) for part in tree] if isinstance(tree, list) else tree


def _gathered(tree: Any, several: set[str], seeds: int) -> Any:
    """The settings with all of each in the lists that name one."""
    if isinstance(tree, Mapping):
        return {name: _gathered(part, several, seeds) for name, part in tree.items()}
    if not isinstance(tree, list):
        return tree
    lists = ([_renamed(part, several, k) for k in range(seeds)] for part in tree)
    return [one for same in lists for one in (same if same[0] != same[-1] else same[:1])]
