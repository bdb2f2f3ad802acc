"""Many answers at once: one thread owns the model and gives every row its next token in turn.

    ask ──▶ waiting ──▶ reading, a piece of the prompt per round ──▶ rows, a token per round ──▶ pieces
               ▲                                                       │
               └──────────── taken out again, to be fair or for room ──┘

A round hears who came and who left, reads some tokens of prompts, and feeds all rows together. So a request joins at
the next token, one that is finished or whose client has left is gone by the next round, and a long prompt does not
hold up the others. What was read of recent prompts and answers is kept: the next turn of a chat reads what is new.

The cache is a rectangle, rows x the longest of them. Rectangle, prompts that are being read and what is kept together
never pass `max_bytes`; for a moment of a round a new rectangle stands next to the old one.

Who waits is served by clients: the one with the fewest answers on the way comes first, then who came first. Where
there is no room, a client with several answers on the way gives up the youngest for one that has none; it is read
again later and goes on where it was, with the same draws.

A decoder whose states do not join (T5 and other encoder-decoders; layers that keep a summary) writes one answer after
the other, and keeps nothing. While an answer is searched for by beams, the others wait.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from pretune.base.errors import TooLong
from pretune.infer.draft import Draft
from pretune.infer.engine import ROWS_AT_ONCE, Joins
from pretune.infer.predictor import Streams
from pretune.infer.sampling import Sampling
from pretune.infer.streaming import Piece

READ_AT_ONCE = 256
"""Tokens of prompts in a round."""
LEAST_SHARED = 8
"""Tokens of a common beginning that are worth a copy."""
AHEAD = 32
"""Tokens that an answer must have room for before it begins, so that it is not taken out again at once."""
IDLE_SECONDS = 0.1
"""How long the thread waits for work before it ends, and with it its hold on the model; the next request starts one."""


@dataclass(eq=False)
class Job:
    """An answer on its way.

    Args:
        tell: hears every piece, in the engine's thread, or the error that ended the answer; what it raises ends the
            answer too.
        client: whose it is.
        number: how many came before.
        state: what was read, `num_read` tokens of `draft.written`, until it is one of the rows.
    """

    draft: Draft
    tell: Callable[[Piece | Exception], object]
    client: Hashable
    number: int
    state: Any = None
    num_read: int = 0
    has_left: bool = False
    has_failed: bool = False

    @property
    def num_tokens(self) -> int:
        """Prompt and answer so far."""
        return len(self.draft.written)


@dataclass
class Batching:
    """The engine of one model that writes.

    Args:
        max_bytes: of keys and values, padding and what is kept included.
        max_rows: answers that are written together.
        own_thread: whether rounds are turned by a thread of its own; else whoever asks calls `step`.
        keeps: whether what was read is kept for who goes on with it.
        num_fed: tokens of prompts that were read so far; `num_shared`: that were there already.
        most_rows: answers that were written together at most.
    """

    model: Streams
    max_bytes: int = 1 << 30
    max_rows: int = ROWS_AT_ONCE
    read_at_once: int = READ_AT_ONCE
    own_thread: bool = True
    keeps: bool = True
    num_fed: int = 0
    num_shared: int = 0
    most_rows: int = 0
    waiting: list[Job] = field(default_factory=list)
    reading: list[Job] = field(default_factory=list)
    read: list[Job] = field(default_factory=list)
    rows: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        engine = self.model.engine
        self.joining = engine if isinstance(engine, Joins) and engine.joins else None
        self.position_bytes = self.joining.position_bytes if self.joining else 0
        if not self.joining:
            self.max_rows, self.read_at_once = 1, 1 << 62
        self.state: Any = None
        self.kept: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self.inbox: deque[Job] = deque()
        self.numbers, self.bell, self.is_running = count(), threading.Condition(), False

    # ---- from any thread ----

    def check(self, draft: Draft) -> None:
        """Raise TooLong where prompt and answer together need more memory than there may be."""
        needed = (len(draft.written) + draft.most) * self.position_bytes
        if needed > self.max_bytes:
            problem = f"{len(draft.written)} tokens and {draft.most} of an answer need {needed:,} bytes of cache"
            raise TooLong(f"{problem}; {self.max_bytes:,} is all there may be", hint="ask for a shorter answer")

    def ask(self, draft: Draft, tell: Callable[[Piece | Exception], object], *, client: Hashable = None) -> Job:
        """Write an answer; its pieces come in the engine's thread. Raises TooLong as `check` does."""
        self.check(draft)
        job = Job(draft, tell, client, next(self.numbers))
        with self.bell:
            self.inbox.append(job)
            self.bell.notify()
            if self.own_thread and not self.is_running:
                self.is_running = True
                threading.Thread(target=self._run, name="pretune-batching", daemon=True).start()
        return job

    def leave(self, job: Job) -> None:
        """Nobody listens any more: the answer ends before the next token."""
        job.has_left = True

    @property
    def num_waiting(self) -> int:
        """Clients none of whose answers has begun."""
        begun = {job.client for job in (*self.reading, *self.read, *self.rows)}
        return len({job.client for job in (*self.waiting, *self.inbox)} - begun)

    @property
    def num_bytes(self) -> int:
        """Of keys and values, padding counted, as if all that is being read were rows already."""
        return self._needed(self.active) + self.kept_bytes

    # ---- in the thread of who asks ----

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """As `Streams.stream`, but for what is kept of earlier prompts; `own_thread` is false."""
        told = deque[Piece | Exception]()
        job = self.ask(self.model.draft(prompt_ids, sampling), told.append)
        try:
            while True:
                while not told:
                    self.step()
                if isinstance(piece := told.popleft(), Exception):
                    raise piece
                yield piece
                if piece.finish:
                    return
        finally:
            self.leave(job)

    def likeliest(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[list[int]]:
        """The likeliest tokens for every prompt, without the end token; `own_thread` is false."""
        told = list[Piece | Exception]()
        sampling = Sampling(max_tokens=max_tokens)
        jobs = [self.ask(self.model.draft(ids, sampling), told.append, client=k) for k, ids in enumerate(prompts)]
        while self.inbox or self.waiting or self.active:
            self.step()
        if error := next((one for one in told if isinstance(one, Exception)), None):
            raise error
        written = [job.draft.written[len(ids) :] for job, ids in zip(jobs, prompts, strict=True)]
        return [ids[: job.draft.num_tokens] for job, ids in zip(jobs, written, strict=True)]

    # ---- the engine's thread ----

    def _run(self) -> None:
        while self._has_work():
            try:
                self.step()
            except BaseException as error:  # a mistake of ours, or a panic in Rust: nobody may wait for ever
                self._end_all(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def _has_work(self) -> bool:
        if self.active or self.waiting:
            return True
        with self.bell:
            if not self.inbox:
                self.bell.wait(IDLE_SECONDS)
            self.is_running = bool(self.inbox)
            return self.is_running

    def _end_all(self, error: Exception) -> None:
        for job in (*self.active, *self.waiting):
            _end(job, error)
        self.waiting, self.reading, self.read, self.rows, self.state = [], [], [], [], None
        self.kept.clear()

    @property
    def active(self) -> list[Job]:
        """Answers that were begun and are not done."""
        return [*self.reading, *self.read, *self.rows]

    def step(self) -> None:
        """One round."""
        self._hear()
        budget = self.read_at_once
        while budget > 0 and (job := self._next_to_read()):
            budget -= self._read(job, budget)
        self._join()
        self._write()

    def _hear(self) -> None:
        """Who came, and who left."""
        while self.inbox:
            self.waiting.append(self.inbox.popleft())
        self.waiting, self.reading, self.read = (
            [job for job in jobs if not job.has_left] for jobs in (self.waiting, self.reading, self.read)
        )
        self._keep_rows([not job.has_left for job in self.rows])

    def _keep_rows(self, stays: Sequence[bool]) -> None:
        """Go on with these rows only; what was read of the others is kept where there is room."""
        if all(stays):
            return
        for k, job in enumerate(self.rows):
            if not stays[k] and not job.has_failed:
                self._keep(job, k)
        places = np.flatnonzero(stays)
        self.rows = [self.rows[k] for k in places]
        self.state = self.model.engine.select(self.state, places) if self.rows else None

    # ---- who is next ----

    def _next_to_read(self) -> Job | None:
        """The next prompt in turn, after letting in whoever may begin."""
        while (job := self._first_waiting()) and self._let_in(job):
            self.waiting.remove(job)
            self.reading.append(job)
            self._start(job)
        return self.reading[0] if self.reading else None

    def _first_waiting(self) -> Job | None:
        """Of the client with the fewest answers on their way, and of these the first; a client reads one at a time."""
        begun, busy = Counter(job.client for job in self.active), {job.client for job in self.reading}
        free = (job for job in self.waiting if job.client not in busy)
        return min(free, key=lambda job: (begun[job.client], job.number), default=None)

    def _let_in(self, job: Job) -> bool:
        """Whether there is room for one answer more; another client may have to give up one of several."""
        oldest = {one.client: one for one in sorted(self.active, key=lambda one: -one.number)}
        if job.client in oldest or not self._fits(job, [*oldest.values()]):  # nobody gives up an answer in vain
            return self._fits(job, self.active)
        while not self._fits(job, self.active):
            begun = Counter(one.client for one in self.active)
            rich = [one for one in self.active if begun[one.client] > 1]
            self._take_out(max(rich, key=lambda one: (begun[one.client], one.number)))
        return True

    def _fits(self, job: Job, others: Sequence[Job]) -> bool:
        ahead = min(AHEAD, job.draft.most - job.draft.num_tokens)
        return len(others) < self.max_rows and self._needed([*others, job], ahead) <= self.max_bytes

    def _take_out(self, job: Job) -> None:
        """Back to those who wait."""
        for jobs in (self.reading, self.read):
            if job in jobs:
                jobs.remove(job)
        self._keep_rows([one is not job for one in self.rows])
        job.state, job.num_read = None, 0
        self.waiting.append(job)

    # ---- memory ----

    def _needed(self, jobs: Sequence[Job], ahead: int = 0) -> int:
        """Bytes of the rectangle when all of these are rows and have grown by so many tokens."""
        return len(jobs) * (max((job.num_tokens for job in jobs), default=0) + ahead) * self.position_bytes

    @property
    def kept_bytes(self) -> int:
        return sum(map(len, list(self.kept))) * self.position_bytes

    def _make_room(self) -> None:
        """Before rows grow: forget what is kept, the oldest first; then the youngest answers have to wait."""
        while len(self.active) > 1 and self._needed(self.active) > self.max_bytes:
            self._take_out(max(self.active, key=lambda job: job.number))
        while self.kept and self._needed(self.active) + self.kept_bytes > self.max_bytes:
            self.kept.popitem(last=False)

    def _keep(self, job: Job, row: int) -> None:
        """Keep what was read of a row, for whoever goes on with it."""
        ids = tuple(job.draft.written[:-1])
        free = self.max_bytes - self._needed(self.active)
        is_there = any(one[: len(ids)] == ids for one in self.kept)
        if self.joining is None or not self.keeps or is_there or len(ids) * self.position_bytes > free:
            return
        for shorter in [one for one in self.kept if ids[: len(one)] == one]:
            del self.kept[shorter]
        while self.kept and self.kept_bytes + len(ids) * self.position_bytes > free:
            self.kept.popitem(last=False)
        self.kept[ids] = self.joining.cut(self.state, row, len(ids))

    # ---- prompts ----

    def _start(self, job: Job) -> None:
        """Begin with what is known of its beginning, the last token apart, whose logits are needed."""
        job.state = self.model.engine.start()
        if self.joining is None:
            return
        written = tuple(job.draft.written[:-1])
        shared, state, row = max(self._known(written), key=lambda one: one[0], default=(0, None, 0))
        if shared >= LEAST_SHARED:
            if ids := next((ids for ids, one in self.kept.items() if one is state), None):
                self.kept.move_to_end(ids)
            job.state, job.num_read = self.joining.cut(state, row, shared), shared
            self.num_shared += shared
        self._make_room()

    def _known(self, written: tuple[int, ...]) -> Iterator[tuple[int, Any, int]]:
        """How many tokens of a beginning are in which row of which state."""
        for ids, state in self.kept.items():
            yield _common(written, ids), state, 0
        for row, job in enumerate(self.rows):
            yield _common(written, tuple(job.draft.written[:-1])), self.state, row
        for job in self.read:
            yield _common(written, tuple(job.draft.written[: job.num_read])), job.state, 0

    def _read(self, job: Job, budget: int) -> int:
        """Some of a prompt, and the first token behind it when it is read; returns how many tokens that were."""
        if job.draft.most < 1 or self.model.searches(job.draft.sampling):
            self._stream(job)
            self.reading.remove(job)
            return budget
        fresh = job.draft.written[job.num_read : job.num_read + budget]
        try:
            logits_BV, job.state = self.model.engine.feed(job.state, np.asarray([fresh], dtype=np.int64))
        except Exception as error:
            self.reading.remove(job)
            _end(job, error)
            return len(fresh)
        job.num_read += len(fresh)
        self.num_fed += len(fresh)
        is_read = job.num_read == job.num_tokens
        goes_on = not is_read or _told(job, logits_BV[0])
        # Only now: whoever ends all answers, or counts them, finds this one too.
        self.reading.remove(job)
        if goes_on:
            (self.read if is_read else self.reading).append(job)
        return len(fresh)

    def _stream(self, job: Job) -> None:
        """An answer that is looked for as a whole, or has no token; the others wait for it."""
        try:
            for piece in self.model.stream(job.draft.written, job.draft.sampling):
                if job.has_left:
                    return
                job.tell(piece)
        except Exception as error:
            _end(job, error)

    # ---- rows ----

    def _join(self) -> None:
        """Whoever has been read becomes a row."""
        if not self.read:
            return
        states = [job.state for job in self.read] if self.state is None else [self.state, *(j.state for j in self.read)]
        self.state = states[0] if self.joining is None or len(states) == 1 else self.joining.join(states)
        for job in self.read:
            job.state = None
        self.rows, self.read = [*self.rows, *self.read], []
        self.most_rows = max(self.most_rows, len(self.rows))

    def _write(self) -> None:
        """A token for every row."""
        self._make_room()
        if not self.rows:
            return
        fresh_B1 = np.array([job.draft.written[-1:] for job in self.rows], dtype=np.int64)
        try:
            logits_BV, self.state = self.model.engine.feed(self.state, fresh_B1)
        except Exception as error:
            for job in self.rows:
                _end(job, error)
            self.rows, self.state = [], None
            return
        self._keep_rows([_told(job, logits_V) for job, logits_V in zip(self.rows, logits_BV, strict=True)])


def _told(job: Job, logits_V: np.ndarray) -> bool:
    """Choose a token and tell its piece; whether the answer goes on. An error ends this answer alone."""
    try:
        piece = job.draft.take(logits_V)
        job.tell(piece)
    except Exception as error:
        return _end(job, error)
    return piece.finish is None


def _end(job: Job, error: Exception) -> bool:
    """Tell an error, if anybody listens."""
    job.has_failed = True
    try:
        job.tell(error)
    except Exception:
        job.has_left = True
    return False


def _common(one: tuple[int, ...], two: tuple[int, ...]) -> int:
    """How many tokens two rows have in common at their beginning."""
    most = min(len(one), len(two))
    return bisect_left(range(1, most + 1), True, key=lambda n: one[:n] != two[:n])
