"""`nproc=2`: the same command in several processes on this machine, which train as one. No torch here."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import click

from pretune.base.asked import ask_to_save
from pretune.base.limits import usable_cores
from pretune.base.team import STORE_FILE

SECONDS_TO_END = 20.0
"""Between asking the other ranks to end and ending them."""
HOST = "127.0.0.1"
BACKLOG = 1024
"""Ranks that may wait until rank 0 answers."""
EXPECTED = (0, 1, 2, 3, 130)
"""Exit codes of which rank 0 has told the reason."""


def launch(nproc: int, arguments: Sequence[str]) -> int:
    """Run `pretune ARGUMENTS` as `nproc` ranks; returns the exit code. A rank that dies ends the others, named."""
    ranks, early = list[subprocess.Popen[bytes]](), list[int]()

    def pass_on(number: int, frame: object) -> None:
        if len(ranks) < nproc:  # the one that is being started would miss it
            early.append(number)
            return
        for rank in ranks:
            if number == signal.SIGTERM:
                rank.send_signal(number)
            else:
                ask_to_save(rank.pid)

    # Else they would end the launcher alone. Ctrl-C reaches the ranks by itself: they are of one group.
    for number in (signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])):
        signal.signal(number, pass_on)
    with listening(HOST) as meeting:
        port = meeting.getsockname()[1]
        for rank in range(nproc):
            ranks.append(_start(rank, nproc, port, arguments, *(taken_over(meeting) if rank == 0 else ({}, ()))))
    for heard in early:
        pass_on(heard, None)
    try:
        failed = _first_failure(ranks)
    except KeyboardInterrupt:  # the ranks were interrupted as well: each saves and leaves
        failed = None
        _wait(ranks, 10 * SECONDS_TO_END)
    _end(ranks)
    if failed is not None:
        _name(failed, ranks[failed].returncode)
    codes = [rank.returncode for rank in ranks]
    code = codes[0] or next((c for c in codes if c), 0)
    return code if code in EXPECTED else 1


def listening(host: str) -> socket.socket:
    """A socket that rank 0 takes over for its store: a port that is free when chosen may not be free when used."""
    meeting = socket.socket()
    meeting.bind((host, 0))
    meeting.listen(BACKLOG)
    return meeting


def taken_over(meeting: socket.socket) -> tuple[dict[str, str], tuple[int, ...]]:
    """The variables and the open files by which the process of rank 0 takes the socket over."""
    if sys.platform == "win32":  # no process inherits a socket there by its number
        meeting.close()
        return {}, ()
    return {STORE_FILE: str(meeting.fileno())}, (meeting.fileno(),)


def _start(
    rank: int, nproc: int, port: int, arguments: Sequence[str], more: Mapping[str, str], files: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": nproc, "MASTER_ADDR": HOST, "MASTER_PORT": port}
    threads = {"OMP_NUM_THREADS": str(max(1, usable_cores() // nproc))}
    given = {**threads, **os.environ, **{name: str(value) for name, value in place.items()}, **more}
    return subprocess.Popen([sys.executable, "-m", "pretune", *arguments], env=given, pass_fds=files)


def _first_failure(ranks: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """The rank that ended first with a failure; None when all ended well."""
    while True:
        codes = [rank.poll() for rank in ranks]
        if any(codes):
            return next(k for k, code in enumerate(codes) if code)
        if None not in codes:
            return None
        time.sleep(0.05)


def _end(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """No rank is left: those that still run are asked, and then made, to end."""
    _wait(ranks, 2.0)  # those that fail for the same reason have said so
    for rank in ranks:
        if rank.poll() is None:
            rank.terminate()
    _wait(ranks, SECONDS_TO_END)
    for rank in ranks:
        if rank.poll() is None:
            rank.kill()
            rank.wait()


def _wait(ranks: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for rank in ranks:
        with suppress(subprocess.TimeoutExpired):
            rank.wait(max(0.0, deadline - time.monotonic()))


def _name(rank: int, code: int) -> None:
    if code in EXPECTED:
        return
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    click.echo(f"rank {rank} {how}, so the others were ended; the same command continues  [rank-died]", err=True)
