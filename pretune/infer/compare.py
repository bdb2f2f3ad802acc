"""How far two engines of one model are apart: the reference reads in one pass what the other wrote token by token.

    language model  the other writes greedily with its cache; the reference reads prompt and answer in one pass:
                    the same best token at every position, logits no further apart than a threshold
    classifier      the same label, or labels, for every text; of scores, the same to a tenth of their standard
                    deviation; logits no further apart than a threshold
    embedder        of every text the same nearest other text, and a cosine of both vectors of 0.9; no number of one,
                    nor both at length 1, further apart than a threshold (0.001 is a cosine of 1 - 5e-7)
    tagger          the same tag for every token, likewise

So the cache, the mask, padding and the tokenizer's files are compared as well, by the code that serves; and one input
is as long as the model reads, where tables of positions end. Two tokens whose logits are within 1e-4 in the reference
itself are a tie: float32 may order them either way.

*L positions, V vocabulary.*
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pretune.base.errors import BadMessages, NoParity, PretuneError
from pretune.base.json import Json
from pretune.infer.chat import Talk, messages_in
from pretune.infer.predictor import Difference, Facts, Predictor, Streams
from pretune.tokens.encode.tokenizer import encode_text
from pretune.tokens.store.packing import spread

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pretune.infer.engine import Encoder

TIE = 1e-4
NEAR_SCORE = 0.1
"""Standard deviations of the training data by which two scores may differ and still count as the same."""
NEAR_COSINE = 0.9
"""Of two vectors of a text that may count as the same; the threshold of an exact bundle is stricter."""
SHOWN = 200
"""Characters of an input that are shown where it differs."""
SCORES_SHOWN = 8
"""Logits that are shown of a row that differs."""
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
PROMPTS = (
    *TEXTS,
    "The weather in London today is",
    "List three uses of a paper clip.",
    "Explain why the sky is blue.",
    "Dear Sir or Madam,",
    "Once there was a dog who",
    "The three largest cities in the world are",
    "Translate into French: good morning.",
    "Who wrote Hamlet?",
    "My favourite food is",
    "In 1969, the first man",
    "How long does it take to boil an egg?",
    "She opened the door and",
    "What is 12 times 7?",
    "Write an e-mail that asks for a day off.",
    "The difference between a cat and a dog is",
    "你最喜欢的书是什么？",
    "请把下面的句子翻译成英文：我爱学习。",
    "地球为什么会转？",
    "从前有一座山，山里有一座庙，",
    "推荐三本值得读的小说。",
    "北京有哪些好吃的？",
    "怎样才能睡得更好？",
    "给妈妈写一封生日贺信。",
    "水在多少度会沸腾？",
    "用一句话介绍长城。",
    "一加一等于几？",
    "他打开门，看见",
    "春眠不觉晓，",
    "我想学做饭，应该从什么开始？",
    "人工智能会取代老师吗？",
)
"""Fifty of them for a model that writes."""


class Rows(Predictor, Protocol):
    """A predictor that scores each row as a whole, or every token of it, and all labels of it."""

    @property
    def engine(self) -> Encoder:
        """What scores rows."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Of texts."""

    def rows(self, inputs: Sequence[Any]) -> list[list[int]]:
        """One row per text, or two that are compared."""


# ---- what is written ----------------------------------------------------------------------------


def compare_written(model: Streams, other: Streams, prompts: Sequence[Sequence[int]], *, num_tokens: int) -> Difference:
    """Greedy answers of another engine, next to the logits of the reference.

    Args:
        prompts: token ids; each leaves room for at least one more token.
    """
    decisions = different = ties = 0
    largest, first, worst = 0.0, None, None
    for number, prompt in enumerate(prompts):
        with refusing(len(prompt)):
            answer, logits_LV = greedy(other, prompt, num_tokens)
        reference_LV = _forced(model, prompt, answer)
        gaps_L = np.abs(logits_LV - reference_LV).max(axis=1)
        if not gaps_L.max() <= largest:
            worst = {"input": number, "token": int(gaps_L.argmax())}
        largest = _larger(largest, gaps_L.max())
        near_L, tied = _compared(reference_LV, np.asarray(answer))
        if first is None and not near_L.all():
            first = {"input": number, **_texts(model, other, prompt, answer, int(near_L.argmin()))}
        decisions, different, ties = decisions + len(answer), different + int((~near_L).sum()), ties + tied
    longest = max(map(len, prompts))
    return Difference("greedy tokens", len(prompts), decisions, different, ties, largest, longest, first, worst)


def _forced(model: Streams, prompt: Sequence[int], answer: Sequence[int]) -> np.ndarray:
    """logits_LV of the reference at every token of an answer: in one pass, where prompt and answer are one row."""
    if not model.facts.more.get("apart"):
        whole_BLV = model.engine.whole(np.array([[*prompt, *answer[:-1]]]), len(answer))
        return np.asarray(whole_BLV[0])
    state, found = model.engine.start(), []
    for fresh in (list(prompt), *([token] for token in answer[:-1])):
        logits_BV, state = model.engine.feed(state, np.asarray([fresh], dtype=np.int64))
        found.append(logits_BV[0])
    return np.stack(found)


def _texts(model: Streams, other: Streams, prompt: Sequence[int], answer: Sequence[int], token: int) -> Json:
    """Where an answer first differs, and the texts that both write."""
    own, _ = greedy(model, prompt, len(answer))
    written = {"model": model.text_of(prompt, own), "export": other.text_of(prompt, answer)}
    return {"token": token, "prompt": _cut(model.text_of((), prompt)), **written}


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def greedy(model: Streams, prompt: Sequence[int], num_tokens: int) -> tuple[list[int], np.ndarray]:
    """A greedy answer, its end token included, and the logits_LV that chose it."""
    state, fresh = model.engine.start(), list(prompt)
    answer: list[int] = []
    chosen_by: list[np.ndarray] = []
    for _ in range(min(num_tokens, model.room(prompt))):
        logits_BV, state = model.engine.feed(state, np.asarray([fresh], dtype=np.int64))
        chosen_by.append(logits_BV[0])
        answer.append(int(logits_BV[0].argmax()))
        if answer[-1] in model.eos_ids:
            break
        fresh = answer[-1:]
    return answer, np.stack(chosen_by)


def prompts_of(model: Streams, inputs: Sequence[Talk], *, most: int, num_tokens: int) -> list[list[int]]:
    """The prompts of at most `most` inputs, evenly spread, cut so that an answer has room."""
    room = max(min(model.facts.max_length - num_tokens, LONGEST_PROMPT), 1)
    found = (_prompt(model, inputs[k])[:room] for k in spread(len(inputs), most))
    return [ids for ids in found if ids]


def _prompt(model: Streams, asked: Talk) -> list[int]:
    """The tokens of an input; without a chat template, or where it refuses the dialogue, those of the last message."""
    if model.chat is None and not isinstance(asked, str):
        return model.text_prompt(messages_in(asked)[-1]["content"])
    try:
        return model.prompt(asked)
    except BadMessages:  # were it left out, nothing would be compared where the template refuses all
        said = asked if isinstance(asked, str) else messages_in(asked)[-1].get("content")
        return model.text_prompt(said) if isinstance(said, str) else []


def longest_prompt(model: Streams) -> list[int]:
    """A prompt that leaves room for one token."""
    ids = encode_text(model.tokenizer, "\n".join(TEXTS))
    room = min(model.facts.max_length, LONGEST_TRIED) - 1
    return (ids * (room // len(ids) + 1))[:room]


# ---- labels and scores --------------------------------------------------------------------------


def compare_rows(model: Rows, other: Rows, inputs: Sequence[str | tuple[str, str]]) -> Difference:
    """Labels (scores) and logits of both for the same inputs, two texts, and a long one, each tokenised by its own
    folder."""
    long, tried = longest_text(model), [*inputs, (TEXTS[0], TEXTS[1])]
    theirs, longest = _logits(model, tried, long)
    with refusing(longest):
        ours, _ = _logits(other, tried, long)
    differ, ties = DECIDED[model.facts.answers](theirs, ours, model.facts)
    differ = differ if model.facts.labels == other.facts.labels else np.ones_like(differ)
    what = COMPARED.get(model.facts.answers, "labels")
    places, largest = _places(theirs, ours, differ, [*map(str, tried), long])
    return Difference(what, len(inputs), differ.size, int(differ.sum()), ties, largest, longest, *places)


def _places(
    theirs: np.ndarray, ours: np.ndarray, differ: np.ndarray, inputs: Sequence[str]
) -> tuple[tuple[Json | None, Json], float]:
    """The first input whose decision differs, if one does, and the one whose logits lie furthest apart; how far.

    Args:
        differ: bool [inputs, ...]; rows of logits are in the order of the inputs.
    """

    def shown(k: int) -> Json:
        model, export = ([round(float(x), 4) for x in logits[k, :SCORES_SHOWN]] for logits in (theirs, ours))
        return {"input": k, "text": _cut(inputs[k]), "model": model, "export": export}

    gaps, rows = np.abs(ours - theirs).max(axis=1), np.flatnonzero(differ.reshape(len(differ), -1).any(axis=1))
    k = int(gaps.argmax())  # NaN is the largest
    return (shown(int(rows[0])) if len(rows) else None, shown(k)), float(gaps[k])


def _best(theirs: np.ndarray, ours: np.ndarray, facts: Facts) -> tuple[np.ndarray, int]:
    near, ties = _compared(theirs, ours.argmax(axis=1))
    return ~near, ties


def _labels(theirs: np.ndarray, ours: np.ndarray, facts: Facts) -> tuple[np.ndarray, int]:
    """The best label, by its threshold where there are some, and where texts may be rejected, whether this one is."""
    handicaps = handicaps_of(facts)
    best, ties = _best(theirs - handicaps, ours - handicaps, facts)
    least = facts.more.get("reject")
    if least is None:
        return best, ties
    wanted, found = (_likeliest(logits / facts.more["temperature"]) for logits in (theirs, ours))
    differ, tied = (wanted < least) != (found < least), np.abs(wanted - least) <= TIE
    return np.stack([best, differ & ~tied], axis=1), ties + int((differ & tied).sum())


def temperature_of(facts: Facts) -> float:
    """By which logits are divided before they become probabilities."""
    return float(facts.more.get("temperature", 1.0))


def handicaps_of(facts: Facts) -> np.ndarray:
    """What is taken from the logits of one label before they are compared: of the thresholds, temperature x logarithm;
    0 without any."""
    thresholds = facts.more.get("thresholds")
    return np.log(np.asarray(thresholds)) * temperature_of(facts) if thresholds else np.zeros(())


def _likeliest(logits: np.ndarray) -> np.ndarray:
    """The probability of each row's best label."""
    return np.asarray(1 / np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True)).sum(axis=1))


def _each(theirs: np.ndarray, ours: np.ndarray, facts: Facts) -> tuple[np.ndarray, int]:
    """Every label of every row is a decision of its own."""
    thresholds = np.asarray(facts.more.get("thresholds") or (0.5,) * theirs.shape[1])
    cut = np.log(thresholds / (1 - thresholds)) * temperature_of(facts)
    differ, tied = (ours >= cut) != (theirs >= cut), np.abs(theirs - cut) <= TIE
    return differ & ~tied, int((differ & tied).sum())


def _near(theirs: np.ndarray, ours: np.ndarray, facts: Facts) -> tuple[np.ndarray, int]:
    return (np.abs(ours - theirs) > NEAR_SCORE)[:, 0], 0


DECIDED: Mapping[str, Callable[[np.ndarray, np.ndarray, Facts], tuple[np.ndarray, int]]] = {
    "label": _labels,
    "labels": _each,
    "score": _near,
    "ranking": _near,
}
"""Kind of answer -> which decisions differ, bool [texts] or [texts, of each], and the number of ties, from logits
[texts, labels] of the reference and others."""


COMPARED = {"score": "scores", "ranking": "scores"}


def compare_vectors(model: Rows, other: Rows, texts: Sequence[str]) -> Difference:
    """Vectors of both for the same texts and a long one: each differs that has another text as its nearest, or lies
    far from the other's. The largest difference is that of a number, or the distance of two vectors at length 1."""
    long = longest_text(model)
    theirs, longest = _logits(model, texts, long)
    with refusing(longest):
        ours, _ = _logits(other, texts, long)
    reference_ND, found_ND = _units(theirs), _units(ours)
    near_N, ties = _compared(_likeness(reference_ND), _likeness(found_ND).argmax(axis=1))
    differ_N = ~(near_N & ((reference_ND * found_ND).sum(axis=1) >= NEAR_COSINE))
    places, largest = _places(theirs, ours, differ_N, [*texts, long])
    # Numbers alone say little: those of short vectors are all small, and those of wide ones add up.
    largest = _larger(largest, np.linalg.norm(found_ND - reference_ND, axis=1).max())
    return Difference("vectors", len(texts), differ_N.size, int(differ_N.sum()), ties, largest, longest, *places)


def _units(vectors_ND: np.ndarray) -> np.ndarray:
    return np.asarray(vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True))


def _likeness(units_ND: np.ndarray) -> np.ndarray:
    """Cosines [N, N] of vectors with each other; those with themselves count for nothing."""
    found: np.ndarray = units_ND @ units_ND.T - 2 * np.eye(len(units_ND), dtype=units_ND.dtype)
    return found


def _logits(model: Rows, texts: Sequence[str | tuple[str, str]], long: str) -> tuple[np.ndarray, int]:
    """Logits [texts + 1, labels], the long text alone and last, and the tokens of the longest row."""
    rows, (last,) = model.rows(texts), model.rows([long])
    found = np.concatenate([model.engine.logits(rows), model.engine.logits([last])])
    return found, max(map(len, [*rows, last]))


def compare_tags(model: Rows, other: Rows, inputs: Sequence[Any]) -> Difference:
    """Tags and logits of both for every token of the same texts and of a long one."""
    long = longest_text(model)
    theirs, longest = _token_logits(model, inputs, long)
    with refusing(longest):
        ours, _ = _token_logits(other, inputs, long)
    if len(ours) != len(theirs) or model.facts.labels != other.facts.labels:
        return Difference("tags", len(inputs), len(theirs), len(theirs), 0, float("nan"), longest)
    near, ties = _compared(theirs, ours.argmax(axis=1))
    gap = _larger(0.0, np.abs(ours - theirs).max())
    first = None if near.all() else {"token": int(near.argmin()), "of": len(near)}
    return Difference("tags", len(inputs), len(ours), int((~near).sum()), ties, gap, longest, first)


def _token_logits(model: Rows, inputs: Sequence[Any], long: str) -> tuple[np.ndarray, int]:
    """Logits [tokens, labels] of all rows, the long one alone and last, and the tokens of the longest row."""
    rows, (last,) = model.rows(inputs), model.rows([long])
    every = [*rows, last]
    logits = [*model.engine.logits(rows), *model.engine.logits([last])]
    scored = [logits_LT[: len(row)] for row, logits_LT in zip(every, logits, strict=True)]
    return np.concatenate(scored), max(map(len, every))


def longest_text(model: Rows) -> str:
    """A text that fills the classifier's row."""
    text = "\n".join(TEXTS)
    once, room = len(encode_text(model.tokenizer, text)), min(model.facts.max_length, LONGEST_TRIED)
    return "\n".join([text] * (room // once + 1))


# ---- pieces of a context ------------------------------------------------------------------------


def compare_spans(
    model: Encoder, other: Encoder, rows: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]], *, texts: int
) -> Difference:
    """The likeliest start and end in each row, and all logits of its tokens.

    Args:
        rows, theirs: as each of the two reads them; texts: inputs that they come from.
    """
    reference, longest = _by_place(model, rows), max(map(len, rows))
    with refusing(longest):
        found = _by_place(other, theirs)
    if [one.shape for one in found] != [one.shape for one in reference]:
        return Difference("starts and ends", texts, len(reference), len(reference), 0, math.inf, longest)
    decisions = different = ties = 0
    largest, first = 0.0, None
    for number, (one, two) in enumerate(zip(reference, found, strict=True)):
        near, tied = _compared(one, two.argmax(axis=1))
        if first is None and not near.all():
            places = {"model": one.argmax(axis=1).tolist(), "export": two.argmax(axis=1).tolist()}
            first = {"row": number, **places}
        decisions, different, ties = decisions + 2, different + int((~near).sum()), ties + tied
        largest = _larger(largest, np.abs(two - one).max())
    return Difference("starts and ends", texts, decisions, different, ties, largest, longest, first)


def _by_place(model: Encoder, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Logits [2, L] of each row."""
    return [logits[: len(row)].T for row, logits in zip(rows, model.logits(rows), strict=True)]


# ---- both ---------------------------------------------------------------------------------------


def _compared(reference: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, int]:
    """Which rows' choices are the reference's best or tied with it, and how many are tied with it only."""
    gaps = reference.max(axis=1) - reference[np.arange(len(chosen)), chosen]
    return gaps <= TIE, int(((gaps > 0) & (gaps <= TIE)).sum())


def _larger(one: float, other: np.floating) -> float:
    """The larger; NaN wins."""
    return float(np.maximum(one, other))


@contextmanager
def refusing(num_tokens: int) -> Iterator[None]:
    """NoParity where the other engine cannot read an input of so many tokens that the reference reads."""
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
