"""What a desk knows while it is served: files that cannot be read are told, and nothing ends the looking."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from pretune.apps.app import Started, open_app
from pretune.apps.serving import asgi
from pretune.apps.support import live
from pretune.apps.support import record as record_module
from pretune.apps.support.desk import Desk
from pretune.apps.support.making import threshold
from pretune.apps.support.record import Record
from pretune.serve.run import Options
from tests.apps.test_support import made

LAMP = "The blue lamp weighs two kilograms.\n"


def opened(path: Path) -> Desk:
    found = open_app(path)
    assert isinstance(found, Desk)
    return found


def until(happened: Callable[[], object]) -> None:
    for _ in range(500):
        if happened():
            return
        threading.Event().wait(0.01)


def test_documents_that_cannot_be_read_are_named_with_the_reason_when_made_and_when_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text(LAMP, encoding="utf-8")
    (docs / "price.docx").write_bytes(b"PK\x03\x04 is no archive")
    (docs / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0")
    artifact = made(tmp_path / "desk", docs)
    warned = capsys.readouterr().err
    assert artifact.card.metrics["unread"] == 2
    assert "2 of docs.0" in warned and "price.docx" in warned and "logo.png: is no text" in warned
    desk, told = opened(artifact.path), list[str]()
    with desk.running(Started(told.append)):
        web = TestClient(asgi(desk, Options()), base_url="http://localhost")
        assert "price.docx" in web.get("/v1/knowledge").json()["problems"][0]
    (docs / "more.docx").write_bytes(b"PK\x03\x04 neither")
    assert desk.live.refresh(told.append)
    assert any("3 of docs.0" in one for one in told)
    for name in ("price.docx", "logo.png", "more.docx"):
        (docs / name).unlink()
    assert desk.live.refresh(told.append)
    assert desk.live.problems == {}


def test_a_bug_on_one_input_neither_ends_the_looking_nor_hides_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a.md", tmp_path / "b.md"
    for file in (first, second):
        file.write_text(LAMP, encoding="utf-8")
    artifact = made(tmp_path / "desk", first, second, "watch=0.02")
    desk, told, read = opened(artifact.path), list[str](), live.read_part

    def fails(place: str, *more: Any) -> Any:
        if place == "docs.0" and "nine" not in first.read_text(encoding="utf-8"):
            raise RecursionError("too deep")
        return read(place, *more)

    monkeypatch.setattr(live, "read_part", fails)
    with desk.running(Started(told.append)):
        first.write_text("The blue lamp weighs three kilograms.\n", encoding="utf-8")
        second.write_text("The purple lamp weighs five kilograms.\n", encoding="utf-8")
        until(lambda: "five" in desk.reply("What weighs the purple lamp?").text)
        assert "two" in desk.reply("What weighs the blue lamp?").text
        assert "RecursionError: too deep" in desk.live.problems["docs.0"]
        first.write_text("The blue lamp weighs nine kilograms.\n", encoding="utf-8")
        until(lambda: "nine" in desk.reply("What weighs the blue lamp?").text)
        assert "nine" in desk.reply("What weighs the blue lamp?").text
    assert desk.live.problems == {}


def test_a_watcher_that_meets_anything_says_so_and_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.md"
    file.write_text(LAMP, encoding="utf-8")
    artifact = made(tmp_path / "desk", file, "watch=0.02")
    desk, told = opened(artifact.path), list[str]()

    def full(path: Path) -> str:
        raise MemoryError("no room")

    monkeypatch.setattr(live, "_signature", full)
    with desk.running(Started(told.append)):
        until(lambda: len(told) >= 2)
        assert "MemoryError" in told[0] and len(told) >= 2


# ---- who only looks ---------------------------------------------------------------------------


def test_opening_a_desk_and_telling_of_it_leave_a_state_of_an_older_version_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.md").write_text(LAMP, encoding="utf-8")
    artifact, state = made(tmp_path / "desk", tmp_path / "a.md"), tmp_path / "state"
    record = Record(state)
    record.learn("The shop is closed on Mondays.")
    record.close()
    before = {file.name: file.read_bytes() for file in state.iterdir()}
    monkeypatch.setattr(record_module, "MIGRATIONS", (*record_module.MIGRATIONS, "create table more (a text)"))
    found = open_app(artifact.path, state)
    assert isinstance(found, Desk)
    assert found.reply("When is the shop closed?").text == "The shop is closed on Mondays."
    assert Desk.told(artifact, state)["asked"] == 0
    assert {file.name: file.read_bytes() for file in state.iterdir()} == before
    with found.running(Started(print)):
        assert found.record is not None and found.record.state.rows("select * from more") == []


# ---- the threshold ------------------------------------------------------------------------------


def test_a_new_question_is_refused_no_more_often_than_asked_for() -> None:
    """n + 1 that are exchangeable, each of them the new one in turn: exact, whatever n is."""
    for number in range(19, 61):
        every = np.random.default_rng(number).normal(size=number + 1)
        refused = [every[k] < threshold(np.delete(every, k), 0.05) for k in range(number + 1)]
        assert np.mean(refused) <= 0.05
    assert threshold(np.arange(99), 0.29) == 28.0


@pytest.mark.parametrize(("number", "is_warned"), [(18, True), (19, False)])
def test_too_few_questions_for_the_share_are_told(
    tmp_path: Path, number: int, is_warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.md").write_text(LAMP, encoding="utf-8")
    rows = "".join(f"What weighs lamp {n}?,two\n" for n in range(number))
    (tmp_path / "dev.csv").write_text(f"question,answer\n{rows}", encoding="utf-8")
    made(tmp_path / "desk", tmp_path / "a.md", f"dev={tmp_path / 'dev.csv'}")
    assert ("19 would do" in capsys.readouterr().err) == is_warned
