"""YAML 1.2 with line numbers, and `dotted.key=value`.

YAML 1.2 matters: `5e-4` is a number, `no` is a word. Aliases of Python objects, tags and duplicate
names are refused; a bare leading `*` (an alias in YAML, a pattern in everybody's mind) gets its hint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pretune.base.errors import BadCommand, BadYaml, NoSuchFile
from pretune.base.json import Json, JsonMap

if TYPE_CHECKING:
    from ruamel.yaml import YAML

SETTING = re.compile(r"^[a-z][a-z0-9_.]*=")
"""An argument of this form is a setting; write `./a=b` for a path."""


def read_yaml(path: Path) -> tuple[Json, dict[tuple[str, ...], int]]:
    """The tree of a YAML file, and the line (from 1) of every dotted place in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = "`pretune new NAME --from FOLDER` writes one"
        raise NoSuchFile(f"there is no recipe {str(path)!r}", hint=hint) from None
    except UnicodeDecodeError:
        raise BadYaml(f"{path.as_posix()} is not UTF-8", hint="save it as UTF-8") from None
    loaded = _load(text, source=path.as_posix(), round_trip=True)
    if loaded is None:
        raise BadYaml(f"{path.as_posix()} is empty")
    if not isinstance(loaded, Mapping):
        raise BadYaml(f"{path.as_posix()} holds a {type(loaded).__name__}, not a block of settings")
    return {str(k): _plain(v) for k, v in loaded.items()}, dict(_lines(loaded, ()))


def parse_value(text: str) -> object:
    """The value of `key=value`: 1e-4, true, [1, 2] and {a: 1} mean what they look like."""
    if not text:
        return ""
    try:
        value = _plain(_load(text, source=text, round_trip=False))
    except BadYaml:
        return text
    return text if value is None and text not in ("null", "~") else value


def write_yaml(tree: JsonMap) -> str:
    """YAML text of a plain tree."""
    import io

    out = io.StringIO()
    _writer().dump(dict(tree), out)
    return out.getvalue()


def _writer() -> YAML:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style, yaml.width, yaml.allow_unicode = None, 120, True
    return yaml


def edited(text: str, tree: JsonMap) -> str:
    """YAML text changed to hold this tree; comments and order stay where the settings do."""
    import io

    document = _load(text, source="recipe", round_trip=True)
    if not isinstance(document, dict):
        return write_yaml(tree)
    _bring(document, tree)
    out = io.StringIO()
    _writer().dump(document, out)
    return out.getvalue()


def _bring(document: Json, tree: JsonMap) -> None:
    """Make a block that was read hold what the tree holds, touching nothing else."""
    for name in [name for name in document if str(name) not in tree]:
        del document[name]
    for name, value in tree.items():
        old = document.get(name)
        if isinstance(old, dict) and isinstance(value, Mapping):
            _bring(old, value)
        elif name not in document or _plain(old) != value:
            document[name] = value


def _load(text: str, *, source: str, round_trip: bool) -> object:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        yaml = YAML(typ="rt" if round_trip else "safe", pure=True)
        yaml.preserve_quotes = True
        return yaml.load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        star = "\n" not in text or re.search(r"[:\[,-]\s*\*", text.splitlines()[line - 1])
        hint = 'put a value that starts with * in quotes: "*.txt"' if star and "*" in text else None
        raise BadYaml(f"{source} (line {line}): {error.problem or error.context}", hint=hint) from None
    except YAMLError as error:
        raise BadYaml(f"{source}: {str(error).splitlines()[0]}") from None


def _plain(value: object) -> object:
    """Builtin types instead of the reader's own."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return None if value is None else str(value)


def _lines(node: object, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield (*place, str(name)), node.lc.key(name)[0] + 1  # type: ignore[attr-defined]
            yield from _lines(value, (*place, str(name)))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield (*place, str(i)), node.lc.item(i)[0] + 1  # type: ignore[attr-defined]
            yield from _lines(value, (*place, str(i)))


def override(tree: Json, assignment: str) -> None:
    """Apply one `a.b.c=value` in place."""
    set_in(tree, *parse_assignment(assignment))


def parse_assignment(assignment: str) -> tuple[list[str], object]:
    """The path and the value of `a.b.c=value`."""
    path, equals, text = assignment.partition("=")
    if not equals:
        raise BadCommand(f"{assignment!r} has no '='", hint="write a setting as key.path=value")
    return path.split("."), parse_value(text)


def set_in(tree: Json, path: list[str], value: object) -> None:
    """Set a place in the tree; a bare kind on the way becomes a block: `method: lora` + `method.rank=4`."""
    *parents, leaf = path
    for name in parents:
        found = tree.get(name)
        if not isinstance(found, dict):
            tree[name] = {} if found is None else {"kind": found}
        tree = tree[name]
    # `method=lora` on a block keeps nothing of the other kind's settings.
    tree[leaf] = value
