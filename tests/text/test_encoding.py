import bz2
import gzip
import io
import random
from pathlib import Path

import pytest

from pretune.base.errors import NotText
from pretune.text.read.encoding import decode, detect, text_lines
from pretune.text.read.formats.record import ZEROS
from pretune.text.read.readers import Repairs, read_records

ENGLISH = "The kettle was on, and nobody spoke for a while; then she said that the lamp had gone out.\n"
CHINESE = "这个宾馆比较陈旧了，特价的房间也很一般。总体来说一般，但是我们还会再来的。\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "gbk", "gb2312"])
def test_chinese_text_reads_the_same_from_every_supported_encoding(encoding):
    assert decode(CHINESE.encode(encoding), "a.txt").text == CHINESE


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_bom_is_known_by_its_zeros(encoding):
    assert decode("plain words\n你好 🙂\n".encode(encoding), "a.txt").text == "plain words\n你好 🙂\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("élève à l'école où naïf déjà garçon", "latin-1"),
        ("Привет мир, сегодня хорошая погода", "koi8-r"),
        ("안녕하세요 저는 한국어를 공부하는 학생입니다", "euc-kr"),
        ("吾輩は猫である。名前はまだ無い。どこで生れたか", "shift-jis"),
        ("這間酒店環境和服務態度亦算不錯,但房間空間太小", "big5"),
    ],
)
def test_other_encodings_are_refused_rather_than_read_as_wrong_letters(text, encoding):
    with pytest.raises(NotText, match=r"old\.txt"):
        decode(text.encode(encoding), "old.txt")


def test_a_few_broken_bytes_in_utf8_are_replaced_and_counted():
    data = (CHINESE * 3).encode() + b"\xff\xfe ok " + CHINESE.encode()
    found = decode(data, "a.txt")
    assert found.text == CHINESE * 3 + "\ufffd ok " + CHINESE
    assert found.repaired == 1


def test_text_cut_inside_its_last_character_keeps_every_whole_one():
    found = decode(("你好世界你好世界你好世界").encode()[:-1], "a.txt")
    assert found.text == "你好世界你好世界你好世\ufffd"


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"%PDF-1.4 words", bytes(range(256))])
def test_binary_files_are_refused_by_name(data):
    with pytest.raises(NotText, match=r"pic\.bin"):
        decode(data, "pic.bin")


def test_gb18030_that_starts_after_a_megabyte_of_ascii_is_found():
    data = b"plain ascii line\n" * 70_000 + CHINESE.encode("gb18030") * 20
    assert len(data) > 1 << 20
    assert detect(io.BytesIO(data), "a") == "gb18030"


def test_lines_are_not_cut_at_unicode_line_separators():
    lines = list(text_lines(io.BytesIO('{"a": "x\u2028y"}\r\nz\n'.encode()), "utf-8", "a"))
    assert lines == [('{"a": "x\u2028y"}\n', 0), ("z\n", 0)]


@pytest.mark.parametrize(
    "text", ["café, naïve, über, señor, ça", "Привет мир", "Ελληνικά", "שלום", "é", "ñ × ÷ ° § ü ö ä ß"]
)
def test_short_utf8_of_two_byte_letters_stays_utf8(text):
    assert decode(text.encode(), "a.txt").text == text


def test_a_single_chinese_character_that_is_also_valid_utf8_is_read_as_chinese():
    assert decode("一, two".encode("gb18030"), "a.txt").text == "一, two"


# ---- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 20, 12_000])
@pytest.mark.parametrize("bad", [0x00, 0x80, 0x92, 0xBF, 0xE9, 0xFF])
def test_one_bad_byte_anywhere_in_ascii_costs_its_own_letter_and_is_counted(bad, copies):
    plain = (ENGLISH * copies).encode()
    rng = random.Random(bad)
    for at in [0, len(plain) - 1, *(rng.randrange(len(plain)) for _ in range(200 if copies < 100 else 1))]:
        data = plain[:at] + bytes([bad]) + plain[at + 1 :]
        found = decode(data, "a.txt")
        letter = "\ufffd" if bad else ""
        assert found.text == f"{plain[:at].decode()}{letter}{plain[at + 1 :].decode()}", at
        assert (found.encoding, found.repaired, found.zeros) == ("utf-8", int(bad > 0), int(bad == 0))


@pytest.mark.parametrize(
    "text", ["She said naïve things 🙂 at the café.", "Он сказал: привет, мир 🙂", "我们还会再来的，谢谢 🙂"]
)
def test_one_bad_byte_between_or_within_letters_of_any_script_is_one_place(text):
    data = text.encode()
    for at in range(len(data) + 1):
        found = decode(data[:at] + b"\xff" + data[at:], "a.txt")
        kept = found.text.split("\ufffd")
        assert (found.encoding, len(kept), found.repaired) == ("utf-8", 2, 1), at
        assert text.startswith(kept[0]) and text.endswith(kept[1]) and len("".join(kept)) >= len(text) - 1


def test_zeros_on_one_side_of_ascii_are_no_utf16():
    found = decode(b"abcdefg\0 and so on\nuntil the end\0 of it.\n", "a.txt")
    assert (found.text, found.encoding, found.zeros) == ("abcdefg and so on\nuntil the end of it.\n", "utf-8", 2)
    assert decode(b"key=1\0path=2\0", "environ").text == "key=1path=2"


def test_a_log_that_a_crash_left_with_a_run_of_zeros_keeps_its_lines():
    found = decode((ENGLISH * 50).encode() + bytes(3000) + (ENGLISH * 30).encode(), "a.log")
    assert (found.text, found.zeros) == (ENGLISH * 80, 3000)
    with pytest.raises(NotText, match="a binary file"):
        decode(bytes(5000) + ENGLISH.encode(), "sparse.img")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    "text",
    [ENGLISH, CHINESE, "一二三\n的一是\n", "你好\n", "Привет мир, как дела\n", "안녕하세요 저는 학생\n", "γειά σου\n"],
)
def test_wide_text_without_a_bom_reads_the_same_in_any_script(text, encoding):
    assert decode(text.encode(encoding), "a.txt").text == text


def test_devanagari_in_utf16_is_not_taken_for_tabs_and_zeros():
    text = "नमस्ते दुनिया, आप कैसे हैं\n"
    assert decode(text.encode("utf-16-le"), "a.txt").text == text


def test_one_bad_byte_in_chinese_of_two_bytes_is_one_damaged_place():
    text = CHINESE * 4
    data = text.encode("gb18030")
    at = data.index("，".encode("gb18030"))
    found = decode(data[:at] + b"\xff" + data[at:], "a.txt")
    assert (found.encoding, found.repaired) == ("gb18030", 1)
    assert found.text.replace("\ufffd", "") == text


def test_utf16_that_was_cut_inside_a_character_keeps_every_whole_one():
    found = decode(CHINESE.encode("utf-16")[:-1], "a.txt")
    assert (found.text, found.repaired) == (f"{CHINESE[:-1]}\ufffd", 1)


@pytest.mark.parametrize("copies", [1, 2, 5, 500])
@pytest.mark.parametrize(
    ("line", "encoding"),
    [
        ("L'élève était à l'école où le naïf garçon avait déjà mangé. ", "latin-1"),
        ("Schöne Grüße aus München, wo es heute weiß und kühl ist. ", "latin-1"),
        ("La città è bella, perché il caffè costa poco e la gente è gentile. ", "latin-1"),
        ("I don’t think that it’s there, she said to the man at the door. ", "cp1252"),
        ("Привет мир, сегодня хорошая погода. ", "cp1251"),
        ("Привет", "cp1251"),
    ],
)
def test_letters_of_another_encoding_are_no_damage_however_short_the_text(line, encoding, copies):
    with pytest.raises(NotText, match=r"iconv -f LATIN1"):
        decode((line * copies).encode(encoding), "old.txt")


JSON_LINE = b'{"text": "The lamp had gone out, and nobody spoke for a while.", "label": "calm"}\n'


@pytest.mark.parametrize("bad", [b"\0", b"\xff", b"\xe9"])
@pytest.mark.parametrize("at", [0, 7_000, 13_500, 19_999])  # the beginning that tells the encoding is a mebibyte
def test_a_bad_byte_in_a_line_of_json_is_mended_wherever_it_stands(tmp_path, bad, at):
    (tmp_path / "a.jsonl").write_bytes(JSON_LINE * at + JSON_LINE.replace(b"gone", b"go" + bad + b"ne") + JSON_LINE * 9)
    repairs = Repairs(quarantine=[])
    records = list(read_records(tmp_path / "a.jsonl", repairs))
    letter = "" if bad == b"\0" else "\ufffd"
    assert records[at]["text"] == f"The lamp had go{letter}ne out, and nobody spoke for a while."
    assert (len(records), repairs.quarantine) == (at + 10, [])
    assert (repairs.broken, repairs.mended) == ((0, {ZEROS: 1}) if bad == b"\0" else (1, {}))


def test_a_line_of_json_in_chinese_of_two_bytes_among_ascii_is_refused_alone(tmp_path):
    other = '{"text": "这个宾馆比较陈旧了，特价的房间也很一般。"}\n'.encode("gb18030")
    (tmp_path / "a.jsonl").write_bytes(JSON_LINE * 14_000 + other + JSON_LINE)
    repairs = Repairs(quarantine=[])
    assert len(list(read_records(tmp_path / "a.jsonl", repairs))) == 14_001
    assert [where.rpartition(":")[2] for where, _ in repairs.quarantine] == ["14001"]


@pytest.mark.parametrize("name", ["a.txt", "a.md.gz", "a.csv", "a.tsv.bz2", "a.json", "a.html", "a.xml"])
def test_damage_is_counted_by_every_reader_of_text(tmp_path, name):
    head = {"csv": b"text\n", "tsv": b"text\n", "json": b'["'}.get(name.split(".")[1], b"")
    data = head + b"Some pl\0ain words \xff of a page" + (b'"]' if "json" in name else b"")
    pack = {"gz": gzip.compress, "bz2": bz2.compress}.get(name.rsplit(".", 1)[1], bytes)
    (tmp_path / name).write_bytes(pack(data))
    repairs = Repairs()
    (record,) = read_records(tmp_path / name, repairs)
    assert record["text"].strip() == "Some plain words \ufffd of a page"
    assert (repairs.broken, repairs.mended) == (1, {ZEROS: 1})


def test_lines_that_are_dropped_after_their_stream_was_closed_raise_nothing(tmp_path: Path) -> None:
    import gc

    (tmp_path / "a.txt").write_bytes(b"one\ntwo\n")
    with (tmp_path / "a.txt").open("rb") as stream:
        lines = text_lines(stream, "utf-8", "a.txt")
        assert next(lines)[0] == "one\n"
    del lines
    gc.collect()  # pytest turns what a finaliser raises into an error of this test
