"""What customers and people at the desk do, in the desk's state.

talks     a customer's questions in turn; its name is a secret that only the customer has
tickets   what a person must answer: what nobody knew, and what a customer handed over
learnt    what people answered or wrote down since: knowledge, and training examples
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from pretune.apps.outbox import TABLE as OUTBOX
from pretune.apps.outbox import post
from pretune.apps.state import State
from pretune.apps.support.answering import Reply
from pretune.apps.support.faq import entry
from pretune.apps.support.passages import Passage
from pretune.base.errors import UserError
from pretune.base.json import Json
from pretune.base.staging import write_durably

MIGRATIONS = (
    """
create table asked (id integer primary key, talk text not null, time real not null, question text not null,
    answer text not null, way text not null, confidence real not null, intent text not null default '',
    sources text not null default '[]', vote integer not null default 0);
create index asked_talk on asked (talk);
create table tickets (id integer primary key, asked integer not null unique references asked (id), time real not null,
    reason text not null, answer text, answered real, as_faq integer not null default 0);
create table learnt (id integer primary key, time real not null, title text not null default '',
    question text not null default '', text text not null, source text not null, gone real);
"""
    + OUTBOX,
)
EXAMPLES = "examples.jsonl"
"""Answered tickets as dialogues, for stage dataset; written again from the state whenever one is answered."""
# Without the name of the talk: who has it reads the customer's whole talk, as the customer does.
TICKETS = """
select t.id, t.time, t.reason, t.answer, t.answered, a.id as asked, a.question, a.way, a.confidence,
    a.intent, a.vote, a.answer as said, a.sources,
    coalesce((select question from learnt where source = 'ticket#' || t.id and gone is null), '') as published
from tickets t join asked a on a.id = t.asked where a.question <> ''
"""
OLD_TALKS = """
select a.talk from asked a left join tickets t on t.asked = a.id where a.question <> '' group by a.talk
having max(max(a.time, coalesce(t.answered, 0))) < ? and sum(t.id is not null and t.answer is null) = 0
"""


class Record:
    """The desk's state.

    Args:
        folder: where it lies; the examples are next to it.
        posts: whether tickets are told to a webhook.
        now: the time, seconds since 1970.
        reads: nothing is kept, and nothing written.
    """

    def __init__(self, folder: Path, *, posts: bool = False, now: Callable[[], float] = time.time, reads: bool = False):
        self.state = State(folder, MIGRATIONS, reads=reads)
        self.folder, self.posts, self.now = folder, posts, now
        self.examples = Lock()
        """Who writes them: of two at once the one that read last must be the last to write."""

    # ---- customers ----

    def said(self, question: str, reply: Reply, talk: str | None) -> Json:
        """Keep a question and its reply; what nobody knew becomes a ticket.

        Returns:
            `id` of the question and its `talk`, a new one unless there is the given one (a name that a client made up
            could be guessed); `ticket`, if there is one.
        """
        is_known = talk and self.state.one("select id from asked where talk = ?", talk)
        talk = talk if talk and is_known else secrets.token_urlsafe(24)
        sources = json.dumps([source.to_json() for source in reply.sources], ensure_ascii=False)
        intent = "" if reply.intent is None else reply.intent.name
        row = (talk, self.now(), question, reply.text, reply.way, reply.confidence, intent, sources)
        with self.state.writing() as db:
            sql = "insert into asked (talk, time, question, answer, way, confidence, intent, sources)"
            number = db.execute(f"{sql} values (?, ?, ?, ?, ?, ?, ?, ?)", row).lastrowid
            assert number is not None, "what was kept has a number"
            ticket = {"ticket": self._ticket(db, number, "nobody")} if reply.way == "nobody" else {}
        return {"id": number, "talk": talk, **ticket}

    def talk(self, talk: str) -> list[Json]:
        """The turns of a talk: what was asked and said, and what a person answered."""
        sql = "select a.*, t.id as ticket, t.answer as person from asked a left join tickets t on t.asked = a.id"
        rows = self.state.rows(f"{sql} where a.talk = ? order by a.id", talk)
        return [{**row, "sources": json.loads(row["sources"])} for row in rows]

    def vote(self, asked: int, talk: str, vote: int) -> None:
        """👍 (1), 👎 (-1), or neither (0). Raises UserError: no such question in this talk."""
        self._check(asked, talk)
        with self.state.writing() as db:
            db.execute("update asked set vote = ? where id = ?", (vote, asked))

    def hand_over(self, asked: int, talk: str, reason: str) -> int:
        """Make a ticket of a question, once, and tell the webhook. Raises UserError: no such question in this talk."""
        self._check(asked, talk)
        with self.state.writing() as db:
            return self._ticket(db, asked, reason)

    def _ticket(self, db: sqlite3.Connection, asked: int, reason: str) -> int:
        if there := db.execute("select id from tickets where asked = ?", (asked,)).fetchone():
            return int(there[0])
        sql = "insert into tickets (asked, time, reason) values (?, ?, ?)"
        ticket = db.execute(sql, (asked, self.now(), reason)).lastrowid
        assert ticket is not None, "what was kept has a number"
        if self.posts:
            question = db.execute("select question from asked where id = ?", (asked,)).fetchone()[0]
            post(db, {"event": "ticket", "ticket": ticket, "reason": reason, "text": f"#{ticket} {question}"})
        return ticket

    def _check(self, asked: int, talk: str) -> None:
        if self.state.one("select id from asked where id = ? and talk = ?", asked, talk) is None:
            raise UserError(f"there is no question {asked} in this talk")

    # ---- the desk ----

    def tickets(self, *, is_open: bool, most: int = 200) -> list[Json]:
        """Tickets, those that wait the longest first; of answered ones the latest first."""
        which = "t.answer is null order by t.id" if is_open else "t.answer is not null order by t.answered desc"
        rows = self.state.rows(f"{TICKETS} and {which} limit ?", most)
        return [{**row, "sources": json.loads(row["sources"])} for row in rows]

    def answer(self, ticket: int, text: str, *, published: str = "") -> None:
        """A person's answer: the customer sees it, and it is an example to learn from.

        Args:
            published: the question of the entry of the FAQ that it becomes, which every customer may see: never the
                customer's own words unless the person chose them. "": it becomes none, and one of before is gone.

        Raises:
            UserError: no such ticket.
        """
        with self.state.writing() as db:
            sql = "update tickets set answer = ?, answered = ?, as_faq = ? where id = ?"
            if db.execute(sql, (text, self.now(), int(bool(published)), ticket)).rowcount == 0:
                raise UserError(f"there is no ticket {ticket}")
            source = f"ticket#{ticket}"
            db.execute("update learnt set gone = ? where source = ? and gone is null", (self.now(), source))
            if published:
                sql = "insert into learnt (time, question, text, source) values (?, ?, ?, ?)"
                db.execute(sql, (self.now(), published, text, source))
        self.write_examples()

    def write_examples(self) -> None:
        """Every answered ticket as a dialogue; a kill in between leaves the file before, and the next call mends it."""
        with self.examples:
            rows = self.state.rows(f"{TICKETS} and t.answer is not null order by t.id")
            turns = ((row["question"], row["answer"]) for row in rows)
            lines = [json.dumps({"messages": _messages(*one)}, ensure_ascii=False) for one in turns]
            write_durably(self.folder / EXAMPLES, "".join(f"{line}\n" for line in lines))

    def learn(self, text: str, *, title: str = "", question: str = "") -> int:
        """Keep new knowledge; its number."""
        with self.state.writing() as db:
            sql = "insert into learnt (time, title, question, text, source) values (?, ?, ?, ?, 'desk')"
            number = db.execute(sql, (self.now(), title, question, text)).lastrowid
        assert number is not None, "what was kept has a number"
        return number

    def forget(self, number: int) -> None:
        """Take knowledge out again. Raises UserError: there is none of this number."""
        with self.state.writing() as db:
            sql = "update learnt set gone = ? where id = ? and gone is null"
            if db.execute(sql, (self.now(), number)).rowcount == 0:
                raise UserError(f"there is no knowledge {number}")

    def forget_talks(self, *, ticket: int | None = None, before: float = 0.0) -> int:
        """Forget what customers said: of the talk that a ticket is from, or of all in which nothing happened since.

        Rows are emptied, not deleted: their numbers are not given again (a ticket's is in webhooks and open pages), and
        counts stay. What was published stays, as no ticket's any more; talks with a ticket that waits are forgotten by
        its number alone.

        Args:
            before: seconds since 1970.

        Returns:
            how many talks.

        Raises:
            UserError: no such ticket.
        """
        with self.state.writing() as db:
            if ticket is None:
                rows = db.execute(OLD_TALKS, (before,)).fetchall()
                db.execute("update learnt set title = '', question = '', text = '' where gone < ?", (before,))
            else:
                sql = "select a.talk from asked a join tickets t on t.asked = a.id where t.id = ? and a.question <> ''"
                rows = db.execute(sql, (ticket,)).fetchall()
                if not rows:
                    raise UserError(f"there is no ticket {ticket}")
            for row in rows:
                self._forget_talk(db, row["talk"])
        self.write_examples()
        self.state.compact()
        return len(rows)

    def _forget_talk(self, db: sqlite3.Connection, talk: str) -> None:
        sql = "select t.id from tickets t join asked a on a.id = t.asked where a.talk = ?"
        for (ticket,) in db.execute(sql, (talk,)).fetchall():
            db.execute(
                "update tickets set answer = '', answered = coalesce(answered, ?) where id = ?", (self.now(), ticket)
            )
            # One that has not arrived yet must not say it now.
            sql = "update outbox set body = '{}', sent = coalesce(sent, ?) where json_extract(body, '$.ticket') = ?"
            db.execute(sql, (self.now(), ticket))
            source = f"ticket#{ticket}"
            db.execute("update learnt set text = '', question = '' where source = ? and gone is not null", (source,))
            db.execute("update learnt set source = 'desk' where source = ?", (source,))
        sql = "update asked set question = '', answer = '', sources = '[]', intent = '', talk = ? where talk = ?"
        db.execute(sql, (secrets.token_urlsafe(24), talk))

    def learnt(self) -> list[Json]:
        return self.state.rows(
            "select id, time, title, question, text, source from learnt where gone is null order by id"
        )

    def knowledge(self) -> tuple[list[Passage], list[Json]]:
        """Entries of the FAQ, and documents, that were learnt since the desk was made."""
        rows = self.learnt()
        entries = [entry(r["question"], r["text"], origin=f"{r['source']}#{r['id']}") for r in rows if r["question"]]
        return entries, [row for row in rows if not row["question"]]

    def counts(self) -> Json:
        """What `show` and /metrics say."""
        votes = "sum(vote > 0) as liked, sum(vote < 0) as disliked"
        asked = self.state.one(f"select count(*) as asked, count(distinct talk) as talks, {votes} from asked") or {}
        tickets = self.state.one(
            "select sum(answer is null) as waiting, sum(answer is not null) as answered from tickets"
        )
        ways = self.state.rows("select way, count(*) as number from asked group by way order by way")
        found = {**asked, **{f"tickets_{name}": n for name, n in (tickets or {}).items()}}
        return {name: n or 0 for name, n in found.items()} | {f"way_{row['way']}": row["number"] for row in ways}

    def close(self) -> None:
        self.state.close()


def _messages(question: str, answer: str) -> list[Json]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
