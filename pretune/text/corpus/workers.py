"""Who measures the shards of a corpus: this process, several, or the nodes of a Ray cluster. The bytes are the same.

    raw shard -> submit -> handle -> handle() waits: the measured shard is in the folder

At most `ahead` shards are on their way.

A node needs pretune, but none of the files: their bytes travel with the shard, and the measured one's come back.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

import pyarrow.parquet as pq

import pretune
from pretune.base.cluster import connected
from pretune.base.errors import PretuneError, UserError
from pretune.base.log import Bar, Log
from pretune.text.corpus.documents import Measuring, Tally
from pretune.text.corpus.measuring import measure_shard
from pretune.text.corpus.raw_shards import RawShard

if TYPE_CHECKING:
    from ray import ObjectRef

Handle = Callable[[], object]


class Workers(Protocol):
    """Measure shards; `ahead` bounds how many are on their way, and so the memory."""

    @property
    def ahead(self) -> int: ...

    def submit(self, shard: RawShard, measuring: Measuring, path: Path) -> Handle: ...


def workers_for(address: str | None, number: int, log: Log) -> AbstractContextManager[Workers]:
    """The workers of a setting.

    Args:
        address: of a Ray cluster: `auto`, `HOST:PORT` or `ray://HOST:PORT`; None for this machine.
        number: of processes, on this machine.
    """
    if address is not None:
        return ray_cluster(address, log)
    return nullcontext(Serial()) if number <= 1 else processes(number)


def measure_shards(
    raw: Iterable[RawShard], measuring: Measuring, folder: Path, *, workers: Workers, bar: Bar
) -> tuple[list[Path], Tally]:
    """All shards measured, in order; those that are in `folder` from an earlier try are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    tally = Tally()
    for shard, path, wait in _on_their_way(raw, measuring, folder, workers):
        wait()
        bar.advance(shard.bytes)
        made.append(path)
        tally.add(Tally.unpacked(pq.read_schema(path).metadata[b"tally"]))
    return made, tally


def _on_their_way(
    raw: Iterable[RawShard], measuring: Measuring, folder: Path, workers: Workers
) -> Iterator[tuple[RawShard, Path, Handle]]:
    """(shard, where it will be, what to wait for), in order, each once enough others are handed out behind it."""
    waiting: deque[tuple[RawShard, Path, Handle]] = deque()
    for shard in raw:
        path = folder / f"{shard.number:06d}.parquet"
        waiting.append((shard, path, _no_wait if path.exists() else workers.submit(shard, measuring, path)))
        if len(waiting) >= workers.ahead:
            yield waiting.popleft()
    yield from waiting


def _no_wait() -> None:
    """The handle of a shard that is measured already."""


# ---- this machine -------------------------------------------------------------------------------


@dataclass
class Serial:
    """Each shard is measured when it is waited for."""

    ahead: int = 1

    def submit(self, shard: RawShard, measuring: Measuring, path: Path) -> Handle:
        return partial(measure_shard, shard, measuring, path)


@dataclass
class Processes:
    """This process, and others that it keeps busy: while each of them has one shard and one waits, it measures one."""

    executor: ProcessPoolExecutor
    others: int
    _sent: list[Future[None]] = field(default_factory=list)

    @property
    def ahead(self) -> int:
        return 3 * (self.others + 1)

    def submit(self, shard: RawShard, measuring: Measuring, path: Path) -> Handle:
        self._sent = [sent for sent in self._sent if not sent.done()]
        if len(self._sent) >= 2 * self.others:
            measure_shard(shard, measuring, path)
            return _no_wait
        self._sent.append(self.executor.submit(measure_shard, shard, measuring, path))
        return self._sent[-1].result


@contextmanager
def processes(number: int) -> Iterator[Workers]:
    with _main_left_alone():
        others = ProcessPoolExecutor(number - 1, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))
        try:
            yield Processes(others, number - 1)
        finally:
            others.shutdown(cancel_futures=True)


@contextmanager
def _main_left_alone() -> Iterator[None]:
    """A new process runs the user's script once more, and a script without a guard would start all over.

    What is sent to the processes comes from modules, so they need no `__main__`: it is hidden while they start.
    """
    main = vars(sys.modules["__main__"])
    hidden: dict[str, object] = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(hidden)


# ---- a cluster ----------------------------------------------------------------------------------


@dataclass
class RayCluster:
    """The nodes of a cluster; Ray measures a shard again elsewhere when its node dies.

    Args:
        library: the module `ray`, connected.
        nodes: how many shards each node measured.
    """

    library: ModuleType
    ahead: int
    nodes: Counter[str] = field(default_factory=Counter)
    _language: ObjectRef | None = None

    def submit(self, shard: RawShard, measuring: Measuring, path: Path) -> Handle:
        if measuring.language_file and self._language is None:
            self._language = self.library.put(measuring.language_file.read_bytes())  # once for all shards
        contents = [file.path.read_bytes() for file in shard.files]
        remote = self.library.remote(max_retries=5)(measured_elsewhere)
        reference = remote.remote(shard, contents, measuring, self._language, pretune.__version__)
        return partial(self._take, reference, path)

    def _take(self, reference: ObjectRef, path: Path) -> None:
        made = self.library.get(reference)
        if isinstance(made, PretuneError):
            raise made
        node, content = made
        self.nodes[node] += 1
        temporary = path.with_suffix(f".{os.getpid()}.partial")
        temporary.write_bytes(content)
        temporary.replace(path)


def measured_elsewhere(
    shard: RawShard, contents: list[bytes], measuring: Measuring, language: bytes | None, version: str
) -> tuple[str, bytes] | PretuneError:
    """On a node: (its id, the bytes of the shard), or the error that the user is to see, with its hint."""
    import ray

    if version != pretune.__version__:
        problem = f"a node of the cluster has pretune {pretune.__version__}, not {version}"
        return UserError(problem, hint="install the same version on every node")
    try:
        with tempfile.TemporaryDirectory(prefix="pretune-") as folder:
            files = tuple(
                replace(file, path=_written(Path(folder) / str(k) / file.path.name, content))
                for k, (file, content) in enumerate(zip(shard.files, contents, strict=True))
            )
            if language is not None:
                measuring = replace(measuring, language_file=_language_file(language))
            measure_shard(replace(shard, files=files), measuring, Path(folder) / "measured.parquet")
            return ray.get_runtime_context().get_node_id(), (Path(folder) / "measured.parquet").read_bytes()
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
def ray_cluster(address: str, log: Log) -> Iterator[Workers]:
    """A connection to a running cluster (`base.cluster.connected`)."""
    with connected(address) as ray:
        cluster = RayCluster(ray, 3 * max(1, int(ray.cluster_resources().get("CPU", 1))))
        yield cluster
        log.info(f"{sum(cluster.nodes.values())} shards measured by {len(cluster.nodes)} nodes")
