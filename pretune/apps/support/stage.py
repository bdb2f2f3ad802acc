"""Stage support: documents and an FAQ become a desk that answers with its sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from pretune.base.artifact import Artifact, below
from pretune.base.config import Free, Input
from pretune.base.json import Json
from pretune.base.stage import Context, Forecast, Machine, Stage

MODEL = "model|bundle"


class SupportStage(Stage):
    """A support desk: answers from documents and an FAQ, each with its sources, or a person's."""

    makes: ClassVar[str] = "app"
    version: ClassVar[int] = 3
    kind: str = "support"

    docs: Annotated[list[str], Input("files|corpus")] = []
    """Documents: files, folders or patterns of any format that a corpus reads, or a corpus."""
    faq: Annotated[str | None, Input("files|dataset", by_name=True)] = None
    """Questions with their answers: a table of two columns (and perhaps `intent`), or a dataset of dialogues."""
    model: Annotated[str | None, Input(MODEL)] = None
    """A chat model that answers from the passages that were found; without one the passage itself is the answer."""
    intents: Annotated[str | None, Input(MODEL, by_name=True)] = None
    """A classifier (task=classify, with task.reject) that says what a question is about: as sure as it is,
    the entry of the FAQ with this `intent` is the answer, when `refuse` is chosen on `dev` too."""
    embed: Annotated[str | None, Input(MODEL, by_name=True)] = None
    """A model that gives vectors (task=embed): passages are found by meaning too. In a language that it does not know,
    leave it out."""
    rank: Annotated[str | None, Input(MODEL, by_name=True)] = None
    """A model that puts candidates in order (task=rank): the first twenty passages are read together with the
    question."""
    dev: Annotated[str | None, Input("files", by_name=True)] = None
    """Questions on which the threshold of refusal is chosen: a table with a column `question`; where its column
    `answer` is there and empty, the knowledge does not answer it."""
    text: str | None = None
    """The column that holds the text in documents that are tables; found by its name if not given."""
    words: int = Field(180, ge=20)
    """Words (in Chinese characters) of a passage, about."""
    overlap: int = Field(30, ge=0)
    """Words of its neighbour that a passage may begin with, in whole sentences."""
    false_refusals: float = Field(0.05, ge=0, lt=1)
    """Share of new questions like those of `dev` that the knowledge answers and that may be refused: it chooses
    `refuse`."""
    refuse: float | None = Field(None, ge=0, le=1)
    """The confidence below which a person is asked. Without it: chosen on `dev`; without `dev` 0.3."""
    faq_from: float = Field(0.75, ge=0, le=1)
    """How much an entry of the FAQ must ask the same, for its answer to be given before any passage."""
    passage_from: float = Field(0.95, ge=0, le=1)
    """The confidence from which a passage is given as it is although there is a chat model."""
    exact: int = Field(200_000, ge=0)
    """Vectors up to which each is compared with the question's; beyond, neighbours are found by a graph (extra
    apps)."""
    watch: Annotated[float, Free] = Field(5.0, ge=0)
    """Seconds between looks at the files of `docs` and `faq` while the desk is served; 0: never."""

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        size = sum(one.text_bytes for name, one in inputs.items() if name.startswith("docs") or name == "faq")
        # 3 MB/s of words; 60 kB/s of vectors (docs/LOG.md, 2026-11-30).
        seconds = size / 3e6 + (size / 6e4 if self.embed else 0)
        return Forecast(seconds, 3e8 + 20 * size, size, text_bytes=size)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        """Writes passages, vectors, and the thresholds.

        Raises:
            BadFile: no text, or questions of the FAQ without answers; NoSuchColumn; what opening the models raises.
        """
        from pretune.apps.support.making import Chosen, Cut, make

        cut = Cut(self.text, self.words, self.overlap, self.exact)
        sure = Chosen(self.faq_from, self.passage_from, self.refuse, self.false_refusals)
        return make(cut, sure, inputs, below(inputs, "docs"), out, context)
