"""The parity gate: a bundle gives the answers of the model folder it was made from, or it is not written.

How two engines are compared is in pretune.infer.compare; here is on which inputs, and how much is too much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pretune.base.errors import NoParity
from pretune.base.json import Json
from pretune.infer.compare import PROMPTS, TEXTS
from pretune.infer.predictor import Difference, Streams
from pretune.text.dataset.example import Example

if TYPE_CHECKING:
    from pretune.infer.chat import Message
    from pretune.infer.predictor import Predictor


@dataclass(frozen=True)
class Thresholds:
    """When two models count as the same.

    Args:
        logit_difference: the largest |difference| of two logits, or None to leave logits alone.
        agreement: share of the labels or greedy tokens that must be the same (ties aside).
    """

    logit_difference: float | None
    agreement: float


@dataclass(frozen=True)
class Parity:
    """A difference and how large it may be; `parity.json` holds it."""

    found: Difference
    thresholds: Thresholds

    @property
    def is_same(self) -> bool:
        limit, largest = self.thresholds.logit_difference, self.found.max_logit_difference
        near = limit is None or largest <= limit
        # Written so that NaN is refused.
        return bool(near and self.found.agreement >= self.thresholds.agreement and np.isfinite(largest))

    def to_json(self) -> Json:
        """For `parity.json`; the difference is rounded up to one digit, for its last digits belong to the machine."""
        near = rounded_up(self.found.max_logit_difference)
        told = {"is_same": self.is_same, "reference": "the model folder, torch, float32"}
        told |= {"agreement": self.found.agreement, "thresholds": asdict(self.thresholds)}
        found = {name: value for name, value in asdict(self.found).items() if name != "worst"}
        return {**found, **told, "max_logit_difference": near}

    def demand(self) -> Parity:
        """This, or NoParity with what differed."""
        if self.is_same:
            return self
        found, limits = self.found, self.thresholds
        raise NoParity(
            f"the export differs from its model: {found.different} of {found.decisions} {found.compared} differ, logits"
            f" by up to {found.max_logit_difference:.2g} (allowed: agreement {limits.agreement:g}, logits"
            f" {limits.logit_difference}){_where(found)}",
            hint="please report it with the model's config.json; the model folder itself can be served",
        )


def _where(found: Difference) -> str:
    """The rest of a sentence that says where two engines first differ, or are furthest apart."""
    said, at = ("first", found.first) if found.first else ("furthest apart", found.worst)
    return f"; {said} at " + ", ".join(f"{name} {value!r}" for name, value in at.items()) if at else ""


def same_tokens(source: Path, out: Path) -> Json:
    """That the tokenizer in a bundle gives the ids of its source's, for `parity.json`.

    Every engine reads the tokenizer of its own folder by the same library, so equal files would do; padding and
    truncation are taken out of the copy, so the ids of a torture text, of all prompts and of every word are compared.

    Raises:
        NoParity: it gives others.
    """
    from pretune.model.folder import TORTURE
    from pretune.tokens.encode.tokenizer import encode_texts, load_tokenizer

    texts = [TORTURE, *PROMPTS]
    one, two = (load_tokenizer(folder) for folder in (source, out))
    pairs = zip(texts, encode_texts(one, texts), encode_texts(two, texts), strict=True)
    if odd := next((text for text, ids, others in pairs if ids != others), None):
        raise NoParity(f"the tokenizer of the export gives other ids for {odd[:100]!r}", hint="export it again")
    if one.get_vocab(with_added_tokens=True) != two.get_vocab(with_added_tokens=True):
        raise NoParity("the tokenizer of the export has other words", hint="export it again")
    return {"texts": len(texts), "words": one.get_vocab_size(), "is_same": True}


def rounded_up(number: float) -> float:
    """A positive number rounded up to one significant digit: 1.2e-6 gives 2e-6."""
    if not number > 0 or not math.isfinite(number):
        return number
    unit = 10.0 ** math.floor(math.log10(number))
    return float(f"{math.ceil(number / unit) * unit:.0e}")


def inputs_for(data: Path | None, model: Predictor) -> Sequence[str | Sequence[Message]]:
    """What the examples of a dataset ask, of its test split (else validation, else train); or a fixed list.

    Raises:
        NotSupported: examples of a shape that no task reads.
    """
    from pretune.task.task import tasks_reading
    from pretune.text.dataset.example import read_split, shape_of

    fixed = PROMPTS if isinstance(model, Streams) else TEXTS
    if data is None:
        return fixed
    splits = (read_split(data, split) for split in ("test", "validation", "train"))
    examples: Sequence[Example] = next((found for found in splits if found), [])
    reading = tasks_reading(shape_of(data))
    task = next((task for task in reading if task.answers is model.gives), reading[0])
    asked, _ = task.judge.asked(examples, (), None)
    return [one.input for one in asked] or fixed
