import io

import pytest

from pretune.base.errors import NotText
from pretune.text.encoding import decode, detect, text_lines

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
