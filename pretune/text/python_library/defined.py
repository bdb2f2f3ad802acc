"""Lines of code in which names are defined, with what each name is: entities to be found by the tagger of a recipe.

    def first(path, *, mode="r"):     first function, path parameter, mode parameter
    from os.path import join          os.path module
    class Reader(Protocol):           Reader class

The test split is drawn from the files that are held out for `order`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from pretune.base.json import Json
from pretune.text.python_library.facts import place, plain
from pretune.text.python_library.order import split_of
from pretune.text.python_library.sources import Source

MAX_LINES = {"train": 3000, "validation": 300, "test": 300}
MAX_PER_FILE, MAX_CHARACTERS = 30, 160
Name = tuple[int, int, int, str]
"""(line, first character, one past the last, what it is)."""


def defined_rows(sources: Iterable[Source]) -> Iterator[Json]:
    """Rows of text, entities, split and origin; no line is in two splits."""
    seen: set[bytes] = set()
    taken = dict.fromkeys(MAX_LINES, 0)
    for source in sorted(sources, key=lambda one: place(f"names: {one.path}")):
        split = split_of(source.path)
        if taken[split] >= MAX_LINES[split]:
            continue
        for number, text, entities in _lines(source.code):
            if (flat := plain(text)) not in seen and taken[split] < MAX_LINES[split]:
                seen.add(flat)
                taken[split] += 1
                yield {"text": text, "entities": entities, "split": split, "origin": f"{source.path}#{number}"}


def _lines(code: str) -> list[tuple[int, str, list[Json]]]:
    """(number, line, its names) of at most thirty lines, chosen by hash."""
    lines, found = code.splitlines(), dict[int, list[Json]]()
    for line, start, end, what in sorted(_names(code, lines)):
        found.setdefault(line, []).append({"start": start, "end": end, "label": what})
    fitting = [n for n in found if lines[n - 1].isascii() and len(lines[n - 1]) <= MAX_CHARACTERS]
    chosen = sorted(fitting, key=lambda n: place(f"{n} {lines[n - 1]}"))[:MAX_PER_FILE]
    return [(n, *_stripped(lines[n - 1], found[n])) for n in sorted(chosen)]


def _stripped(line: str, entities: list[Json]) -> tuple[str, list[Json]]:
    """The line without its indentation."""
    cut = len(line) - len(line.lstrip())
    return line.strip(), [{**one, "start": one["start"] - cut, "end": one["end"] - cut} for one in entities]


def _names(code: str, lines: list[str]) -> Iterator[Name]:
    """Every name that the code defines or imports; none of code that cannot be parsed."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _behind(lines, node.lineno, node.name, "class" if isinstance(node, ast.ClassDef) else "function")
        elif isinstance(node, ast.arg):
            yield node.lineno, node.col_offset, node.col_offset + len(node.arg), "parameter"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.lineno, alias.col_offset, alias.col_offset + len(alias.name), "module"
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from _behind(lines, node.lineno, node.module, "module")


def _behind(lines: list[str], number: int, name: str, what: str) -> Iterator[Name]:
    """A name behind its keyword (def, class, from), which the tree does not place."""
    keyword = {"class": "class ", "function": "def ", "module": "from "}[what]
    at = lines[number - 1].find(f"{keyword}{name}")
    if at >= 0:
        yield number, at + len(keyword), at + len(keyword) + len(name), what
