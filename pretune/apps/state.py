"""What the users of an application do: one SQLite file in `state/`, outside the artifact's id.

    state = State(folder, MIGRATIONS)          made, or brought up to the newest version
    with state.writing() as db: ...            one writer at a time; all of it is on the disk, or nothing
    state.rows("select * from asked where id > ?", 7)
    State(folder, MIGRATIONS, reads=True)      for who only looks: writes nothing, not even what brings it up to date

Write-ahead log, synced at every commit: a process that is killed loses nothing that was committed, and readers (another
process too) never wait for the writer.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pretune.base.errors import Damaged, DiskFull, Locked, NotSupported, NotWritable, PretuneError
from pretune.base.json import Json
from pretune.base.staging import is_full

FILE = "app.sqlite"
WAIT = 30.0
"""Seconds that a writer waits for another process."""


class State:
    """The file of an application's state, for any thread.

    Args:
        migrations: SQL that makes version 1, 2 ... of the tables; a version that was shipped is never changed.
        reads: the file is there, and stays as it is to the byte; one of an older version is read by a copy in memory.
    """

    def __init__(self, folder: Path, migrations: Sequence[str], *, reads: bool = False):
        self.path = folder / FILE
        self.lock = threading.RLock()
        if not reads:
            _make(folder)
        with told(self.path):
            self.db = _readable(self.path, len(migrations)) if reads else _connected(self.path)
        self.db.row_factory = sqlite3.Row
        try:
            if not reads:
                with told(self.path):
                    _make_durable(self.db)
            if not reads or self._version(migrations) < len(migrations):
                self._migrate(migrations)
        except BaseException:
            self.db.close()
            raise

    def _migrate(self, migrations: Sequence[str]) -> None:
        with self.writing() as db:
            version = self._version(migrations)
            for script in migrations[version:]:
                for statement in filter(None, map(str.strip, script.split(";"))):
                    db.execute(statement)
            if version < len(migrations):
                db.execute(f"pragma user_version = {len(migrations)}")

    def _version(self, migrations: Sequence[str]) -> int:
        with told(self.path):
            version = version_of(self.db)
        if version > len(migrations):
            problem = f"{self.path.as_posix()} has version {version}; this pretune knows {len(migrations)}"
            raise NotSupported(problem, hint="upgrade pretune")
        return version

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of the block, or nothing where it raises.

        Raises:
            Locked, DiskFull, NotWritable, Damaged: what SQLite met.
        """
        with self.lock, told(self.path):
            self.db.execute("begin immediate")
            try:
                yield self.db
                self.db.execute("commit")
            except BaseException:
                if self.db.in_transaction:  # SQLite has ended it by itself where the disk is full
                    self.db.execute("rollback")
                raise

    def rows(self, sql: str, *values: object) -> list[Json]:
        """What a question gives, each row by its columns. Raises what `writing` does."""
        with self.lock, told(self.path):
            return [dict(row) for row in self.db.execute(sql, values)]

    def one(self, sql: str, *values: object) -> Json | None:
        """The first row, or None."""
        return next(iter(self.rows(sql, *values)), None)

    def compact(self) -> None:
        """Empty the write-ahead log, which still has what was overwritten, unless another process reads it just now."""
        with self.lock, told(self.path):
            self.db.execute("pragma wal_checkpoint(truncate)").fetchall()

    def close(self) -> None:
        with self.lock:
            self.db.close()


def _connected(path: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=WAIT, check_same_thread=False, isolation_level=None, uri=uri)


def _make_durable(db: sqlite3.Connection) -> None:
    """What is committed is on the disk, and what is deleted is overwritten."""
    for setting in ("journal_mode = wal", "synchronous = full", "foreign_keys = on", "secure_delete = on"):
        db.execute(f"pragma {setting}")


def _readable(path: Path, version: int) -> sqlite3.Connection:
    """What is in a file, in this version or a newer one."""
    # Without a log nobody serves it, and SQLite, which would leave files next to it, need not look for who else writes.
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    db = _connected(f"{path.absolute().as_uri()}?{how}", uri=True)
    try:
        if version_of(db) >= version:
            return db
        copy = _connected(":memory:")
        db.backup(copy)
    except BaseException:
        db.close()
        raise
    db.close()
    return copy


def version_of(db: sqlite3.Connection) -> int:
    """How many migrations it has had."""
    version: int = db.execute("pragma user_version").fetchone()[0]
    return version


def is_there(folder: Path) -> bool:
    """Whether an application was served with this state before."""
    return (folder / FILE).is_file()


def _make(folder: Path) -> None:
    """The folder. Raises NotWritable, DiskFull."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_full(error):
            raise DiskFull(f"the state cannot be made: {error.strerror}") from None
        hint = f"--state DIR: a folder that you may write, in place of {folder.as_posix()}"
        raise NotWritable(f"the state cannot be made: {error.strerror}", hint=hint) from None


MET: dict[int, tuple[type[PretuneError], str, str]] = {
    sqlite3.SQLITE_BUSY: (
        Locked,
        "another process holds the state",
        "end what else has {} open, or wait and try again",
    ),
    sqlite3.SQLITE_FULL: (
        DiskFull,
        "the disk of the state is full",
        "free room where {} is; what was confirmed is kept",
    ),
    sqlite3.SQLITE_IOERR: (DiskFull, "the state could not be read or written", "look at the disk that {} is on"),
    sqlite3.SQLITE_READONLY: (
        NotWritable,
        "the state is read-only",
        "--state DIR, or give yourself the right to write {}",
    ),
    sqlite3.SQLITE_CORRUPT: (
        Damaged,
        "the state cannot be read",
        "restore {}, or move it away to begin with an empty state",
    ),
}
"""What SQLite met -> our error, its problem, which clients may read, and its hint, which names the file."""
MET |= {
    sqlite3.SQLITE_LOCKED: MET[sqlite3.SQLITE_BUSY],
    sqlite3.SQLITE_CANTOPEN: MET[sqlite3.SQLITE_READONLY],
    sqlite3.SQLITE_PERM: MET[sqlite3.SQLITE_READONLY],
    sqlite3.SQLITE_NOTADB: MET[sqlite3.SQLITE_CORRUPT],
}


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What SQLite meets, as an error that says what to do; what is a bug of ours (wrong SQL) stays what it is."""
    try:
        yield
    except sqlite3.Error as error:
        # The low byte; the others say where in SQLite.
        kind, problem, hint = MET.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, (None, "", ""))
        if kind is None:
            raise
        raise kind(f"{problem}: {error}", hint=hint.format(path.as_posix())) from error
