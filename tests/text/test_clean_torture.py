"""TRAPS 22: no cleaner, default or not, loses or changes a letter, a mark or a number of any script."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest

from pretune.text.clean.cleaners import CLEAN, Lines, Nfc, cleaned

EVERY = [CLEAN(kind) for kind in ("mojibake", *CLEAN.table)]
TORTURE = {
    "latin": "Crème brûlée à la Zürich: naïve façade, «\xa0déjà vu\xa0», Łódź, Đà Nẵng, İstanbul, ÅÄÖ, ﬁ ﬂ ß ẞ",
    "cyrillic": "Съешь же ещё этих мягких французских булок. Їжак і ґанок; Љубав",
    "greek": "Ελληνικά: ἄνθρωπος, Ωμέγα; ςσΣ",
    "arabic": "اَلْعَرَبِيَّةُ، ١٢٣ می\u200cخواهم — کتاب\u200dها\u061f لا",
    "hebrew": "בְּרֵאשִׁית בָּרָא אֱלֹהִים, „שלום”",
    "devanagari": "क्षत्रिय क्\u200dष र्\u200cक श्री हिन्दी १२३ संस्कृतम्।",
    "thai": "ภาษาไทย\u200bน้ำใจ ก็ ๑๒๓ ฯลฯ",
    "tamil": "தமிழ் க்ஷௌ ஸ்ரீ ௧௨௩",
    "khmer": "ភាសា\u200bខ្មែរ ស្ត្រី",
    "japanese": "ひらがな カタカナ ｶﾀｶﾅ 漢字々〆ヶ ＡＢＣ１２３ 「鍵括弧」、ー〜",
    "korean": "한국어 글자 ㄱㄴㄷ 漢字 ‘따옴표’",
    "chinese": "你好，世界！“引号”《书名》……——１２３ ①② 𠀀𠮷𪚥 ㊣ 〇 卐 ㎡ 锛 简体與繁體",
    "emoji": "👨‍👩‍👧‍👦 👩🏽‍🚀 👍🏿 🇨🇳🇺🇳 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️ ☎︎ 1️⃣ 🧑‍🤝‍🧑",
    "signs": "C++ C# 3.14 1,000.50 a < b and c > d <tag attr='x'> x² H₂O ½ № ™ § 50 % ~/.bashrc @name #tag R&D a_b a-b",
    "code": "def f(x):\n\tif x<0 and x>-1:\n\t\treturn {'a': [1, 2]}\n    # four\n\n\n\nfor (;;) { i++; }\t// tab\n```\nx\n```",
    "math": "∀x∈ℝ: x≥0 ⇒ √x²=|x|; ∑ᵢ aᵢ·bⁱ ≠ ∫₀^∞ e^{-x²}dx \\frac{1}{2} $E=mc^2$ 𝔸𝛼",
    "poem": "  床前明月光\n    疑是地上霜\n\n  床前明月光\n    疑是地上霜\n",
}


def content(text: str) -> str:
    """Letters, marks and numbers, in order."""
    return "".join(c for c in text if unicodedata.category(c)[0] in "LMN")


@pytest.mark.parametrize("name", TORTURE)
def test_the_default_cleaners_change_nothing_but_composition(name):
    text = TORTURE[name]
    assert cleaned(text, [Nfc(kind="nfc"), Lines(kind="lines")]) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("cleaner", EVERY, ids=lambda c: c.kind)
@pytest.mark.parametrize("name", TORTURE)
def test_every_cleaner_keeps_every_letter_mark_and_number(cleaner, name):
    text = unicodedata.normalize("NFC", TORTURE[name])
    assert cleaner.clean(text) == text
    assert content(cleaner.clean(f"\ufeff{text}\r\n\x00{text}")) == 2 * content(text)


def test_all_cleaners_together_keep_all_scripts_in_one_document():
    text = unicodedata.normalize("NFC", "\n".join(TORTURE.values()))
    counts: Counter[str] = Counter()
    assert cleaned(text, EVERY, counts) == text
    assert not counts


def test_every_assigned_letter_survives_every_cleaner_beside_other_letters():
    letters = [
        chr(c)
        for c in range(0x110000)
        if unicodedata.category(chr(c))[0] in "LMN" and unicodedata.normalize("NFC", chr(c)) == chr(c)
    ]
    for start in range(0, len(letters), 40):
        text = unicodedata.normalize("NFC", " ".join(letters[start : start + 40]))
        assert content(cleaned(text, EVERY)) == content(text)


def test_each_cleaner_counts_the_texts_that_it_changed_and_no_others():
    counts: Counter[str] = Counter()
    texts = ["plain", "a\r\nb", "e\u0301", "cafÃ©\r\n a@b.cn", "\x00"]
    after = [cleaned(text, EVERY, counts) for text in texts]
    assert after == ["plain", "a\nb", "é", "café\n <EMAIL>", ""]
    assert counts == {"lines": 2, "nfc": 1, "mojibake": 1, "mask-pii": 1, "controls": 1}


@pytest.mark.parametrize("cleaner", EVERY, ids=lambda c: c.kind)
def test_a_text_without_anything_to_repair_is_handed_back_as_the_same_object(cleaner):
    text = "你好，世界。Plain text.\n\n\tindented 42"
    assert cleaner.clean(text) is text
