"""What the users of an application do: one SQLite file in `state/`, outside the artifact's id.

    state = State(folder, MIGRATIONS)          made, or brought up to the newest version
    with state.writing() as db: ...            one writer at a time; all of it is on the disk, or nothing
    state.rows("select * from asked where id > ?", 7)

Write-ahead log, synced at every commit: a process that is killed loses nothing that was committed, and readers (another
process too) never wait for the writer.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pretune.base.errors import Damaged, NotSupported
from pretune.base.json import Json

FILE = "app.sqlite"
WAIT = 30.0
"""Seconds that a writer waits for another process."""


class State:
    """The file of an application's state, for any thread.

    Args:
        migrations: SQL that makes version 1, 2 ... of the tables; a version that was shipped is never changed.
    """

    def __init__(self, folder: Path, migrations: Sequence[str]):
        self.path = folder / FILE
        folder.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.db = sqlite3.connect(self.path, timeout=WAIT, check_same_thread=False, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        try:
            self.db.execute("pragma journal_mode = wal")
            self.db.execute("pragma synchronous = full")
            self.db.execute("pragma foreign_keys = on")
            self._migrate(migrations)
        except sqlite3.DatabaseError as error:
            self.db.close()
            hint = "move the file away to begin with an empty state, or restore it"
            raise Damaged(f"{self.path.as_posix()} cannot be read: {error}", hint=hint) from None
        except BaseException:
            self.db.close()
            raise

    def _migrate(self, migrations: Sequence[str]) -> None:
        with self.writing() as db:
            version: int = db.execute("pragma user_version").fetchone()[0]
            if version > len(migrations):
                problem = f"{self.path.as_posix()} has version {version}; this pretune knows {len(migrations)}"
                raise NotSupported(problem, hint="upgrade pretune")
            for script in migrations[version:]:
                for statement in filter(None, map(str.strip, script.split(";"))):
                    db.execute(statement)
            if version < len(migrations):
                db.execute(f"pragma user_version = {len(migrations)}")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of the block, or nothing where it raises."""
        with self.lock:
            self.db.execute("begin immediate")
            try:
                yield self.db
            except BaseException:
                self.db.execute("rollback")
                raise
            self.db.execute("commit")

    def rows(self, sql: str, *values: object) -> list[Json]:
        """What a question gives, each row by its columns."""
        with self.lock:
            return [dict(row) for row in self.db.execute(sql, values)]

    def one(self, sql: str, *values: object) -> Json | None:
        """The first row, or None."""
        return next(iter(self.rows(sql, *values)), None)

    def close(self) -> None:
        with self.lock:
            self.db.close()


def is_there(folder: Path) -> bool:
    """Whether an application was served with this state before."""
    return (folder / FILE).is_file()
