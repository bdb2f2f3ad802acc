"""Checkpoints in the background: the run goes on while one is written.

    step 120   tensors are copied (12 bytes a parameter with AdamW: milliseconds)   the run goes on
               a thread writes, syncs and verifies the copy                         at most one at a time
    step 123   whatever went wrong in the thread is raised here

The copy is the price: memory for one more state, which the forecast counts. Where that is not free, or the state is
kept on the disk (optim.offload=disk), the run waits for its checkpoints instead. The bytes are the same.
"""

from __future__ import annotations

import time
from pathlib import Path
from threading import Thread

from pretune.base.json import Json
from pretune.base.log import Log
from pretune.train.forecast.plan import free_bytes
from pretune.train.loop.checkpoint import Snapshot, write
from pretune.train.settings import Keep

THREAD = "checkpoint"
ROOM = 1.5
"""Of a copy's bytes, what must be free before it is made."""


class Saver:
    """Writes the checkpoints of a run; a context, which ends when the last of them is whole.

    Args:
        may_copy: whether tensors are copied, so that the run need not wait.
    """

    def __init__(self, folder: Path, keep: Keep, log: Log, *, may_copy: bool = True):
        self.folder, self.keep, self.log, self.may_copy = folder, keep, log, may_copy
        self.cost = 0.0
        """Seconds that the last checkpoint took from the run: its wait, and processor time of the thread."""
        self.extra: Json = {}
        """What stages keep in the checkpoint that was begun last."""
        self._thread: Thread | None = None
        self._error: Exception | None = None

    def save(self, one: Snapshot, *, wait: bool = False) -> None:
        """Write a checkpoint: behind the run's back if that can be, and it need not `wait`.

        Raises:
            DiskFull, NotSaved, Damaged: of this checkpoint, or of the one before.
        """
        self.finish()
        started, self.cost, self.extra = time.monotonic(), 0.0, one.numbers["extra"]
        behind = self.may_copy and not wait and free_bytes("cpu") > ROOM * one.num_bytes
        self._thread = Thread(target=self._write, args=[one.copied() if behind else one], name=THREAD)
        self._thread.start()
        if not behind:
            self.finish()
        self.cost += time.monotonic() - started

    def _write(self, one: Snapshot) -> None:
        try:
            write(one, self.folder, self.keep)
        except Exception as error:  # raised again where the run will see it
            self._error = error
        self.cost += time.thread_time()

    def check(self) -> None:
        """Raise what went wrong with a checkpoint that was written since."""
        if self._thread is not None and not self._thread.is_alive():
            self.finish()

    def finish(self) -> None:
        """Wait for the checkpoint that is being written; raises what went wrong with it."""
        self._end()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _end(self) -> None:
        if self._thread is not None:
            with self.log.timing("checkpoints"):
                self._thread.join()
            self._thread = None

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """A run that fails says why it does, and not what a checkpoint met besides."""
        self._end() if kind is not None else self.finish()
