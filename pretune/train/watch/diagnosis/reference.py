"""The curves that we ran, and the band in which a run of a size, a text and a length should end.

Of each language the end points of all runs are fitted by  log bits per byte = a + b log bytes + c log matrices  (the
parameters in them), with a term `a` for each text: texts of one language differ more than seeds do. The band reaches
from the easiest text to the hardest, as far beyond as the worst run lies from the fit, and further by what we did not
vary: a fifth down, a tenth up.

    python benchmarks/reference_curves.py --data FOLDER      made reference.json; figures in docs/LOG.md
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

Points = list[tuple[float, float]]
LANGUAGE = {"en": "en", "plays": "en", "code": "en", "zh": "zh", "manual": "zh"}
"""The language of each text; program text is read as English by the language check, and is in its band."""
VOCABULARY = 4096
"""Words of every tokenizer of the reference runs."""
ABOVE, BELOW = 1.1, 1.2
"""How far vocabulary, batch, length and later defaults may move a run: with 1,000 words and rows of 64 it ended 4 %
below ours. Further down than up: text may be easier than any of ours, and training becomes better."""


@dataclass(frozen=True)
class Curve:
    """One of our runs.

    Args:
        matrices: parameters inside the blocks.
        num_bytes: text read.
        validation, train: (bytes read, bits per byte).
    """

    text: str
    parameters: int
    matrices: int
    seed: int
    steps: int
    num_bytes: float
    epochs: float
    bits_per_byte: float
    bytes_per_token: float
    validation: Points
    train: Points


@dataclass(frozen=True)
class Band:
    """Where runs like this one end, in bits per byte, and how many of ours say so."""

    low: float
    high: float
    num_runs: int
    languages: tuple[str, ...]


@cache
def curves() -> tuple[Curve, ...]:
    """All reference runs."""
    told = json.loads(files("pretune.train.watch.diagnosis").joinpath("reference.json").read_text(encoding="utf-8"))
    return tuple(Curve(**one) for one in told["runs"])


def of_language(language: str) -> list[Curve]:
    """The runs on text of a language; of one that we did not run, all."""
    return [one for one in curves() if LANGUAGE[one.text] == language] or list(curves())


def band(language: str, matrices: int, num_bytes: float) -> Band | None:
    """The band for a run of this size that read so much; None far outside of what we ran."""
    mine = of_language(language)
    if not _is_near(matrices, [one.matrices for one in mine]) or not _is_near(
        num_bytes, [one.num_bytes for one in mine]
    ):
        return None
    slopes, own, worst = _fit(language)
    middle = slopes[0] * math.log(num_bytes) + slopes[1] * math.log(matrices)
    names = tuple(sorted({LANGUAGE[one.text] for one in mine}))
    low, high = math.exp(min(own) + middle - worst) / BELOW, math.exp(max(own) + middle + worst) * ABOVE
    return Band(low, high, len(mine), names)


def _is_near(value: float, known: list[float]) -> bool:
    """From half the smallest to ten times the largest."""
    return min(known) / 2 <= value <= max(known) * 10


@cache
def _fit(language: str) -> tuple[tuple[float, float], tuple[float, ...], float]:
    """Slopes of bytes and parameters, a term for each text, and the largest distance of a run from the fit."""
    runs = of_language(language)
    texts = sorted({one.text for one in runs})
    known = [
        [math.log(one.num_bytes), math.log(one.matrices), *(float(one.text == text) for text in texts)] for one in runs
    ]
    wanted = np.array([math.log(one.bits_per_byte) for one in runs])
    found, *_ = np.linalg.lstsq(np.array(known), wanted, rcond=None)
    worst = float(np.abs(np.array(known) @ found - wanted).max())
    return (float(found[0]), float(found[1])), tuple(map(float, found[2:])), worst


def bytes_per_token(language: str) -> tuple[float, int] | None:
    """What tokenizers of our vocabulary reach on text of a language (the least of our texts), and that vocabulary."""
    mine = [one.bytes_per_token for one in curves() if LANGUAGE[one.text] == language]
    return (min(mine), VOCABULARY) if mine else None


def nearest(language: str, matrices: int, num_bytes: float) -> Curve:
    """The run of ours that is most like this one."""

    def distance(one: Curve) -> float:
        return abs(math.log(one.matrices / matrices)) + abs(math.log(one.num_bytes / num_bytes))

    return min(of_language(language), key=distance)
