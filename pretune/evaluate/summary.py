"""Stage summary: one page over several artifacts, a section for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pretune.base.artifact import Artifact
from pretune.base.config import Input
from pretune.base.json import Json
from pretune.base.stage import Context, Stage
from pretune.evaluate.published import Published

KINDS = "report|model|corpus|dataset|tokenizer|tokens|bundle"


class SummaryStage(Stage):
    """One page with a section for each of several reports and other artifacts."""

    makes: ClassVar[str] = "report"
    version: ClassVar[int] = 5
    gathers_seeds: ClassVar[bool] = True
    kind: str = "summary"
    of: Annotated[list[str], Input(KINDS)]
    """What to show, in this order: reports with their figures, models with their curves, others with their card."""
    title: str = "Report"
    """What stands above the page."""
    table: bool = False
    """One table over the reports: main figures next to their floors, with their macro average."""
    published: dict[str, Published] = {}
    """Of a report, by the name of its stage: what others published on that data, and where. For `table`."""
    text: str = ""
    """Words below the title: what this was, what such a model can and cannot do."""

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        from pretune.evaluate.summarising import named_parts, summarise

        parts, yardstick = named_parts(self.of, list(inputs.values())), self.published if self.table else None
        return summarise(parts, out, context, title=self.title, text=self.text, yardstick=yardstick)
