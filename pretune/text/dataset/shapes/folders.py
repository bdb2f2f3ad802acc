"""A folder of texts per class: pos/1.txt neg/2.txt, or train/pos/1.txt test/neg/2.txt.

The folder of a file is its label; one further out may be a split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from pretune.base.json import Json
from pretune.text.read.readers import Repairs, read_text
from pretune.text.read.split import NAMES

SHORT_BYTES = 8192
"""A review, a ticket or a news item has fewer; a chapter has more."""


def class_of(name: str) -> str:
    """`pos` of `train/pos/1.txt`; "" for a file in no folder, or in that of a split."""
    parent = PurePosixPath(name).parent.name
    return "" if parent.lower() in NAMES else parent


def class_files(files: Mapping[str, Path]) -> list[str]:
    """The files in folders of two classes or more; else none."""
    found = [name for name in files if class_of(name)]
    return found if len({class_of(name) for name in found}) > 1 else []


def look_like_classes(files: Mapping[str, Path]) -> bool:
    """Whether there is nothing but folders of classes, and they hold short plain texts or are in the folder of a split.

    Others may be just folders: the chapters of a manual, the books of an author.
    """
    found = class_files(files)
    if not found or len(found) < len(files):
        return False
    splits = {PurePosixPath(name).parent.parent.name.lower() for name in found}
    if splits <= NAMES.keys():
        return True
    places = {(len(PurePosixPath(name).parts), PurePosixPath(name).suffix.lower()) for name in found}
    sizes = sum(files[name].stat().st_size for name in found)
    return len(places) == 1 and {suffix for _, suffix in places} <= {"", ".txt"} and sizes <= SHORT_BYTES * len(found)


def read_classes(files: Sequence[tuple[str, Path]], repairs: Repairs) -> Iterator[Json]:
    """One record a file: its text, its label, and where it is from."""
    for name, path in files:
        text = next(read_text(path, repairs))["text"] if path.stat().st_size else ""
        yield {"text": text, "label": class_of(name), "origin": name}
