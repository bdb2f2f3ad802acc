"""A file of swaps: groups with what stands for them, and templates.

    groups:
      female: {subject: she, name: [Ann, Eva]}       the k-th filling of a group stands where the k-th
      male:   {subject: he,  name: [Bob, Tim]}       of every other does; one filling stands for all
    templates:
      - "{Subject} is called {name}."                She is called Ann. / He is called Bob. / She is called Eva. ...

`{Subject}` is `{subject}` with a capital, unless a group has that name itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.errors import BadFile
from pretune.base.yaml import read_yaml
from pretune.text.read.sources import files_of

PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Swaps:
    """The texts of one file.

    Args:
        name: of the file.
        groups: their names, G.
        texts: of each template the texts [K fillings][G groups]; all differ in what is swapped and in nothing else.
    """

    name: str
    groups: Sequence[str]
    templates: Sequence[str]
    texts: Sequence[Sequence[Sequence[str]]]

    def all(self) -> list[str]:
        """Template by template, filling by filling, group by group."""
        return [text for one in self.texts for filled in one for text in filled]


def read_swaps(given: Artifact) -> list[Swaps]:
    """The swaps of every file of an input.

    Raises:
        BadFile: a file that holds none; all that is wrong with it is said at once.
    """
    return [_swaps(path.stem, *_read(path)) for path in files_of(given)]


def _read(path: Path) -> tuple[Mapping[str, Mapping[str, list[str]]], list[str]]:
    tree, _ = read_yaml(path)
    groups, templates = tree.get("groups"), tree.get("templates")
    if not isinstance(groups, dict) or not isinstance(templates, list) or len(groups) < 2:
        raise BadFile(f"{path.name!r} has not groups (two and more) and templates", hint=HINT)
    if wrong := [g for g, fills in groups.items() if not isinstance(fills, dict) or not fills]:
        raise BadFile(f"{path.name!r}: the groups {', '.join(map(str, wrong))} say nothing to swap", hint=HINT)
    made = {str(g): {str(p): _texts(fill) for p, fill in fills.items()} for g, fills in groups.items()}
    if problems := _problems(made, [str(t) for t in templates]):
        raise BadFile("\n".join(f"{path.name}: {problem}" for problem in problems), hint=HINT)
    return made, [str(t) for t in templates]


HINT = "`groups: {female: {who: she}, male: {who: he}}` and `templates: ['I think {who} is here.']`"


def _texts(fill: Any) -> list[str]:
    return [str(one) for one in fill] if isinstance(fill, list) else [str(fill)]


def _problems(groups: Mapping[str, Mapping[str, list[str]]], templates: Sequence[str]) -> list[str]:
    places = {group: set(fills) for group, fills in groups.items()}
    every = set.union(*places.values())
    found = [
        f"the group {group} lacks {', '.join(sorted(every - has))}" for group, has in places.items() if every - has
    ]
    for template in templates:
        names = [_place(name, every) for name in PLACE.findall(template)]
        if not names:
            found.append(f"{template!r} has no placeholder, so nothing in it is swapped")
        found += [f"{template!r} has {{{name}}}, which no group fills" for name in names if name not in every]
    for place in sorted(set.intersection(*places.values())):
        numbers = {len(fills[place]) for fills in groups.values()}
        if len(numbers) > 1 or 0 in numbers:
            found.append(f"{place} has {' and '.join(map(str, sorted(numbers)))} fillings; all groups need as many")
    return found if templates else [*found, "there is no template"]


def _place(name: str, known: set[str]) -> str:
    """The placeholder that a name means: `Subject` is `subject` where no group fills `Subject`."""
    return name if name in known else name[:1].lower() + name[1:]


def _swaps(name: str, groups: Mapping[str, Mapping[str, list[str]]], templates: Sequence[str]) -> Swaps:
    texts = []
    for template in templates:
        places = [_place(p, {*next(iter(groups.values()))}) for p in PLACE.findall(template)]
        number = max(len(next(iter(groups.values()))[p]) for p in places)
        texts.append([[_filled(template, fills, k) for fills in groups.values()] for k in range(number)])
    return Swaps(name, [*groups], templates, texts)


def _filled(template: str, fills: Mapping[str, list[str]], k: int) -> str:
    def put(found: re.Match[str]) -> str:
        place = _place(found[1], {*fills})
        text = fills[place][k % len(fills[place])]
        return text if place == found[1] else text[:1].upper() + text[1:]

    return PLACE.sub(put, template)
