"""A recipe that runs: stages by name, in order, on one process or on several.

    plan   says what would run, and because of which change (planning.py)
    run    skips what is current, continues what was interrupted, and stops early where an input
           comes out with the bytes it had before

A single stage's command is a recipe too; there is one way in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pretune.base.artifact import Artifact, Card
from pretune.base.config import complete, extras_of
from pretune.base.json import Json, JsonMap
from pretune.base.log import Log
from pretune.base.planning import Planned, run_of
from pretune.base.stage import Context, Stage, derive_seed
from pretune.base.staging import Workspace, current, disk_errors, take_back
from pretune.base.team import ALONE, Team


@dataclass(frozen=True)
class Recipe(Planned):
    """A checked recipe. Make one with `Recipe.read(path)` or `Recipe.build(tree)`."""

    def run(
        self,
        *,
        log: Log | None = None,
        command: str = "",
        stopping: Callable[[bool], Callable[[], bool]] | None = None,
        seconds: Mapping[str, float] | None = None,
        team: Team = ALONE,
    ) -> dict[str, Artifact]:
        """Run what is not current; returns the artifact of every stage.

        Args:
            command: what the user typed, for the cards.
            stopping: given whether a stage stops gently, returns its stop flag (cli installs signal handlers).
            seconds: what each stage is expected to take; a line then shows how far all of them are together.
            team: the processes that run it together.
        """
        log = log or Log()
        self._check_extras()
        for stage in self.stages.values():
            stage.check_ranks(team.world)
        if team.rank:
            return self._follow(team, stopping)
        try:
            with log.over(seconds or {}):
                return self._run(log, command, stopping, team)
        except BaseException as error:
            team.fail(str(error) or type(error).__name__)
            raise

    def _run(
        self, log: Log, command: str, stopping: Callable[[bool], Callable[[], bool]] | None, team: Team
    ) -> dict[str, Artifact]:
        made: dict[str, Artifact] = {}
        for number, (name, stage) in enumerate(self.stages.items(), 1):
            log.entering(name)
            inputs = self._resolve(stage, made)
            key = self._key(name, inputs)
            title = f"[{number}/{len(self.stages)}] {name}"
            done = self._done(name, key)
            if done is not None:
                log.info(f"{title}: current, nothing to do (same settings, same inputs; {done.path.as_posix()})")
                made[name] = done
                team.share(False)
                continue
            for artifact in inputs.values():
                artifact.verify()
                _tell_links(artifact, log)
            log.info(f"{title}: {'; '.join(self._why(name, stage, inputs, key))}")
            flag = stopping(stage.stops_gently) if stopping else (lambda: False)
            if team.world > 1 and not stage.trains:
                log.info("    made by rank 0, the others wait (24 hours at most)")
            made[name] = self._make(name, stage, inputs, key, log=log, command=command, stopping=flag, team=team)
            team.share(True)  # it is published
        return made

    def _done(self, name: str, key: str) -> Artifact | None:
        """The finished artifact with this key, its files verified; with `aside` it stays where it is."""
        if not self.aside:
            return take_back(self.out(name), key)
        found = current(self.out(name), key)
        return found.verify() if found else None

    def _follow(self, team: Team, stopping: Callable[[bool], Callable[[], bool]] | None) -> dict[str, Artifact]:
        """What another rank than 0 does: it takes part where a stage trains, and writes nothing."""
        made: dict[str, Artifact] = {}
        for name, stage in self.stages.items():
            if team.share(False):  # rank 0 makes it
                if team.share(False):  # and needs this rank
                    flag = stopping(stage.stops_gently) if stopping else (lambda: False)
                    work = Workspace(self.out(name), "")
                    context = self._context(name, work, Log(silent=True), flag, "", team)
                    stage.run(self._resolve(stage, made), work.payload, context)
                team.share(True)
            made[name] = Artifact.open(self.out(name))
        return made

    def _check_extras(self) -> None:
        from pretune.base.extras import need

        need(set().union(*(extras_of(stage) for stage in self.stages.values())))

    def _make(
        self,
        name: str,
        stage: Stage,
        inputs: Mapping[str, Artifact],
        key: str,
        *,
        log: Log,
        command: str,
        stopping: Callable[[], bool],
        team: Team,
    ) -> Artifact:
        started = time.time()
        out = self.place(name, key)
        with Workspace(out, key, run_of(stage, inputs, self.seed_of(name), key)).opened() as work:
            team.share(True)
            other = take_back(out, key)  # another process may have made it between the look and the lock
            runs = other is None and work.finished_card is None
            team.share(runs and stage.trains)
            if runs:
                run_log = Log(quiet=log.quiet, metrics_file=work.scratch / "metrics.jsonl", screen=log.screen)
                context = self._context(name, work, run_log, stopping, command, team)
                with disk_errors():
                    metrics = stage.run(inputs, work.payload, context)
                    _add_notes(work, context)
                    work.seal(self._card(name, stage, inputs, key, metrics, command, started), context.notes)
            if other is not None:
                work.drop()
            artifact = other or work.publish()
        if other is not None:
            log.info(f"    made by another process meanwhile: {artifact.path.as_posix()}")
            return artifact
        log.info(
            f"    done in {time.time() - started:.1f} s: {artifact.path.as_posix()}  {_brief(artifact.card.metrics)}"
        )
        return artifact

    def _context(
        self,
        name: str,
        work: Workspace,
        log: Log,
        stopping: Callable[[], bool],
        command: str,
        team: Team,
    ) -> Context:
        def choose(name: str, resolve: Callable[[], Any]) -> Any:
            """Rank 0 chooses; all take the same."""
            return team.share(None if team.rank else work.choose(name, resolve))

        return Context(
            seed=derive_seed(self.seed_of(name), self.stages[name].kind),
            log=log,
            scratch=work.scratch,
            home=self.out(name),
            stopping=stopping,
            choose=choose,
            command=command,
            team=team,
            run=work.run,
        )

    def _card(
        self,
        name: str,
        stage: Stage,
        inputs: Mapping[str, Artifact],
        key: str,
        metrics: Json,
        command: str,
        started: float,
    ) -> Card:
        out = self.out(name)
        said = {p: {"kind": a.card.kind, "id": a.card.id, "path": a.written(out)} for p, a in inputs.items()}
        settings = {**complete(stage), "seed": self.seed_of(name)}
        return Card(
            kind=stage.makes,
            key=key,
            id="",
            stage=stage.kind,
            version=stage.version,
            settings=settings,
            inputs=said,
            metrics=metrics,
            made=_made(command, started),
        )


def _tell_links(artifact: Artifact, log: Log) -> None:
    if artifact.links:
        names = ", ".join(artifact.links[:5]) + (" ..." if len(artifact.links) > 5 else "")
        there = artifact.path.as_posix()
        log.warn(f"{len(artifact.links)} links lead out of {there} and are not read (links=follow reads them): {names}")


def _add_notes(work: Workspace, context: Context) -> None:
    log = work.scratch / "metrics.jsonl"
    if log.exists() and log.stat().st_size:
        (work.payload / "metrics.jsonl").write_bytes(log.read_bytes())
        context.notes.add("metrics.jsonl")


def _made(command: str, started: float) -> Json:
    from pretune.base.extras import git_commit, machine_name, versions

    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started)),
        "seconds": round(time.time() - started, 2),
        "command": command,
        "versions": versions(),
        "machine": machine_name(),
        "git": git_commit(),
    }


def _brief(metrics: JsonMap) -> str:
    numbers = [(k, v) for k, v in metrics.items() if isinstance(v, int | float) and not isinstance(v, bool)]
    return "  ".join(f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v:,}" for k, v in numbers[:6])
