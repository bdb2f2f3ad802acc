"""Stages that are quick: text, a hill that is climbed in steps, a report that reads the test split."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import model_validator

from pretune.base.artifact import Artifact
from pretune.base.config import Free, Input
from pretune.base.errors import NotFinite, Stopped
from pretune.base.stage import Context, Stage

RECIPE = """
work: work
stages:
  words: {kind: "tests.tune.toys:Words"}
  hill:  {kind: "tests.tune.toys:Hill", corpus: $words}
  exam:  {kind: "tests.tune.toys:Exam", model: $hill}
"""
RUNS: list[str] = []
"""What ran, in order: the name of the class, of the hill with its steps."""
ACCIDENTS: list[int] = []
"""Numbers of hills (from 1, over all runs) that a Ctrl-C hits."""


class Words(Stage):
    makes: ClassVar[str] = "corpus"
    upper: bool = False

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        RUNS.append("words")
        (out / "text").write_text("A" if self.upper else "a", encoding="utf-8")
        return {}


class Hill(Stage):
    """Its score at step s is that of the place, times s / steps."""

    makes: ClassVar[str] = "model"
    trains: ClassVar[bool] = True
    stops_gently: ClassVar[bool] = True
    corpus: Annotated[str, Input("corpus")]
    x: float = 0.0
    k: int = 1
    way: str = "plain"
    steps: int = 9
    gate: Annotated[str, Free] = ""
    """A file that it waits for."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.way == "narrow" and self.k > 1:
            raise ValueError(f"way=narrow takes k=1, not {self.k}")
        return self

    def chosen_by(self) -> str:
        return "validation_score"

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        number = sum(one.startswith("hill") for one in RUNS) + 1
        if number in ACCIDENTS:
            ACCIDENTS.remove(number)
            raise KeyboardInterrupt
        RUNS.append("hill 0")
        if self.way == "steep":
            raise NotFinite("the loss is nan")
        if self.way == "deadly" and not (context.scratch / "died").exists():
            (context.scratch / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        while self.gate and not Path(self.gate).exists():
            time.sleep(0.05)
            if context.stop:
                raise Stopped("stopped at the gate")
        score = 100 - (self.x - 3) ** 2 - self.k + context.seed % 2
        for step in range(1, self.steps + 1):
            context.log.metrics(step=step, validation_score=score * step / self.steps)
            RUNS[-1] = f"hill {step}"
            if context.stop and step < self.steps:
                raise Stopped(f"stopped after step {step}")
        (out / "config.json").write_text(str(score), encoding="utf-8")
        return {"validation_score": score, "validation_loss": -score, "name": "hill"}


class Exam(Stage):
    makes: ClassVar[str] = "report"
    model: Annotated[str, Input("model")]

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        RUNS.append("exam")
        (out / "report.json").write_text(str(inputs["model"].card.id), encoding="utf-8")
        return {"score": 1.0}
