"""Docstrings of what is written in C: found by looking at modules that do nothing when imported.

`len`, `str.split`, `math.sqrt` and `os.listdir` have no Python source. The modules below are imported one
by one (a module that this platform lacks is left out) and looked at; nothing is called. Modules that open
windows, read the terminal or print (tkinter, readline, this) are not among them.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from pretune.text.python_library.sources import Entry, tidy

_PUBLIC = (
    "array atexit binascii cmath errno faulthandler fcntl gc grp itertools marshal math mmap pwd pyexpat resource "
    "select sys syslog termios time unicodedata zlib msvcrt winreg"
)
_UNDERSCORED = (
    "bisect bz2 codecs collections contextvars csv datetime functools heapq io locale lzma operator pickle queue "
    "random signal socket sqlite3 ssl stat struct tracemalloc weakref hashlib asyncio decimal"
)
MODULES: dict[str, str] = {
    "builtins": "",
    **{name: name for name in _PUBLIC.split()},
    **{f"_{name}": name for name in _UNDERSCORED.split()},
    "posix": "os",
    "nt": "os",
    "_decimal": "decimal",
    "_elementtree": "xml.etree.ElementTree",
    "re": "re",
}
"""What is imported -> the module under which a user knows it ("" is no prefix at all)."""
# Of these only the types that C gives them: the rest has sources.
ONLY = {"re": ("Match", "Pattern")}

_FIRST_LINE = re.compile(r"^[\w.]+\(.*$")


def compiled_files(root: Path) -> list[Path]:
    """The extension files below `root` whose docstrings `compiled_entries` reads; built-in ones have none."""
    found = []
    for name in sorted(MODULES):
        spec = importlib.util.find_spec(name)
        path = Path(spec.origin) if spec and spec.has_location and spec.origin else None
        if path and path.suffix != ".py" and path.is_relative_to(root):
            found.append(path)
    return found


def compiled_entries() -> list[Entry]:
    """An entry for every documented function, class and method of the modules named in `MODULES`."""
    found: dict[str, Entry] = {}
    for name, public in MODULES.items():
        # `_asyncio` before `asyncio` would leave the process with two tables of tasks: no loop would know its own.
        module = _imported(name) if not name.startswith("_") or _imported(public) else None
        for entry in _of_module(module, name, public) if module else ():
            found.setdefault(entry.name, entry)
    return list(found.values())


def _imported(name: str) -> ModuleType | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def _of_module(module: ModuleType, name: str, public: str) -> Iterator[Entry]:
    for member in sorted(ONLY.get(name, vars(module))):
        # A debugger or a test runner puts its own into sys.excepthook; sys.__excepthook__ stays.
        thing = vars(module).get(f"__{member}__" if member.endswith("hook") else member, vars(module)[member])
        if member.startswith("_") or not _is_its_own(thing, module, public):
            continue
        if inspect.isclass(thing) and thing.__name__ == member:  # else it is an alias, as array.ArrayType is
            yield from _of_class(thing, member, public)
        elif inspect.isbuiltin(thing):
            yield from _entry(thing, member, "function", public)


def _is_its_own(thing: object, module: ModuleType, public: str) -> bool:
    """True where `thing` was made in this module, not imported into it from a Python file."""
    home = getattr(thing, "__module__", None)
    return home in (None, module.__name__, public) or (not public and home in ("builtins", "io", "_io"))


def _of_class(kind: type, member: str, public: str) -> Iterator[Entry]:
    yield from _entry(kind, member, "class", public)
    for name in sorted(vars(kind)):
        if not name.startswith("_"):
            thing = vars(kind)[name]
            thing = thing.__func__ if isinstance(thing, staticmethod) else thing
            yield from _entry(thing, f"{member}.{name}", "method", public)


def _entry(thing: object, qualname: str, kind: str, public: str) -> Iterator[Entry]:
    doc = getattr(thing, "__doc__", None)
    # A constant in a class (n_fields = 19) answers with the docstring of int.
    is_its_own = kind == "class" or doc != type(thing).__doc__
    if is_its_own and isinstance(doc, str) and (text := tidy(doc)):
        name = f"{public}.{qualname}" if public else qualname
        signature = "" if kind == "class" else _signature(thing, text)
        yield Entry(public or "builtins", qualname, kind, signature, text, name)


def _signature(thing: object, doc: str) -> str:
    """The signature that C gives, or nothing where the docstring's first line is one."""
    if _FIRST_LINE.match(doc.splitlines()[0]):
        return ""
    text: str = getattr(thing, "__text_signature__", None) or ""
    return (
        text.replace("$", "")
        .replace("(self, /, ", "(")
        .replace("(self, /)", "()")
        .replace(", /", "")
        .replace("(module, ", "(")
    )
