from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.text.dedup.paragraphs import pieces, repeated
from tests.text.dedup_worlds import chinese, english

NOTICE = "All rights reserved. No part of this publication may be reproduced in any form without permission."
GONGGAO = "版权所有，未经书面许可，任何单位和个人不得以任何形式复制、传播本书的任何部分，违者必究，特此声明，敬请各位读者注意并互相转告，谢谢大家的支持。"


def test_a_repeated_paragraph_stays_in_its_first_document_alone(tmp_path: Path) -> None:
    rng = random.Random(0)
    bodies = [english(rng, 40) for _ in range(5)] + [chinese(rng, 90) for _ in range(5)]
    texts = [f"{body}\n\n{NOTICE if k < 5 else GONGGAO}\n\n{body[::-1]}" for k, body in enumerate(bodies)]
    found = repeated(texts, scratch=tmp_path)
    cleaned = [found.without(text, k) for k, text in enumerate(texts)]
    assert [n for _, n in cleaned] == [0, 1, 1, 1, 1, 0, 1, 1, 1, 1]
    assert cleaned[0][0] == texts[0]
    assert cleaned[7][0] == f"{bodies[7]}\n\n{bodies[7][::-1]}"
    assert list(tmp_path.iterdir()) == []


def test_paragraphs_count_once_per_document_and_from_the_given_number_on(tmp_path: Path) -> None:
    texts = ["\n\n".join([NOTICE] * 9), NOTICE, "x"]
    assert repeated(texts, times=3, scratch=tmp_path).without(texts[1], 1) == (NOTICE, 0)
    assert repeated(texts, times=2, scratch=tmp_path).without(texts[1], 1) == ("", 1)


def test_case_and_spaces_make_no_difference_to_a_paragraph(tmp_path: Path) -> None:
    texts = [NOTICE, "  " + NOTICE.upper().replace(" ", "\n") + "\n\nend"]
    found = repeated(texts, times=2, scratch=tmp_path)
    assert found.without(texts[1], 1) == ("end", 1)


def test_short_paragraphs_stay(tmp_path: Path) -> None:
    found = repeated(["Chapter 1\n\nx", "Chapter 1\n\ny"], times=2, scratch=tmp_path)
    assert found.without("Chapter 1\n\ny", 1) == ("Chapter 1\n\ny", 0)


def test_lines_are_the_paragraphs_of_a_text_without_blank_lines(tmp_path: Path) -> None:
    texts = [f"{GONGGAO}\n甲", f"乙\n{GONGGAO}\n丙"]
    assert repeated(texts, times=2, scratch=tmp_path).without(texts[1], 1) == ("乙\n丙", 1)


@given(st.text(alphabet="ab \n\r\t你", max_size=40))
def test_the_pieces_of_a_text_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


@settings(max_examples=30)
@given(st.lists(st.lists(st.sampled_from("abcdefg"), max_size=6), max_size=20), st.integers(1, 4))
def test_repeated_paragraphs_are_those_a_count_in_plain_python_finds(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[str]], times: int
) -> None:
    texts = ["\n\n".join(paragraphs) for paragraphs in documents]
    folder = tmp_path_factory.mktemp("p")
    found = repeated(texts, times=times, min_characters=1, memory_bytes=1, scratch=folder)
    seen: set[str] = set()
    for k, paragraphs in enumerate(documents):
        often = {p for p in paragraphs if sum(p in d for d in documents) >= times}
        expected = [p for p in paragraphs if p not in often or p not in seen]
        left, gone = found.without(texts[k], k)
        assert left.split() == expected and gone == len(paragraphs) - len(expected)
        seen |= often


def test_an_empty_corpus_repeats_nothing(tmp_path: Path) -> None:
    assert repeated([], scratch=tmp_path).without(NOTICE, 0) == (NOTICE, 0)
