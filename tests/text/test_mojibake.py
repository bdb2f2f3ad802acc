import gzip
import json
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.text.clean.mojibake import Mojibake, lost_characters, repaired

RIGHT = [
    "café “naïve” voilà, à la carte – déjà vu…",
    "Österreich über Ärger, Straße, groß",
    "español: número último, canción, ¿qué? ¡sí!",
    "你好，世界。深度学习的数学基础",
    "Привет, мир! Как дела?",
    "שלום עולם",
    "مرحبا بالعالم",
    "こんにちは、世界。カタカナ",
    "안녕하세요 세계",
    "नमस्ते दुनिया",
    "emoji 😀👩‍👩‍👧 → ½ kg at 10 °C for £5 or 7 €",
    "x’s “quote” — ™ • …",
]
CORRECT = [
    "CAFÉ… CAFÉ’S CAFÉ™ É“ „Spaß“ Ü–Ä—Ö Ä… Ö… Ü…",
    "il est passé\xa0» puis «\xa0déjà\xa0» et voilà\xa0– là\xa0«\xa0oui\xa0»",
    "MAÇÃ… IRMÃ” AMANHÃ\xa0 MANHÃ² MAÇÃ® NÃO SÃO PÃES",
    "PÍŠE TÍŽ ÚŽAS NÝŠ PŘÍŠTÍ DÁŽE",
    "1 Å² = 0.01 nm², 3 Å³, 2×½, 3×¼, ½×½×½×½, Ø± 0.1, Ø° , 5 Ω",
    "„Doamne, câ…” „hotărâ”, ânâ – â",
    "PÂ » CÂ™ TÂ… «\xa0Â\xa0» Âge",
    "ÞÆR ÐÆR ÍSLAND ðÿ það",
    "Tiếng Việt: Ầ Ấ ẤM Ă Â Đ Ê Ô Ơ Ư",
    "Ñandú Ñ… ESPAÑOL¡ ¿Ñ?",
    "C++ 3.14 a < b and c > d",
    "联通 鏈 簡 槸 鐵 錦 涓涓細流 浜松 銆",
    "锟斤拷 烫烫烫 屯屯屯",
]


def misread(text: str, times: int = 1) -> str:
    """UTF-8 read as cp1252, as browsers do it."""
    for _ in range(times):
        text = "".join(bytes([b]).decode("cp1252", "ignore") or chr(b) for b in text.encode())
    return text


@pytest.mark.parametrize("text", RIGHT)
def test_utf8_that_was_read_as_cp1252_or_latin1_comes_back_also_from_twice(text):
    assert repaired(misread(text)) == text
    assert repaired(misread(text, 2)) == text
    assert repaired(text.encode().decode("latin-1")) == text


@pytest.mark.parametrize("text", RIGHT + CORRECT)
def test_correct_text_is_the_same_object_afterwards(text):
    assert repaired(text) is text


def test_every_line_is_judged_alone():
    text = "CAFÉ… „Spaß“\ncafé – à la carte\nmade in 中国 – 很好的"
    broken = text.split("\n")
    assert repaired(f"{broken[0]}\n{misread(broken[1])}\n{broken[2]}") == text


def test_a_quotation_of_mojibake_inside_correct_text_is_repaired_where_it_is_beyond_doubt():
    assert repaired("他说：donâ€™t — “Ã©” 好") == "他说：don’t — “é” 好"


def test_utf8_that_was_read_as_gbk_comes_back_up_to_the_character_that_was_cut():
    whole, odd = "的中文文本在这里，不是吗", "今天天气很好，我们去公园里玩。"
    assert repaired(whole.encode().decode("gb18030")) == whole
    assert repaired(odd.encode().decode("gb18030", "replace")) == odd[:-1] + "\ufffd"


def test_lost_characters_are_counted_not_invented():
    assert repaired("锟斤拷锟斤拷 测试") == "锟斤拷锟斤拷 测试"
    assert lost_characters("锟斤拷锟斤拷 测试 \ufffd\ufffd 锟斤 plain") == 3
    assert lost_characters("plain") == 0
    assert repaired("aï¿½b") == "a\ufffdb"


def test_no_repair_brings_control_private_or_unassigned_characters():
    for text in ("Ã\x81Â\x81", "î€€î€€", "ó°€€ó°€€", "Â\x80Â\x81 Â\x82"):
        new = set(repaired(text)) - set(text)
        assert not [c for c in new if unicodedata.category(c) in ("Cc", "Co", "Cn")]


@settings(max_examples=300, deadline=None, database=None)
@given(st.lists(st.text("abcdefgéèàçñöüßêâîôûïëáíóúãõœ", min_size=1, max_size=9), min_size=1, max_size=8))
def test_words_of_western_europe_never_change(words):
    text = " ".join(words)
    assert repaired(text) == text
    assert repaired(f"«\xa0{text}\xa0» – “{text}”… ‘{text}’") == f"«\xa0{text}\xa0» – “{text}”… ‘{text}’"


PIECES = [
    "é",
    "Ã©",
    "â€™",
    "ï¿½",
    "ðŸ˜€",
    "Ã",
    "Â",
    "\xa0",
    "…",
    "É",
    "锟",
    "鐨勪腑",
    "中",
    "\x80",
    "\ufffd",
    "a",
    " ",
    "\n",
]


@settings(max_examples=300, deadline=None, database=None)
@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=30).map("".join)))
def test_whatever_comes_no_line_is_lost_and_no_control_character_is_made(text):
    after = repaired(text)
    assert after.count("\n") == text.count("\n")
    assert not [c for c in set(after) - set(text) if unicodedata.category(c) in ("Cc", "Co", "Cn")]


def test_every_pair_of_a_capital_letter_and_a_sign_outside_the_doubtless_ones_stays():
    capitals = [chr(c) for c in range(0xC4, 0xE0)]
    for sign in "…–—’”“‘»«\xa0™°ºª²³¹ŠŽšž":
        for letter in capitals:
            assert repaired(f"X{letter}{sign} x") == f"X{letter}{sign} x"


@pytest.mark.parametrize(
    "piece", ["É… ", "Ã© ", "É…", "Ã©", "â€™Ω", "鐨勪腑", "鐨鐨\ufffd", "à\xa0«", "Ã", "É…\n", "Ã©中"]
)
def test_a_hostile_megabyte_takes_moments_and_not_an_hour(piece):
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    repaired(text)
    assert time.process_time() - start < 6  # 1 at most where it was written


def test_in_real_books_poems_and_lessons_only_what_is_broken_changes(shared):
    texts = [p.read_text(encoding="utf-8") for p in sorted((shared / "data" / "gutenberg-en").glob("*.md"))]
    texts += [p.read_text(encoding="utf-8") for p in sorted((shared / "data" / "d2l-zh").glob("*.md"))]
    with gzip.open(shared / "data" / "chinese-poetry" / "tang.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts += [json.loads(line)["text"] for line in lines]
    assert len(texts) > 50_000
    cleaner = Mojibake(kind="mojibake")
    pairs = (zip(t.split(), cleaner.clean(t).split(), strict=True) for t in texts)
    changed = {(a, b) for words in pairs for a, b in words if a != b}
    # both stand so in the book's file: nebulæ, and the Place de Grève with another accent
    assert changed <= {("nebulÃ¦,", "nebulæ,"), ("GrÃ¢ve.", "Grâve.")}
