"""From bytes to text, without ever guessing a letter in silence.

    BOM                      what it says (UTF-8, UTF-16, UTF-32)
    valid UTF-8              UTF-8
    zeros at every second    UTF-16 without a BOM
    a few broken sequences   UTF-8, each broken one becomes U+FFFD and is counted
    reads as Chinese         GB18030 (GBK, GB2312), if the commonest characters and marks turn up
    anything else            NotText

Latin-1, Shift-JIS, EUC-KR and their like decode as GB18030 without an error, to letters nobody wrote;
so GB18030 is taken only when the text that comes out looks like Chinese.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pretune.base.errors import NotText

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: it starts with that one's BOM
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE_BYTES = 1 << 20
BROKEN = re.compile("[\udc80-\udcff]+")
COMMON = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心"
    "本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运"
    "這個們來為國說時會對過後發經學現當動還進樣從實無與長機業將兩間問應戰頭體見產話東聲員論處義幾認條係氣題變電數報結務場計馬書達強難權規萬傳師觀讓識導爭運請謝錯"
    "，。！？、；：“”《》（）【】"
)


@dataclass(frozen=True)
class Decoded:
    """Text, the encoding it was in, and how many broken sequences became U+FFFD."""

    text: str
    encoding: str
    repaired: int = 0


def decode(data: bytes, name: str) -> Decoded:
    """The text in `data`; `name` is told in errors.

    Raises:
        NotText: binary, or an encoding that cannot be told with certainty.
    """
    encoding = detect(io.BytesIO(data), name)
    lines = list(text_lines(io.BytesIO(data), encoding, name, newline=""))
    return Decoded("".join(line for line, _ in lines), encoding.removesuffix("-sig"), sum(n for _, n in lines))


def detect(stream: BinaryIO, name: str) -> str:
    """The codec to read `stream` with; reads to its end. Raises NotText."""
    sample = stream.read(SAMPLE_BYTES) + stream.readline()
    for bom, codec in BOMS:
        if sample.startswith(bom):
            return codec
    if sample.startswith(b"%PDF-"):
        raise _not_text(name, "a PDF file")
    if b"\0" in sample:
        return _utf16(sample, name)
    if _short_chinese_in_disguise(sample):
        return "gb18030"
    decoder = codecs.getincrementaldecoder("utf-8")()
    while sample:
        if b"\0" in sample:
            raise _not_text(name, "a binary file")
        try:
            decoder.decode(sample)
        except UnicodeDecodeError:
            return _not_utf8(sample, name)
        before, sample = sample, stream.read(SAMPLE_BYTES)
        sample += stream.readline() if sample else b""  # pieces end with a line, so not inside a character
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:  # cut inside its last character
        return _not_utf8(before, name)
    return "utf-8"


def _not_text(name: str, what: str) -> NotText:
    return NotText(f"{name!r} is {what}, not text", hint="convert it to UTF-8 text first, or leave it out")


def _utf16(sample: bytes, name: str) -> str:
    """UTF-16 without a BOM: ASCII letters, spaces or line ends leave zeros on one side only."""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    codec = "utf-16-le" if even == 0 else "utf-16-be" if odd == 0 else ""
    try:
        text = codecs.getincrementaldecoder(codec)().decode(sample) if codec else ""
    except UnicodeDecodeError:
        text = ""
    controls = sum(1 for c in text if c < " " and c not in "\t\n\r\f\v")
    private = any("\ue000" <= c <= "\uf8ff" for c in text)
    if not text or controls or private:
        raise _not_text(name, "a binary file")
    return codec


def _not_utf8(sample: bytes, name: str) -> str:
    """UTF-8 with a few broken places, or GB18030, or an error."""
    text = sample.decode("utf-8", errors="surrogateescape")
    whole = sum(1 for c in text if c > "\x7f" and not "\udc80" <= c <= "\udcff")
    broken = len(BROKEN.findall(text))
    if whole >= 9 * broken:
        return "utf-8"
    if _chinese_share(sample) >= 0.2:
        return "gb18030"
    raise NotText(
        f"{name!r} is neither UTF-8 nor another encoding that could be told with certainty",
        hint="convert it first, for example: iconv -f LATIN1 -t UTF-8",
    )


def _short_chinese_in_disguise(sample: bytes) -> bool:
    """GB18030 whose few characters happen to be UTF-8 of two bytes: 一 has the bytes of һ (联通 is the famous one).

    Accents and Cyrillic read as GB18030 give rare characters, so common ones decide.
    """
    try:
        text = sample.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return "\x7f" < max(text, default="") < "\u0800" and _chinese_share(sample) >= 0.5


def _chinese_share(sample: bytes) -> float:
    """Share of the commonest Chinese characters among those beyond ASCII; 0 if it is not GB18030 or not Chinese."""
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(sample)
    except UnicodeDecodeError:
        return 0.0
    letters = [c for c in text if c > "\x7f"]
    hanzi = sum(1 for c in letters if "\u4e00" <= c <= "\u9fff" or c in COMMON)
    common = sum(1 for c in letters if c in COMMON)
    return common / len(letters) if letters and hanzi >= 0.8 * len(letters) else 0.0


def text_lines(stream: BinaryIO, encoding: str, name: str, newline: str | None = None) -> Iterator[tuple[str, int]]:
    """(line with its end, broken sequences in it), streaming.

    Raises:
        NotText: bytes that the encoding does not have (UTF-8 is repaired instead).
    """
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    lines = io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline=newline)
    try:
        for line in lines:
            yield BROKEN.subn("\ufffd", line) if errors == "surrogateescape" else (line, 0)
    except UnicodeError as error:
        raise NotText(f"{name!r} is broken {encoding}: {error}", hint="convert it to UTF-8 first") from None
    finally:
        lines.detach()  # whoever opened the stream closes it
