"""The validation split of a fine-tuning: it chooses the best weights, and says when to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file

from pretune.base.digest import read_digest
from pretune.base.errors import Damaged
from pretune.base.json import Json
from pretune.model.folder import write_safetensors
from pretune.objective.objective import Objective
from pretune.task.labelled_data import LabelledData
from pretune.task.settings import FinetuneSettings
from pretune.train.loop.runtime import evaluating
from pretune.train.loop.session import Session, note_samples
from pretune.train.loop.step import StepReport
from pretune.train.watch.validate import loss_over


@dataclass(frozen=True)
class Best:
    """Looks at a run between its steps, and keeps its best weights.

    Args:
        folder: the model that is fine-tuned.
        every: steps between two looks.
        objective: that of the task, without what the run learns next to it.
    """

    settings: FinetuneSettings
    session: Session
    data: LabelledData
    folder: Path
    every: int
    objective: Objective

    def path(self, step: int) -> Path:
        """The best weights as of a step: a run that goes back finds those that were the best then."""
        return self.session.context.scratch / f"best-{step:08d}.safetensors"

    def after(self, report: StepReport) -> bool:
        """Evaluate when due; says enough when it has stalled."""
        state, log = self.session.state, self.session.context.log
        last = report.step == state.total
        if not self.data.dev_rows or (report.step % self.every and not last):
            return False
        with log.timing("validation"):
            scores = self.scores(noted=True)
        log.metrics(step=report.step, **{f"validation_{k}": v for k, v in scores.items()})
        shown = "  ".join(f"{k} {v:.4f}" for k, v in scores.items())
        by = self.data.task.better
        self.session.judge(scores["loss"] if by == "loss" else -scores[by])
        better = is_better(scores, state.extra.get("best"), by=by)
        log.info(f"    step {report.step}: validation {shown}{'  (best so far)' if better else ''}")
        if better:
            state.extra |= {"best": scores, "best_step": report.step, "stalled": 0}
            self._keep()
        else:
            state.extra["stalled"] = state.extra.get("stalled", 0) + 1
        return bool(state.extra["stalled"] >= self.settings.patience)

    def _keep(self) -> None:
        """Write the best weights; earlier ones go, but for those that a checkpoint names: a run goes on from any."""
        state = self.session.state
        final = state.update.final()  # all of them ask: each may hold a part
        if self.session.leads:
            path = self.path(state.step)
            write_safetensors({n: final[n] for n in state.update.trained}, path)
            state.extra["best_digest"] = read_digest(path)
            kept = {path, *(self.path(one["best_step"]) for one in self.session.extras() if "best_step" in one)}
            for old in set(path.parent.glob("best-*.safetensors")) - kept:
                old.unlink()

    def _refit(self) -> None:
        """What the examples decide by themselves is set before the model is asked."""
        update, model, data = self.session.state.update, self.session.state.model, self.data
        if not data.task.fits_head:
            return
        with update.exact_weights(), evaluating(model):
            found = data.task.refit(model, data, self.folder, max_length=self.settings.max_length)
        update.replace(found)

    def scores(self, *, noted: bool = False) -> dict[str, float]:
        """Loss and scores on the validation split, in float32 with the exact weights; what it wrote may be noted."""
        self._refit()
        session, task, data = self.session, self.data.task, self.data
        state, spec = session.state, session.spec
        with state.update.exact_weights(), evaluating(state.model):
            inputs = (state.model, self.objective, data.dev_rows, spec.vocabulary, session.runtime)
            loss = self.objective.named(loss_over(*inputs, batch=session.micro).terms)
            ready = task.ready(state.model, self.folder, data.labels, max_length=self.settings.max_length)
            if noted:
                asked = self.settings.prompts
                prompts = task.questions(data.dev_examples) if asked is None else asked
                note_samples(session.context, state.step, task.texts(ready, prompts))
            return {**loss, **task.score(ready, data.dev_examples)}

    def restore(self) -> None:
        """The best weights become those of the model.

        Raises:
            Damaged: they are not as they were written.
        """
        state = self.session.state
        if "best" in state.extra and state.extra["best_step"] != state.step:
            path = self.path(state.extra["best_step"])
            if not path.is_file() or read_digest(path) != state.extra["best_digest"]:
                hint = f"delete {path.parent.as_posix()} to begin again"
                raise Damaged(f"{path.name}, the best weights of the run, is missing or was changed", hint=hint)
            state.update.replace(load_file(path))

    def choose(self) -> dict[str, float]:
        """What is chosen on the validation split, with the best weights, is written into the model's config; figures of
        them for the card."""
        self._refit()
        task, data, model = self.data.task, self.data, self.session.state.model
        if not data.dev_examples:
            return {}
        with self.session.state.update.exact_weights(), evaluating(model):
            ready = task.ready(model, self.folder, data.labels, max_length=self.settings.max_length)
            if found := task.chosen(ready, data.dev_examples):
                task.keep(model, found)
            return task.looked_at(ready, data.dev_examples, warn=self.session.context.log.warn)

    def metrics(self) -> Json:
        """Of the best weights, for the card."""
        extra = self.session.state.extra
        best = {f"validation_{k}": v for k, v in extra.get("best", {}).items()}
        return {**best, "best_step": extra.get("best_step", self.session.state.step)}


def is_better(scores: dict[str, float], best: dict[str, float] | None, *, by: str) -> bool:
    """By a score, higher is better; among equals, and for `loss` itself, by the lower loss. NaN never is."""

    def rank(found: dict[str, float]) -> tuple[float, float]:
        return found[by] if by != "loss" else 0.0, -found["loss"]

    return all(map(math.isfinite, rank(scores))) and (best is None or rank(scores) > rank(best))
