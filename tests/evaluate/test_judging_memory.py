"""An evaluation holds little of each text: fifty thousand take at most 50 MB more than a hundred."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np

from pretune.base.log import Log
from pretune.evaluate.judging import judged
from pretune.infer.answers import Answer, Label
from pretune.infer.classify import label_answers
from pretune.infer.predictor import Facts
from pretune.task.judge.labels import LabelJudge
from pretune.text.dataset.example import Labelled


class Drawn:
    """A predictor that draws its logits."""

    facts = Facts("classify", "label", 32, labels=("bad", "good"))
    gives = Label

    def answer(self, inputs: Sequence[Any], **settings: Any) -> list[Answer]:
        rng = np.random.default_rng(len(inputs))
        parts = (len(inputs[i : i + 1000]) for i in range(0, len(inputs), 1000))
        return [one for number in parts for one in label_answers(rng.normal(size=(number, 2)), self.facts)]


def peak(number: int) -> int:
    """Bytes that judging so many texts takes at most, and keeps of them, the texts aside."""
    names = ("bad", "good")
    examples = [Labelled(f"a {names[k % 2]} film {k % 90}", names[k % 2], f"rows#{k}") for k in range(number)]
    model: Any = Drawn()
    tracemalloc.start()
    found, _ = judged(LabelJudge(), model, examples, examples[:60], what="", max_tokens=1, seed=0, log=Log(quiet=True))
    assert len(found.rows) == number and found.rows[number - 1]["origin"] == f"rows#{number - 1}"
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_a_text_takes_half_a_kilobyte() -> None:
    peak(100)  # what is made once
    assert (peak(8000) - peak(100)) / 7900 < 600
