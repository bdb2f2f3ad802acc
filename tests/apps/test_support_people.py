"""A desk's people, many at once: nothing they do is lost, and a customer's words stay with the customer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pretune.apps.support.answering import Reply
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
