"""Stage monitor: a classifier, and models of topics and entities if there are some, to a watch that is served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from pretune.apps.monitor.settings import Setup
from pretune.base.artifact import Artifact
from pretune.base.config import Input
from pretune.base.json import Json
from pretune.base.stage import Context, Forecast, Machine, Stage


class MonitorStage(Stage, Setup):
    """A watch over a stream of texts: sentiment, topics, counts per window, and alerts when they surge."""

    makes: ClassVar[str] = "app"
    version: ClassVar[int] = 2
    kind: str = "monitor"
    model: Annotated[str, Input("model|bundle")]
    """The classifier that says the sentiment of a text (one label)."""
    topics: Annotated[str | None, Input("model|bundle", by_name=True)] = None
    """A classifier that says what a text is about (one label or several); without it all texts are counted together."""
    tags: Annotated[str | None, Input("model|bundle", by_name=True)] = None
    """A tagger whose entities are counted as topics are."""
    replay: Annotated[str | None, Input("files", by_name=True)] = None
    """A history, texts with their times: thresholds are chosen on it, and what is usual is known from the start."""
    false_alarms: float = Field(1.0, gt=0)
    """How many false alarms a week the thresholds that `replay` chooses may give, over all series."""

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        parameters = sum(inputs[name].parameters for name in ("model", "topics", "tags") if name in inputs)
        return Forecast(memory_bytes=8 * parameters + 8e8, disk_bytes=1e6)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        from pretune.apps.monitor.making import make

        return make(self, inputs, out, context, most_false=self.false_alarms)
