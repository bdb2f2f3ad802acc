"""Who makes the parts of a corpus: this process, several, or the nodes of a Ray cluster. The bytes are the same.

    jobs -> submit(job) -> handle -> handle() waits: the part lies in the folder     at most `ahead` on their way

A node needs pretune, but none of the files: their bytes travel with the job, and the part's bytes come back.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq

import pretune
from pretune.base.errors import PretuneError, Unreachable, UserError
from pretune.base.extras import need
from pretune.base.log import Bar, Log
from pretune.text.corpus.jobs import Job, Measuring, Told
from pretune.text.corpus.measuring import measure_job

Handle = Callable[[], object]
CONNECT_SECONDS = 10


class Pool(Protocol):
    """Makes parts; `ahead` bounds how many are on their way, and so the memory."""

    @property
    def ahead(self) -> int: ...

    def submit(self, job: Job, measuring: Measuring, path: Path) -> Handle: ...


def pool_for(address: str | None, workers: int, log: Log) -> AbstractContextManager[Pool]:
    """The pool of a setting.

    Args:
        address: of a Ray cluster: `auto`, `HOST:PORT` or `ray://HOST:PORT`; None for this machine.
        workers: processes, on this machine.
    """
    if address is not None:
        return ray_cluster(address, log)
    return serial() if workers <= 1 else processes(workers)


def make_parts(
    work: Iterable[Job], measuring: Measuring, folder: Path, *, pool: Pool, bar: Bar
) -> tuple[list[Path], Told]:
    """The parts of all jobs, in order; those that lie in `folder` from an earlier try are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    told = Told()
    for job, path in _in_order(((job, folder / f"{job.number:06d}.parquet") for job in work), measuring, pool):
        bar.advance(job.bytes)
        made.append(path)
        told.add(Told.unpacked(pq.read_schema(path).metadata[b"told"]))
    return made, told


def _in_order(named: Iterator[tuple[Job, Path]], measuring: Measuring, pool: Pool) -> Iterator[tuple[Job, Path]]:
    """Jobs as they end, in their own order."""
    waiting: deque[tuple[Job, Path, Handle | None]] = deque()
    for job, path in named:
        waiting.append((job, path, None if path.exists() else pool.submit(job, measuring, path)))
        if len(waiting) >= pool.ahead:
            yield _ended(*waiting.popleft())
    while waiting:
        yield _ended(*waiting.popleft())


def _ended(job: Job, path: Path, handle: Handle | None) -> tuple[Job, Path]:
    if handle is not None:
        handle()
    return job, path


# ---- this machine -------------------------------------------------------------------------------


@dataclass
class Serial:
    """Each part is made when it is waited for."""

    ahead: int = 1

    def submit(self, job: Job, measuring: Measuring, path: Path) -> Handle:
        return partial(measure_job, job, measuring, path)


@contextmanager
def serial() -> Iterator[Pool]:
    yield Serial()


@dataclass
class Processes:
    """This process, and others that it keeps busy: while each of them has one part and one more waits, it makes one."""

    executor: ProcessPoolExecutor
    others: int
    _sent: list[Future[None]] = field(default_factory=list)

    @property
    def ahead(self) -> int:
        return 3 * (self.others + 1)

    def submit(self, job: Job, measuring: Measuring, path: Path) -> Handle:
        self._sent = [sent for sent in self._sent if not sent.done()]
        if len(self._sent) >= 2 * self.others:
            measure_job(job, measuring, path)
            return _is_made
        self._sent.append(self.executor.submit(measure_job, job, measuring, path))
        return self._sent[-1].result


def _is_made() -> None:
    """The handle of a part that needs no waiting."""


@contextmanager
def processes(workers: int) -> Iterator[Pool]:
    with _main_left_alone():
        pool = ProcessPoolExecutor(workers - 1, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))
        try:
            yield Processes(pool, workers - 1)
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _main_left_alone() -> Iterator[None]:
    """A new process runs the user's script once more, and a script without a guard would start all over.

    What is sent to the processes comes from modules, so they need no `__main__`: it is hidden while they start.
    """
    main = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(hidden)


# ---- a cluster ----------------------------------------------------------------------------------


@dataclass
class RayCluster:
    """Parts made by the nodes of a cluster; Ray makes a part again elsewhere when its node dies.

    Args:
        library: the module `ray`, connected.
        nodes: how many parts each node made.
    """

    library: Any
    ahead: int
    nodes: Counter[str] = field(default_factory=Counter)
    _language: Any = None

    def submit(self, job: Job, measuring: Measuring, path: Path) -> Handle:
        if measuring.language_file and self._language is None:
            self._language = self.library.put(measuring.language_file.read_bytes())  # once for all jobs
        contents = [file.path.read_bytes() for file in job.files]
        remote = self.library.remote(max_retries=5)(measured_elsewhere)
        reference = remote.remote(job, contents, measuring, self._language, pretune.__version__)
        return partial(self._take, reference, path)

    def _take(self, reference: Any, path: Path) -> None:
        made = self.library.get(reference)
        if isinstance(made, PretuneError):
            raise made
        node, content = made
        self.nodes[node] += 1
        temporary = path.with_suffix(f".{os.getpid()}.partial")
        temporary.write_bytes(content)
        temporary.replace(path)


def measured_elsewhere(
    job: Job, contents: list[bytes], measuring: Measuring, language: bytes | None, version: str
) -> tuple[str, bytes] | PretuneError:
    """On a node: (its id, the bytes of the part), or the error that the user is to see, with its hint."""
    import ray

    if version != pretune.__version__:
        problem = f"a node of the cluster has pretune {pretune.__version__}, not {version}"
        return UserError(problem, hint="install the same version on every node")
    try:
        with tempfile.TemporaryDirectory(prefix="pretune-") as folder:
            files = tuple(
                replace(file, path=_written(Path(folder) / str(k) / file.path.name, content))
                for k, (file, content) in enumerate(zip(job.files, contents, strict=True))
            )
            if language is not None:
                measuring = replace(measuring, language_file=_language_file(language))
            measure_job(replace(job, files=files), measuring, Path(folder) / "part.parquet")
            return ray.get_runtime_context().get_node_id(), (Path(folder) / "part.parquet").read_bytes()
    except PretuneError as error:
        return error


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir()
    path.write_bytes(content)
    return path


@cache
def _language_file(content: bytes) -> Path:
    """The model of languages as a file; once per process, for it is loaded once per path."""
    with tempfile.NamedTemporaryFile(prefix="pretune-", suffix=".ftz", delete=False) as file:
        file.write(content)
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return Path(file.name)


@contextmanager
def ray_cluster(address: str, log: Log) -> Iterator[Pool]:
    """A connection to a running cluster; none is ever started.

    Raises:
        MissingExtra: Ray is not installed; Unreachable: nobody answers at the address.
    """
    need(["scale"])
    import ray

    _knock(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise _unreachable(address, str(error).partition("\n")[0]) from None
    try:
        pool = RayCluster(ray, 3 * max(1, int(ray.cluster_resources().get("CPU", 1))))
        yield pool
        log.info(f"{sum(pool.nodes.values())} parts made by {len(pool.nodes)} nodes")
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Ray waits for minutes where nobody answers."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise _unreachable(address, str(error)) from None


def _unreachable(address: str, why: str) -> Unreachable:
    hint = "start one: `ray start --head --port=6379`, on the other nodes `ray start --address=HOST:6379`"
    return Unreachable(f"no Ray cluster answers at {address!r}: {why}", hint=hint)
