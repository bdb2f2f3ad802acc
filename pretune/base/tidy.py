"""`pretune tidy DIR`: artifacts that were set aside, and scratch folders."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from pretune.base.artifact import CARD

SET_ASIDE = re.compile(r"@([0-9a-f]{8}|damaged)(-\d+)?$")


def leftovers(folder: Path) -> list[Path]:
    """What only `tidy` deletes, sorted: `NAME@8hex` with a card, `NAME.scratch` and `NAME.scratch@8hex`.

    An application that was set aside with what its users did (`state/`) is no leftover.
    """
    found: list[Path] = []
    for path in sorted(p for p in folder.rglob("*") if p.is_dir()):
        if any(path.is_relative_to(one) for one in found):
            continue
        aside = SET_ASIDE.search(path.name) and ((path / CARD).is_file() or ".scratch@" in path.name)
        aside = aside and not (path / "state").is_dir()
        if aside or (path.name.endswith(".scratch") and (path / "key").is_file()):
            found.append(path)
    return found


def size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def delete(paths: list[Path]) -> None:
    for path in paths:
        shutil.rmtree(path)
