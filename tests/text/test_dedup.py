"""Shingles, MinHash and the external sort: each against an oracle in plain Python."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pretune.text.dedup import minhash
from pretune.text.dedup.runs import Sorter
from pretune.text.dedup.shingles import jaccard, shingle_sets
from pretune.text.dedup.units import PIECE, units_of
from tests.text.dedup_worlds import UNITS, brute_jaccard, chinese, english

TEXT = st.text(alphabet="ab cdé ,.\n12你好天气", min_size=1, max_size=60).filter(UNITS.search)


def shingles(text: str) -> NDArray[np.uint64]:
    return shingle_sets([text])[0]


def similarity(one: str, other: str) -> float:
    return jaccard(*shingle_sets([one, other]))


def signature(hashes: NDArray[np.uint64]) -> NDArray[np.uint32]:
    minima = minhash.no_minima(1)
    minhash.add_minima(minima, hashes, np.zeros(len(hashes), dtype=np.int64))
    return minhash.densified(minima)[0]


def estimate(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    """The Jaccard similarity as two signatures say; standard error sqrt(J (1 - J) / NUM_BINS), 0.03 at 0.8."""
    return float(np.mean(one == other))


def probability(similarity: float) -> float:
    """That two documents of this Jaccard similarity become candidates, as minhash.py says."""
    return float(1 - (1 - similarity**minhash.NUM_ROWS) ** minhash.NUM_BANDS)


@given(TEXT, TEXT)
def test_the_jaccard_of_hashed_shingles_is_that_of_sets_of_pairs_in_plain_python(one: str, other: str) -> None:
    assert similarity(one, other) == brute_jaccard(one, other)


@given(st.lists(st.text(max_size=30), max_size=8))
def test_a_text_has_the_same_shingles_alone_and_among_others(texts: list[str]) -> None:
    together = shingle_sets(texts)
    assert all(np.array_equal(found, shingles(text)) for found, text in zip(together, texts, strict=True))


def test_case_space_and_marks_make_no_difference_to_shingles() -> None:
    assert similarity("To be, or not to be", "  TO BE -\n\nor NOT to be!") == 1
    assert similarity("床前明月光，疑是地上霜。", "床前明月光 疑是地上霜") == 1


def test_a_joiner_inside_a_word_and_letters_of_every_script_are_kept() -> None:
    for one, other in (
        ("می\u200cخواهم", "می خواهم"),
        ("привет мир", "привет миф"),
        ("สวัสดีครับ", "สวัสดีค่ะ"),
        ("さようなら", "さようなれ"),
    ):
        assert similarity(one, other) < 1


def test_words_of_spaced_scripts_and_characters_of_the_others_are_units() -> None:
    assert len(units_of(["Crème brûlée: 12.50 €"]).hashes) == 5
    assert len(units_of(["我在2024年吃了3个"]).hashes) == 8


def test_texts_of_marks_alone_are_equal_only_to_themselves() -> None:
    assert similarity("***", "* * *") == 1
    assert similarity("***", "---") == 0
    assert similarity("", "") == 1


def test_a_text_longer_than_a_piece_differs_from_its_parts_by_the_cut_alone() -> None:
    text = " ".join(f"w{k}" for k in range(40_000))
    assert len(text) > PIECE
    assert len(shingles(text)) == pytest.approx(3 * 40_000, abs=9)


def test_tables_that_differ_only_in_figures_are_far_from_each_other() -> None:
    rng = random.Random(2)
    rows = [f"Net sales of the northern region before tax, year {k}" for k in range(40)]
    tables = ["\n".join(f"{row}: {rng.randint(10_000, 99_999)}" for row in rows) for _ in range(2)]
    assert similarity(*tables) < 0.7
    chinese_tables = ["\n".join(f"华北地区税前净销售额：{rng.randint(10_000, 99_999)}" for _ in rows) for _ in range(2)]
    assert similarity(*chinese_tables) < 0.7


# ---- minhash ------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.integers(1, 3000), st.floats(0, 1), st.integers(0, 2**32))
def test_signatures_agree_as_often_as_sets_are_similar_also_where_bins_are_empty(
    size: int, shared: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = np.unique(rng.integers(0, 2**64, 2 * size, dtype=np.uint64))
    both, rest = np.split(rng.permutation(values), [int(shared * size)])
    one, other = np.concatenate([both, rest[::2]]), np.concatenate([both, rest[1::2]])
    if not len(one) or not len(other):
        return
    true = len(both) / (len(both) + len(rest))
    # Six standard errors; of few shingles the filled bins say less than 192 would.
    error = (true * (1 - true) / minhash.NUM_BINS) ** 0.5 + (true * (1 - true) / len(values)) ** 0.5
    found = estimate(signature(one), signature(other))
    assert abs(found - true) <= 6 * error + 1e-9


def test_the_mean_estimate_of_many_pairs_of_short_texts_is_their_jaccard() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        values = rng.integers(0, 2**64, 12, dtype=np.uint64)
        found.append(estimate(signature(values[:10]), signature(values[2:])))
    assert np.mean(found) == pytest.approx(8 / 12, abs=0.02)


def test_probability_says_how_often_pairs_of_a_similarity_share_a_band() -> None:
    rng = np.random.default_rng(1)
    for size, expected in ((7, probability(7 / 13)), (9, probability(9 / 11))):
        met = 0
        for _ in range(200):
            values = rng.integers(0, 2**64, 2000 - 100 * size, dtype=np.uint64)
            one, other = values[:1000], values[1000 - 100 * size :]
            pair = np.stack([signature(one), signature(other)])
            met += bool((np.equal(*minhash.bands(pair))).any())
        assert met / 200 == pytest.approx(expected, abs=0.12)
    assert probability(0.9) > 0.99


def test_a_signature_does_not_depend_on_the_order_or_repetition_of_shingles() -> None:
    values = np.random.default_rng(3).integers(0, 2**64, 50, dtype=np.uint64)
    assert np.array_equal(signature(values), signature(np.concatenate([values[::-1], values])))


@settings(max_examples=40)
@given(st.integers(1, 600), st.integers(0, 2**32))
def test_every_bin_takes_the_value_of_the_first_full_bin_it_looks_at(size: int, seed: int) -> None:
    minima = minhash.no_minima(2)
    hashes = np.random.default_rng(seed).integers(0, 2**64, size + 1, dtype=np.uint64)
    minhash.add_minima(minima, hashes, np.minimum(np.arange(size + 1), 1))  # the first document has one shingle
    expected = [
        [next(row[j] for j in order if row[j] != minhash.EMPTY) for order in minhash.probes()] for row in minima
    ]
    assert minhash.densified(minima).tolist() == expected


# Whoever changes these raises the version of the stage corpus: what it writes is another.
GOLDEN = [[2514528221, 3994578769, 2172668131], [2518730994, 3658530504, 3699343891]]


def test_signatures_of_known_texts_never_change() -> None:
    found = minhash.bands(np.stack([signature(shingles(t)) for t in ("To be or not to be", "你好 🙂 2024")]))
    assert found[:, :3].tolist() == GOLDEN


# ---- runs ---------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.lists(st.integers(0, 40), max_size=40), st.sampled_from([1, 20_000, 1 << 20]))
def test_numbers_come_back_sorted_whatever_the_memory(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], memory: int
) -> None:
    rng = np.random.default_rng(len(sizes))
    parts = [rng.integers(0, 500, 50 * size, dtype=np.uint64) for size in sizes]
    sorter = Sorter(tmp_path_factory.mktemp("runs") / "run", memory_bytes=memory)
    for part in parts:
        sorter.add(part)
    expected = sorted(int(v) for part in parts for v in part)
    for _ in range(2):  # as often as asked
        assert [v for block in sorter.blocks() for v in block.tolist()] == expected


def test_a_block_is_never_larger_than_the_memory(tmp_path: Path) -> None:
    sorter = Sorter(tmp_path / "run", memory_bytes=400_000)
    sorter.add(np.random.default_rng(0).integers(0, 2**64, 300_000, dtype=np.uint64))
    sizes = [block.nbytes for block in sorter.blocks()]
    assert len(sizes) > 10 and max(sizes) <= 400_000


def test_made_up_texts_are_not_near_each_other() -> None:
    rng = random.Random(0)
    assert similarity(english(rng, 400), english(rng, 400)) < 0.2
    assert similarity(chinese(rng, 400), chinese(rng, 400)) < 0.2
