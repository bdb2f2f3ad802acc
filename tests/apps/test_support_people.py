"""A desk's people, many at once: nothing they do is lost, and a customer's words stay with the customer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pretune.apps.support.answering import Reply
from pretune.apps.support.desk import Desk
from pretune.apps.support.record import Record
from tests.apps.test_support import Client, ask, client, desk, opened

__all__ = ["client", "desk", "opened"]
NOBODY = Reply("I do not know.", "nobody", 0.0)


def together(works: list[Callable[[], object]]) -> None:
    """All at once, each in a thread; what one raises is raised here."""
    wrong: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]


def test_who_answers_hears_nothing_that_opens_a_talk(client: Client) -> None:
    said = ask(client, "Do you repair typewriters?")
    client.post("/v1/inbox", json={"ticket": said["ticket"], "answer": "No."})
    other = ask(client, "Do you repair pianos?")
    inbox = client.get("/v1/inbox").text
    assert said["talk"] not in inbox and other["talk"] not in inbox
    assert '"talk"' not in inbox


def test_a_name_that_no_talk_has_begins_one_that_nobody_can_guess(client: Client) -> None:
    first = ask(client, "Is the delivery free?", talk="1")
    assert len(first["talk"]) >= 32
    assert client.post("/v1/talk", json={"talk": "1"}).json() == {"turns": []}
    assert ask(client, "Is it?", talk=first["talk"])["talk"] == first["talk"]
    assert len(client.post("/v1/talk", json={"talk": first["talk"]}).json()["turns"]) == 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/feedback", {"id": 2**63, "talk": "a", "vote": 1}),
        ("/v1/hand-over", {"id": -(2**70), "talk": "a"}),
        ("/v1/inbox", {"ticket": 2**63, "answer": "Yes."}),
        ("/v1/inbox", {"ticket": 1, "answer": " \n"}),
        ("/v1/knowledge", {"forget": 2**63}),
        ("/v1/knowledge", {"question": " ", "answer": "Yes."}),
    ],
)
def test_numbers_that_no_row_has_and_blanks_are_refused(client: Client, path: str, body: dict[str, Any]) -> None:
    ask(client, "Do you repair typewriters?")
    assert client.post(path, json=body).status_code == 400
    assert client.get("/v1/inbox").json()["answered"] == []


def test_an_answer_is_published_under_the_words_of_who_answered_and_only_if_wanted(client: Client) -> None:
    said = ask(client, "I am Ann Smith of Lamp Street 3, order 77: do you repair my typewriter?")
    answer = {"ticket": said["ticket"], "answer": "No, we repair lamps only."}
    client.post("/v1/inbox", json=answer)
    assert client.get("/v1/knowledge").json()["learnt"] == []
    client.post("/v1/inbox", json={**answer, "question": "Do you repair typewriters?"})
    found = ask(client, "Do you repair a typewriter?")
    assert (found["way"], found["sources"][0]["question"]) == ("faq", "Do you repair typewriters?")
    assert "Smith" not in json.dumps(found)
    (ticket,) = client.get("/v1/inbox").json()["answered"]
    assert ticket["published"] == "Do you repair typewriters?"
    client.post("/v1/inbox", json=answer)
    assert client.get("/v1/inbox").json()["answered"][0]["published"] == ""
    assert ask(client, "Do you repair a typewriter?")["way"] == "nobody"


class Slow(Record):
    """Stops between reading what was learnt and giving it."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.has_read, self.goes_on = threading.Event(), threading.Event()

    def knowledge(self) -> Any:
        found = super().knowledge()
        self.has_read.set()
        self.goes_on.wait(0.3)
        return found


def test_of_two_that_learn_at_once_the_earlier_does_not_undo_the_later(opened: Desk) -> None:
    slow, record = Slow(opened.folder), Record(opened.folder)
    record.learn("The museum of typewriters opens on Tuesdays.")
    thread = threading.Thread(target=opened.live.learn, args=(slow,))
    thread.start()
    slow.has_read.wait()
    record.learn("The museum of pianos opens on Fridays.")
    opened.live.learn(record)
    slow.goes_on.set()
    thread.join()
    assert [p.text.split()[3] for p in opened.live.learnt] == ["typewriters", "pianos"]
    slow.close()
    record.close()


def test_answers_given_at_once_are_all_examples(tmp_path: Path) -> None:
    record = Record(tmp_path)
    tickets = [record.said(f"Question {n}?", NOBODY, None)["ticket"] for n in range(24)]
    together([partial(record.answer, ticket, f"Answer {ticket}.") for ticket in tickets])
    lines = (tmp_path / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["messages"][1]["content"] for line in lines] == [f"Answer {n}." for n in tickets]
    record.close()
