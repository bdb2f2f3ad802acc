"""Thresholds by hand, and how much clean text of each language passes."""

from __future__ import annotations

import gzip
import json

import pytest

from pretune.text.clean.quality.rules import C4, DEFAULT_FILTERS, Debris, FineWeb, Gopher, GopherRepetition
from pretune.text.clean.quality.statistics import measure_all
from tests.text.measured import measure, rejected

PROSE = """The harbour lay quiet in the morning, and the boats that had come in with the tide were drying their nets.
A woman with a basket asked for the price of herring. Nobody answered her, because nobody knew it yet!
She sat down on a bollard to wait. The gulls, who have always known more than they say, came nearer.
"""
CHINESE = """清晨的港口很安静，随潮水归来的渔船正在晾晒渔网。一个提着篮子的女人问鲱鱼多少钱一斤。
没有人回答她，因为谁也不知道今天的价钱！她在缆桩上坐下来等着，海鸥一向知道得比说出来的多，这时慢慢靠近了。
远处有人在唱歌，歌声断断续续地飘过来，像是一封没有写完的信。
"""


def reasons(rule, text):
    return rule.reject(measure(text))


@pytest.mark.parametrize("rule", [Gopher(), GopherRepetition(), C4(), FineWeb(), Debris()], ids=lambda r: r.kind)
@pytest.mark.parametrize("text", [PROSE, CHINESE], ids=["English", "Chinese"])
def test_ordinary_prose_passes_every_rule(rule, text):
    assert reasons(rule, text) is None


@pytest.mark.parametrize(
    ("rule", "text", "reason"),
    [
        (Gopher(), "the cat and dog " * 12, "gopher: words 48 < 50"),
        (Gopher(), "the cat and dog " * 12 + "the cat", None),
        (Gopher(), "a of b " * 20, "gopher: mean word length 1.33 < 3"),
        (Gopher(), "thecatanddogs tothehouse " * 30, "gopher: mean word length 11.5 > 10"),
        (Gopher(), "# the cats and " * 20, "gopher: mean word length 2.75 < 3"),
        (Gopher(), "## theory and matter " * 20, "gopher: hashes per word 0.5 > 0.1"),
        (Gopher(), "theory and matter... " * 20, "gopher: ellipses per word 0.333 > 0.1"),
        (Gopher(), "- theory and matter are one\n" * 20, "gopher: bullet line share 1 > 0.9"),
        (Gopher(), "theory and matter are one and the same thing again…\n" * 20, "gopher: ellipsis line share 1 > 0.3"),
        (Gopher(), "theory and 12345 67890 " * 20, "gopher: alphabetic word share 0.5 < 0.8"),
        (Gopher(), "lirum larum " * 30, "gopher: distinct stop words 0 < 2"),
        (Gopher(), "你好世界" * 10, "gopher: words 40 < 80"),
        (
            GopherRepetition(),
            "one line\n" * 3 + "two\nthree\nfour",
            "gopher-repetition: duplicate line share 0.333 > 0.3",
        ),
        (
            GopherRepetition(),
            "a b c d e f g h " * 2 + "the end of it",
            "gopher-repetition: top 3gram share 0.231 > 0.18",
        ),
        (C4(), "One sentence. Two sentences.", "c4: sentences 2 < 3"),
        (C4(), "一句。两句。三句。", None),
        (C4(), "One. Two. Three. Lorem ipsum dolor.", "c4: lorem ipsum 1 > 0"),
        (C4(), "One. Two. Three. function f() { return; }", "c4: curly brace share 0.0588 > 0"),
        (
            FineWeb(),
            "A heading without an end\n" + "Words and words in a line without any stop\n" * 1,
            "fineweb: terminal",
        ),
        (FineWeb(), "Home.\nAbout.\nNews.\n", "fineweb: lines under 30 share 1 > 0.67"),
        (FineWeb(), "一行。\n两行。\n三行。\n", "fineweb: lines under 12 share 1 > 0.67"),
        (Debris(), "\ufffd\ufffd good text", "debris: replacement share 0.167 > 0.1"),
        (Debris(), "\x01\x02 good text", "debris: control share 0.167 > 0.05"),
        (Debris(), "12 345 678\n" * 3 + "ab", "debris: letter share"),
        (
            Debris(),
            "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4" * 8,
            "debris: mean word length 480 > 60",
        ),
        (Debris(), "Click here to subscribe\n" * 50, "debris: duplicate line character share 0.98 > 0.8"),
        (Debris(), "点击这里订阅本站\n" * 50, "debris: duplicate line character share 0.98 > 0.8"),
        (Debris(), "buy one get one now " * 50, "debris: often 10gram share 1 > 0.5"),
    ],
)
def test_each_limit_bites_where_the_hand_says(rule, text, reason):
    told = reasons(rule, text)
    assert told is None if reason is None else (told or "").startswith(reason), told


@pytest.mark.parametrize(
    "text",
    [
        "好",
        "OK",
        "哈哈哈哈哈哈哈哈",
        "Glory, glory, hallelujah, his truth is marching on and on and on.\n" * 4,
        "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。",
        "Row, row, row your boat,\nGently down the stream.\nMerrily, merrily, merrily, merrily,\nLife is but a dream.",
        "def f(x):\n\treturn {'a': x ** 2, \"b\": [1, 2, 3]}\n",
        "$$\\hat{y} = \\mathbf{X} \\mathbf{w} + b$$ 是线性模型。",
        "| a | b |\n|---|---|\n| one | 2.5 |\n| two | 3.5 |",
        "Donaudampfschifffahrtsgesellschaftskapitän",
        "สวัสดีชาวโลก วันนี้อากาศดีมาก",
        "नमस्ते दुनिया, आप कैसे हैं?",
        "안녕하세요 여러분 반갑습니다",
        "日本語のテキストもそのまま残る。",
        "مرحبا بالعالم، كيف حالك؟",
    ],
)
def test_short_texts_poems_code_and_every_script_pass_the_default_filters(text):
    assert rejected(DEFAULT_FILTERS, measure(text)) is None


def passing(texts):
    rows = measure_all(texts)
    return sum(rejected(DEFAULT_FILTERS, row) is None for row in rows) / len(rows)


def test_95_percent_of_chinese_chapters_pass_the_default_filters(shared):
    assert passing([p.read_text("utf-8") for p in sorted((shared / "data/d2l-zh").glob("*.md"))]) >= 0.95


def test_95_percent_of_tang_poems_pass_the_default_filters(shared):
    with gzip.open(shared / "data/chinese-poetry/tang.jsonl.gz", "rt", encoding="utf-8") as lines:
        poems = [json.loads(line)["text"] for line in lines][::10]
    assert passing(poems) >= 0.95


def test_95_percent_of_english_books_pass_the_default_filters_whole_and_by_paragraph(shared):
    books = [p.read_text("utf-8") for p in sorted((shared / "data/gutenberg-en").glob("*.md"))[:8]]
    assert passing(books) >= 0.95
    assert passing([p for book in books for p in book.split("\n\n") if p.strip()]) >= 0.95


def test_no_chinese_chapter_is_turned_away_for_its_word_length_as_english_rules_do(shared):
    chapters = [p.read_text("utf-8") for p in sorted((shared / "data/d2l-zh").glob("*.md"))]
    told = [Gopher().reject(row) for row in measure_all(chapters)]
    assert not [t for t in told if t and "word length" in t]
    assert sum(t is None for t in told) >= 0.95 * len(told)
