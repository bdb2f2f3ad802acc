import unicodedata

import pytest

from pretune.text.clean.cleaners import Lines, Nfc, cleaned
from pretune.text.read.values import mend_surrogates

CLEANERS = [Nfc(kind="nfc"), Lines(kind="lines")]
KEPT = [
    "C++ 3.14 a < b and c > d  <tag> `x` \t\tindent\n    four",
    "Привет, мир! مرحبا بالعالم こんにちは 안녕하세요 नमस्ते दुनिया שלום ไทย",
    "２ ① ﬁ ™ x² 你好，世界。「引号」",
    "می\u200cخواهم 👩\u200d👩\u200d👧 क्\u200dष",
    "a\u2028b\u000bc\fd",
]


@pytest.mark.parametrize("text", KEPT)
def test_cleaning_loses_and_changes_no_character_of_any_script(text):
    assert cleaned(text, CLEANERS) == text


def test_nfc_joins_accents_and_is_not_nfkc():
    assert cleaned("e\u0301 ２", CLEANERS) == "é ２"


def test_line_ends_of_windows_and_old_macs_become_newlines():
    assert cleaned("a\r\nb\rc\n\r\n", CLEANERS) == "a\nb\nc\n\n"


def test_a_surrogate_pair_is_joined_and_a_lone_one_replaced():
    assert mend_surrogates("x\ud83d\ude42y") == "x🙂y"
    assert mend_surrogates("x\ud83dy") == "x\ufffdy"


def test_every_assigned_letter_survives():
    letters = "".join(
        c
        for c in map(chr, range(0x110000))
        if unicodedata.category(c)[0] in "LNM" and c == unicodedata.normalize("NFC", c)
    )
    assert all(cleaned(c, CLEANERS) == c for c in letters)
