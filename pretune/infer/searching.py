"""The likeliest answers of a decoder: always the likeliest token, or by a beam of several texts at once.

    beams=2      the ▶ the cat  -1.1   ▶ the cat sat -1.9      each step goes on with the two best continuations
                 a   ▶ a cat    -1.3   ▶ a cat <eos> -1.6      what ended is scored by log p / length ** penalty

Token for token what transformers' `generate(num_beams=..., length_penalty=..., no_repeat_ngram_size=...)` writes,
without torch: an engine gives logits, and keeps its cache in the order of the beams. Rows have one length, so nothing
is padded.

B rows, L positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pretune.base.json import Json, JsonMap
from pretune.infer.engine import Decoder
from pretune.infer.sampling import check_finite

NAMES = {"beams": "num_beams", "length_penalty": "length_penalty", "no_repeat_ngram": "no_repeat_ngram_size"}
"""How generation_config.json calls the settings of a search."""


@dataclass(frozen=True)
class Search:
    """How the likeliest answer is looked for; the defaults always take the likeliest token.

    Args:
        beams: texts that are gone on with at once.
        length_penalty: log p of a whole text is divided by its length to this power; above 0 longer ones win.
        no_repeat_ngram: no run of so many tokens stands twice, prompt included; 0 allows any.

    Source: Wu et al. 2016, arXiv:1609.08144, section 7, with the simpler penalty of transformers.
    """

    beams: int = 1
    length_penalty: float = 1.0
    no_repeat_ngram: int = 0

    @classmethod
    def of(cls, facts: JsonMap) -> Search:
        """Of what `to_json` gave, or of a generation config's names."""
        said = {name: facts.get(name, facts.get(other)) for name, other in NAMES.items()}
        return cls(**{name: value for name, value in said.items() if value is not None})

    def to_json(self) -> Json:
        """What differs from the defaults; a penalty without beams changes nothing."""
        plain = asdict(Search(length_penalty=self.length_penalty if self.beams == 1 else 1.0))
        return {name: value for name, value in asdict(self).items() if value != plain[name]}

    def generation(self) -> Json:
        """The same by the names of generation_config.json."""
        return {NAMES[name]: value for name, value in self.to_json().items()}


PLAIN = Search()


def likeliest(
    decoder: Decoder,
    prompts_BL: np.ndarray,
    search: Search,
    *,
    ends: Sequence[int],
    room: int,
    apart: Sequence[int] = (),
) -> list[list[int]]:
    """At most `room` tokens for every prompt, without the end token; `apart`: with what the answer's own row begins."""
    find = _by_beams if search.beams > 1 else _greedy
    read = [list(apart) or row for row in prompts_BL.tolist()]
    return find(decoder, prompts_BL, read, search, ends, room)


def _greedy(
    decoder: Decoder,
    fresh_BL: np.ndarray,
    read: Sequence[list[int]],
    search: Search,
    ends: Sequence[int],
    room: int,
) -> list[list[int]]:
    state, open_rows = decoder.start(), set(range(len(fresh_BL)))
    answers: list[list[int]] = [[] for _ in fresh_BL]
    for _ in range(room):
        logits_BV, state = decoder.feed(state, fresh_BL)
        check_finite(logits_BV)
        if search.no_repeat_ngram:
            logits_BV = logits_BV.copy()
            for row_V, before, answer in zip(logits_BV, read, answers, strict=True):
                _forbid(row_V, [*before, *answer], search.no_repeat_ngram)
        best_B = logits_BV.argmax(axis=-1)
        open_rows -= {k for k in open_rows if int(best_B[k]) in ends}
        for k in open_rows:
            answers[k].append(int(best_B[k]))
        if not open_rows:
            break
        fresh_BL = best_B[:, None].astype(np.int64)
    return answers


def _forbid(scores_V: np.ndarray, written: Sequence[int], size: int) -> None:
    """-inf, in place, for every token that would end a run of `size` tokens that is there already."""
    if not size or len(written) + 1 < size:
        return
    last = tuple(written[len(written) - size + 1 :])
    ends = [written[k + size - 1] for k in range(len(written) - size + 1) if tuple(written[k : k + size - 1]) == last]
    scores_V[ends] = -np.inf


# ---- beams --------------------------------------------------------------------------------------


@dataclass
class _Beams:
    """The search of one row: texts that go on, each with its log p; and the best that ended, with their scores."""

    search: Search
    read: list[int]
    texts: list[list[int]] = field(default_factory=lambda: [[]])
    log_p: np.ndarray = field(default_factory=lambda: np.zeros(1))
    ended: list[tuple[float, list[int]]] = field(default_factory=list)

    def go_on(self, logits_KV: np.ndarray, ends: Sequence[int], *, is_last: bool) -> list[int]:
        """One token more; returns which of the texts each of the new ones goes on with, none when the search is over.

        Of the best continuations those that end are kept if they are among the first `beams`; the best of the others
        go on. At the last step all end.
        """
        width, size = self.search.beams, logits_KV.shape[1]
        scores = (self.log_p[:, None] + self._allowed(log_softmax(logits_KV))).ravel()
        chosen: list[tuple[int, int, float]] = []
        for place, k in enumerate(_best(scores, max(2, 1 + len(ends)) * width)):
            beam, token = divmod(int(k), size)
            is_end = token in ends
            if is_last or is_end:
                text = self.texts[beam] if is_end else [*self.texts[beam], token]
                self._end(float(scores[k]), text) if place < width else None
            elif len(chosen) < width:
                chosen.append((beam, token, float(scores[k])))
        self.texts = [[*self.texts[beam], token] for beam, token, _ in chosen]
        self.log_p = np.array([p for _, _, p in chosen])
        return [beam for beam, _, _ in chosen] if self._can_improve() else []

    def _allowed(self, log_KV: np.ndarray) -> np.ndarray:
        for row_V, text in zip(log_KV, self.texts, strict=True):
            _forbid(row_V, [*self.read, *text], self.search.no_repeat_ngram)
        return log_KV

    def _end(self, log_p: float, text: list[int]) -> None:
        """Keep a text that ended if it is among the best; its length is that of this step, end token included."""
        score = log_p / (len(self.texts[0]) + 1) ** self.search.length_penalty
        self.ended = sorted([*self.ended, (score, text)], key=lambda one: -one[0])[: self.search.beams]

    def _can_improve(self) -> bool:
        """Whether the best text that goes on, as long as it is now, beats the worst of a full set that ended."""
        if not self.texts or len(self.ended) < self.search.beams:
            return bool(self.texts)
        return bool(self.log_p[0] / len(self.texts[0]) ** self.search.length_penalty > self.ended[-1][0])

    @property
    def best(self) -> list[int]:
        return self.ended[0][1] if self.ended else []


def _by_beams(
    decoder: Decoder,
    prompts_BL: np.ndarray,
    read: Sequence[list[int]],
    search: Search,
    ends: Sequence[int],
    room: int,
) -> list[list[int]]:
    rows = [_Beams(search, before) for before in read]
    logits_BV, state = decoder.feed(decoder.start(), prompts_BL)
    going = rows
    for step in range(1, room + 1):
        check_finite(logits_BV)
        kept, places, first = [], [], 0
        for row in going:
            last = first + len(row.texts)
            if parents := row.go_on(logits_BV[first:last], ends, is_last=step == room):
                kept.append(row)
                places += [first + parent for parent in parents]
            first = last
        going = kept
        if not going:
            break
        logits_BV, state = _fed(decoder, state, places, [text[-1] for row in going for text in row.texts])
    return [row.best for row in rows]


def _fed(decoder: Decoder, state: Any, places: Sequence[int], tokens: Sequence[int]) -> tuple[np.ndarray, Any]:
    state = decoder.select(state, np.array(places, dtype=np.int64))
    return decoder.feed(state, np.array(tokens, dtype=np.int64)[:, None])


def log_softmax(logits_BV: np.ndarray) -> np.ndarray:
    """float64 log-probabilities of each row."""
    wide_BV = logits_BV.astype(np.float64)
    wide_BV -= wide_BV.max(axis=-1, keepdims=True)
    found: np.ndarray = wide_BV - np.log(np.exp(wide_BV).sum(axis=-1, keepdims=True))
    return found


def _best(scores: np.ndarray, number: int) -> np.ndarray:
    """Numbers of the largest scores, the largest first, without those that are forbidden."""
    some = np.argpartition(-scores, number)[:number] if number < len(scores) else np.arange(len(scores))
    ordered: np.ndarray = some[np.argsort(-scores[some], kind="stable")]
    found: np.ndarray = ordered[np.isfinite(scores[ordered])]
    return found
