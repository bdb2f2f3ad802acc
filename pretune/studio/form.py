"""A form from the settings: a field for each, with its type, default and help text; from what was sent, the tree again.

    finetune.method = [lora v]        the kinds of a choice, and below them the settings of the one that is chosen
    finetune.method.rank = [   ]      empty: the default, which the field shows
    corpus.clean = [nfc,mask-pii]     what is a list or a block is written as in YAML

There is no second description of a setting: classes, defaults, docstrings and checks are those of the recipe.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pretune.base.config import Choice, Config, Mistake, Variant, describe, facts
from pretune.base.errors import UnknownKind
from pretune.base.json import Json, JsonMap
from pretune.base.yaml import parse_value, set_in

Place = tuple[str, ...]
DEEPEST = 12
"""No recipe is so deep; a field that is named so is nobody's."""
BREAKS = {0x85: "\\N", 0x2028: "\\L", 0x2029: "\\P"}
"""What ends a line in YAML, though not in JSON, as YAML escapes it."""


@dataclass(frozen=True)
class Box:
    """One field of the form.

    Args:
        place: where the setting is in the recipe, without `stages`; joined by dots it is the field's name.
        value: what was given, as one writes it; "" where the default holds.
        options: what can be chosen; empty for a field to write into.
        is_kind: whether it is one of several shapes, and the options are their kinds.
        is_input: whether it names an artifact or files.
        inside: the settings of the block that it is.
    """

    place: Place
    help: str
    default: str
    value: str = ""
    options: Sequence[str] = ()
    is_kind: bool = False
    is_input: bool = False
    is_needed: bool = False
    inside: Sequence[Box] = ()

    @property
    def name(self) -> str:
        return ".".join(self.place)

    @property
    def field(self) -> str:
        """The name of the field that is sent."""
        return f"{self.name}.kind" if self.is_kind else self.name

    @property
    def is_given(self) -> bool:
        """Whether it, or a setting inside, is not left to its default."""
        return bool(self.value) or any(box.is_given for box in self.inside)


def boxes(cls: type[Config], given: JsonMap, place: Place = ()) -> list[Box]:
    """The fields of a block: what is needed, then what is given, then the others; names it does not know last."""
    known = [_box(cls, name, default, text, given, place) for name, default, text in describe(cls)]
    strange = [name for name in given if name not in cls.model_fields]
    unknown = [Box((*place, name), "", "", written(given[name])) for name in strange]
    return sorted(known, key=lambda box: (not box.is_needed, not box.is_given)) + unknown


def _box(cls: type[Config], name: str, default: object, text: str, given: JsonMap, place: Place) -> Box:
    field, known, here = cls.model_fields[name], facts(cls, name), (*place, name)
    value, needed = given.get(name), field.is_required()
    shown = "" if needed or default == "" else written(default)
    is_null = name in given and value is None  # not the default: a block of settings that is switched off
    if known.choice and not is_null and _holds_one(known.choice, field.annotation, value, default):
        settings = value if isinstance(value, Mapping) else {} if value is None else {"kind": value}
        kind = str(settings.get("kind", ""))
        inside = _inside(known.choice.find, kind or shown or known.choice.default or "", settings, here)
        return Box(here, text, shown, kind, known.choice.kinds(), is_kind=True, is_needed=needed, inside=inside)
    block = _block(field.annotation)
    if block and not is_null and isinstance(value, Mapping | None):
        return Box(here, text, "", is_needed=needed, inside=boxes(block, value or {}, here))
    options = [] if isinstance(value, list | Mapping) else _options(field.annotation)
    held = written(value) if name in given else ""
    return Box(here, text, shown, held, options, is_input=known.input is not None, is_needed=needed)


def _holds_one(choice: Choice[Variant], annotation: object, value: object, default: object) -> bool:
    """Whether a choice is a field with one kind, and not a list or several by name."""
    if typing.get_origin(annotation) in (list, tuple, dict):
        return False
    several = isinstance(value, Mapping) and choice.holds_several(
        value, type(default) if isinstance(default, Config) else None
    )
    return not several and isinstance(value, str | Mapping | None)


def _inside(find: typing.Callable[[str], type[Config]], kind: str, settings: JsonMap, place: Place) -> list[Box]:
    try:
        found = find(kind)
    except UnknownKind:
        return []
    return boxes(found, {name: value for name, value in settings.items() if name != "kind"}, place)


def _block(annotation: object) -> type[Config] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, Config) else None


def _options(annotation: object) -> list[str]:
    """true and false, or the values of a Literal."""
    parts = typing.get_args(annotation) if typing.get_origin(annotation) is not typing.Literal else (annotation,)
    literal = next((p for p in (annotation, *parts) if typing.get_origin(p) is typing.Literal), None)
    if literal is not None:
        return [str(one) for one in typing.get_args(literal)]
    return ["true", "false"] if annotation is bool else []


def written(value: object) -> str:
    """A value as one writes it in a field; `parse_value` makes it again."""
    if isinstance(value, Config):
        return str(getattr(value, "kind", "") or json.dumps(value.model_dump(mode="json")))
    if isinstance(value, str):
        is_plain = value.strip() == value != "" and parse_value(value) == value
        return value if is_plain else json.dumps(value, ensure_ascii=False).translate(BREAKS)
    return json.dumps(value, ensure_ascii=False, default=written)


def tree_of(fields: Mapping[str, str], prefix: str) -> Json:
    """The settings of the fields whose names begin with `prefix.`; empty ones are left to their defaults."""
    tree: Json = {}
    for name, text in fields.items():
        if name.startswith(f"{prefix}.") and text.strip() and name.count(".") < DEEPEST:
            set_in(tree, name.removeprefix(f"{prefix}.").split("."), parse_value(text.strip()))
    return {key: _short(value) for key, value in tree.items()}


def _short(value: object) -> object:
    """`lora` for {kind: lora}, as one writes it."""
    if not isinstance(value, dict):
        return value
    return value["kind"] if list(value) == ["kind"] else {key: _short(one) for key, one in value.items()}


def at_fields(mistakes: Sequence[Mistake], forms: Sequence[Box]) -> dict[str, list[str]]:
    """Field -> what is wrong with it: the field at the mistake's place, or the nearest around it; "" for the whole,
    which says the place."""
    names = {box.place for box in _all(forms)}
    found: dict[str, list[str]] = {}
    for one in mistakes:
        ends = (one.place[:n] for n in range(len(one.place), 0, -1))
        field = ".".join(next((p for p in ends if p in names), ()))
        told = one.problem if field or not one.place else f"{'.'.join(one.place)}: {one.problem}"
        found.setdefault(field, []).append(told)
    return found


def _all(forms: Sequence[Box]) -> Iterator[Box]:
    for box in forms:
        yield box
        yield from _all(box.inside)
