"""Windows of a context, and from their logits to a piece of the user's own text."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from tokenizers import Tokenizer

from pretune.base.errors import NotSupported
from pretune.infer.answers import Span
from pretune.infer.classify import Frame
from pretune.infer.spans import Reader, SpanFinder
from pretune.tokens.encode.tokenizer import encode_text

CLS, SEP = 5, 6
CONTEXT = "The quick brown fox 🙂 jumps over 你好，世界 the lazy dog, one two three."


def reader(tokenizer: Tokenizer, max_length: int = 24, stride: int = 4) -> Reader:
    return Reader(tokenizer, Frame((CLS,), (SEP,)), max_length, stride)


@dataclass(frozen=True)
class Pointer:
    """Points at the tokens of a text wherever they stand in a row whole, else at the first position; as loudly as told."""

    ids: tuple[int, ...]
    loud: float = 9.0
    null: float = 0.0
    max_length: int = 512

    def logits(self, rows: list[list[int]]) -> list[np.ndarray]:
        return [self._of(row) for row in rows]

    def _of(self, row: list[int]) -> np.ndarray:
        found = np.full((len(row), 2), -5.0, dtype=np.float32)
        places = [k for k in range(len(row)) if tuple(row[k : k + len(self.ids)]) == self.ids]
        found[0] = self.null / 2 if places else 4.0
        for k in places:
            found[k, 0] = found[k + len(self.ids) - 1, 1] = self.loud / 2
        return found


def finder(tokenizer: Tokenizer, said: str, **settings: float) -> SpanFinder:
    return SpanFinder(Pointer(tuple(encode_text(tokenizer, said)), **settings), reader(tokenizer), no_answer=0.0)


def test_windows_hold_every_token_of_the_context_in_order_and_share_as_many_as_asked(tokenizer: Tokenizer) -> None:
    (windows,) = reader(tokenizer).windows([{"question": "one two", "context": CONTEXT}])
    ids, question = encode_text(tokenizer, CONTEXT), encode_text(tokenizer, "one two")
    assert len(windows) > 2
    for window in windows:
        held = ids[window.first : window.first + len(window.places)]
        assert window.ids == [CLS, *question, SEP, *held, SEP]
        assert len(window.ids) <= 24
        assert window.ids[window.at : window.at + len(held)] == held
    sides = [(w.first, w.first + len(w.places)) for w in windows]
    assert sides[0][0] == 0 and sides[-1][1] == len(ids)
    assert [before[1] - after[0] for before, after in pairwise(sides)] == [4] * (len(sides) - 1)


def test_a_long_question_leaves_half_of_the_row_and_a_large_stride_still_goes_forward(tokenizer: Tokenizer) -> None:
    (windows,) = reader(tokenizer, 21, 1000).windows([{"question": CONTEXT, "context": CONTEXT}])
    assert windows[0].at == 1 + 9 + 1
    assert [w.first for w in windows[:3]] == [0, 5, 10]
    assert reader(tokenizer).windows([{"question": "", "context": ""}])[0][0].ids == [CLS, SEP, SEP]


@pytest.mark.parametrize("said", [" fox 🙂 jumps", " over 你好", "世界 the", " three", "The"])
def test_an_answer_is_the_users_own_text_wherever_its_window_is(tokenizer: Tokenizer, said: str) -> None:
    (answer,) = finder(tokenizer, said).answer([{"question": "one", "context": CONTEXT}])
    assert isinstance(answer, Span)
    assert (answer.text, answer.start) == (said.strip(), CONTEXT.index(said.strip()))
    assert answer.score > 0.99


def test_windows_are_scored_together_and_no_answer_is_what_all_of_them_say(tokenizer: Tokenizer) -> None:
    asked = [{"question": "one", "context": CONTEXT}]
    sure = finder(tokenizer, " three", null=8.0)
    (answer,) = sure.answer(asked)  # the other windows say "no answer", loudly
    assert (answer.text, answer.margin) == ("three", -1.0)
    unsure = replace(sure, no_answer=-2.0)
    (empty,) = unsure.answer(asked)
    assert (empty.text, empty.start, empty.others[0].text) == ("", -1, "three")
    assert [w.text for w in replace(sure, no_answer=None).answer([{"question": "x", "context": "dog"}])] != [""]
    absent = finder(tokenizer, " over 你好")
    assert [a.text for a in absent.answer([{"question": "x", "context": "The quick dog"}, *asked])] == ["", "over 你好"]


def test_probabilities_are_the_softmax_of_the_best_pieces_and_no_answer(tokenizer: Tokenizer) -> None:
    found = finder(tokenizer, "dog", loud=3.0, null=1.0)
    (answer,) = found.answer([{"question": "x", "context": "dog"}])
    ids = encode_text(tokenizer, "dog")
    # Pieces that start or end elsewhere score 1.5 - 5, or -10.
    number = len(ids)
    others = [
        (1.5 if a == 0 else -5) + (1.5 if b == number - 1 else -5) for a in range(number) for b in range(a, number)
    ]
    assert answer.score == pytest.approx(math.exp(3) / (math.exp(1) + sum(map(math.exp, others))), rel=1e-9)


def test_an_empty_context_has_no_answer_and_a_text_alone_is_refused(tokenizer: Tokenizer) -> None:
    found = replace(finder(tokenizer, "dog"), no_answer=None)
    assert found.answer([{"question": "x", "context": " "}]) == [Span("", -1, 1.0)]
    with pytest.raises(NotSupported, match="finds answers in a context"):
        found.answer(["dog"])
