"""Settings: one tree, three spellings (YAML, `dotted.key=value`, Python objects).

A block of settings is a frozen pydantic model; a setting that is one of several shapes is a `Choice`
over a table of strings, so illegal combinations cannot be written and nothing heavy is imported
before the whole tree is known to be right.

    method: lora                     is short for   method: {kind: lora}
    method.rank=4                    is the same as method: {kind: <the default>, rank: 4}
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, ClassVar, Final, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from pretune.base.errors import SettingsError, SeveralMistakes, UnknownKind, did_you_mean
from pretune.base.json import Json, JsonMap

Lines = Mapping[tuple[str, ...], int]
C = TypeVar("C", bound="Config")
V = TypeVar("V", bound="Variant")


@dataclass(frozen=True)
class Input:
    """Marks a field as an input artifact: `corpus: Annotated[str, Input("corpus")]` holds "$name" or a path.

    Args:
        by_name: an input that stands on a command line without its field's name is never this one.
    """

    kind: str
    by_name: bool = False


class _Free:
    """Marks a setting that says only where or how fast (workers, device): it stays out of the key."""


Free: Final = _Free()


class Config(BaseModel):
    """A frozen block of settings. Unknown names are errors, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    short_for: ClassVar[Mapping[str, str]] = {}
    """Names that a block takes besides its own: each with the setting that it is short for."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: object) -> object:
        """`clean=nfc,mask-pii` is a list where a list is wanted; a block without a kind keeps the default's kind."""
        if not isinstance(value, dict):
            return value
        listed = {name: _as_list(item) if _wants_list(cls, name) else item for name, item in value.items()}
        return {name: _with_kind(cls, name, item) for name, item in listed.items()}


class Variant(Config):
    """A config that is one of several; `kind` is how the recipe names it."""

    kind: str = ""
    version: ClassVar[int] = 1
    """Raised in the commit that changes what the same settings write."""
    extras: ClassVar[tuple[str, ...]] = ()
    """Extras of pretune that it needs; checked before the first second of a recipe."""


def _wants_list(cls: type[Config], name: str) -> bool:
    field = cls.model_fields.get(name)
    return field is not None and typing.get_origin(field.annotation) in (list, tuple)


def _with_kind(cls: type[Config], name: str, value: object) -> object:
    """`optim.learning_rate=1e-3` changes the rate of the field's own default optimizer, not the optimizer."""
    if name not in cls.model_fields or not isinstance(value, Mapping) or "kind" in value:
        return value
    default, choice = cls.model_fields[name].default, facts(cls, name).choice
    if not isinstance(default, Variant) or (choice and choice.holds_several(value, type(default))):
        return value
    return {"kind": default.kind, **value}


def _as_list(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Choice(Generic[V]):
    """A field that holds one of several variants, picked by its `kind`.

    Args:
        base: what every variant is.
        table: kind -> "module:Class"; strings, so that choosing LoRA does not import ONNX.
        group: entry-point group through which other packages add kinds.
        default: the kind taken when settings are given without one.
        several: the kind that holds several by name: {a: X, b: Y} is short for {kind: several, of: {a: X, b: Y}}.
        listed: kind and setting that a list is short for: [X, Y] for {kind: ladder, rungs: [X, Y]}.

    A kind may also be written `my_package.my_module:MyMethod`.
    """

    def __init__(
        self,
        base: type[V],
        table: Mapping[str, str],
        *,
        group: str,
        default: str | None = None,
        several: str | None = None,
        listed: tuple[str, str] | None = None,
    ):
        self.base, self.table, self.group = base, table, group
        self.default, self.several, self.listed = default, several, listed

    def kinds(self) -> list[str]:
        return sorted({*self.table, *(e.name for e in entry_points(group=self.group))})

    def find(self, kind: str) -> type[V]:
        """The class of a kind; raises UnknownKind."""
        target = self.table.get(kind) or (kind if ":" in kind else None)
        target = target or next((e.value for e in entry_points(group=self.group) if e.name == kind), None)
        if target is None:
            raise UnknownKind(f"no such {self.base.__name__.lower()}: {kind!r}", hint=did_you_mean(kind, self.kinds()))
        module, _, name = target.partition(":")
        try:
            found: type[V] = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise UnknownKind(f"{kind!r} cannot be imported: {error}") from error
        if not (isinstance(found, type) and issubclass(found, self.base)):
            hint = f"name a class of {self.base.__name__}, or one of: {', '.join(self.kinds())}"
            raise UnknownKind(f"{kind!r} is not a {self.base.__name__}", hint=hint)
        return found

    def __call__(self, value: object) -> V:
        """Validate a value: a variant, a kind, or settings with a `kind`."""
        if value is None or isinstance(value, self.base):
            return value  # type: ignore[return-value]  # a field that may be nothing passes None through
        if isinstance(value, list) and self.listed:
            value = {"kind": self.listed[0], self.listed[1]: value}
        settings = {"kind": value} if isinstance(value, str) else value
        if not isinstance(settings, Mapping):
            raise PydanticCustomError("wrong-type", "must be a kind or a block of settings")
        if self.holds_several(settings):
            settings = {"kind": self.several, "of": settings}
        kind = settings.get("kind", self.default)
        if not isinstance(kind, str):
            raise PydanticCustomError("missing-setting", f"needs a `kind`; choose one of: {', '.join(self.kinds())}")
        try:
            found = self.find(kind)
        except UnknownKind as error:
            raise PydanticCustomError("unknown-kind", error.sentence.replace("{", "(")) from None
        return found.model_validate({**settings, "kind": kind})

    def holds_several(self, settings: Mapping[str, object], default: type[Config] | None = None) -> bool:
        """Whether settings are variants by name, and not those of one (of the default one, where there is one)."""
        if not self.several or "kind" in settings or not settings:
            return False
        known = default.model_fields if default else {}
        return all(map(_may_be_variant, settings.values())) and not settings.keys() & known.keys()


def _may_be_variant(value: object) -> bool:
    return isinstance(value, str | Mapping | Variant)


def chosen(choice: Choice[V]) -> tuple[object, ...]:
    """The pydantic metadata of a choice: `method: Annotated[Method, *chosen(METHOD)]`."""
    return (SerializeAsAny(), BeforeValidator(choice))  # type: ignore[type-arg]


# ---- looking into a tree of settings ------------------------------------------------------------


@dataclass(frozen=True)
class FieldFacts:
    """What base needs to know of a field, at any depth."""

    input: Input | None
    free: bool
    choice: Choice[Variant] | None


@cache
def facts(cls: type[Config], name: str) -> FieldFacts:
    field = cls.model_fields[name]
    marks = [*field.metadata, *_nested_marks(field.annotation)]
    return FieldFacts(
        input=next((m for m in marks if isinstance(m, Input)), None),
        free=any(m is Free for m in marks),
        choice=next((m.func for m in marks if isinstance(m, BeforeValidator) and isinstance(m.func, Choice)), None),
    )


def _nested_marks(annotation: object) -> Iterator[object]:
    """Annotated[...] metadata inside lists, unions and mappings."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from typing.get_args(annotation)[1:]
    if origin in (Annotated, list, tuple, dict, typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from _nested_marks(part)


def differing(config: Config) -> Json:
    """The settings that decide what is written: those that differ from their defaults.

    Inputs are left out (their ids stand in for them), and so are settings marked `Free`. A variant
    always carries its kind and version. So a new setting with a neutral default changes no key.
    """
    tree: Json = {}
    for name, field in type(config).model_fields.items():
        known, value = facts(type(config), name), getattr(config, name)
        if known.input or known.free or name == "kind":
            continue
        plain = _differing_value(value)
        default = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(value, Variant) or _has_variant(value) or value != default:
            tree[name] = plain
    if isinstance(config, Variant):
        tree |= {"kind": config.kind, "version": config.version}
    return tree


def _has_variant(value: object) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(v, Variant) for v in value)


def _differing_value(value: object) -> object:
    if isinstance(value, Config):
        return differing(value)
    if isinstance(value, list | tuple):
        return [_differing_value(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _differing_value(v) for k, v in value.items()}
    return value


def complete(config: Config) -> Json:
    """All settings, defaults included, as plain JSON."""
    return config.model_dump(mode="json")


def extras_of(config: Config) -> set[str]:
    """Extras that a tree of settings needs, by the kinds that it chose."""
    needed = set(config.extras) if isinstance(config, Variant) else set()
    for name in type(config).model_fields:
        value = getattr(config, name)
        listed = list(value.values()) if isinstance(value, dict) else value
        parts = listed if isinstance(listed, list | tuple) else [value]
        needed = needed.union(*(extras_of(part) for part in parts if isinstance(part, Config)))
    return needed


def inputs_of(config: Config, place: str = "") -> Iterator[tuple[str, str, Input]]:
    """Every input in the tree: (dotted place, "$name" or path, mark)."""
    for name in type(config).model_fields:
        known, value, here = facts(type(config), name), getattr(config, name), f"{place}{name}"
        if known.input and value is not None:
            yield from ((p, v, known.input) for p, v in _strings(value, here))
        elif isinstance(value, Config):
            yield from inputs_of(value, f"{here}.")
        elif isinstance(value, list | tuple):
            for i, item in enumerate(value):
                if isinstance(item, Config):
                    yield from inputs_of(item, f"{here}.{i}.")


def _strings(value: object, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _strings(item, f"{place}.{name}")
    elif isinstance(value, Iterable):
        for i, item in enumerate(value):
            yield from _strings(item, f"{place}.{i}")


# ---- building, and telling every mistake at once ------------------------------------------------


@dataclass(frozen=True)
class Mistake:
    """One wrong setting: where (dotted), what, and the value that was given."""

    place: tuple[str, ...]
    problem: str
    value: object
    code: str

    def line(self, lines: Lines) -> str:
        if not self.place:  # settings that do not go together
            return f"  {self.problem}  [{self.code}]"
        at = next((lines[self.place[:n]] for n in range(len(self.place), 0, -1) if self.place[:n] in lines), None)
        where = ".".join(self.place) + (f" (line {at})" if at else "")
        got = "" if self.code == "missing-setting" else f" (got {_short(self.value)})"
        return f"  {where}: {self.problem}{got}  [{self.code}]"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def build(cls: type[C], tree: JsonMap, *, source: str, prefix: tuple[str, ...] = (), lines: Lines | None = None) -> C:
    """Validate a tree of settings; raises SettingsError that tells every mistake."""
    config, mistakes = check(cls, tree, prefix=prefix)
    if mistakes or config is None:
        raise mistakes_error(mistakes, source=source, lines=lines or {})
    return config


def check(cls: type[C], tree: JsonMap, *, prefix: tuple[str, ...] = ()) -> tuple[C | None, list[Mistake]]:
    """The config, or the mistakes that kept it from being built."""
    try:
        return cls.model_validate(dict(tree)), []
    except ValidationError as error:
        return None, [_mistake(cls, tree, e, prefix) for e in error.errors()]


def mistakes_error(mistakes: Iterable[Mistake], *, source: str, lines: Lines) -> SettingsError:
    told = [m.line(lines) for m in mistakes]
    number = "1 setting is wrong" if len(told) == 1 else f"{len(told)} settings are wrong"
    return SeveralMistakes(f"{source}: {number}\n" + "\n".join(told))


_EXPECTED = {
    "float": "must be a number",
    "int": "must be a whole number",
    "bool": "must be true or false",
    "string": "must be text",
    "list": "must be a list",
    "tuple": "must be a list",
    "dict": "must be a block of settings",
    "model": "must be a block of settings",
}


def _mistake(cls: type[Config], tree: JsonMap, error: ErrorDetails, prefix: tuple[str, ...]) -> Mistake:
    place, kind = tuple(map(str, error["loc"])), str(error["type"])
    if kind == "extra_forbidden":
        problem, code = (
            "no such setting; " + did_you_mean(place[-1], names_at(cls, tree, place[:-1])),
            "unknown-setting",
        )
    elif kind == "missing":
        problem, code = "this setting is needed", "missing-setting"
    elif kind in ("wrong-type", "missing-setting", "unknown-kind"):
        problem, code = error["msg"], kind
    elif kind == "literal_error":
        problem, code = f"must be one of {error['ctx']['expected']}", "wrong-value"
    elif kind in ("value_error", "wrong-value", "multiple_of") or "than" in kind:
        problem, code = error["msg"].removeprefix("Value error, "), "wrong-value"
        problem = problem.replace("Input should be", "must be")
    else:
        problem, code = _EXPECTED.get(kind.split("_", maxsplit=1)[0], error["msg"]), "wrong-type"
    return Mistake(prefix + place, problem, error["input"], code)


def names_at(cls: type[Config], tree: object, place: tuple[str, ...]) -> list[str]:
    """Names that are valid at `place`, following the kinds that the tree chose."""
    field: tuple[type[Config], str] | None = None
    for name in place:
        if name.isdigit() and isinstance(tree, list | tuple):
            tree = tree[int(name)]
        else:
            if name not in cls.model_fields:
                return []
            field, tree = (cls, name), tree.get(name) if isinstance(tree, Mapping) else None
        if field and not isinstance(tree, list | tuple):
            found = _class_at(*field, tree)
            if found is None:
                return []
            cls = found
    return [n for n in cls.model_fields if n != "kind"]


def _class_at(cls: type[Config], name: str, value: object) -> type[Config] | None:
    choice = facts(cls, name).choice
    if choice:
        value = _with_kind(cls, name, value)
        kind = value.get("kind", choice.default) if isinstance(value, Mapping) else value
        return choice.find(kind) if isinstance(kind, str) else None
    annotation = cls.model_fields[name].annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Config) else None


def describe(cls: type[Config]) -> list[tuple[str, object, str]]:
    """(name, default, help) of every setting of a block."""
    rows = []
    for name, field in cls.model_fields.items():
        default = "(needed)" if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
        rows.append((name, default, " ".join((field.description or "").split())))
    return [row for row in rows if row[0] != "kind"]
