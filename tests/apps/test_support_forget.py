"""What customers said is forgotten when it is told to: in answers, files and bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pretune.apps import outbox
from pretune.apps.support.answering import Reply
from pretune.apps.support.record import Record
from pretune.base.errors import UserError
from tests.apps.test_support import Client, ask, client, desk, opened

__all__ = ["client", "desk", "opened"]
NOBODY = Reply("I do not know.", "nobody", 0.0)


class Clock:
    """Seconds since 1970, as a test has them."""

    time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def record(tmp_path: Path, clock: Clock) -> Iterator[Record]:
    found = Record(tmp_path / "state", posts=True, now=clock)
    yield found
    found.close()


def said(record: Record, words: str) -> dict[str, Any]:
    return record.said(f"{words}?", NOBODY, None)


def everything(record: Record) -> bytes:
    """All bytes of all files of the state."""
    return b"".join(file.read_bytes() for file in record.folder.iterdir())


def test_the_talk_of_a_ticket_leaves_no_byte_and_what_was_published_stays(record: Record) -> None:
    ann, bob = said(record, "Ann Smith of Lamp Street"), said(record, "Bob of Oak Street")
    record.said("Order 77 of Smith?", NOBODY, ann["talk"])
    record.answer(ann["ticket"], "Dear Mrs Smith.", published="Where is Smithfield?")
    record.answer(ann["ticket"], "By bus.", published="How do I come?")
    assert record.forget_talks(ticket=ann["ticket"]) == 1
    assert b"Smith" not in everything(record) and b"Order 77" not in everything(record)
    assert b"Bob" in everything(record)
    assert record.talk(ann["talk"]) == []
    assert [one["id"] for one in record.tickets(is_open=True)] == [bob["ticket"]]
    assert record.tickets(is_open=False) == []
    assert [(one["question"], one["text"], one["source"]) for one in record.learnt()] == [
        ("How do I come?", "By bus.", "desk")
    ]
    assert record.counts()["asked"] == 3
    with pytest.raises(UserError, match="no ticket"):
        record.forget_talks(ticket=ann["ticket"])
    with pytest.raises(UserError, match="no question"):
        record.vote(ann["id"], ann["talk"], 1)


def test_talks_are_forgotten_by_when_something_happened_last_and_none_that_waits(record: Record, clock: Clock) -> None:
    answered, waits, goes_on = said(record, "old"), said(record, "waiting"), said(record, "going on")
    for one in (answered, goes_on):
        record.answer(one["ticket"], "Yes.")
    clock.time = 2000.0
    record.said("And then?", Reply("So.", "passage", 1.0), goes_on["talk"])
    late = said(record, "answered late")
    clock.time = 3000.0
    record.answer(late["ticket"], "Yes.")
    assert record.forget_talks(before=2000.0) == 1
    kept = [bool(record.talk(one["talk"])) for one in (answered, waits, goes_on, late)]
    assert kept == [False, True, True, True]
    assert record.forget_talks(before=2999.0) == 1
    assert record.forget_talks(before=3001.0) == 1
    assert record.forget_talks(before=9000.0) == 0
    assert bool(record.talk(waits["talk"]))
    assert (record.folder / "examples.jsonl").read_text() == ""


def test_a_number_that_was_given_is_not_given_again(record: Record) -> None:
    first = said(record, "first")
    record.forget_talks(ticket=first["ticket"])
    second = said(record, "second")
    assert second["id"] > first["id"] and second["ticket"] > first["ticket"]
    ids = [row["id"] for row in record.state.rows("select id from outbox order by id")]
    assert ids == sorted({*ids}) and len(ids) == 2


def test_a_message_that_has_not_arrived_does_not_say_what_is_forgotten(record: Record) -> None:
    ticket = said(record, "Ann Smith")["ticket"]
    record.forget_talks(ticket=ticket)
    assert record.state.rows("select id from outbox where sent is null") == []


def test_a_ticket_that_is_forgotten_takes_no_answer(record: Record) -> None:
    ticket = said(record, "Ann")["ticket"]
    record.forget_talks(ticket=ticket)
    with pytest.raises(UserError, match="no ticket"):
        record.answer(ticket, "Dear Mrs Smith.", published="Smith?")
    assert b"Smith" not in everything(record) and record.learnt() == []


def test_what_is_forgotten_while_another_message_is_on_its_way_is_not_sent(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (said(record, name)["ticket"] for name in ("Ann", "Bob", "Eve"))
    heard = list[Any]()

    def slow(url: str, body: Any) -> str:
        heard.append(body.get("text"))
        if len(heard) == 1:
            record.forget_talks(ticket=first)
            record.forget_talks(ticket=second)
            return "TimeoutError"
        return ""

    monkeypatch.setattr(outbox, "sent", slow)
    with outbox.sending(record.state, "http://127.0.0.1:9/", lambda line: None, first_wait=0.01):
        for _ in range(500):
            if not outbox.num_waiting(record.state):
                break
            threading.Event().wait(0.01)
    assert heard == [f"#{first} Ann?", f"#{third} Eve?"]


def test_forgetting_over_http(client: Client) -> None:
    first = ask(client, "Do you repair typewriters?")
    assert client.post("/v1/forget", json={"days": 0}).json() == {"talks": 0}
    assert client.post("/v1/forget", json={"ticket": first["ticket"]}).json() == {"talks": 1}
    assert client.get("/v1/inbox").json()["waiting"] == []
    for body in ({}, {"days": 1, "ticket": 1}, {"days": -1}, {"ticket": first["ticket"]}):
        assert client.post("/v1/forget", json=body).status_code == 400
