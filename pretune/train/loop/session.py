"""What pretraining and fine-tuning share: the loop's surroundings.

    session = begin(spec, choices, runtime, context)
    session.resume()
    session.run(after=...)

Logs, draws the bar, saves checkpoints by the clock, resumes where an interrupted run was, goes back where steps are
refused on end, and leaves cleanly on Ctrl-C.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pretune.base.asked import is_save_asked
from pretune.base.errors import NotFinite, Stopped
from pretune.base.json import Json
from pretune.base.log import Bar, append_line, cut_lines
from pretune.base.screen import duration
from pretune.base.stage import Context
from pretune.objective.routing import busiest
from pretune.train.budget import remarks_on
from pretune.train.forecast.speed import matrix_speed
from pretune.train.loop import checkpoint
from pretune.train.loop.beats import watched
from pretune.train.loop.dice import draw_apart
from pretune.train.loop.meters import Meters
from pretune.train.loop.private import private_run, told_of
from pretune.train.loop.refusing import MOST_RETURNS, portion
from pretune.train.loop.runtime import Runtime, give_freed_memory_back
from pretune.train.loop.saving import Saver
from pretune.train.loop.sharded import write_parts
from pretune.train.loop.spec import Choices, TrainSpec
from pretune.train.loop.state import DTYPES, as_precise, training_state
from pretune.train.loop.step import StepReport, TrainState
from pretune.train.loop.steps import steps
from pretune.train.loop.stream import MicroBatches

SAVE_EVERY_SECONDS = 60.0
MOST_OF_A_RUN = 0.01
"""Of a run's time, what checkpoints may take where save_every is not given: they come more seldom if need be."""
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
    _is_best: bool = False

    @property
    def folder(self) -> Path:
        return self.context.scratch / "checkpoints"

    def resume(self) -> None:
        """Continue from the newest good checkpoint, if there is one; what was noted after its step is dropped."""
        log = self.context.log
        draw_apart(self.spec.seed, self.runtime)
        self._load(checkpoint.newest(self.folder, self.context.run, log) if self.leads else None)
        if self.state.step:
            log.info(f"    continues at step {self.state.step} of {self.state.total}")

    def _load(self, found: Path | None) -> bool:
        """Take the checkpoint that rank 0 found on all ranks; whether it found one."""
        name = self.context.team.share(found and found.name)
        if name is not None:
            checkpoint.load(self.state, self.folder / name, self.runtime)
        self.context.log.cut_metrics(self.state.step)  # also of a run that was killed before its first checkpoint
        if self.leads:
            cut_lines(self.context.scratch / SAMPLES, self.state.step)
        return name is not None

    def extras(self) -> list[Json]:
        """What is kept with the checkpoints that the run may go on from, the one that is being written too."""
        return [*checkpoint.extras(self.folder), self._saving.extra]

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
        if not self.state.extra.get("enough"):
            self._train(after)
        self.state.update.settle()

    def _train(self, after: Callable[[StepReport], bool]) -> None:
        self.context.log.seconds["start"] = time.monotonic() - self.context.started
        with self.context.log.progress("    training", total=self.state.total, unit="steps") as bar:
            bar.start_at(self.state.step)
            with self._saver(), watched():
                self._steps(bar, after)

    def _saver(self) -> Saver:
        settings = self.spec.settings
        self._saving = Saver(self.folder, settings.keep, self.context.log, may_copy=settings.optim.offload != "disk")
        return self._saving

    def _steps(self, bar: Bar, after: Callable[[StepReport], bool]) -> None:
        for report in self._reports():
            self._note(report)
            bar.advance(1, **self._shown(report))
            self._tell(report)
            if self.state.mechanism is not None:
                self._check_private(report)
            if self.state.refused >= self.state.refuse.goes_back_after:
                self._go_back(report)
                bar.start_at(self.state.step)
                continue
            self._is_best = False
            enough = after(report)
            self.state.extra["enough"] = enough
            self._save_if_due(report, enough)
            if enough:
                break
        if broken := self.state.update.broken():
            hint = "the same command goes on from the last checkpoint, whose weights are finite"
            raise NotFinite(f"the weight {broken} holds what is no number", hint=hint)

    def _check_private(self, report: StepReport) -> None:
        """Each step of a private run has its price, so none is taken again and none in vain.

        Raises:
            NotFinite: the weights, or the step, hold what is no number: from now on there would be noise alone.
        """
        broken = self.state.update.broken()
        problem = f"the weight {broken} holds what is no number" if broken else report.refused
        if problem is not None:
            hint = "begin again elsewhere (--out) with a lower optim.learning_rate; what two runs tell adds up"
            raise NotFinite(f"step {report.step}: {problem}, and learns from noise alone", hint=hint)

    def judge(self, score: float) -> None:
        """A validation's score (lower is better) of this step, for the checkpoint that is kept as the best."""
        best = self.state.extra.get("best_score")
        self._is_best = math.isfinite(score) and (best is None or score < best)
        if self._is_best:
            self.state.extra["best_score"] = score

    def _reports(self) -> Iterator[StepReport]:
        self._saved_at = time.monotonic()
        self._meters = Meters.start()
        return steps(self.state, self.spec.objective, self.cut, self.runtime, until=self.state.total)

    def _note(self, report: StepReport) -> None:
        """Remember how long the step took and waited, and how large it was: the last 20, and all of this process."""
        told = report.seconds, report.waited, self.cut.stream.share(report.portion)
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
            self.context.log.warn(f"step {report.step} is refused: {report.refused}{self._rows(report)}")
        if report.step % self.log_every and report.step != self.state.total and report.taken:
            return
        numbers: Json = {
            "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm,
            **self._costs(),
            **{f"gradient_norm_{part}": norm for part, norm in self.state.update.norms_by_part().items()},
        }
        if report.refused:
            numbers["refused"] = report.refused
        if report.loads:
            numbers["busiest_expert"] = max(map(busiest, report.loads))
        self.context.log.metrics(step=report.step, **self.spec.objective.named(report.loss), **numbers)

    def _costs(self) -> Json:
        """Speed, waiting, memory and energy of the last steps; of private ones nothing is noted: it would tell how many
        examples they had, and how long they were."""
        if self.state.mechanism is not None:
            return {}
        seconds, waited, shares = map(sum, zip(*self._times, strict=True))
        return {
            **self._speed(seconds + waited, shares),
            "data_wait": round(waited / (seconds + waited), 4),
            **self._meters.read(),
        }

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
        if self.leads:
            self._saving.check()
        due, stop = self.leads and self._is_due(report.step), self.context.stop or self._is_over()
        asked = self.runtime.all_said({"due": due, "stop": stop, "save": is_save_asked()})
        if any(asked.values()):
            self._save(is_due=asked["due"], wait=asked["stop"])
        if asked["stop"]:  # none leaves before the checkpoint is whole: whoever started the ranks ends the others then
            self.runtime.any(True)
            if not enough and report.step < self.state.total:
                why = f" (stop_after={duration(self.spec.settings.stop_after or 0)})" if self._is_over() else ""
                hint = "the same command continues"
                raise Stopped(f"stopped after step {report.step} of {self.state.total}{why}", hint=hint)

    def _rows(self, report: StepReport) -> str:
        """The rows of a step, for messages; a private run does not say which they were."""
        place = self.cut.where(report.portion)
        return f" ({place})" if place else ""

    def _is_due(self, step: int) -> bool:
        settings = self.spec.settings
        if (settings.keep.best and self._is_best) or (settings.keep.every and step % settings.keep.every == 0):
            return True
        if settings.save_every is not None:
            return step % settings.save_every == 0
        return time.monotonic() - self._saved_at > max(SAVE_EVERY_SECONDS, self._saving.cost / MOST_OF_A_RUN)

    def _is_over(self) -> bool:
        limit = self.spec.settings.stop_after
        return limit is not None and time.monotonic() - self.context.started > limit

    def _save(self, *, is_due: bool, wait: bool) -> None:
        """A checkpoint of this step; a run goes back to those that were due while no step was refused."""
        broken = self.state.update.broken()
        if self.runtime.any(broken is not None):
            which = f"the weight {broken}" if broken else "a weight of another process"
            self.context.log.warn(f"no checkpoint of step {self.state.step}: {which} holds what is no number")
            return
        score = self.state.extra.get("best_score") if self._is_best else None
        facts = {"run": self.context.run, "score": score, "is_anchor": is_due and not self.state.refused}
        one = checkpoint.snapshot(self.state, self.runtime, **facts)
        if self.runtime.is_cut:
            one = write_parts(one, self.state.update.pieces, self.folder, self.runtime)
        if self.leads:
            with self.context.log.timing("checkpoints"):
                self._saving.save(one, wait=wait)
            self._saved_at = time.monotonic()

    def _go_back(self, report: StepReport) -> None:
        """After refusals on end: to the last good checkpoint, passing over the rows of these steps.

        Raises:
            NotFinite: there is none, or it has come to this again and again.
        """
        state, log = self.state, self.context.log
        steps = range(report.step - state.refused, report.step)
        passed = sorted({*state.passed, *(portion(step, state.passed) for step in steps)})
        returned, problem = (
            state.returned,
            f"{state.refused} steps on end were refused, the last since {report.refused}",
        )
        rows = self._rows(report)
        below, finite = steps.start + 1, all(map(math.isfinite, [report.gradient_norm, *report.loss.values()]))
        if self.leads:
            self._saving.finish()
        found = checkpoint.newest(self.folder, self.context.run, log, anchor=True, below=below) if self.leads else None
        at = self.context.team.share(checkpoint.step_of(found) if found else -1)
        times = returned[1] + 1 if returned[0] == at else 1
        if finite and (at < 0 or times > MOST_RETURNS):
            log.warn(f"{problem}{rows}: taken for the new level, the windows begin again")
            state.window, state.refused = {}, 0
            return
        if at < 0 or times > MOST_RETURNS:
            why = (
                "there is no checkpoint to go back to"
                if at < 0
                else f"the run went back to step {at} {times - 1} times"
            )
            hint = "lower optim.learning_rate, or set precision=float32; the data of these rows may be damaged"
            raise NotFinite(f"step {report.step}: {problem}{rows}, and {why}", hint=hint)
        self._load(found)
        if self.leads:
            checkpoint.drop_behind(self.folder, at)
        state.passed, state.returned = passed, (at, times)
        log.warn(f"{problem}{rows}: back to step {at}, passing over the rows of {len(steps)} steps")
        log.metrics(step=at + 1, went_back_from=report.step, passed_over=passed)


def begin(spec: TrainSpec, choices: Choices, runtime: Runtime, context: Context) -> Session:
    """Model, optimizer and data as chosen, before the first step."""
    assert spec.make is not None and spec.stream is not None, "only a run with data begins"
    if choices["checkpointed"]:
        give_freed_memory_back()
    model = as_precise(spec.make(), choices["precision"])
    folder = context.scratch / (f"offload-{runtime.rank}" if runtime.rank else "offload")
    state = training_state(spec, model, choices, runtime, folder)
    micro = runtime.fitting(int(choices["micro_batch"]), spec.settings.batch)
    stream = spec.stream
    if spec.settings.optim.private is not None:
        secret = context.choose("secret", lambda: secrets.randbits(128))
        stream, state.mechanism, told = private_run(spec, state.total, secret)
        state.extra["private"], micro = told, 1
        context.log.info(f"    private: {told_of(told)}")
    cut = MicroBatches(
        stream,
        spec.objective,
        spec.vocabulary,
        spec.seed,
        micro,
        rank=runtime.rows.index,
        world=runtime.rows.size,
        total=state.total,
        even=runtime.is_cut,
    )
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
