"""A finished run as numbers: its curves in bits per byte, and what its ancestors' cards say of the text.

Bits per byte survive another tokenizer: nats per target x targets per byte / ln 2. Text that was read is counted in
bytes for the same reason.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pretune.base.artifact import Artifact, Card
from pretune.base.errors import BadFile, NotAnArtifact, WrongKind
from pretune.base.json import Json
from pretune.model.shape import SHAPE

Points = list[tuple[float, float]]
METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Text:
    """The text of a run, all its stores together.

    Args:
        splits: tokens, documents and bytes of train and validation.
        languages: bytes of the training text by language; empty if no card tells.
        tokenizers, corpora: the cards of the tokenizers and corpora that are still to be found.
    """

    splits: Mapping[str, Counter[str]]
    languages: Counter[str]
    tokenizers: list[Card]
    corpora: list[Card]

    def bits(self, split: str) -> float:
        """Bits per byte for one nat per target of a split."""
        facts = self.splits[split]
        return (facts["tokens"] - facts["documents"]) / max(1, facts["bytes"]) / math.log(2)

    @property
    def bytes_per_token(self) -> float:
        facts = self.splits["train"]
        return facts["bytes"] / max(1, facts["tokens"])

    @property
    def language(self) -> str:
        """The language of most of the training text, "" if it is not known."""
        return self.languages.most_common(1)[0][0] if self.languages else ""


@dataclass(frozen=True)
class Run:
    """A pretraining run.

    Args:
        points: the lines of metrics.jsonl.
        text: None if the tokens are not to be found any more.
    """

    name: str
    card: Card
    points: list[Json]
    text: Text | None

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """The run whose folder this is.

        Raises:
            WrongKind: it was not trained; NotAnArtifact: without its metrics.jsonl; BadFile: a line that is no JSON.
        """
        artifact = Artifact.open(path)
        if artifact.card.stage not in ("pretrain", "finetune"):
            made = f"comes from stage {artifact.card.stage}" if artifact.card.stage != "raw" else "has no card"
            raise WrongKind(f"{str(path)!r} {made}: there is no curve to compare", hint="name the folder of a model")
        points = list(read_points(artifact.path))
        return cls(artifact.path.name, artifact.card, points, text_of(artifact.source(p) for p in _tokens(artifact)))

    @property
    def parameters(self) -> int:
        return int(self.card.metrics.get("parameters", 0))

    @property
    def matrices(self) -> int:
        """Parameters inside the blocks: those of embeddings grow with the vocabulary and make little difference."""
        shape = self.card.metrics.get("shape")
        return SHAPE(shape).layout().matrix_parameters if shape else self.parameters

    @property
    def steps(self) -> int:
        return int(self.card.metrics.get("steps") or self.card.metrics.get("steps_taken", 0))

    @property
    def tokens(self) -> int:
        """Tokens that were read, repetitions included."""
        return int(self.card.metrics.get("tokens", 0))

    @property
    def epochs(self) -> float:
        """How often the training text was read."""
        there = self.text.splits["train"]["tokens"] if self.text else 0
        return self.tokens / there if there else math.nan

    @property
    def num_bytes(self) -> float:
        """Bytes that were read, repetitions included."""
        return self.tokens * self.text.bytes_per_token if self.text else math.nan

    def bytes_at(self, step: float) -> float:
        return self.num_bytes * step / max(1, self.steps)

    def curve(self, name: str) -> Points:
        """(step, value) of a number of metrics.jsonl, where it is one."""
        return [(p["step"], float(p[name])) for p in self.points if isinstance(p.get(name), int | float)]

    @cached_property
    def train(self) -> Points:
        """Training loss in nats per target by step."""
        return self.curve("loss")

    @cached_property
    def validation(self) -> Points:
        """Validation loss in nats per target by step."""
        return self.curve("validation_loss")

    @property
    def bits_per_byte(self) -> float:
        """Of the validation split at the end; nan if it is not known."""
        return float(self.card.metrics.get("validation_bits_per_byte", math.nan))

    def train_until(self, step: float) -> float:
        """Mean training loss of the tenth of the run up to a step, in nats; nan without points."""
        some = [loss for at, loss in self.train if step - max(1.0, 0.1 * self.steps) < at <= step]
        return sum(some) / len(some) if some else math.nan

    def train_at_end(self) -> float:
        """Mean training loss of the last tenth of the run, in nats; nan without points."""
        last = [loss for step, loss in self.train if step > 0.9 * self.steps]
        return sum(last) / len(last) if last else math.nan


def read_points(folder: Path) -> Iterator[Json]:
    """The lines of a run's metrics.jsonl."""
    path = folder / METRICS
    if not path.is_file():
        raise NotAnArtifact(f"{folder.as_posix()!r} has no {METRICS}", hint="it is written while a model is trained")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            point = json.loads(line)
        except ValueError as error:
            raise BadFile(f"{path.as_posix()} cannot be read at line {number}: {error}") from None
        if isinstance(point, dict) and isinstance(point.get("step"), int | float):
            yield point


def _tokens(artifact: Artifact) -> list[str]:
    return [place for place, said in artifact.card.inputs.items() if said["kind"] == "tokens"]


def text_of(found: Iterable[Artifact | None]) -> Text | None:
    """What the cards of token stores and their ancestors say of a run's text; None if a store is gone."""
    stores = list(found)
    if not stores or any(store is None or store.is_raw for store in stores):
        return None
    cards = {one.card.id: one.card for store in stores if store for one in store.ancestors() if not one.is_raw}
    splits: dict[str, Counter[str]] = {"train": Counter(), "validation": Counter()}
    languages: Counter[str] = Counter()
    for store in stores:
        metrics = store.card.metrics if store else {}
        for split, counted in splits.items():
            counted.update(metrics.get("splits", {}).get(split, {}))
        for group in metrics.get("mixture", []):
            languages[group.get("language") or ""] += group["bytes"]
    kinds = [[card for card in cards.values() if card.kind == kind] for kind in ("tokenizer", "corpus")]
    return Text(splits, languages, *kinds)
