"""Commands that the studio started: each has a folder, a process group of its own, and a life of its own.

    DIR/.studio/runs/0007/run.json   what was typed, pid, when it began
                          log        what it printed
                          exit       its exit code, written at its end; absent from one that was killed

All that is known of a run is in its folder, so a studio that is started again finds it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock, Thread

from pretune.base.lock import is_running, started
from pretune.base.staging import write_durably

SHOWN_BYTES = 64 << 10
"""So much of the end of a log is shown."""
ID = re.compile(r"[0-9]{1,9}")
"""The name of a run's folder."""
STOP = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)
"""What asks a process to stop; on Windows SIGTERM would end it at once, and nothing would be saved."""


@dataclass(frozen=True)
class Started:
    """What is kept of a command.

    Args:
        words: the command behind `pretune`.
        began: when it did, by the clock, for people; seconds since 1970.
        born: which process of this pid it is (base/lock.py); no clock is asked whether it still runs.
        of: what was asked for, whoever asks: while one is running, no second one is started.
    """

    words: tuple[str, ...]
    pid: int
    began: float
    born: str = ""
    of: str = ""


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

    @property
    def is_running(self) -> bool:
        """Whether its process runs now."""
        return is_running(self.started.pid, self.started.born)

    @cached_property
    def state(self) -> str:
        """running | done | stopped | failed | killed; of the moment when it was first asked."""
        if self.is_running:
            return "running"
        try:
            code = (self.folder / "exit").read_text(encoding="utf-8")
        except OSError:
            return "killed"
        return {"0": "done", "130": "stopped"}.get(code, "failed")

    @property
    def log(self) -> str:
        """The end of what it printed."""
        return self._printed(-SHOWN_BYTES)

    @property
    def head(self) -> str:
        """The beginning of what it printed."""
        return self._printed(0)

    def _printed(self, start: int) -> str:
        """So much of its log as is shown, from a byte on, counted from the end if below 0; "" where there is none."""
        try:
            with (self.folder / "log").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size + start if start < 0 else start))
                return file.read(SHOWN_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""

    def stop(self) -> None:
        """Ask it to stop, as Ctrl-C does: training saves first; asked again, it ends at once."""
        if self.is_running:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.started.pid, STOP)

    def wait(self, seconds: float) -> str:
        """Its state, at the latest after so many seconds."""
        end = time.monotonic() + seconds
        while self.is_running and time.monotonic() < end:
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

    def start(self, words: Sequence[str], of: str = "") -> Run:
        """Start `pretune WORDS` in the folder; it goes on when the studio ends.

        Args:
            of: what is asked for, by default the words: one that runs already is given instead, so that a double
                click starts one.
        """
        of = of or typed(words)
        with self._lock:
            running = (run for run in self.all() if run.started.of == of and run.is_running)
            return next(running, None) or self._started(words, of)

    def _started(self, words: Sequence[str], of: str) -> Run:
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
        known = Started(tuple(words), child.pid, time.time(), started(child.pid) or "", of)
        Thread(target=child.wait, daemon=True).start()  # else it stays as a zombie when it ends
        write_durably(folder / "run.json", json.dumps(asdict(known), ensure_ascii=False))
        return Run(folder, known)

    def _new_folder(self) -> Path:
        number = max((int(path.name) for path in self._folders()), default=0) + 1
        folder = self.home / f"{number:04d}"
        folder.mkdir(parents=True)
        return folder

    def _folders(self) -> list[Path]:
        return [path for path in self.home.glob("*") if ID.fullmatch(path.name)]

    def all(self) -> list[Run]:
        """Every run, the newest first."""
        found = (self.find(path.name) for path in sorted(self._folders(), key=lambda p: -int(p.name)))
        return [run for run in found if run]

    def find(self, id: str) -> Run | None:
        """The run of this id; None where there is none, or none that can be read."""
        folder = self.home / id
        if not ID.fullmatch(id):
            return None
        try:
            known = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            return Run(folder, Started(**{**known, "words": tuple(known["words"])}))
        except (OSError, ValueError, TypeError, KeyError):
            return None
