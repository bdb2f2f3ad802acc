"""What an input holds: its files, or text that is in no folder (`python:docs`), as one stream.

A scheme is a module named in `pretune.base.artifact.SCHEMES` with `documents(part)` and `rows(part)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from pretune.base.artifact import SCHEMES, Artifact, is_pattern, raw_root
from pretune.base.json import Json
from pretune.text.read.document import Document


def documents(scheme: str) -> Iterator[Document]:
    """The documents of `python:docs` and its like."""
    name, _, part = scheme.partition(":")
    found: Iterator[Document] = import_module(SCHEMES[name]).documents(part)
    return found


def examples(scheme: str) -> Iterator[Json]:
    """The rows of `python:dialogues` and its like, each as a line of a jsonl file would be."""
    name, _, part = scheme.partition(":")
    found: Iterator[Json] = import_module(SCHEMES[name]).rows(part)
    return found


def files_of(artifact: Artifact) -> list[Path]:
    """The files of an input, also of one that lies in no folder."""
    if not artifact.scheme:
        return artifact.files()
    name, _, part = artifact.scheme.partition(":")
    found: list[Path] = import_module(SCHEMES[name]).files(part)
    return found


def named_files(artifact: Artifact) -> list[tuple[str, Path]]:
    """(name relative to the input's folder, with `/`; path) of every file, sorted by name."""
    root = raw_root(artifact.path) if artifact.is_raw else artifact.path
    return sorted((path.relative_to(root).as_posix(), path) for path in artifact.files())


def source_name(given: str | Path) -> str:
    """The name of a source that was given none: the file's or folder's own, without its suffix."""
    path = Path(str(given).replace(":", "-"))
    named = [p for p in path.parts if p.strip("./\\")]
    plain = [p for p in named if not any(c in p for c in "*?[")] if is_pattern(Path(given)) else named
    return plain[-1].partition(".")[0] if plain else "text"
