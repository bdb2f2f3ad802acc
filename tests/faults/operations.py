"""Every file operation of a save, counted, and one of them failing or being the last that the process does.

Operations are counted in the thread that writes checkpoints, in its second save: folders made, renamed and removed, files
opened, written, flushed, replaced and deleted, every fsync, and the tensors (of which half are on the disk when it fails).
"""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretune.train.loop import checkpoint, saving

IN_OS = ("mkdir", "open", "rename", "replace", "unlink", "rmdir", "fsync", "scandir")
SAVE = 2
"""The save that is disturbed: one good checkpoint is there."""


class Counted:
    """Counts operations, and calls `fault` at the one of this number.

    Args:
        note: a file that how many there were is written to.
    """

    def __init__(self, number: int, fault: Callable[[], None], note: Path):
        self.number, self.fault, self.note = number, fault, note
        self.count = self.saves = 0

    def install(self) -> None:
        """In this process, for good."""
        for name in IN_OS:
            setattr(os, name, self._around(getattr(os, name)))
        io.open = self._opening(io.open)  # type: ignore[assignment]  # what pathlib calls
        checkpoint.write_safetensors = self._tensors(checkpoint.write_safetensors)  # type: ignore[assignment]
        saving.write = self._write(saving.write)

    def at(self) -> None:
        if self.saves == SAVE and threading.current_thread().name == saving.THREAD:
            self.count += 1
            if self.count == self.number:
                self.fault()

    def _around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.at()
            return real(*args, **kwargs)

        return call

    def _opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.at()
            file = real(*args, **kwargs)
            if "w" in (args[1] if len(args) > 1 else ""):
                file.write, file.flush = self._around(file.write), self._around(file.flush)
            return file

        return call

    def _tensors(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(tensors: Any, path: Path) -> None:
            real(tensors, path)
            if self.count + 1 == self.number and self.saves == SAVE:
                os.truncate(path, path.stat().st_size // 2)
            self.at()

        return call

    def _write(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.saves += 1
            found = real(*args)
            if self.saves == SAVE:
                self.note.write_text(str(self.count), encoding="utf-8")
            return found

        return call


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def failing(number: int) -> Callable[[], None]:
    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail
