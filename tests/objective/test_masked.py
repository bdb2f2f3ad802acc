"""What is drawn in the place of a word is a word: any, and each as often, wherever the special tokens stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pretune.objective.objective import OBJECTIVE
from pretune.objective.pretraining.hiding import num_ordinary, ordinary_ids
from pretune.tokens.rows import Vocabulary


@pytest.mark.parametrize("specials", [(0, 1, 2), (7, 8, 9), (0, 4, 9), (2, 3, 7), (5,), (), (3, 12)])
def test_numbers_are_the_tokens_that_are_not_special_in_order(specials: tuple[int, ...]) -> None:
    vocabulary = Vocabulary(size=10, pad=0, specials=specials)
    ordinary = [token for token in range(10) if token not in specials]
    assert num_ordinary(vocabulary) == len(ordinary)
    assert ordinary_ids(np.arange(len(ordinary)), vocabulary).tolist() == ordinary


def test_random_tokens_are_all_ordinary_ones_alike_where_special_tokens_are_not_the_lowest() -> None:
    specials = (0, 9, 10, 19)
    vocabulary = Vocabulary(size=20, pad=0, mask=10, specials=specials)
    masked = OBJECTIVE({"kind": "masked", "rate": 0.9, "keep": 0.0, "replace": 1.0})
    row = {"ids": np.full(4000, 5), "segments": np.zeros(4000, int)}
    drawn = masked.prepare(row, vocabulary, np.random.default_rng(3))
    found = np.bincount(drawn["ids"][drawn["labels"] >= 0], minlength=20)
    assert found[list(specials)].sum() == 0
    ordinary = np.delete(found, specials)
    assert ordinary.sum() == 3600
    assert abs(ordinary - 225).max() < 4 * 225**0.5


def test_the_special_tokens_of_our_own_tokenizer_are_all_it_never_makes_of_text(tmp_path: Path) -> None:
    from pretune.tokens.encode.tokenizer import load_tokenizer
    from pretune.tokens.learn.algorithm import ALGORITHM, SPECIALS, Learning
    from pretune.tokens.learn.stage import save_tokenizer
    from pretune.tokens.rows import vocabulary_of

    texts = ["the cat and the hat"] * 4
    save_tokenizer(ALGORITHM({"kind": "bpe"}).learn(Learning(lambda: iter(texts), 300)), tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert vocabulary_of(tmp_path).specials == tuple(sorted(tokenizer.token_to_id(token) for token in SPECIALS))
