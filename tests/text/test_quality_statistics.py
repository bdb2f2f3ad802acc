"""Every statistic against an oracle that reads one character after another."""

from __future__ import annotations

import gzip
import json
import time
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pretune.text.clean.quality import counting, scripts
from pretune.text.clean.quality.statistics import ABOUT, COLUMNS, measure_all
from pretune.text.clean.quality.words import STOP_WORDS
from tests.text.measured import measure

PARTS = [
    *(
        "the",
        "dog",
        "Dog",
        "ÉTÉ",
        "l’eau",
        "привет",
        "и",
        "на",
        "שלום",
        "مرحبا",
        "हिन्दी",
        "안녕",
        "İ",
        "ß",
        "C++",
        "a<b",
    ),
    *(
        "你",
        "好",
        "的",
        "是",
        "𠀀",
        "の",
        "カ",
        "ก",
        "ำ",
        "ー",
        "々",
        "🙂",
        "👨\u200d👩",
        "\u0301",
        "＃",
        "２",
        "½",
        "٣",
    ),
    *(" ", " ", " ", "\n", "\n", "\n\n", "\t", "\u3000", "\xa0", "\r\n", "  \n \n"),
    *(
        ".",
        "...",
        "…",
        "。",
        "！",
        "?!",
        "？",
        ",",
        "，",
        '"',
        "”",
        "」",
        ")",
        "'",
        "{",
        "}",
        "#",
        "$",
        "=",
        "3.14",
        "e.g.",
    ),
    *("- ", "-", "* a", "• a", "+", "–", "\ufffd", "\ue000", "\x00", "\x1c", "\x85", "\u200b", "\ufeff", "\U000f0000"),
    *("\U00030000", "\U000e0100", "lorem ipsum", "Lorem Ipsum", "LOREM IPSUM", "JavaScript", "javascript"),
    *("the dog and the cat are of the house\n", "你好，我的世界是这样的。\n"),
]
TEXTS = st.lists(st.sampled_from(PARTS), max_size=120).map("".join)


# ---- the oracle -----------------------------------------------------------------------------------


def script_of(character: str) -> str:
    """By the name in the Unicode tables (enough for what PARTS holds)."""
    if character in "々":
        return "Hani"
    if ord(character) >= 0x30000:
        return "Hani" if ord(character) < 0x40000 else "Zzzz"
    known = {"CJK": "Hani", "HIRAGANA": "Hira", "KATAKANA": "Kana", "KATAKANA-HIRAGANA": "Kana", "THAI": "Thai"}
    known |= {"LATIN": "Latn", "CYRILLIC": "Cyrl", "HEBREW": "Hebr", "ARABIC": "Arab", "DEVANAGARI": "Deva"}
    return {**known, "HANGUL": "Hang"}.get(unicodedata.name(character, "?").split()[0], "Zzzz")


def is_letter(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LM" or 0x30000 <= ord(character) < 0x40000


def lower(text: str) -> str:
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def units_of(text: str) -> list[str]:
    units, run = [], ""
    for c in [*text, " "]:
        alone = is_letter(c) and script_of(c) in scripts.UNSPACED
        if (alone or c.isspace()) and run:
            units.append(run)
            run = ""
        if alone:
            units.append(c)
        elif not c.isspace():
            run += c
    return units


def top(units: list[str], n: int, visible: int) -> float:
    grams = Counter(tuple(units[i : i + n]) for i in range(len(units) - n + 1))
    often = [(count, len("".join(gram))) for gram, count in grams.items() if count > 1]
    count, size = max(often, default=(0, 0))
    return min(count * size, visible) / max(visible, 1)


def repeated(units: list[str], n: int, visible: int, *, times: int = 2) -> float:
    grams = Counter(tuple(units[i : i + n]) for i in range(len(units) - n + 1))
    inside = {i + k for i in range(len(units) - n + 1) if grams[tuple(units[i : i + n])] >= times for k in range(n)}
    return sum(len(units[i]) for i in inside) / max(visible, 1)


def duplicates(items: list[str]) -> tuple[float, float]:
    seen: set[str] = set()
    again = [item for item in items if lower(item) in seen or seen.add(lower(item))]
    return len(again) / max(len(items), 1), sum(map(len, again)) / max(sum(map(len, items)), 1)


NARROW, WIDE, CLOSING = ".!?…", "。！？｡؟۔।॥։።", "\"”’」』»›')]）】》〉"


def num_sentences(text: str) -> int:
    found = 0
    for c, behind in zip(text, [*text[1:], "\n"], strict=False):
        if c in NARROW + WIDE and behind not in NARROW + WIDE:
            found += c in WIDE or behind.isspace() or behind in CLOSING
    return found


def num_ellipses(text: str) -> int:
    found = sum(a != "…" and b == "…" for a, b in zip("\n" + text, text, strict=False))
    return found + sum(text[i : i + 3] == "..." and text[i - 1 : i] != "." for i in range(len(text)))


def paragraphs_of(text: str) -> list[str]:
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            found[-1].append(line)
        else:
            found.append([])
    return ["\n".join(lines).strip() for lines in found if lines]


def main_script(text: str) -> tuple[str, float]:
    counts = Counter(script_of(c) for c in text if is_letter(c))
    letters = sum(counts.values())
    kana = counts["Hira"] + counts["Kana"]
    if kana > 0.05 * (kana + counts["Hani"]):
        counts["Jpan"] = kana + counts["Hani"]
        counts = Counter({k: v for k, v in counts.items() if k not in ("Hani", "Hira", "Kana")})
    best = max(scripts.SCRIPTS, key=lambda name: counts[name] * scripts.WEIGHTS.get(name, 1))
    return (best, counts[best] / letters) if letters else ("Zyyy", 0.0)


def is_bullet(line: str) -> bool:
    return line[0] in "•‣⁃∙◦●○▪▫►▸▶" or (line[0] in "-*+–" and line[1:2].strip() == "")


def oracle(text: str) -> dict[str, float | int | str]:
    seen = [c for c in text if not c.isspace()]
    visible, units, lines = len(seen), units_of(text), [line.strip() for line in text.split("\n") if line.strip()]
    lowered, paragraphs = [lower(u) for u in units], paragraphs_of(text)
    letters = [c for c in seen if is_letter(c)]
    category = [unicodedata.category(c)[0] for c in seen]
    stop = {name: [u for u in lowered if u in words.split()] for name, words in STOP_WORDS.items()}
    language = max(stop, key=lambda name: len(stop[name]))
    script, script_share = main_script(text)
    line_twice, line_characters = duplicates(lines)
    paragraph_twice, paragraph_characters = duplicates(paragraphs)
    control = sum((unicodedata.category(c) in ("Cc", "Cs", "Co")) for c in seen)

    def per(part: float, whole: float) -> float:
        return part / max(whole, 1)

    return {
        "characters": len(text),
        "visible_characters": visible,
        "words": len(units),
        "mean_word_length": per(visible, len(units)),
        "letter_share": per(len(letters), visible),
        "digit_share": per(category.count("N"), visible),
        "white_space_share": per(len(text) - visible, len(text)),
        "punctuation_share": per(category.count("P"), visible),
        "symbol_share": per(category.count("S") - text.count("\ufffd"), visible),
        "upper_case_share": per(sum(unicodedata.category(c) in ("Lu", "Lt") for c in letters), len(letters)),
        "script": script,
        "script_share": script_share,
        "alphabetic_word_share": per(sum(any(map(is_letter, u)) for u in units), len(units)),
        "hashes_per_word": per(text.count("#"), len(units)),
        "ellipses_per_word": per(num_ellipses(text), len(units)),
        "sentences": num_sentences(text),
        "lines": len(lines),
        "mean_line_length": per(sum(map(len, lines)), len(lines)),
        "lines_under_30_share": per(sum(len(line) < 30 for line in lines), len(lines)),
        "lines_under_12_share": per(sum(len(line) < 12 for line in lines), len(lines)),
        "terminal_line_share": per(sum(line[-1] in NARROW + WIDE + '"”’」』»›' for line in lines), len(lines)),
        "bullet_line_share": per(sum(map(is_bullet, lines)), len(lines)),
        "ellipsis_line_share": per(sum(line.endswith(("...", "…")) for line in lines), len(lines)),
        "duplicate_line_share": line_twice,
        "duplicate_line_character_share": line_characters,
        "paragraphs": len(paragraphs),
        "duplicate_paragraph_share": paragraph_twice,
        "duplicate_paragraph_character_share": paragraph_characters,
        **{f"top_{n}gram_share": top(lowered, n, visible) for n in (2, 3, 4)},
        **{f"repeated_{n}gram_share": repeated(lowered, n, visible) for n in range(5, 11)},
        "often_10gram_share": repeated(lowered, 10, visible, times=10),
        "stop_word_language": language if stop[language] else "und",
        "stop_words": len(stop[language]),
        "distinct_stop_words": len(set(stop[language])),
        "stop_word_share": per(len(stop[language]), len(units)),
        "replacement_share": per(text.count("\ufffd"), len(text)),
        "control_share": per(control, len(text)),
        "curly_brace_share": per(text.count("{") + text.count("}"), visible),
        "lorem_ipsum": text.count("orem ipsum") + text.count("OREM IPSUM"),
        "javascript_lines": sum("javascript" in line.lower() for line in text.split("\n")),
    }


# ---- claims ---------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("")
@example(" \n\n ")
@example("a")
@example("..")
@example("the the the the the the the the the the the the the")
@example("a b c d e f g h i j k a b c d e f g h i j k")
@example("你好你好你好你好你好你好")
@example("你好" * 14 + "世界和平" * 3)
def test_every_statistic_is_what_reading_character_by_character_counts(text):
    measured, expected = measure(text), oracle(text)
    assert list(measured) == list(expected) == list(COLUMNS) == list(ABOUT)
    for name, value in expected.items():
        rounded = float(np.float32(value)) if COLUMNS[name] == pa.float32() else value
        assert measured[name] == rounded, name


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXTS, max_size=8))
def test_a_text_measures_the_same_alone_and_among_others(texts):
    assert measure_all(texts) == [measure(text) for text in texts]


def test_a_text_that_fills_several_batches_measures_the_same_with_others_around_it():
    long = "\n".join(f"line {k} of a long text, 第{k}行。" for k in range(40_000))
    assert len(long) > 3 * counting.BATCH
    assert measure_all(["", "before", long, "after"]) == [measure(t) for t in ("", "before", long, "after")]


def test_the_counts_of_a_long_text_are_those_of_its_parts():
    block = "The dog barks. " * 4 + "你好，世界。\n"
    times = 2 * counting.PIECE // len(block)
    measured = measure(block * times)
    one = measure(block)
    for name in ("characters", "visible_characters", "words", "sentences", "lines", "stop_words"):
        assert measured[name] == times * one[name], name
    assert measured["distinct_stop_words"] == one["distinct_stop_words"]


def test_a_long_text_without_any_white_space_is_cut_and_measured():
    assert measure("x" * 300_000)["characters"] == 300_000
    assert counting.pieces_of("ab " * 100_000)[0].endswith(" ")
    assert "".join(counting.pieces_of("ab\ncd " * 100_000)) == "ab\ncd " * 100_000


def test_ten_thousand_tiny_texts_go_through_several_batches_unmixed():
    texts = [f"{'你' * (k % 5)} {k}" for k in range(5000)]
    assert [m["characters"] for m in measure_all(texts)] == [len(t) for t in texts]


def test_no_texts_give_no_rows():
    assert measure_all([]) == []


def test_a_lone_surrogate_counts_as_a_control_character():
    assert measure("a\ud800bc")["control_share"] == 0.25


def test_units_of_chinese_are_characters_and_of_english_words():
    assert measure("GPT-4 是模型。")["words"] == 5
    assert measure("It is a model.")["words"] == 4


def test_columns_survive_parquet_types_unchanged():
    measured = measure("The dog, the cat. 你好。\n\n1/3\n")
    table = pa.Table.from_pylist([measured], schema=pa.schema(list(COLUMNS.items())))
    assert table.to_pylist() == [measured]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Ça va très bien", "Latn"),
        ("Привет, мир", "Cyrl"),
        ("深度学习的模型", "Hani"),
        ("日本語のテキストです", "Jpan"),
        ("안녕하세요 여러분", "Hang"),
        ("สวัสดีชาวโลก", "Thai"),
        ("नमस्ते दुनिया", "Deva"),
        ("مرحبا بالعالم", "Arab"),
        ("שלום עולם", "Hebr"),
        ("Γειά σου Κόσμε", "Grek"),
        ("வணக்கம் உலகம்", "Taml"),
        ("გამარჯობა", "Geor"),
        ("1 + 2 = 3", "Zyyy"),
        ("调用 model.fit(x, y) 来训练模型", "Hani"),
    ],
)
def test_the_main_script_is_told(text, script):
    assert measure(text)["script"] == script == scripts.main_script(text)[0]


def test_letters_have_the_script_that_their_unicode_name_begins_with():
    names = {"LATIN": "Latn", "CYRILLIC": "Cyrl", "GREEK": "Grek", "ARABIC": "Arab", "HEBREW": "Hebr", "THAI": "Thai"}
    names |= {"DEVANAGARI": "Deva", "BENGALI": "Beng", "TAMIL": "Taml", "HIRAGANA": "Hira", "KATAKANA": "Kana"}
    names |= {
        "HANGUL": "Hang",
        "ARMENIAN": "Armn",
        "GEORGIAN": "Geor",
        "KHMER": "Khmr",
        "LAO": "Laoo",
        "TIBETAN": "Tibt",
    }
    names |= {"MYANMAR": "Mymr", "ETHIOPIC": "Ethi", "TELUGU": "Telu", "KANNADA": "Knda", "MALAYALAM": "Mlym"}
    names |= {"GUJARATI": "Gujr", "GURMUKHI": "Guru", "ORIYA": "Orya", "SINHALA": "Sinh", "BOPOMOFO": "Bopo"}
    table = scripts.script_table()
    wrong = [
        f"{code:x} {name}"
        for code in range(0x2FFFF)
        if (name := unicodedata.name(chr(code), ""))
        and unicodedata.category(chr(code)) in ("Lu", "Ll", "Lo")
        and (expected := "Hani" if name.startswith("CJK ") else names.get(name.split()[0]))
        and scripts.SCRIPTS[table[code]] != expected
    ]
    # Phonetic and historic extensions beyond the basic plane may be missing; nothing else is.
    assert [w for w in wrong if int(w.split()[0], 16) < 0x10000] == []


def test_tables_hold_a_cell_for_every_code_point():
    assert scripts.cell_table().shape == (scripts.SIZE,)
    assert scripts.cell_table().max() < scripts.NUM_CELLS < 256


def test_measuring_real_english_and_chinese_prints_its_speed(shared, capsys):
    english = [p.read_text("utf-8") for p in sorted((shared / "data/gutenberg-en").glob("*.md"))[:6]]
    chinese = [p.read_text("utf-8") for p in sorted((shared / "data/d2l-zh").glob("*.md"))[:60]]
    with gzip.open(shared / "data/chinese-poetry/tang.jsonl.gz", "rt", encoding="utf-8") as lines:
        poems = [json.loads(line)["text"] for _, line in zip(range(2000), lines, strict=False)]
    measure("warm")
    for name, texts in (("English", english), ("Chinese", chinese), ("poems", poems)):
        start = time.perf_counter()
        rows = measure_all(texts)
        seconds = time.perf_counter() - start
        size = sum(len(t.encode()) for t in texts)
        with capsys.disabled():
            print(f"\n{name}: {size / seconds / 1e6:.1f} MB/s", end="")
        assert [r["characters"] for r in rows] == [len(t) for t in texts]
