"""The name that users know: `os.path.join`, not `posixpath.join`; `asyncio.gather`, not `asyncio.tasks.gather`.

Read from the sources: a module that lists a name in `__all__`, a package that imports from its own parts, and
a public module that imports from a private one all say that the name is theirs to give. Of several the one
with the fewest dots is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pretune.text.python_library.sources import Entry, Source

KNOWN_AS = {"posixpath": "os.path"}
# Modules that nobody imports by name, although nothing in their names says so.
INTERNAL = frozenset(["genericpath", "ntpath", "nturl2path", "sre_compile", "sre_constants", "sre_parse", "opcode"])
# Objects whose methods are given out as functions of a module.
MODULE_LIKE = {"multiprocessing.context.BaseContext": "multiprocessing", "random.Random": "random"}

Place = tuple[str, str]  # module, name at its top level


def is_private(module: str) -> bool:
    """True for a module that users do not import."""
    return module.split(".", maxsplit=1)[0] in INTERNAL or any(part.startswith("_") for part in module.split("."))


class Namespace:
    """Which module gives out which name, over all `sources`."""

    def __init__(self, sources: Iterable[Source]):
        self.sources = {source.module: source for source in sources}

    def given_out(self, module: str, seen: tuple[str, ...] = ()) -> list[str]:
        """The names that `from module import *` would bring, as far as the sources say."""
        source = self.sources.get(module)
        if source is None or module in seen:
            return []
        listed = [name for star in source.stars for name in self.given_out(star, (*seen, module))]
        names = source.exported if source.exported is not None else source.defined
        return sorted({name for name in [*names, *listed] if not name.startswith("_")})

    def home(self, module: str, name: str, seen: tuple[Place, ...] = ()) -> Place | None:
        """Where the thing that is called `name` in `module` is defined; None where no source says it."""
        source = self.sources.get(module)
        if source is None or (module, name) in seen:
            return None
        if name in source.defined:
            return module, name
        if name in source.imports:
            return self.home(*source.imports[name], (*seen, (module, name)))
        found = (self.home(star, name, (*seen, (module, name))) for star in source.stars)
        return next((place for place in found if place), None) or self._in_a_part(source, name)

    def _in_a_part(self, source: Source, name: str) -> Place | None:
        """A name of `__all__` that is imported on demand: the one part of the package that defines it."""
        if source.exported is None or name not in source.exported:
            return None
        prefix = f"{source.module}."
        parts = [module for module, part in self.sources.items() if module.startswith(prefix) and name in part.defined]
        return (parts[0], name) if len(parts) == 1 else None

    def public_names(self) -> dict[Place, str]:
        """The preferred name of every top-level definition that has a public one."""
        found: dict[Place, list[str]] = {}
        for module in sorted(self.sources):
            for place, name in self._offers(module):
                found.setdefault(place, []).append(name)
        return {
            place: min(names, key=lambda name: (name.count("."), len(name), name)) for place, names in found.items()
        }

    def _offers(self, module: str) -> Iterator[tuple[Place, str]]:
        known = KNOWN_AS.get(module, module)
        if is_private(known):
            return
        source = self.sources[module]
        for name in sorted({*source.defined, *source.imports, *self.given_out(module)}):
            place = self.home(module, name)
            if place and not name.startswith("_") and self._may_give(source, name, place[0]):
                yield place, f"{known}.{name}"

    def _may_give(self, source: Source, name: str, home: str) -> bool:
        is_listed = source.exported is not None and name in source.exported
        is_above = home == source.module or home.startswith(f"{source.module}.")
        return is_listed or is_above or is_private(home)


def named(entries: Iterable[Entry], names: dict[Place, str]) -> list[Entry]:
    """The entries with the names that users write; those without one keep the place where they are defined."""
    return [replace(entry, name=_name(entry, names)) for entry in entries]


def _name(entry: Entry, names: dict[Place, str]) -> str:
    for owner, module in MODULE_LIKE.items():
        if entry.name.startswith(f"{owner}."):
            return f"{module}{entry.name[len(owner) :]}"
    top, _, rest = entry.qualname.partition(".")
    public = names.get((entry.module, top))
    if not public:
        return entry.name
    return f"{public}.{rest}" if rest else public


# Of classes that share a name, the one that is meant when nothing else is said.
MEANT = {"Path": "pathlib.Path", "Popen": "subprocess.Popen"}


def short_methods(entries: list[Entry]) -> dict[str, str]:
    """Full name -> `Path.read_text` for methods whose class is the only one of its name (or meant), with a capital."""
    owners: dict[str, set[str]] = {}
    for entry in entries:
        if entry.kind in ("method", "class"):
            owner = entry.name.rpartition(".")[0] if entry.kind == "method" else entry.name
            owners.setdefault(owner.rpartition(".")[2], set()).add(owner)
    found = {}
    for entry in entries:
        full = entry.name.rpartition(".")[0]
        owner = full.rpartition(".")[2]
        is_clear = MEANT.get(owner) == full or len(owners.get(owner, ())) == 1
        if entry.kind == "method" and owner[:1].isupper() and is_clear:
            found[entry.name] = f"{owner}.{entry.name.rpartition('.')[2]}"
    return found
