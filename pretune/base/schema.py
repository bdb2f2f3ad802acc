"""The JSON schema of recipes, made of the same classes that check them: for editors, and for forms.

    pretune explain --schema > recipe.schema.json
    # yaml-language-server: $schema=recipe.schema.json         the first line of a recipe: an editor then completes,
                                                               explains, and underlines what is misspelt

It is draft 7, which editors know best. Whoever makes a form reads `recipe_schema()["$defs"]`: a block of settings
stands under its kind of choice and its kind (`stage.corpus`, `method.lora`), or under its class (`Columns`). Each of
its `properties` has a `description` (the help text), `default`, type and bounds as JSON schema has them, and some

    x-input   "model|bundle"                    an input: "$name" of a stage, or a path, of one of these kinds
    x-kinds   {"lora": "#/$defs/method.lora"}   one of several kinds, and where the settings of each stand
    x-free    true                              says only where or how fast; changes no byte

What settings say of each other (`minutes` or `steps`) is checked by the recipe alone.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter
from pydantic.fields import FieldInfo

from pretune.base.checking import STAGE_NAME
from pretune.base.config import Choice, Config, Free, Input, Variant, facts
from pretune.base.json import Json
from pretune.base.planning import Head
from pretune.base.stage import STAGE

DRAFT = "http://json-schema.org/draft-07/schema#"
OWN = "^[^:]+:[^:]+$"
"""A kind of somebody else's: my_package.my_module:MyClass."""


def recipe_schema() -> Json:
    """The schema of a whole recipe, with a definition for every block of settings of every kind."""
    writer = _Writer({})
    stage = writer.variant(STAGE, None)
    head = {name: writer.setting(Head, name) for name in Head.model_fields if name != "sizes"}
    sizes = {
        "type": "object",
        "description": Head.model_fields["sizes"].description or "",
        "additionalProperties": {"type": "object", "description": "STAGE.SETTING: its value at this size."},
    }
    stages = {
        "type": "object",
        "description": "Stages by name; `$name` is the artifact of another one.",
        "minProperties": 1,
        "propertyNames": {"pattern": STAGE_NAME.pattern},
        "additionalProperties": stage,
    }
    return {
        "$schema": DRAFT,
        "title": "A recipe of pretune",
        "type": "object",
        "required": ["stages"],
        "properties": {**head, "stages": stages, "sizes": sizes},
        "additionalProperties": False,
        "$defs": dict(sorted(writer.blocks.items())),
    }


class _Writer:
    """Writes each block once.

    Args:
        blocks: what has been written, by name.
    """

    def __init__(self, blocks: dict[str, Json]):
        self.blocks = blocks

    def block(self, cls: type[Config], name: str, kind: str = "") -> Json:
        """A reference to the settings of a class."""
        if name not in self.blocks:
            self.blocks[name] = {}  # a block may hold its like
            names = [field for field in cls.model_fields if field != "kind"]
            properties: Json = {"kind": {"const": kind}} if kind else {}
            properties |= {field: self.setting(cls, field) for field in names}
            properties |= {short: {"description": f"Short for {long}."} for short, long in cls.short_for.items()}
            needed = [field for field in names if cls.model_fields[field].is_required()]
            self.blocks[name] = {
                "type": "object",
                "description": inspect.cleandoc(cls.__doc__ or ""),
                "properties": properties,
                **({"required": needed} if needed else {}),
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{name}"}

    def setting(self, cls: type[Config], name: str) -> Json:
        """One setting: what it may be, its help, its default."""
        field, known = cls.model_fields[name], facts(cls, name)
        default = field.get_default(call_default_factory=True, validated_data={})
        told: Json = {"description": " ".join((field.description or "").split())}
        if not field.is_required():
            told["default"] = TypeAdapter(Any).dump_python(default, mode="json", serialize_as_any=True)
        if known.input:
            told["x-input"] = known.input.kind
        if known.choice:
            told["x-kinds"] = {kind: f"#/$defs/{_title(known.choice, kind)}" for kind in known.choice.kinds()}
        if known.free:
            told["x-free"] = True
        return {**self._value(field, default), **told}

    def _value(self, field: FieldInfo, default: object) -> Json:
        """What a value may be; bounds are those that pydantic tells of plain types."""
        if any(isinstance(mark, Input) for mark in field.metadata):
            return _places(field.annotation)
        if _is_plain(field.annotation) and not _choice_in(field.metadata):
            bounds = [mark for mark in field.metadata if mark is not Free]
            found = _plain(Annotated[(field.annotation, *bounds)] if bounds else field.annotation)
            return _or_text(found) if found.get("type") == "array" else found
        return self._typed(field.annotation, _choice_in(field.metadata), default)

    def _typed(self, annotation: Any, choice: Choice[Variant] | None, default: object) -> Json:
        origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Annotated:
            return self._typed(parts[0], choice or _choice_in(parts[1:]), default)
        if choice:
            found = self.variant(choice, default)
            return {"anyOf": [found, {"type": "null"}]} if type(None) in parts else found
        if origin in (typing.Union, types.UnionType):
            return {"anyOf": [self._typed(part, None, default) for part in parts]}
        if origin in (list, tuple):
            return _or_text({"type": "array", "items": self._typed(parts[0], None, None)})
        if origin is dict:
            return {"type": "object", "additionalProperties": self._typed(parts[1], None, None)}
        if isinstance(annotation, type) and issubclass(annotation, Config):
            return {"allOf": [self.block(annotation, annotation.__name__)]}
        return _plain(annotation)

    def variant(self, choice: Choice[Any], default: object) -> Json:
        """One of several kinds: its name, or a block of its settings; without a kind, those of the default."""
        kinds = choice.kinds()
        blocks = {kind: self.block(choice.find(kind), _title(choice, kind), kind) for kind in kinds}
        usual = default.kind if isinstance(default, Variant) else choice.default
        name = {"anyOf": [{"enum": kinds}, {"type": "string", "pattern": OWN}]}
        of_kinds: list[Json] = [
            {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": block}
            for kind, block in blocks.items()
        ]
        without: list[Json] = [blocks[usual]] if usual in blocks else []
        if choice.several:
            without.append({"additionalProperties": {"type": ["string", "object"]}})
        if without:
            of_kinds.append({"if": {"not": {"required": ["kind"]}}, "then": {"anyOf": without}})
        block: Json = {"properties": {"kind": name}, "allOf": of_kinds} | ({} if without else {"required": ["kind"]})
        found = {"type": ["string", "object"], "if": {"type": "string"}, "then": name, "else": block}
        if not choice.listed:
            return found
        listed, short = choice.listed
        return {
            "if": {"type": "array"},
            "then": {"$ref": f"#/$defs/{_title(choice, listed)}/properties/{short}"},
            "else": found,
        }


def _title(choice: Choice[Variant], kind: str) -> str:
    return f"{choice.base.__name__.lower()}.{kind}"


def _choice_in(marks: Iterable[object]) -> Choice[Variant] | None:
    found = (m.func for m in marks if isinstance(m, BeforeValidator) and isinstance(m.func, Choice))
    return next(found, None)


def _is_plain(annotation: Any) -> bool:
    """Whether no block of settings and no choice is in a type."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return False
    marked = typing.get_args(annotation)[1:] if typing.get_origin(annotation) is Annotated else ()
    return not _choice_in(marked) and all(_is_plain(part) for part in typing.get_args(annotation))


def _places(annotation: Any) -> Json:
    """`$name` or a path; several in a list, or by name, where the setting takes several."""
    said, text = str(annotation), {"type": "string"}
    many: Json = {"anyOf": [text, {"type": "array", "items": text}]} if "list[" in said else text
    named: list[Json] = [{"type": "object", "additionalProperties": many}] if "dict[" in said else []
    nothing: list[Json] = [{"type": "null"}] if "None" in said else []
    return {"anyOf": [many, *named, *nothing]} if named or nothing else many


def _plain(annotation: Any) -> Json:
    """What pydantic says of a type."""
    found: Json = TypeAdapter(annotation).json_schema()
    return found


def _or_text(array: Json) -> Json:
    """A list, or a text with commas between its parts."""
    return {"anyOf": [array, {"type": "string"}]}
