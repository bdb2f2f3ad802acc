from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.text.dedup import substrings
from pretune.text.dedup.substrings import Substrings, repeated_substrings
from tests.text.dedup_worlds import chinese, english


def brute(texts: list[str], length: int) -> list[list[tuple[int, int]]]:
    """Every window compared with all that end before it begins; the union of those found, per text."""
    before: dict[str, tuple[int, int]] = {}  # window -> its first text and where it ends there
    found = []
    for number, text in enumerate(texts):
        cut = [False] * (len(text) + 1)
        for at in range(len(text) - length + 1):
            window = text[at : at + length]
            first, end = before.setdefault(window, (number, at + length))
            if first < number or end <= at:
                cut[at : at + length] = [True] * length
        edges = [k for k in range(len(text) + 1) if cut[k] != (k > 0 and cut[k - 1])]
        found.append(list(zip(edges[::2], edges[1::2], strict=True)))
    return found


def ranges(found: Substrings, count: int) -> list[list[tuple[int, int]]]:
    return [found.ranges(k) for k in range(count)]


SMALL = st.lists(st.text(alphabet="ab你", max_size=60), max_size=8)


@settings(max_examples=300, deadline=None)
@given(SMALL, st.integers(2, 9), st.sampled_from([1_000, 10_000, 1_000_000]), st.sampled_from([7, 64, 1 << 17]))
def test_what_is_found_is_what_every_pair_of_windows_compared_finds(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], length: int, memory: int, together: int
) -> None:
    folder = tmp_path_factory.mktemp("substrings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(substrings, "_TOGETHER", together)
        found = repeated_substrings(texts, min_characters=length, memory_bytes=memory, scratch=folder)
    assert ranges(found, len(texts)) == brute(texts, length)
    assert list(folder.iterdir()) == []


def test_long_texts_with_planted_stretches_of_any_length_and_script(tmp_path: Path) -> None:
    rng = random.Random(3)
    texts = [chinese(rng, 900) if k % 2 else english(rng, 250) for k in range(30)]
    for _ in range(60):
        one, other = rng.randrange(30), rng.randrange(30)
        start = rng.randrange(800)
        stretch = texts[one][start : start + rng.randrange(90, 400)]
        at = rng.choice([0, len(texts[other]), rng.randrange(len(texts[other]))])
        texts[other] = texts[other][:at] + stretch + texts[other][at:]
    texts += ["-" * 3000 + "好" * 1000, "ab" * 700, "", "🙂" * 99, "🙂" * 100 + "x"]
    wanted = brute(texts, 100)
    assert sum(map(len, wanted)) > 40
    for memory in (2_000, 200_000, 64_000_000):
        found = repeated_substrings(texts, min_characters=100, memory_bytes=memory, scratch=tmp_path)
        assert ranges(found, len(texts)) == wanted


def test_where_all_hashes_are_equal_nothing_is_cut_that_does_not_stand_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(0)
    texts = [chinese(rng, 300), english(rng, 90)]
    texts.append(texts[0][10:150] + texts[1][50:200])
    monkeypatch.setattr(substrings, "_hashed", lambda sums, length: np.zeros(len(sums) - length, np.uint64))
    found = repeated_substrings(texts, min_characters=50, scratch=tmp_path)
    for number, allowed in enumerate(brute(texts, 50)):
        for start, stop in found.ranges(number):
            assert any(low <= start and stop <= high for low, high in allowed)


def test_a_run_of_one_character_keeps_its_first_window_and_a_period_its_own(tmp_path: Path) -> None:
    found = repeated_substrings(["=" * 1000, "xyz" * 200], min_characters=100, scratch=tmp_path)
    assert found.ranges(0) == [(100, 1000)]
    assert found.ranges(1) == [(102, 600)]  # 102 is the least multiple of 3 that a window of 100 fits before


def test_a_cut_is_drawn_in_to_whole_words_and_leaves_the_space_before_it(tmp_path: Path) -> None:
    notice = "notice that stands in every page of this small manual, word for word."
    texts = [f"A first {notice} Then more.", f"Something. Worst {notice} Thereafter."]
    found = repeated_substrings(texts, min_characters=40, scratch=tmp_path)
    (start, stop) = found.ranges(1)[0]
    assert texts[1][start:stop] == f"rst {notice} The"
    assert found.without(texts[1], 1) == ("Something. Worst Thereafter.", len(notice) + 1)
    assert found.without(texts[0], 0) == (texts[0], 0)


def test_chinese_is_cut_at_any_character_and_lines_stay_apart(tmp_path: Path) -> None:
    notice = "版权所有，未经书面许可，任何单位和个人不得以任何形式复制、传播本书的任何部分，违者必究。"
    texts = [f"甲\n{notice}\n乙", f"丙丙\n{notice}\n丁丁"]
    found = repeated_substrings(texts, min_characters=30, scratch=tmp_path)
    assert found.without(texts[1], 1) == ("丙丙\n丁丁", len(notice) + 1)


def test_a_word_longer_than_the_least_stretch_is_not_taken_apart(tmp_path: Path) -> None:
    word = "a1b2" * 60
    found = repeated_substrings([f"x{word}y", f"z{word}w"], min_characters=100, scratch=tmp_path)
    assert found.without(f"z{word}w", 1)[0] == f"z{word}w"
