"""The file of an application's state, and what is said where it cannot be used."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pretune.apps import state as module
from pretune.apps.state import FILE, State
from pretune.base.errors import Damaged, DiskFull, Locked, NotSupported, NotWritable, PretuneError

TABLE = "create table words (word text)"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    monkeypatch.setattr(module, "WAIT", 0.01)
    found = State(tmp_path / "state", [TABLE])
    yield found
    found.close()


def add(state: State, word: str) -> None:
    with state.writing() as db:
        db.execute("insert into words values (?)", (word,))


def words(state: State) -> list[str]:
    return [row["word"] for row in state.rows("select word from words")]


def test_a_state_that_another_process_holds_is_locked_not_damaged(state: State) -> None:
    other = sqlite3.connect(state.path, isolation_level=None)
    other.execute("begin exclusive")
    with pytest.raises(Locked, match="another process") as error:
        add(state, "a")
    with pytest.raises(Locked):
        State(state.path.parent, [TABLE])
    other.execute("rollback")
    other.close()
    add(state, "b")
    assert words(state) == ["b"]
    assert state.path.as_posix() in str(error.value.hint) and state.path.as_posix() not in error.value.problem


def test_on_a_full_disk_a_write_is_refused_whole_and_the_next_one_goes_on(state: State) -> None:
    add(state, "a")
    (pages,) = state.db.execute("pragma page_count").fetchone()
    state.db.execute(f"pragma max_page_count = {pages}")
    for _ in range(2):
        with pytest.raises(DiskFull, match="full"), state.writing() as db:
            db.execute("insert into words values ('b')")
            db.execute("insert into words values (?)", ("c" * 100_000,))
    state.db.execute("pragma max_page_count = 1000")
    add(state, "d")
    assert words(state) == ["a", "d"]


def test_a_commit_that_fails_leaves_no_transaction_open(tmp_path: Path) -> None:
    state = State(
        tmp_path,
        [
            "create table a (id integer primary key); create table b (a integer references a (id) deferrable initially deferred)"
        ],
    )
    with pytest.raises(sqlite3.IntegrityError), state.writing() as db:
        db.execute("insert into b values (7)")
    with state.writing() as db:
        db.execute("insert into a values (7)")
    assert state.rows("select * from b") == []
    state.close()


def test_a_file_that_is_cut_is_damaged(state: State) -> None:
    add(state, "a" * 20_000)
    state.close()
    data = state.path.read_bytes()
    state.path.write_bytes(data[:4096] + bytes(4096))
    with pytest.raises(Damaged, match="cannot be read"):
        again = State(state.path.parent, [TABLE])
        words(again)


@pytest.mark.parametrize("name", ["file", f"file/{FILE}"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NotWritable) as error:
        State(tmp_path / name, [TABLE])
    assert "--state" in str(error.value.hint) and isinstance(error.value, PretuneError)


def test_a_database_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(NotWritable):
        State(tmp_path, [TABLE])


# ---- who only looks -----------------------------------------------------------------------------

NEWER = [TABLE, "alter table words add column loud integer not null default 0"]


def everything(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("migrations", [[TABLE], NEWER])
def test_looking_at_a_state_of_this_or_an_older_version_writes_no_byte(state: State, migrations: list[str]) -> None:
    add(state, "a")
    state.close()
    before = everything(state.path.parent)
    looking = State(state.path.parent, migrations, reads=True)
    assert looking.rows("select * from words") == [{"word": "a", **({"loud": 0} if migrations is NEWER else {})}]
    looking.close()
    assert everything(state.path.parent) == before


@pytest.mark.parametrize("migrations", [[TABLE], NEWER])
def test_looking_sees_what_was_committed_by_who_serves_or_was_killed(state: State, migrations: list[str]) -> None:
    add(state, "a")
    looking = State(state.path.parent, migrations, reads=True)
    assert words(looking) == ["a"]
    looking.close()
    add(state, "b")
    assert words(state) == ["a", "b"]


def test_who_looks_cannot_write_and_a_newer_state_is_refused(state: State) -> None:
    looking = State(state.path.parent, [TABLE], reads=True)
    with pytest.raises(NotWritable):
        add(looking, "a")
    looking.close()
    State(state.path.parent, NEWER).close()
    with pytest.raises(NotSupported, match="version 2"):
        State(state.path.parent, [TABLE], reads=True)
