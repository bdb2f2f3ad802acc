"""The folder that the studio shows: every path that a browser names is looked up here, and nowhere else.

runs/base/report.html     shown          .studio/lock      hidden, as all whose name begins with a dot
../secret, /etc/passwd    refused        link -> /etc      refused: it is the real path that counts
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pretune.base.artifact import CARD, HUBS, SAMPLED, SCHEMES, is_pattern, kind_by_names, raw_root, read_card
from pretune.base.errors import OutsideFolder, PretuneError
from pretune.base.listing import folder_files, pattern_files

OWN = ".studio"
"""Where the studio keeps its lock, and what it started."""


@dataclass(frozen=True)
class Folder:
    """A folder by its real path.

    Args:
        also: real paths elsewhere that recipes may read; they are not shown.
    """

    root: Path
    also: tuple[Path, ...] = ()

    @classmethod
    def of(cls, root: str | Path, also: tuple[str, ...] = ()) -> Folder:
        return cls(Path(root).resolve(), tuple(Path(one).resolve() for one in also))

    @property
    def own(self) -> Path:
        return self.root / OWN

    def inside(self, name: str) -> Path:
        """The real path of a name in the folder; raises OutsideFolder."""
        return self._real(name, (self.root,))

    def readable(self, name: str) -> Path:
        """The same of what a recipe may read, `also` included."""
        return self._real(name, (self.root, *self.also))

    def _real(self, name: str, homes: tuple[Path, ...]) -> Path:
        try:
            real = (self.root / name).resolve()
            os.fspath(real).encode()
            real.exists()
        except (OSError, RuntimeError, ValueError):  # too long, a circle of links, a NUL
            raise OutsideFolder(f"{name[:80]!r} is no path") from None
        home = next((home for home in homes if real.is_relative_to(home)), None)
        if home is None or any(part.startswith(".") for part in real.relative_to(home).parts):
            raise OutsideFolder(f"{name[:200]!r} is outside of what is shown here")
        return real

    def is_of(self, path: Path) -> bool:
        """Whether a path, which may not be there yet, is in the folder."""
        try:
            self.inside(os.fspath(path))
        except OutsideFolder:
            return False
        return True

    def name(self, path: Path) -> str:
        """A path as it is shown and typed: from the folder, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def check_input(self, given: str, *, follow: bool = False) -> None:
        """Raise OutsideFolder where an input of a recipe (path, pattern, sample) is of neither DIR nor `also`.

        Args:
            follow: whether links that lead out of it are read: then each of its files must be of these, too.
        """
        plain = SAMPLED.sub(r"\1", given)
        if plain.partition(":")[0] in {*SCHEMES, *HUBS}:
            return
        self.readable(str(raw_root(self.root / plain)) if "*" in plain else plain)
        for file in self._read_behind(self.root / plain) if follow else ():
            self.readable(os.fspath(file))

    def _read_behind(self, path: Path) -> list[Path]:
        """The files of an input whose links are followed."""
        if is_pattern(path):
            return pattern_files(str(path), raw_root(path), follow=True).files
        return folder_files(path, follow=True).files if path.is_dir() else []

    def entries(self, folder: Path) -> Iterator[Path]:
        """What is shown of a folder: folders first, then files, each by name; nothing of one that may not be read."""
        found: list[Path] = []
        with suppress(OSError):
            found = [path for path in folder.iterdir() if not path.name.startswith(".") and self.holds(path)]
        yield from sorted(found, key=lambda path: (path.is_file(), path.name.lower()))

    def holds(self, path: Path) -> bool:
        """Whether a file or folder is here and can be shown: no link that leads out or nowhere, no pipe."""
        try:
            real = self.inside(os.fspath(path))
            return real.is_file() or real.is_dir()
        except (OutsideFolder, OSError):
            return False


def kind_of(path: Path) -> str:
    """What a path is: the kind of its artifact, `recipe`, `folder`, or `file`; reads no payload."""
    if path.is_file():
        return "recipe" if path.suffix == ".yaml" else "file"
    if not (path / CARD).is_file():
        return kind_by_names(path) or "folder"
    try:
        return read_card(path).kind
    except PretuneError:
        return "folder"
