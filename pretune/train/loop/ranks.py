"""Several processes as one run: who they are, started by torchrun, Slurm or `nproc=2`.

    rank 0      store.set("pretune/0", ...)            store.set("pretune/1", ...)
    rank 1      waits for pretune/0  ->  goes on       waits for pretune/1  ->  ...

The process group is joined once per process. What rank 0 decides goes through the group's key-value store, not through
collectives: who leads never waits for those who follow, and a stage that takes hours on rank 0 is no time-out.
"""

from __future__ import annotations

import atexit
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore
from torch.distributed.rendezvous import rendezvous

from pretune.base.errors import LeaderGone
from pretune.base.team import ALONE, STORE_FILE, Team

T = TypeVar("T")
LONGEST_WAIT = timedelta(hours=24)
"""For a stage that rank 0 makes alone."""
_joined: list[Ranks] = []


@dataclass
class Ranks:
    """One process of several (the protocol `Team`)."""

    rank: int
    world: int
    store: Any
    shared: int = 0

    def share(self, value: T) -> T:
        key = f"pretune/{self.shared}"
        self.shared += 1
        if self.rank == 0:
            self.store.set(key, json.dumps({"value": value}))
            return value
        try:
            self.store.wait([key], LONGEST_WAIT)
            told = json.loads(self.store.get(key))
        except (RuntimeError, ValueError) as error:  # the store lives in rank 0, or in torchrun
            raise LeaderGone(f"rank {self.rank} lost rank 0 ({error})") from None
        if "problem" in told:
            raise LeaderGone(f"rank 0 ended: {told['problem']}")
        return told["value"]  # type: ignore[no-any-return]

    def fail(self, problem: str) -> None:
        if self.rank == 0:
            with suppress(RuntimeError):
                self.store.set(f"pretune/{self.shared}", json.dumps({"problem": problem}))


def team_here() -> Team:
    """The team of this process, joined the first time; alone where nobody started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
        return ALONE
    if not _joined:
        store, rank, world = _meet()
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world)
        # Else threads of the group may outlive the interpreter: "terminate called", exit status -6, after a good run.
        atexit.register(_leave_group)
        _joined.append(Ranks(rank, world, store))
    return _joined[0]


def _meet() -> tuple[Any, int, int]:
    """The store, the rank and the number of processes, once all have come."""
    listening = os.environ.pop(STORE_FILE, None)
    if listening is None:
        store, rank, world = next(iter(rendezvous("env://")))
        return store, rank, world
    place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), int(os.environ["WORLD_SIZE"]), True)
    return TCPStore(*place, master_listen_fd=int(listening)), 0, place[2]


def joined() -> Ranks | None:
    """The place of this process in the group that it has joined, if it has."""
    return _joined[0] if _joined else None


def _leave_group() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
