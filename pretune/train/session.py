"""What pretraining and fine-tuning share: the loop's surroundings.

    for report in session.steps(): ...

Logs, draws the bar, saves checkpoints by the clock, takes up where an interrupted run was, and leaves
cleanly on Ctrl-C.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretune.base.errors import Stopped
from pretune.base.stage import Context
from pretune.objective.base import Objective
from pretune.train import checkpoint
from pretune.train.loop import StepReport, TrainState, steps
from pretune.train.runtime import Runtime
from pretune.train.stream import Cut

SAVE_EVERY_SECONDS = 60.0


@dataclass
class Session:
    """One training run in its scratch folder.

    Args:
        tokens_per_step: tokens that a step reads (for tokens/s).
        flops_per_token: arithmetic of one token, forward and backward; 0 if not known.
        machine_flops: the machine's own matrix product (operations per second), of which a share is shown.
        save_every: steps between checkpoints; None saves every minute.
    """

    state: TrainState
    objective: Objective
    cut: Cut
    runtime: Runtime
    context: Context
    tokens_per_step: float
    flops_per_token: float = 0.0
    machine_flops: float = 0.0
    save_every: int | None = None
    log_every: int = 10

    @property
    def folder(self) -> Path:
        return self.context.scratch / "checkpoints"

    @property
    def micro(self) -> int:
        """Rows of a micro-batch, after all that memory has allowed so far."""
        return self.state.micro or self.cut.micro

    def run(self, after: Callable[[StepReport], bool]) -> None:
        """Train to the end of the schedule, or until `after(report)` says enough.

        Raises:
            Stopped: the user asked to stop; everything is saved.
        """
        checkpoint.resume(self.state, self.folder, self.context.log)
        self.context.log.cut_metrics(self.state.step)  # also of a run that was killed before its first checkpoint
        if self.state.extra.get("enough"):
            return
        with self.context.log.progress("    training", total=self.state.total, unit="steps") as bar:
            bar.start_at(self.state.step)
            for report in self._reports():
                bar.advance(1, **self._shown(report))
                self._tell(report)
                enough = after(report)
                self.state.extra["enough"] = enough
                self._save_if_due(report, enough)
                if enough:
                    return

    def _reports(self) -> Iterator[StepReport]:
        self._saved_at = time.monotonic()
        self._window: list[tuple[float, float]] = []
        return steps(self.state, self.objective, self.cut, self.runtime, until=self.state.total)

    def _shown(self, report: StepReport) -> dict[str, Any]:
        self._window = [*self._window[-19:], (self.cut.stream.share(report.step - 1), report.seconds)]
        speed = self.tokens_per_step * sum(share for share, _ in self._window) / sum(took for _, took in self._window)
        shown: dict[str, Any] = {**report.loss, "tokens/s": float(round(speed))}
        if self.machine_flops and self.flops_per_token:
            shown["of_machine"] = f"{speed * self.flops_per_token / self.machine_flops:.0%}"
        return shown

    def _tell(self, report: StepReport) -> None:
        if report.micro < report.tried:
            self.context.log.warn(
                f"step {report.step}: memory ran out with micro-batches of {report.tried} rows; "
                f"taken again with {report.micro}, and so are the steps that follow"
            )
        if not report.taken:
            place = self.cut.where(report.step - 1)
            self.context.log.warn(
                f"step {report.step} was refused: loss {report.loss}, gradient {report.gradient_norm} ({place})"
            )
        if report.step % self.log_every and report.step != self.state.total and report.taken:
            return
        speed = self._shown(report)["tokens/s"]
        numbers = {
            "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm,
            "tokens_per_second": speed,
            **{f"gradient_norm_{part}": norm for part, norm in self.state.update.norms_by_part().items()},
        }
        self.context.log.metrics(step=report.step, **report.loss, **numbers)

    def _save_if_due(self, report: StepReport, enough: bool) -> None:
        stop = self.context.stop
        if self.save_every is not None:
            due = report.step % self.save_every == 0
        else:
            due = time.monotonic() - self._saved_at > SAVE_EVERY_SECONDS
        if due or stop:
            checkpoint.save(self.state, self.folder)
            self._saved_at = time.monotonic()
        if stop and not enough and report.step < self.state.total:
            raise Stopped(f"stopped after step {report.step} of {self.state.total}", hint="the same command continues")
