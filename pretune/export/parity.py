"""The parity gate: a bundle gives the answers of the model folder it was made from, or it is not written.

    decoder      the bundle writes greedily, token by token with its cache; torch reads prompt and answer in one
                 pass, in float32: the same best token at every position, logits no further apart than a threshold
    classifier   the same label for every text, logits no further apart than a threshold

So the cache, the mask, padding and the tokenizer's files are compared as well, by the code that serves; and one input
is as long as the model reads, where tables of positions end. Two tokens whose logits lie within 1e-4 in the model
itself are a tie: float32 may order them either way.

*L positions, V vocabulary.*
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretune.base.errors import BadMessages, NoParity, NotSupported, PretuneError
from pretune.infer.classify import TextClassifier
from pretune.infer.language import LanguageModel
from pretune.tokens.encode.tokenizer import encode_text

TIE = 1e-4
LONGEST_PROMPT = 512
LONGEST_TRIED = 2048
"""Tokens of the longest input that is tried. Longer windows have no table of positions, and a graph keeps all pairs."""
TEXTS = (
    "What is the capital of France?",
    "Write a short poem about the sea.",
    "How do I copy a file in Python?",
    "def fibonacci(n):\n    ",
    "Once upon a time there was a little",
    "The quick brown fox jumps over the lazy dog.",
    "1 + 1 = 2, 2 + 2 =",
    "你好，请介绍一下你自己。",
    "中国的首都是哪里？",
    "如何学好机器学习？",
    "今天天气很好，我们去",
    "写一首关于春天的诗。",
    "Привет, как дела?",
    "Bonjour, je voudrais un café",
    "こんにちは、世界",
    "مرحبا بالعالم",
    "안녕하세요 세계",
    "🙂 naïve résumé — “quotes”",
    "import os\nfor name in os.listdir('.'):",
    "A",
)
"""What is asked when no data is given: several scripts, code, and one token."""


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
    """What was compared, and what came out; `parity.json` holds it."""

    compared: str
    texts: int
    decisions: int
    different: int
    ties: int
    max_logit_difference: float
    thresholds: Thresholds
    longest: int = 0
    """Tokens of the longest input."""

    @property
    def agreement(self) -> float:
        return 1 - self.different / self.decisions

    @property
    def is_same(self) -> bool:
        limit = self.thresholds.logit_difference
        near = limit is None or self.max_logit_difference <= limit
        # Written so that NaN is refused.
        return bool(near and self.agreement >= self.thresholds.agreement and np.isfinite(self.max_logit_difference))

    def to_json(self) -> dict[str, Any]:
        """For `parity.json`; the difference is rounded up to one digit, for its last digits belong to the machine."""
        near = rounded_up(self.max_logit_difference)
        told = {"agreement": self.agreement, "is_same": self.is_same, "reference": "the model folder, torch, float32"}
        return {**asdict(self), **told, "max_logit_difference": near}

    def demand(self) -> Parity:
        """This, or NoParity with what differed."""
        if self.is_same:
            return self
        raise NoParity(
            f"the export differs from its model: {self.different} of {self.decisions} {self.compared} differ, logits by"
            f" up to {self.max_logit_difference:.2g} (allowed: agreement {self.thresholds.agreement:g}, logits"
            f" {self.thresholds.logit_difference})",
            hint="please report it with the model's config.json; the model folder itself can be served",
        )


def rounded_up(number: float) -> float:
    """A positive number rounded up to one significant digit: 1.2e-6 gives 2e-6."""
    if not number > 0 or not math.isfinite(number):
        return number
    unit = 10.0 ** math.floor(math.log10(number))
    return float(f"{math.ceil(number / unit) * unit:.0e}")


# ---- decoders -----------------------------------------------------------------------------------


def compare_decoders(
    model: LanguageModel,
    bundle: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    num_tokens: int,
    limits: Thresholds,
) -> Parity:
    """Greedy answers of a bundle beside the logits of the torch model.

    Args:
        prompts: token ids; each leaves room for at least one more token.
    """
    decisions = different = ties = 0
    largest = 0.0
    for prompt in prompts:
        with refusing(len(prompt)):
            answer, logits_LV = greedy(bundle, prompt, num_tokens)
        reference_LV = one_pass(model, [*prompt, *answer[:-1]], len(answer))
        largest = _larger(largest, np.abs(logits_LV - reference_LV).max())
        gaps = reference_LV.max(axis=1) - reference_LV[np.arange(len(answer)), answer]
        decisions, different = decisions + len(answer), different + int((~(gaps <= TIE)).sum())
        ties += int(((gaps > 0) & (gaps <= TIE)).sum())
    longest = max(map(len, prompts))
    return Parity("greedy tokens", len(prompts), decisions, different, ties, largest, limits, longest)


@contextmanager
def refusing(num_tokens: int) -> Iterator[None]:
    """NoParity where a bundle cannot read an input of so many tokens that its model reads."""
    try:
        yield
    except PretuneError:
        raise
    except Exception as error:  # onnxruntime raises what it likes
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise NoParity(
            f"the export fails on an input of {num_tokens} tokens, which its model reads: {why}",
            hint="please report it with the model's config.json; the model folder itself can be served",
        ) from None


def greedy(bundle: LanguageModel, prompt: Sequence[int], num_tokens: int) -> tuple[list[int], np.ndarray]:
    """A greedy answer, its end token included, and the logits_LV that chose it."""
    state, fresh = bundle.decoder.start(), list(prompt)
    answer: list[int] = []
    chosen_by: list[np.ndarray] = []
    for _ in range(min(num_tokens, bundle.room(prompt))):
        logits_BV, state = bundle.decoder.feed(state, np.asarray([fresh], dtype=np.int64))
        chosen_by.append(logits_BV[0])
        answer.append(int(logits_BV[0].argmax()))
        if answer[-1] in bundle.eos_ids:
            break
        fresh = answer[-1:]
    return answer, np.stack(chosen_by)


def one_pass(model: LanguageModel, ids: Sequence[int], keep: int) -> np.ndarray:
    """float32 logits_LV of the last `keep` positions, from one forward pass without a cache."""
    import torch

    core: Any = model.decoder.model  # type: ignore[attr-defined]
    with torch.inference_mode():
        logits = core(input_ids=torch.tensor([list(ids)]), use_cache=False, logits_to_keep=keep).logits
    return np.asarray(logits[0, -keep:].float().cpu().numpy())


def prompts_for(model: LanguageModel, data: Path | None, *, number: int, num_tokens: int) -> list[list[int]]:
    """`number` prompts, from the data where there is some, with room for an answer."""
    room = max(min(model.decoder.max_length - num_tokens, LONGEST_PROMPT), 1)
    asked = _messages(data, number) if data else [[{"role": "user", "content": t}] for t in TEXTS[:number]]
    found = [_prompt(model, messages)[:room] for messages in asked]
    return [ids for ids in found if ids]


def _prompt(model: LanguageModel, messages: list[dict[str, str]]) -> list[int]:
    """The tokens of a prompt; none where the chat template refuses the messages."""
    if model.chat is None:
        return model.text_prompt(messages[-1]["content"])
    try:
        return model.chat_prompt(messages)
    except BadMessages:
        return []


def longest_prompt(model: LanguageModel) -> list[int]:
    """A prompt that leaves room for one token."""
    ids = encode_text(model.tokenizer, "\n".join(TEXTS))
    room = min(model.decoder.max_length, LONGEST_TRIED) - 1
    return (ids * (room // len(ids) + 1))[:room]


def _messages(data: Path, number: int) -> list[list[dict[str, str]]]:
    """What comes before the last reply of dialogues, or the texts of labelled examples as one message each."""
    from pretune.base.sample import evenly
    from pretune.text.dataset.example import Dialogue, Labelled

    found: list[list[dict[str, str]]] = []
    for example in evenly(_held_out(data), number):
        if isinstance(example, Labelled):
            found.append([{"role": "user", "content": example.text}])
            continue
        assert isinstance(example, Dialogue), "a dataset holds labelled texts or dialogues"
        turns = [{"role": m.role, "content": m.said} for m in example.messages]
        found.append(turns[:-1] if turns[-1]["role"] == "assistant" and len(turns) > 1 else turns)
    return found


def _held_out(data: Path) -> Sequence[Any]:
    """The first split that is there of test, validation, train: which texts are asked matters little here.

    Raises:
        NotSupported: examples of a shape that no model is compared on.
    """
    from pretune.text.dataset.example import check_scored, read_split

    splits = (read_split(data, split) for split in ("test", "validation", "train"))
    found: Sequence[Any] = next((examples for examples in splits if examples), [])
    check_scored(found)
    return found


# ---- classifiers --------------------------------------------------------------------------------


def compare_classifiers(
    model: TextClassifier, bundle: TextClassifier, texts: Sequence[str], *, limits: Thresholds
) -> Parity:
    """Labels and logits of both for the same texts and a long one, each tokenised with its own folder's tokenizer."""
    long = longest_text(model)
    theirs, longest = _logits(model, texts, long)
    with refusing(longest):
        ours, _ = _logits(bundle, texts, long)
    best = ours.argmax(axis=1)
    gaps = theirs.max(axis=1) - theirs[np.arange(len(best)), best]
    different, ties = int((~(gaps <= TIE)).sum()), int(((gaps > 0) & (gaps <= TIE)).sum())
    if model.labels != bundle.labels:
        different = len(best)
    largest = _larger(0.0, np.abs(ours - theirs).max())
    return Parity("labels", len(texts), len(best), different, ties, largest, limits, longest)


def _logits(model: TextClassifier, texts: Sequence[str], long: str) -> tuple[np.ndarray, int]:
    """Logits [texts + 1, labels], the long text alone and last, and the tokens of the longest row."""
    rows, (last,) = model.rows(texts), model.rows([long])
    found = np.concatenate([model.encoder.logits(rows), model.encoder.logits([last])])
    return found, max(map(len, [*rows, last]))


def longest_text(model: TextClassifier) -> str:
    """A text that fills the classifier's row."""
    text = "\n".join(TEXTS)
    return "\n".join([text] * (min(model.max_length, LONGEST_TRIED) // len(encode_text(model.tokenizer, text)) + 1))


def texts_for(data: Path | None) -> list[str]:
    """The texts of the test split (validation, then train, where there is none), or a fixed list.

    Raises:
        NotSupported: the data holds dialogues.
    """
    from pretune.text.dataset.example import Labelled

    if data is None:
        return list(TEXTS)
    texts = [e.text for e in _held_out(data) if isinstance(e, Labelled)]
    if not texts:
        raise NotSupported("a classifier cannot be compared on dialogues", hint="give a dataset with labels")
    return texts


def _larger(one: float, other: Any) -> float:
    """The larger; NaN wins."""
    return float(np.maximum(one, other))
