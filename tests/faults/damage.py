"""Bits flipped, files cut, deleted and swapped, in checkpoints and artifacts: is each of them noticed?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from pretune.base.artifact import CARD, Artifact
from pretune.base.errors import PretuneError
from pretune.train.loop import checkpoint

KINDS = ("flip", "cut", "delete", "swap")


def targets(folder: Path) -> list[Path]:
    """The artifacts and the checkpoints below a folder."""
    made = [card.parent for card in folder.rglob(CARD)]
    return sorted(made + [manifest.parent for manifest in folder.rglob(f"step-*/{checkpoint.MANIFEST}")])


def noticed(target: Path) -> str | None:
    """What is said of a folder that is not as it was written; None if nothing is."""
    if target.name.startswith("step-"):
        try:
            return checkpoint.verify(target)
        except PretuneError as error:
            return error.problem
    try:
        Artifact.open(target).verify()
    except PretuneError as error:
        return error.problem
    return None


@contextmanager
def damaged(target: Path, kind: str, random: Random) -> Iterator[str]:
    """Harm one file of a folder, say how, and mend it."""
    files = sorted(p for p in target.rglob("*") if p.is_file() and p.stat().st_size)
    victim = random.choice(files)
    whole = victim.read_bytes()
    try:
        yield f"{kind} {victim.name} of {target.name}: {_harm(victim, whole, kind, files, random)}"
    finally:
        victim.write_bytes(whole)


def _harm(victim: Path, whole: bytes, kind: str, files: list[Path], random: Random) -> str:
    if kind == "flip":
        place = random.randrange(8 * len(whole))
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        victim.write_bytes(data)
        return f"bit {place}"
    if kind == "cut":
        left = random.randrange(len(whole))
        victim.write_bytes(whole[:left])
        return f"{left} bytes left"
    others = [p for p in files if p.read_bytes() != whole]
    if kind == "delete" or not others:
        victim.unlink()
        return "deleted"
    other = random.choice(others)
    shutil.copyfile(other, victim)
    return f"holds {other.name}"
