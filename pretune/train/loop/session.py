"""What pretraining and fine-tuning share: the loop's surroundings.

    session = begin(spec, choices, runtime, context)
    session.resume()
    session.run(after=...)

Logs, draws the bar, saves checkpoints by the clock, resumes where an interrupted run was, and leaves
cleanly on Ctrl-C.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pretune.base.errors import Stopped
from pretune.base.json import Json
from pretune.base.log import append_line, cut_lines
from pretune.base.stage import Context
from pretune.objective.routing import busiest
from pretune.train.budget import remarks_on
from pretune.train.forecast.speed import matrix_speed
from pretune.train.loop import checkpoint
from pretune.train.loop.meters import Meters
from pretune.train.loop.private import private_run, told_of
from pretune.train.loop.runtime import Runtime, give_freed_memory_back
from pretune.train.loop.spec import Choices, TrainSpec
from pretune.train.loop.state import DTYPES, as_precise, training_state
from pretune.train.loop.step import StepReport, TrainState
from pretune.train.loop.steps import steps
from pretune.train.loop.stream import MicroBatches

SAVE_EVERY_SECONDS = 60.0
SAMPLES = "samples.jsonl"
"""What the model wrote while it was trained, in the scratch folder."""
TOLD_CHARACTERS = 100
WORTH_TELLING = 0.02
"""Share of a step that waiting for rows may take before the progress line says so."""


@dataclass
class Session:
    """One training run in its scratch folder.

    Args:
        machine_flops: the machine's own matrix product (operations per second), of which a share is shown.
    """

    spec: TrainSpec
    state: TrainState
    cut: MicroBatches
    runtime: Runtime
    context: Context
    machine_flops: float = 0.0
    log_every: int = 10
    _times: list[tuple[float, float, float]] = field(default_factory=list)
    _spent: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def folder(self) -> Path:
        return self.context.scratch / "checkpoints"

    def resume(self) -> None:
        """Continue from the newest good checkpoint, if there is one; what was noted after its step is dropped."""
        checkpoint.resume(self.state, self.folder, self.context.log)
        self.context.log.cut_metrics(self.state.step)  # also of a run that was killed before its first checkpoint
        if self.leads:
            cut_lines(self.context.scratch / SAMPLES, self.state.step)

    @property
    def leads(self) -> bool:
        """Whether this process writes: of several, rank 0 alone."""
        return self.runtime.rank == 0

    @property
    def micro(self) -> int:
        """Rows of a micro-batch, after all that memory has allowed so far."""
        return self.state.micro or self.cut.micro

    def run(self, after: Callable[[StepReport], bool]) -> None:
        """Train to the end of the schedule, or until `after(report)` says enough.

        Raises:
            Stopped: the user asked to stop; everything is saved.
        """
        if self.state.extra.get("enough"):
            return
        self.context.log.seconds["start"] = time.monotonic() - self.context.started
        with self.context.log.progress("    training", total=self.state.total, unit="steps") as bar:
            bar.start_at(self.state.step)
            for report in self._reports():
                self._note(report)
                bar.advance(1, **self._shown(report))
                self._tell(report)
                enough = after(report)
                self.state.extra["enough"] = enough
                self._save_if_due(report, enough)
                if enough:
                    return

    def _reports(self) -> Iterator[StepReport]:
        self._saved_at = time.monotonic()
        self._meters = Meters.start()
        return steps(self.state, self.spec.objective, self.cut, self.runtime, until=self.state.total)

    def _note(self, report: StepReport) -> None:
        """Remember how long the step took and waited, and how large it was: the last 20, and all of this process."""
        told = report.seconds, report.waited, self.cut.stream.share(report.step - 1)
        self._times = [*self._times[-19:], told]
        seconds, waited, number = self._spent
        self._spent = (seconds + told[0], waited + told[1], number + told[2])

    def _shown(self, report: StepReport) -> Json:
        seconds, waited, shares = map(sum, zip(*self._times, strict=True))
        speed = self._speed(seconds + waited, shares)
        shown: Json = {
            **self.spec.objective.named(report.loss),
            "tokens/s": float(round(speed["tokens_per_second"])),
        }
        if "share_of_machine" in speed:
            shown["of_machine"] = f"{speed['share_of_machine']:.0%}"
        if waited > WORTH_TELLING * seconds:
            shown["waits_for_data"] = f"{waited / (seconds + waited):.0%}"
        return shown

    def _speed(self, seconds: float, num_steps: float) -> dict[str, float]:
        """Tokens per second over so many steps of a whole batch, and the share of the machine's matrix product."""
        rate = self.spec.tokens_per_step * num_steps / seconds
        found = {"tokens_per_second": round(rate, 1)}
        if self.machine_flops and self.spec.flops_per_token:
            found["share_of_machine"] = round(rate * self.spec.flops_per_token / self.machine_flops, 4)
        return found

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
        seconds, waited, shares = map(sum, zip(*self._times, strict=True))
        numbers: Json = {
            "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm,
            **self._speed(seconds + waited, shares),
            "data_wait": round(waited / (seconds + waited), 4),
            **self._meters.read(),
            **{f"gradient_norm_{part}": norm for part, norm in self.state.update.norms_by_part().items()},
        }
        if report.loads:
            numbers["busiest_expert"] = max(map(busiest, report.loads))
        self.context.log.metrics(step=report.step, **self.spec.objective.named(report.loss), **numbers)

    def summary(self) -> Json:
        """Speed, waiting, memory and energy of the steps that this process took; nothing if it took none."""
        seconds, waited, number = self._spent
        if not number:
            return {}
        used = {name: value for name, value in self._meters.read().items() if name != "memory_bytes"}
        spent = {"seconds_of": self._seconds_of(seconds + waited)}
        return {
            **self._speed(seconds + waited, number),
            "data_wait": round(waited / (seconds + waited), 4),
            **used,
            **spent,
        }

    def _seconds_of(self, stepping: float) -> dict[str, float]:
        """What the time since the stage began was spent on; measuring and forecast are parts of the start."""
        log = self.context.log
        found = {name: round(seconds, 1) for name, seconds in {**log.seconds, "steps": stepping}.items()}
        log.info(f"    seconds: {', '.join(f'{name} {seconds:,.1f}' for name, seconds in sorted(found.items()))}")
        return found

    def _save_if_due(self, report: StepReport, enough: bool) -> None:
        stop, every = self.runtime.any(self.context.stop), self.spec.settings.save_every
        if every is not None:
            due = report.step % every == 0
        else:
            due = time.monotonic() - self._saved_at > SAVE_EVERY_SECONDS
        if (due or stop) and self.leads:
            with self.context.log.timing("checkpoints"):
                checkpoint.save(self.state, self.folder)
            self._saved_at = time.monotonic()
        if stop:  # none leaves before the checkpoint is whole: whoever started the ranks ends the others then
            self.runtime.any(stop)
        if stop and not enough and report.step < self.state.total:
            raise Stopped(f"stopped after step {report.step} of {self.state.total}", hint="the same command continues")


def begin(spec: TrainSpec, choices: Choices, runtime: Runtime, context: Context) -> Session:
    """Model, optimizer and data as chosen, before the first step."""
    assert spec.make is not None and spec.stream is not None, "only a run with data begins"
    if choices["checkpointed"]:
        give_freed_memory_back()
    model = as_precise(spec.make(), choices["precision"])
    folder = context.scratch / (f"offload-{runtime.rank}" if runtime.rank else "offload")
    state = training_state(spec, model, choices, runtime, folder)
    micro = int(choices["micro_batch"])
    ranks = {"rank": runtime.rank, "world": runtime.world}
    stream = spec.stream
    if spec.settings.optim.private is not None:
        secret = context.choose("secret", lambda: secrets.randbits(63))
        stream, state.mechanism, told = private_run(spec, state.total, secret)
        state.extra["private"], micro = told, 1
        context.log.info(f"    private: {told_of(told)}")
    cut = MicroBatches(stream, spec.objective, spec.vocabulary, spec.seed, micro, **ranks, total=state.total)
    speed = matrix_speed(DTYPES[choices["precision"]], spec.device, context.log) if spec.flops_per_token else 0.0
    sizes = {"rows": spec.rows, "batch": spec.batch, "seconds_per_step": choices["seconds_per_step"]}
    warnings, remarks = remarks_on(spec.settings, steps=state.total, **sizes)
    for text in warnings:
        context.log.warn(text)
    for text in remarks:
        context.log.info(f"    {text}")
    return Session(spec, state, cut, runtime, context, machine_flops=speed)


# ---- what the model writes -----------------------------------------------------------------------


def note_samples(context: Context, step: int, samples: Iterable[tuple[str, str]]) -> None:
    """Keep and report what the model wrote at a step: (prompt, text)."""
    for prompt, text in samples if context.team.rank == 0 else ():
        append_line(context.scratch / SAMPLES, {"step": step, "prompt": prompt, "text": text})
        context.log.info(f"    step {step}: {prompt!r} -> {text[:TOLD_CHARACTERS]!r}")


def keep_samples(context: Context, out: Path) -> None:
    """What the model wrote becomes a note of the artifact."""
    if (context.scratch / SAMPLES).is_file():
        (out / SAMPLES).write_bytes((context.scratch / SAMPLES).read_bytes())
        context.notes.add(SAMPLES)
