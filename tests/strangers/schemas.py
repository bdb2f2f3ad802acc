"""JSON schemas as strangers write them, drawn by a small grammar; and a handful of the usual ones.

Only keywords that answers can be kept to: others are refused, which is tested apart.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]
WORDS = ["name", "age", "城市", "items", "is_open", "créé", "a b", 'quo"te', "🙂", "x/y"]
FORMATS = ["date", "email", "ipv4", "uuid"]
PATTERNS = ["^[A-Z]{2}[0-9]{3}$", "^(red|green|蓝色)$", "^[a-z]+(-[a-z]+)?$", "[0-9]", "^.{2,4}$"]
USUAL: list[Schema] = [
    {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "email": {"type": ["string", "null"]},
        },
        "required": ["name", "age", "email"],
        "additionalProperties": False,
    },
    {
        "type": "object",
        "properties": {
            "sentiment": {"enum": ["positive", "negative", "neutral"]},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        },
        "required": ["sentiment", "confidence"],
        "additionalProperties": False,
    },
    {
        "type": "object",
        "properties": {"steps": {"type": "array", "items": {"$ref": "#/$defs/step"}, "maxItems": 4}},
        "required": ["steps"],
        "additionalProperties": False,
        "$defs": {
            "step": {
                "type": "object",
                "properties": {"explanation": {"type": "string", "maxLength": 12}, "output": {"type": "string"}},
                "required": ["explanation", "output"],
                "additionalProperties": False,
            }
        },
    },
    {
        "type": "object",
        "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["value", "next"],
        "additionalProperties": False,
    },
    {"type": "string", "format": "date-time"},
    {"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 1, "maxItems": 2},
]


def drawn(seed: int) -> Schema:
    """A schema; the same seed draws the same one."""
    rng = random.Random(seed)
    parts = {f"d{k}": _one(rng, 1, []) for k in range(rng.randrange(3))}
    schema = _one(rng, 3, [f"#/$defs/{name}" for name in parts])
    return {**schema, **({"$defs": parts} if parts else {})}


def _one(rng: random.Random, depth: int, refs: list[str]) -> Schema:
    kinds: list[Callable[[random.Random, int, list[str]], Schema]] = [_string, _number, _closed]
    kinds += [_array, _object, _object, _any] if depth else []
    if refs and rng.random() < 0.25:
        return {"$ref": rng.choice(refs)}
    return rng.choice(kinds)(rng, depth, refs)


def _string(rng: random.Random, depth: int, refs: list[str]) -> Schema:
    if rng.random() < 0.5:
        return {"type": "string", **rng.choice([{"pattern": rng.choice(PATTERNS)}, {"format": rng.choice(FORMATS)}])}
    least = rng.randrange(4)
    bounds = {"minLength": least} if rng.random() < 0.3 else {}
    return {"type": "string", **bounds, **({"maxLength": least + rng.randrange(9)} if rng.random() < 0.6 else {})}


def _number(rng: random.Random, depth: int, refs: list[str]) -> Schema:
    kind, low = rng.choice(["integer", "number"]), rng.randrange(-50, 50)
    bounds: Schema = {rng.choice(["minimum", "exclusiveMinimum"]): low} if rng.random() < 0.6 else {}
    if rng.random() < 0.6:
        bounds[rng.choice(["maximum", "exclusiveMaximum"])] = low + rng.randrange(3, 400)
    if kind == "integer" and rng.random() < 0.3:
        bounds = {"multipleOf": rng.choice([2, 3, 5])}
    return {"type": kind, **bounds}


def _closed(rng: random.Random, depth: int, refs: list[str]) -> Schema:
    values: list[Any] = ["red", "蓝", "🙂", 'a"b', "line\nend", 3, -1.5, True, None, {"k": [1, "x"]}, []]
    return rng.choice([{"type": "boolean"}, {"const": rng.choice(values)}, {"enum": rng.sample(values, 3)}])


def _array(rng: random.Random, depth: int, refs: list[str]) -> Schema:
    least = rng.randrange(3)
    schema: Schema = {"type": "array", "items": _one(rng, depth - 1, refs), "minItems": least}
    if rng.random() < 0.3:
        schema |= {"prefixItems": [_one(rng, depth - 1, refs)], "minItems": 1}
    return {**schema, "maxItems": schema["minItems"] + rng.randrange(4)}


def _object(rng: random.Random, depth: int, refs: list[str]) -> Schema:
    names = rng.sample(WORDS, rng.randrange(1, 5))
    schema: Schema = {"type": "object", "properties": {name: _one(rng, depth - 1, refs) for name in names}}
    if rng.random() < 0.7:
        schema["required"] = [name for name in names if rng.random() < 0.7]
    if rng.random() < 0.15:
        return {"type": "object", "patternProperties": {"^k[0-9]$": _one(rng, depth - 1, refs)}, "minProperties": 1}
    return {**schema, "additionalProperties": rng.choice([False, False, {"type": "integer"}])}


def _any(rng: random.Random, depth: int, refs: list[str]) -> Schema:
    if rng.random() < 0.2:
        return {"allOf": [_object(rng, depth, []), {"type": "object", "properties": {"age": {"type": "integer"}}}]}
    return {"anyOf": [_one(rng, depth - 1, refs) for _ in range(rng.randrange(2, 4))]}


def hostile() -> dict[str, Any]:
    """Schemas that are large, deep, without end, or cost far more than their length, by what they try."""
    nested: Any = {}
    for _ in range(30):
        nested = {"type": "array", "items": nested}
    twice = {f"a{k}": {"allOf": [{"$ref": f"#/$defs/a{k + 1}"}] * 2} for k in range(12)}
    parts = [{"type": "object", "properties": {f"p{k}": {"type": "integer"}}} for k in range(3)]
    many = {"type": "string", "pattern": "(a|b)*a(a|b){12}"}
    return {
        "a thousand properties": {"type": "object", "properties": {f"v{k}": {"type": "string"} for k in range(1000)}},
        "properties with hard patterns": {"type": "object", "properties": {f"v{k}": many for k in range(200)}},
        "2,000 values": {"enum": [f"v{k}" for k in range(2000)]},
        "a text of 30,000 characters": {"const": "x" * 30_000},
        "three to the sixth": {"allOf": [{"anyOf": parts}] * 6},
        "two to the tenth": {"allOf": [{"anyOf": parts[:2]}] * 10},
        "references that double": {"$defs": {**twice, "a12": {"type": "integer"}}, "$ref": "#/$defs/a0"},
        "patterns that meet": {"allOf": [{"type": "string", "pattern": f"(a|b)*a(a|b){{{k}}}"} for k in range(1, 12)]},
        "a pattern in a pattern": {"type": "string", "pattern": "(((((a{9}){9}){9}){9}){9}){9}"},
        "optional letters": {"type": "string", "pattern": "^(a?){300}a{300}$"},
        "a product of remainders": {"allOf": [{"type": "integer", "multipleOf": k} for k in (97, 101)]},
        "one remainder": {"type": "integer", "multipleOf": 9973},
        "a million remainders": {"type": "integer", "multipleOf": 1_000_003},
        "small steps": {"type": "number", "multipleOf": 1e-9, "maximum": 1e300},
        "a billion items": {"type": "array", "minItems": 10**9},
        "a billion characters": {"type": "string", "minLength": 10**9},
        "thirty levels": nested,
        "itself": {"$ref": "#"},
        "itself, required": {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        "a far reference": {"$ref": "http://169.254.169.254/latest"},
        "names of options": {"x-guidance": {"lenient": True}, "uniqueItems": True},
    }
