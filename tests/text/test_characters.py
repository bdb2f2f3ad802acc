"""Tables over code points say of every character what Python says of it."""

from __future__ import annotations

import re
import sys
import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.read.characters import alphanumeric, categories, codes_of, lowered
from pretune.text.read.split import near_exact

EVERY = [chr(code) for code in range(sys.maxunicode + 1)]


def test_the_tables_hold_what_python_says_of_each_character() -> None:
    assert categories(0x30000).tolist() == [unicodedata.category(c) for c in EVERY[:0x30000]]
    assert alphanumeric().tolist() == [c.isalnum() for c in EVERY]
    lows = [c.lower() for c in EVERY[:0x30000]]
    assert lowered(0x30000).tolist() == [ord(low) if len(low) == 1 else k for k, low in enumerate(lows)]


@given(st.text())
def test_code_points_are_those_of_ord(text: str) -> None:
    assert codes_of(text).tolist() == list(map(ord, text))
    assert codes_of(text).dtype == np.uint32


@given(st.text(st.characters()) | st.text("aA1_ -,.’“…你，：；！？（）％～\u3000ﬁ①Ⅳß＝\u0338\u0301\ud800", max_size=30))
def test_letters_and_figures_alone_are_what_a_regular_expression_leaves(text: str) -> None:
    plain = unicodedata.normalize("NFKC", text).casefold()
    assert near_exact(text) == (re.sub(r"[\W_]+", "", plain) or text)
