"""Which files a raw input has; symbolic links are looked at twice.

    docs/a.md                          is read
    docs/b.md -> a.md                  is a file of the folder: read once
    docs/c.md -> ../../.netrc          leads out of the folder: not read, and told

Whoever made the folder - a repository that was cloned, an archive that was unpacked - may have put a link into it, and
what it leads to would be in the corpus, and then in a model's answers. `follow` reads it for those who mean it. The
folder or file that is named itself may be a link.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from glob import glob
from pathlib import Path


@dataclass
class Listing:
    """Files that are read, sorted, and links that lead out of the folder."""

    files: list[Path] = field(default_factory=list)
    refused: list[Path] = field(default_factory=list)


def folder_files(folder: Path, *, follow: bool) -> Listing:
    """The files of a folder and its folders; what is hidden is passed over.

    Args:
        follow: links that lead out of the folder are read, too.
    """
    walk = _Walk(folder.resolve(), follow)
    walk.enter(folder)
    return walk.finished()


def pattern_files(pattern: str, root: Path, *, follow: bool) -> Listing:
    """The files that a pattern matches; `root` is its fixed part, which links may not lead out of."""
    wanted = Path(pattern).relative_to(root).parts
    walk = _Walk(root.resolve(), follow, wants=lambda path: _matches(path.relative_to(root).parts, wanted))
    if "**" in wanted:  # which Python's glob looks for behind every link, as often as links lead in circles
        walk.enter(root)
    else:
        for path in sorted(path for path in map(Path, glob(pattern)) if path.is_file()):
            real = path.resolve()
            walk.meet(path, real, is_link=real != walk.home / os.path.relpath(path, root))
    return walk.finished()


def _matches(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether the parts of a path are those of a pattern; `**` stands for any number of folders, none hidden."""
    if not wanted or not parts:
        return not parts and set(wanted) <= {"**"}
    is_shown = not parts[0].startswith(".") or wanted[0].startswith(".")
    if wanted[0] == "**":
        return _matches(parts, wanted[1:]) or (is_shown and _matches(parts[1:], wanted))
    return is_shown and fnmatch(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])


@dataclass
class _Walk:
    """What is found on the way; what stands in the folder itself comes first, links wait.

    Args:
        home: the real path of the folder.
        wants: whether a file of this name is meant; None: all that are not hidden.
        seen: real paths of folders and files that have been entered and read.
    """

    home: Path
    follow: bool
    wants: Callable[[Path], bool] | None = None
    found: Listing = field(default_factory=Listing)
    links: list[Path] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)

    def enter(self, folder: Path) -> None:
        real = folder.resolve()
        if real in self.seen:
            return
        self.seen.add(real)
        for entry in _entries(folder):
            path = folder / entry.name
            if self.wants is None and entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                self.enter(path)
            elif entry.is_symlink() or entry.is_file():
                self.meet(path, real / entry.name, is_link=entry.is_symlink())

    def meet(self, path: Path, real: Path, *, is_link: bool) -> None:
        if is_link:
            self.links.append(path)
        elif real not in self.seen and (self.wants is None or self.wants(path)):
            self.seen.add(real)
            self.found.files.append(path)

    def finished(self) -> Listing:
        """What was found, after the links that wait."""
        while self.links:
            link = self.links.pop(0)
            if link.exists() and link.resolve() not in self.seen:
                self._follow(link, link.resolve())
        return Listing(sorted(self.found.files), sorted(self.found.refused))

    def _follow(self, link: Path, real: Path) -> None:
        is_file = real.is_file()
        if is_file and self.wants is not None and not self.wants(link):
            return
        if not self.follow and not real.is_relative_to(self.home):
            self.found.refused.append(link)
        elif is_file:
            self.meet(link, real, is_link=False)
        elif real.is_dir():
            self.enter(link)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What stands in a folder, by name; nothing of one that may not be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda e: e.name)
    except PermissionError:
        return []
