"""How an artifact comes into being: in `OUT.scratch/`, then in one rename.

    OUT.scratch/key            whose work this is; another key is set aside as OUT.scratch@<8 of its key>
    OUT.scratch/run.json       its settings and the ids of its inputs, to say what differs
    OUT.scratch/lock           the process at work (lock.py); a second one is refused
    OUT.scratch/choices.json   what the run chose by itself, resolved once
    OUT.scratch/checkpoints/   of training
    OUT.scratch/payload/       becomes OUT; its card is written last

A crash leaves nothing that looks done. A finished artifact is never overwritten: one with another key is
first renamed OUT@<8 of its key>, and found again when its settings return.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pretune.base.artifact import CARD, Artifact, Card, read_card
from pretune.base.digest import digest, file_digests
from pretune.base.errors import Changed, DiskFull, NotWritable, PretuneError, UserError
from pretune.base.json import Json
from pretune.base.lock import check_free, release, take

T = TypeVar("T")
RUN = "run.json"


def beside(out: Path, suffix: str) -> Path:
    return out.with_name(out.name + suffix)


def set_aside(out: Path, key: str) -> Path:
    """Where an artifact with this key waits while another one stands at `out`."""
    return beside(out, f"@{key[:8]}")


def current(out: Path, key: str) -> Artifact | None:
    """The finished artifact with this key, at `out` or set aside, or None."""
    for place in (out, set_aside(out, key)):
        if (place / CARD).is_file():
            with suppress(Changed):
                card = read_card(place)
                if card.key == key:
                    return Artifact(place, card)
    return None


def take_back(out: Path, key: str) -> Artifact | None:
    """The finished artifact with this key, moved to `out` if it was set aside; its files verified."""
    found = current(out, key)
    if found is None:
        return None
    if found.path != out:
        make_room(out)
        found.path.rename(out)
        found = Artifact(out, found.card)
    return found.verify()


def make_room(out: Path) -> Path | None:
    """Rename what stands at `out` out of the way; returns where it went."""
    if not out.exists():
        return None
    if not (out / CARD).is_file():
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()
            return None
        hint = "choose another --out, or move the folder away"
        raise UserError(f"{str(out)!r} exists and is no artifact of pretune", hint=hint)
    try:
        old = read_card(out).key
    except Changed:
        old = "damaged"
    aside = set_aside(out, old)
    number = 1
    while aside.exists():
        number += 1
        aside = beside(out, f"@{old[:8]}-{number}")
    out.rename(aside)
    return aside


class Workspace:
    """The scratch folder of one artifact in the making."""

    def __init__(self, out: Path, key: str, run: Json | None = None):
        self.out, self.key, self.run = out, key, run or {}
        self.scratch = beside(out, ".scratch")
        self.payload = self.scratch / "payload"
        self._lock, self._what = self.scratch / "lock", repr(str(out))

    @contextmanager
    def opened(self) -> Iterator[Workspace]:
        """Take the lock, find or make this key's scratch folder."""
        with disk_errors():
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._switch()
            self.scratch.mkdir(exist_ok=True)
            take(self._lock, self._what)
        try:
            with disk_errors():
                (self.scratch / "key").write_text(self.key, encoding="utf-8")
                write_durably(self.scratch / RUN, json.dumps(self.run))
                if not (self.payload / CARD).is_file():
                    shutil.rmtree(self.payload, ignore_errors=True)
                    self.payload.mkdir()
                yield self
        finally:
            release(self._lock)

    def _switch(self) -> None:
        """Keep another key's scratch; take this key's own back."""
        old = scratch_key(self.out)
        if old is not None and old != self.key:
            check_free(self._lock, self._what)
            aside = beside(self.scratch, f"@{old[:8]}")
            if aside.exists():
                shutil.rmtree(aside)
            self.scratch.rename(aside)
        own = beside(self.scratch, f"@{self.key[:8]}")
        if own.exists() and not self.scratch.exists():
            own.rename(self.scratch)

    @property
    def finished_card(self) -> Card | None:
        """The card of a payload that was complete when a crash came, if every file still verifies."""
        if not (self.payload / CARD).is_file():
            return None
        try:
            card = read_card(self.payload)
            Artifact(self.payload, card).verify()
        except Changed:
            shutil.rmtree(self.payload)
            self.payload.mkdir()
            return None
        return card if card.key == self.key else None

    def choose(self, name: str, resolve: Callable[[], T]) -> T:
        """What the run chooses by itself (JSON): resolved once, taken again on resume."""
        path = self.scratch / "choices.json"
        choices: Json = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if name not in choices:
            choices[name] = resolve()
            write_durably(path, json.dumps(choices, indent=1, sort_keys=True))
        return choices[name]  # type: ignore[no-any-return]

    def seal(self, card: Card, notes: set[str]) -> Card:
        """Hash and fsync the payload, then write the card into it."""
        paths = {p.relative_to(self.payload).as_posix(): p for p in sorted(self.payload.rglob("*")) if p.is_file()}
        paths.pop(CARD, None)
        for path in paths.values():
            fsync(path)
        digests = file_digests(paths)
        files = {n: d for n, d in digests.items() if n not in notes}
        noted = {n: d for n, d in digests.items() if n in notes}
        sealed = replace(card, files=files, notes=noted, id=digest(sorted(files.items()))).sealed()
        write_durably(self.payload / CARD, sealed.to_json())
        return sealed

    def publish(self) -> Artifact:
        """Rename the sealed payload to its place and drop the scratch folder."""
        make_room(self.out)
        self.payload.rename(self.out)
        fsync(self.out.parent)
        self.drop()
        return Artifact(self.out, read_card(self.out))

    def drop(self) -> None:
        """Delete the scratch folder, which nobody needs once there is an artifact."""
        shutil.rmtree(self.scratch, ignore_errors=True)


def scratch_run(out: Path) -> Json:
    """What the interrupted run at `out` is of (key, settings, inputs); empty where there is none, or none is told."""
    try:
        found: Json = json.loads((beside(out, ".scratch") / RUN).read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return {}


def scratch_key(out: Path) -> str | None:
    try:
        return (beside(out, ".scratch") / "key").read_text(encoding="utf-8")
    except OSError:
        return None


def write_durably(path: Path, text: str) -> None:
    """Write a small file so that after a crash it is either the old or the new one."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def fsync(path: Path) -> None:
    """Force a file or folder to the disk (folders cannot be opened on Windows)."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn a failed write, by whichever library, into DiskFull or NotWritable."""
    try:
        yield
    except PretuneError:
        raise
    except Exception as error:
        if is_full(error):
            raise DiskFull(f"a write failed: {error}", hint="free disk space, then run the same command") from error
        if getattr(error, "errno", None) in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = "choose another --out, or give yourself the right to write there"
            raise NotWritable(f"a write was refused: {error}", hint=hint) from error
        raise


def is_full(error: BaseException) -> bool:
    """Whether a write failed for want of room; safetensors says so in its text alone."""
    said = any(words in str(error) for words in ("No space left", "File too large", "quota exceeded"))
    return said or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
