"""Messages to a webhook that get there: kept in the state with what they are about, sent again until they are taken.

    with state.writing() as db: ...; post(db, {"text": ...})      kept or not together with the rest of the block
    with sending(state, url, write): ...                          a thread sends what is kept, the oldest first

A message is sent at least once: a server that is killed between the answer and the note of it sends it again; `id` says
which they are. One that is refused (4xx) or answered by a redirect is sent again too: an address that was wrong is
mended by a restart.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pretune.apps.state import State
from pretune.base.errors import UserError
from pretune.base.json import JsonMap

TABLE = """
create table outbox (id integer primary key, body text not null, tries integer not null default 0,
    problem text not null default '', sent real)
"""
"""For an application's migrations."""
SECONDS = 10.0
"""How long one try may take."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
"""Seconds between tries: doubled from the first to the longest."""
WAITING = "select id, body, tries, problem from outbox where sent is null order by id"


def post(db: sqlite3.Connection, body: JsonMap) -> None:
    """Keep a message, in a transaction of the caller's."""
    db.execute("insert into outbox (body) values (?)", (json.dumps(body, ensure_ascii=False),))


def num_waiting(state: State) -> int:
    """Messages that were not taken yet."""
    return len(state.rows("select id from outbox where sent is null"))


def problems(state: State) -> list[str]:
    """What `check` says: messages that were tried and not taken."""
    tried = [row for row in state.rows(WAITING) if row["tries"]]
    return [f"{len(tried)} messages wait for the webhook ({tried[0]['problem']})"] if tried else []


@contextmanager
def sending(
    state: State, url: str | None, write: Callable[[str], object], *, first_wait: float = FIRST_WAIT
) -> Iterator[threading.Event]:
    """Sends what is kept, for as long as the block lasts; without an address it stays kept.

    Gives:
        an event to set when there is something new.

    Raises:
        UserError: the address is none of http.
    """
    if url:
        check_address(url)
    news, ended = threading.Event(), threading.Event()
    sender = Sender(state, url or "", write, news, ended, first_wait)
    thread = threading.Thread(target=sender.run, name="outbox", daemon=True)
    if url:
        thread.start()
    try:
        yield news
    finally:
        ended.set()
        news.set()
        if url:
            thread.join(SECONDS + 1)


class Sender:
    """The thread's work."""

    def __init__(
        self,
        state: State,
        url: str,
        write: Callable[[str], object],
        news: threading.Event,
        ended: threading.Event,
        first_wait: float,
    ):
        self.state, self.url, self.write, self.news, self.ended = state, url, write, news, ended
        self.first_wait = self.wait = first_wait

    def run(self) -> None:
        while not self.ended.is_set():
            self.news.clear()
            is_down = not self._round()
            # A new message is no reason to try again sooner what is down.
            (self.ended if is_down else self.news).wait(self.wait if is_down else LONGEST_WAIT)
            self.wait = min(2 * self.wait, LONGEST_WAIT) if is_down else self.first_wait

    def _round(self) -> bool:
        """`_all_sent`, whatever happens: a thread that has died would send nothing until the next start."""
        try:
            return self._all_sent()
        except Exception:
            if not self.ended.is_set():
                self.write(f"messages for the webhook wait, and are tried again:\n{traceback.format_exc()}")
            return False

    def _all_sent(self) -> bool:
        """Whether all that is kept was sent; the first that is not taken ends the round."""
        # One at a time: what is forgotten while another is on its way is not sent.
        while not self.ended.is_set() and (row := self.state.one(f"{WAITING} limit 1")):
            problem = sent(self.url, {"id": row["id"], **json.loads(row["body"])})
            with self.state.writing() as db:
                db.execute(
                    "update outbox set tries = tries + 1, problem = ?, sent = ? where id = ? and sent is null",
                    (problem, None if problem else time.time(), row["id"]),
                )
            if problem:
                if self.wait == self.first_wait:
                    self.write(f"the webhook does not answer ({problem}); what it should hear is kept and sent again")
                return False
        return True


def check_address(url: str) -> None:
    """Raise UserError where it is no address of a webhook; it may be a secret, so it is not told."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https"):
        raise UserError("the webhook is no http or https address", hint="PRETUNE_WEBHOOK=https://...")


class Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: urllib would ask the other host by GET, without the message, and take its 200 for ours."""

    def redirect_request(self, *said: object, **more: object) -> None:
        return None


def sent(url: str, body: JsonMap) -> str:
    """Post JSON; what went wrong, or "", in words of ours: an error's own may quote the address, which is a secret."""
    data = json.dumps(body, ensure_ascii=False).encode("utf-8")
    try:
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method="POST")
        with urllib.request.build_opener(Stays).open(request, timeout=SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return f"HTTP {error.code}" + (", a redirect, which is not followed" if 300 <= error.code < 400 else "")
    except urllib.error.URLError as error:
        return _reason(error.reason)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return _reason(error)


def _reason(error: object) -> str:
    """The system's own words for an error of the network; of others the kind."""
    words = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
