"""Commands that the studio started: each has a folder, a process group of its own, and a life of its own.

    DIR/.studio/runs/0007/run.json   what was typed, pid, when it began
                          log        what it printed
                          exit       its exit code, written at its end; absent from one that was killed

All that is known of a run is in its folder, so a studio that is started again finds it.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock, Thread

from pretune.base.lock import is_running, started
from pretune.base.staging import write_durably

SHOWN_BYTES = 64 << 10
"""So much of the end of a log is shown."""


@dataclass(frozen=True)
class Started:
    """What is kept of a command.

    Args:
        words: the command behind `pretune`.
        began: when its process did, by the operating system; seconds since 1970.
    """

    words: tuple[str, ...]
    pid: int
    began: float


@dataclass(frozen=True)
class Run:
    """A command that was started, by its folder."""

    folder: Path
    started: Started

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def typed(self) -> str:
        """As one would type it, in the studio's folder."""
        return typed(self.started.words)

    @cached_property
    def state(self) -> str:
        """running | done | stopped | failed | killed; of the moment when it was first asked."""
        if is_running(self.started.pid, self.started.began):
            return "running"
        try:
            code = (self.folder / "exit").read_text(encoding="utf-8")
        except OSError:
            return "killed"
        return {"0": "done", "130": "stopped"}.get(code, "failed")

    @property
    def log(self) -> str:
        """The end of what it printed."""
        with (self.folder / "log").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - SHOWN_BYTES))
            return file.read().decode("utf-8", "replace")

    def stop(self) -> None:
        """Ask it to stop, as Ctrl-C does: training saves first; asked again, it ends at once."""
        if is_running(self.started.pid, self.started.began):
            os.kill(self.started.pid, signal.SIGTERM)

    def wait(self, seconds: float) -> str:
        """Its state, at the latest after so many seconds."""
        end = time.monotonic() + seconds
        while is_running(self.started.pid, self.started.began) and time.monotonic() < end:
            time.sleep(0.05)
        return Run(self.folder, self.started).state


def typed(words: Sequence[str]) -> str:
    """A command as one would type it."""
    return shlex.join(["pretune", *words])


class Runs:
    """The runs of one folder, and starting more of them.

    Args:
        root: the folder that commands are started in.
        home: where their folders are.
    """

    def __init__(self, root: Path, home: Path):
        self.root, self.home, self._lock = root, home, Lock()

    def start(self, words: Sequence[str]) -> Run:
        """Start `pretune WORDS` in the folder; it goes on when the studio ends."""
        folder = self._new_folder()
        # -P: no file of the folder is taken for a module of Python's.
        command = [sys.executable, "-P", "-m", "pretune.studio.child", str(folder / "exit"), *words]
        with (folder / "log").open("wb") as log:
            child = subprocess.Popen(
                command,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"},
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        Thread(target=child.wait, daemon=True).start()  # else it stays as a zombie when it ends
        known = Started(tuple(words), child.pid, started(child.pid) or time.time())
        write_durably(folder / "run.json", json.dumps(asdict(known), ensure_ascii=False))
        return Run(folder, known)

    def _new_folder(self) -> Path:
        with self._lock:
            numbers = [int(path.name) for path in self.home.glob("[0-9]*")] if self.home.is_dir() else []
            folder = self.home / f"{max(numbers, default=0) + 1:04d}"
            folder.mkdir(parents=True)
            return folder

    def all(self) -> list[Run]:
        """Every run, the newest first."""
        found = (self.find(path.name) for path in sorted(self.home.glob("[0-9]*"), key=lambda p: -int(p.name)))
        return [run for run in found if run]

    def find(self, id: str) -> Run | None:
        """The run of this id; None where there is none."""
        folder = self.home / id
        if not id.isdigit() or not (folder / "run.json").is_file():
            return None
        known = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return Run(folder, Started(tuple(known["words"]), known["pid"], known["began"]))
