"""YAML 1.2 with line numbers, and `dotted.key=value`.

YAML 1.2 matters: `5e-4` is a number, `no` is a word. Aliases of Python objects, tags and duplicate
names are refused; a bare leading `*` (an alias in YAML, a pattern in everybody's mind) gets its hint.
"""

from __future__ import annotations

import json
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


PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]*")
"""A name that stands in YAML as it is."""
COMMENT = re.compile(r"(?:^|(?<=\s))#.*", re.MULTILINE)
SHARED = "settings that are shared by & and *, or by <<, cannot be changed in one place alone"
SHARED_HINT = "write them out where they are used, or change the file in an editor"


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
    """YAML text changed to hold this tree; comments and order stay where the settings do.

    Raises:
        BadYaml: what is shared (`&`, `*`, `<<`) would have to differ, or comments inside of braces would go.
    """
    document = _load(text, source="recipe", round_trip=True)
    if not isinstance(document, dict):
        return write_yaml(tree)
    if json.dumps(_plain(document)) == json.dumps(tree):  # dumps: true is not 1, and order counts
        return text
    _check_comments(text, _dumped(document))
    document = _with_room(text, document, tree)
    try:
        _bring(document, tree)
    except KeyError:  # it is of the block that `<<` names
        raise BadYaml(SHARED, hint=SHARED_HINT) from None
    changed = _dumped(document)
    if not _says(changed, tree):
        raise BadYaml(SHARED, hint=SHARED_HINT)
    return changed


def _dumped(document: object) -> str:
    import io

    out = io.StringIO()
    _writer().dump(document, out)
    return out.getvalue()


def _says(text: str, tree: JsonMap) -> bool:
    """Whether a text holds a tree, whatever the order of its names."""
    found = _plain(_load(text, source="recipe", round_trip=True))
    return json.dumps(found, sort_keys=True) == json.dumps(tree, sort_keys=True)


def _check_comments(text: str, again: str) -> None:
    """Refuse a file whose comments the writer loses, as those inside of braces over several lines."""
    kept = " ".join(again.split())
    lost = [found for found in COMMENT.findall(text) if " ".join(found.split()) not in kept]
    if lost:
        problem = f"this comment would be lost: {lost[0][:80]}"
        raise BadYaml(problem, hint="move it out of the braces, or change the file in an editor")


def _with_room(text: str, document: Json, tree: JsonMap) -> Json:
    """The document without the lines of what goes, and with one for what comes.

    The reader hangs a comment on the value above it, however deep that is: with a stage that is taken out would go
    what stands above the next one, and a setting that is put in would come below it.
    """
    lines = text.split("\n")
    gone: set[int] = set()
    come: dict[int, list[str]] = {}
    for number, line in _line_changes(document, tree, lines, len(lines)):
        if line is None:
            gone.add(number)
        else:
            come.setdefault(number, []).append(line)
    kept = ([*([] if k in gone else [line]), *come.get(k, [])] for k, line in enumerate(lines))
    changed = "\n".join(line for some in kept for line in some)
    try:
        found = _load(changed, source="recipe", round_trip=True)
    except BadYaml:  # an anchor went, and its alias is still there
        return document
    return found if isinstance(found, dict) else document


def _line_changes(old: Json, new: JsonMap, lines: list[str], end: int) -> Iterator[tuple[int, str | None]]:
    """(line, None) of each that goes, (line, text) of each that comes below it; the block ends before line `end`."""
    places = old.lc.data or {}  # type: ignore[attr-defined]
    if old.fa.flow_style() or set(places) != set(old) or not {*map(str, old)} & {*new}:  # type: ignore[attr-defined]
        return
    starts = [places[name][0] for name in old]
    ends = [*starts[1:], end]
    for name, start, after in zip(old, starts, ends, strict=True):
        value, wanted = old[name], new.get(str(name))
        if str(name) not in new:
            yield from ((k, None) for k in range(start, _last_line(lines, start, after) + 1))
        elif isinstance(value, dict) and isinstance(wanted, Mapping):
            yield from _line_changes(value, wanted, lines, after)
        elif isinstance(value, list) and isinstance(wanted, list):
            yield from _items_gone(value, wanted, lines, after)
    indent = lines[starts[0]][: places[next(iter(old))][1]]
    last = _last_line(lines, starts[-1], end)
    for name in new:
        if name not in {*map(str, old)} and PLAIN_NAME.fullmatch(name) and not indent.strip():
            yield last, f"{indent}{name}: 0"


def _items_gone(old: list[object], new: list[object], lines: list[str], end: int) -> Iterator[tuple[int, None]]:
    """The lines of items that a list has no more; none of one in brackets."""
    _, tail = _same_ends([_plain(one) for one in old], new)
    if old.fa.flow_style() or not new:  # type: ignore[attr-defined]
        return
    starts = [old.lc.item(k)[0] for k in range(len(old))] + [end]  # type: ignore[attr-defined]
    for k in range(len(new) - tail, len(old) - tail):
        last = _last_line(lines, starts[k], starts[k + 1])
        yield from ((number, None) for number in range(starts[k], last + 1))


def _last_line(lines: list[str], start: int, after: int) -> int:
    """The last line of what begins at one; comments above what comes next are not of it."""
    indent = len(lines[start]) - len(lines[start].lstrip())
    for k in range(after - 1, start, -1):
        bare = lines[k].lstrip()
        if bare and not (bare.startswith("#") and len(lines[k]) - len(bare) <= indent):
            return k
    return start


def _bring(document: Json, tree: JsonMap) -> None:
    """Make a block that was read hold what the tree holds, touching nothing else."""
    for name in [name for name in document if str(name) not in tree]:
        del document[name]
    own = {str(name): name for name in document}  # 2024 and true are names as well
    for said, value in tree.items():
        name = own.get(said, said)
        old = document.get(name)
        if isinstance(old, dict) and isinstance(value, Mapping):
            _bring(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            _bring_list(old, value)
        elif name not in document or _differ(_plain(old), value):
            document[name] = value


def _bring_list(old: list[object], new: list[object]) -> None:
    """The same of a list: what it begins and ends with stays, with its comments."""
    head, tail = _same_ends([_plain(one) for one in old], new)
    for k in range(len(old) - tail - 1, len(new) - tail - 1, -1):
        del old[k]
    for k in range(head, len(new) - tail):
        if k < len(old) - tail:
            old[k] = new[k]
        else:
            old.insert(k, new[k])


def _same_ends(a: list[object], b: list[object]) -> tuple[int, int]:
    """How many items two lists have in common at their beginning, and behind that at their end."""
    most = min(len(a), len(b))
    head = next((k for k in range(most) if _differ(a[k], b[k])), most)
    tail = next((k for k in range(most - head) if _differ(a[-1 - k], b[-1 - k])), most - head)
    return head, tail


def _differ(a: object, b: object) -> bool:
    return json.dumps(a) != json.dumps(b)


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
