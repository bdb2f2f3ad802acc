"""`pretune tune ... ray=ADDRESS`: the trials of a search as tasks of a Ray cluster, one on every node, or on every GPU.

    here         makes what all trials share, says which trial is next, writes the study, and runs the last stages
    each node    runs a trial at a time, and leaves its models where the trials of this machine leave theirs

A trial whose process dies is begun again, also on another node, and goes on from its checkpoint. When the process here
dies, the trials die with it; the same command goes on with all of them.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from pretune.base.errors import Locked, NotSupported, PretuneError, Stopped, UserError
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.cli.on_ray import ALIKE, LOOK_SECONDS, NEW_STARTS, free_abandoned, shared, unfit
from pretune.cli.shared import stoppable, typed
from pretune.tune.halving import Stopping
from pretune.tune.study import Study, Trial
from pretune.tune.trials import Places, Search, failed, run_trial

WAIT_SECONDS = 2.0
"""Between two looks at what another trial makes."""


@contextmanager
def places_of(job: Search) -> Iterator[Places | None]:
    """Where the trials of a search run; None for here.

    Raises:
        MissingExtra, Unreachable, NotSupported: see `shared`.
    """
    head = job.space.recipe(job.space.first).head
    if head.ray is None:
        yield None
        return
    work = Path(head.work).parent if head.work.endswith(".") else Path(head.work)
    with shared(head.ray, work) as (ray, given):
        free_abandoned(ray, work)
        nodes, takes = nodes_and_shares(ray.nodes())
        task = ray.remote(max_retries=NEW_STARTS, **takes)(trial_on_node)
        yield OnRay(ray, task, {**given, "job": job, "command": typed()}, nodes)


def nodes_and_shares(nodes: Sequence[Mapping[str, Any]]) -> tuple[list[str], dict[str, int]]:
    """The node of every trial that runs at a time, and the cores and GPUs of each.

    Cores are those of the least node, so that a trial whose node is lost finds room on any other.
    """
    has = {
        node["NodeID"]: node["Resources"] for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    }
    gpus = {one: int(there.get("GPU", 0)) for one, there in has.items()}
    wanted = [one for one in has if gpus[one]] or list(has)
    if not wanted:
        raise NotSupported("no node of the cluster has a core", hint="add one: `ray start --address=HOST:6379`")
    cores = min(int(has[one]["CPU"]) // max(1, gpus[one]) for one in wanted)
    takes = {"num_cpus": max(1, cores), "num_gpus": int(any(gpus.values()))}
    return [one for one in wanted for _ in range(max(1, gpus[one]))], takes


@dataclass
class OnRay:
    """The places of a cluster (the protocol `Places`).

    Args:
        nodes: of each place; task: `trial_on_node`, as Ray calls it; given: to each.
    """

    ray: ModuleType
    task: Any
    given: dict[str, Any]
    nodes: Sequence[str]
    is_stopped: bool = False
    running: dict[Any, tuple[str, Study, Json, float]] = field(default_factory=dict)

    @property
    def number(self) -> int:
        return len(self.nodes)

    def begin(self, study: Study, values: Json) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

        if self.is_stopped:
            return
        free = list(self.nodes)
        for node, *_ in self.running.values():
            free.remove(node)
        task = self.task.options(scheduling_strategy=On(free[0], soft=True))
        self.running[task.remote(self.given, study, values)] = free[0], study, values, time.monotonic()

    def first(self, stopping: Stopping) -> Trial:
        """As of `Places`; where all are to end, those that have ended come first, and `Stopped` when all have."""
        while self.running:
            asked = stopping(True)
            done, _ = self.ray.wait([*self.running], num_returns=1, timeout=LOOK_SECONDS)
            if asked() and not self.is_stopped:
                self.is_stopped = True
                self.given["told"].stop.remote()
            if done and (trial := self._ended(done[0])):
                return trial
        raise Stopped("the trials have saved and ended", hint="the same command continues")

    def _ended(self, done: Any) -> Trial | None:
        from ray.exceptions import RayError, RayTaskError

        _, study, values, begun = self.running.pop(done)
        try:
            found: Trial | PretuneError = self.ray.get(done)
        except RayTaskError:  # a mistake of ours
            raise
        except RayError as error:
            died = UserError(f"its process died {NEW_STARTS + 1} times: {str(error).partition(chr(10))[0]}")
            return failed(study, values, died, round(time.monotonic() - begun, 2))
        if isinstance(found, Stopped):
            return None
        if isinstance(found, PretuneError):
            raise found
        return found


# ---- on a node ----------------------------------------------------------------------------------


def trial_on_node(given: Mapping[str, Any], study: Study, values: Json) -> Trial | PretuneError:
    """A trial, or the error that the user is to see, with its hint."""
    import ray

    if problem := unfit(given):
        return UserError(problem, hint=ALIKE)
    os.chdir(given["folder"])
    try:
        with stoppable() as stopping, _heard(lambda: ray.get(given["told"].look.remote())[0]):

            def run() -> Trial:
                return run_trial(given["job"], study, values, command=given["command"], stopping=stopping, aside=True)

            return patiently(run, stopping(True), lambda: free_abandoned(ray, Path(given["own"]).parent))
    except KeyboardInterrupt:
        return Stopped("it was asked to end at once")
    except PretuneError as error:
        return error


def patiently(run: Callable[[], Trial], asked: Callable[[], bool], free: Callable[[], object]) -> Trial:
    """The trial, once no other one is making a stage that both need; `free` takes from those that are gone."""
    told = False
    while True:
        try:
            return run()
        except Locked as error:
            if asked():
                raise Stopped("stopped while another trial made what this one needs") from None
            if not told:
                Log(quiet=True).warn(f"this trial waits: {error.sentence}")
            told = True
            free()
            time.sleep(WAIT_SECONDS)


@contextmanager
def _heard(stops: Callable[[], int]) -> Iterator[None]:
    """Let every stop that the process here asks for reach this one, as a terminal's would."""
    ended = threading.Event()

    def listen() -> None:
        heard = 0
        while not ended.wait(LOOK_SECONDS):
            if (asked := stops()) > heard:
                heard = asked
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
