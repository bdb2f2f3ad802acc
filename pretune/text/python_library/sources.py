"""Reads Python sources without running them: what they define, what they re-export, what their docstrings say.

    def copytree(src, dst):                       Entry("shutil", "copytree", "function", "(src, dst)", "Recur...")
        \"\"\"Recursively copy a tree.\"\"\"    ->    and the code without the docstring:
        with os.scandir(src) as found: ...         def copytree(src, dst):
                                                       with os.scandir(src) as found: ...

A docstring belongs to the documentation and is cut from the code, so that no sentence is in both:
otherwise a page of validation text would have been read in training, in another split. The price is
that the code's own text has no docstrings; those of functions inside functions stay where they are.
"""

from __future__ import annotations

import ast
import inspect
import sys
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pretune.text.read.characters import word_set

# Tests, tables of characters, other people's packages and data: no prose, no style to learn from.
SKIPPED_FOLDERS = word_set(
    "test tests idle_test site-packages dist-packages __pycache__ turtledemo ensurepip pydoc_data lib-dynload "
    "__phello__ config"
)
KEPT_ENCODINGS = frozenset({"__init__.py", "idna.py", "punycode.py"})

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Entry:
    """One docstring and its place; `qualname` is empty for a module, `name` is what a user writes."""

    module: str
    qualname: str
    kind: str  # "module", "class", "function" or "method"
    signature: str
    doc: str
    name: str


@dataclass
class Source:
    """What one file defines.

    `imports` maps a name here to (module, name) there; `exported` is `__all__`, as far as it is literal.
    """

    path: str
    module: str
    code: str
    entries: list[Entry] = field(default_factory=list)
    defined: list[str] = field(default_factory=list)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    exported: list[str] | None = None


def library_root() -> Path:
    """The folder of the standard library of this Python."""
    return Path(sysconfig.get_path("stdlib"))


def source_files(root: Path) -> list[Path]:
    """The .py files below `root` that are read, sorted by their relative path."""
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
    return [found[name] for name in sorted(found) if _is_read(PurePosixPath(name))]


def _is_read(path: PurePosixPath) -> bool:
    # _sysconfigdata holds the paths of the machine that built this Python; *customize is the user's own.
    if path.name.startswith("_sysconfigdata") or path.name in ("sitecustomize.py", "usercustomize.py"):
        return False
    if path.parts[0] == "encodings":
        return path.name in KEPT_ENCODINGS
    return not any(part in SKIPPED_FOLDERS or part.startswith("config-") for part in path.parts[:-1])


def read_sources(root: Path) -> list[Source]:
    """Every file of `source_files`, parsed; a file that this Python cannot parse is left out."""
    found = (read_source(path, root) for path in source_files(root))
    return [source for source in found if source is not None]


def read_source(path: Path, root: Path) -> Source | None:
    """One file parsed, or None where it is no Python of this version."""
    relative = path.relative_to(root)
    try:
        with tokenize.open(path) as file:
            text = file.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in a file that is only read
            tree = ast.parse(text)
    except (SyntaxError, UnicodeDecodeError):
        return None
    parts = relative.with_suffix("").parts
    is_package = parts[-1] == "__init__"
    source = Source(relative.as_posix(), ".".join(parts[:-1] if is_package else parts), _without_docstrings(text, tree))
    _fill(source, tree, is_package)
    return source


def _fill(source: Source, tree: ast.Module, is_package: bool) -> None:
    if doc := _doc(tree):
        source.entries.append(Entry(source.module, "", "module", "", doc, source.module))
    for node in _statements(tree.body):
        if isinstance(node, Definition):
            source.defined.append(node.name)
        elif isinstance(node, ast.ImportFrom):
            _note_import(source, node, is_package)
        elif exported := _literal_all(node):
            source.exported = (source.exported or []) + exported
    source.entries.extend(_unique(_entries(source.module, "", tree.body)))


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body, those under if, try and with included."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            blocks = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
            blocks += [handler.body for handler in getattr(node, "handlers", [])]
            for block in blocks:
                yield from _statements(block)


def _note_import(source: Source, node: ast.ImportFrom, is_package: bool) -> None:
    module = _absolute(source.module, node, is_package)
    for alias in node.names:
        if alias.name == "*":
            source.stars.append(module)
        else:
            source.imports.setdefault(alias.asname or alias.name, (module, alias.name))


def _absolute(module: str, node: ast.ImportFrom, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def _literal_all(node: ast.stmt) -> list[str]:
    """The words of `__all__ = [...]` or `__all__ += [...]`; none where it is computed."""
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign):
        targets = [node.target]
    else:
        return []
    if not any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
        return []
    items = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else []
    return [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]


def _entries(module: str, owner: str, body: list[ast.stmt]) -> Iterator[Entry]:
    for node in _statements(body):
        if not isinstance(node, Definition):
            continue
        qualname = f"{owner}.{node.name}" if owner else node.name
        is_class = isinstance(node, ast.ClassDef)
        kind = "class" if is_class else "method" if owner else "function"
        if doc := _doc(node):
            yield Entry(module, qualname, kind, _signature(node), doc, f"{module}.{qualname}")
        if is_class:
            yield from _entries(module, qualname, node.body)


def _unique(entries: Iterator[Entry]) -> list[Entry]:
    """The first entry of every name: a property's setter and the other branch of an `if` say the same again."""
    found: dict[str, Entry] = {}
    for entry in entries:
        found.setdefault(entry.qualname, entry)
    return list(found.values())


def _signature(node: Definition) -> str:
    if isinstance(node, ast.ClassDef):
        return f"({', '.join(ast.unparse(base) for base in node.bases)})" if node.bases else ""
    return f"({ast.unparse(node.args)})"


def _doc(node: ast.Module | Definition) -> str:
    return tidy(ast.get_docstring(node, clean=False) or "")


def tidy(doc: str) -> str:
    """A docstring without its indentation, its trailing blanks, and lone surrogates."""
    lines = [line.rstrip() for line in inspect.cleandoc(doc).splitlines()]
    return "\n".join(lines).strip().encode("utf-8", "replace").decode("utf-8")


# ---- cutting ----------------------------------------------------------------------------------


def _without_docstrings(text: str, tree: ast.Module) -> str:
    """The same source without the docstrings of modules, classes, functions and methods; it still parses."""
    lines = text.splitlines(keepends=True)
    # From the last to the first: a cut moves only what is behind it.
    for node, is_alone in sorted(_docstrings(tree), key=lambda found: -found[0].lineno):
        _cut(lines, node, is_alone)
    return "".join(lines).lstrip("\n") if tree.body else text


def _docstrings(node: ast.Module | Definition) -> Iterator[tuple[ast.stmt, bool]]:
    if ast.get_docstring(node, clean=False) is not None:
        yield node.body[0], len(node.body) == 1
    if isinstance(node, (ast.Module, ast.ClassDef)):
        for inner in _statements(node.body):
            if isinstance(inner, Definition):
                yield from _docstrings(inner)


def _cut(lines: list[str], node: ast.stmt, is_alone: bool) -> None:
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before = lines[first].encode()[: node.col_offset].decode()  # ast counts bytes
    after = lines[last].encode()[node.end_col_offset :].decode()
    has_line_of_its_own = not before.strip() and (not after.strip() or after.lstrip().startswith("#"))
    if is_alone or not has_line_of_its_own:
        lines[first : last + 1] = [f"{before}pass{after}"]
        return
    end = last + 1
    if end < len(lines) and not lines[end].strip():
        end += 1  # the blank line that set the docstring apart
    del lines[first:end]


def python_version() -> str:
    """Major, minor and micro version of this Python: compiled docstrings have no file to digest."""
    return ".".join(str(part) for part in sys.version_info[:3])
