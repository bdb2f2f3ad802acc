"""From bytes to text, without ever guessing a letter in silence.

    BOM                      what it says (UTF-8, UTF-16, UTF-32)
    valid UTF-8              UTF-8
    zeros at half of places  UTF-16 without a BOM; at three of four: UTF-32
    other zeros              damage: left out and counted; with other control characters it is a binary file
    a few broken sequences   UTF-8, each broken one becomes U+FFFD and is counted
    reads as Chinese         GB18030 (GBK, GB2312), if the commonest characters and marks turn up
    anything else            NotText

Latin-1, Shift-JIS, EUC-KR and their like decode as GB18030 without an error, to letters nobody wrote;
so GB18030 is taken only when the text that comes out looks like Chinese. And their letters are broken UTF-8, one
in every few words: damage is a single place, or one in a thousand bytes.
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
WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
SAMPLE_BYTES = 1 << 20
BROKEN = re.compile("[\udc80-\udcff]+")
MARKED = "pretune-marked"
"""The handler of errors that leaves a lone surrogate, for `BROKEN` to find; UTF-8 has one of its own."""
codecs.register_error(MARKED, lambda error: ("\udcff", error.end))  # type: ignore[attr-defined]
CONTROLS = bytes(set(range(1, 32)) - set(b"\t\n\v\f\r\b\x1b"))
"""What no text holds; terminals' escape sequences are text."""
ODD = re.compile("[\0-\x08\x0e-\x1f\ue000-\uf8ff]")
COMMON = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心"
    "本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运"
    "這個們來為國說時會對過後發經學現當動還進樣從實無與長機業將兩間問應戰頭體見產話東聲員論處義幾認條係氣題變電數報結務場計馬書達強難權規萬傳師觀讓識導爭運請謝錯"
    "，。！？、；：“”《》（）【】"
)


@dataclass(frozen=True)
class Decoded:
    """Text, the encoding it was in, how many broken sequences became U+FFFD, how many zeros were left out."""

    text: str
    encoding: str
    repaired: int = 0
    zeros: int = 0


def decode(data: bytes, name: str) -> Decoded:
    """The text in `data`; `name` is for errors.

    Raises:
        NotText: binary, or an encoding that is not certain.
    """
    encoding = detect(io.BytesIO(data), name)
    lines = list(text_lines(io.BytesIO(data), encoding, name, newline=""))
    text, broken = "".join(line for line, _ in lines), sum(n for _, n in lines)
    return Decoded(text.replace("\0", ""), encoding.removesuffix("-sig"), broken, text.count("\0"))


def detect(stream: BinaryIO, name: str) -> str:
    """The codec to read `stream` with; reads to its end. Raises NotText."""
    piece = _next_piece(stream)
    for bom, codec in BOMS:
        if piece.startswith(bom):
            return codec
    if piece.startswith(b"%PDF-"):
        raise _not_text(name, "a PDF file")
    if b"\0" in piece and (codec := _wide(piece)):
        return codec
    if _short_chinese_in_disguise(piece.replace(b"\0", b"")):
        return "gb18030"
    before = Damage()
    while piece:
        damage = damage_of(_without_zeros(piece, name))
        codec = damage.codec or (before + damage).codec  # the last piece may be short
        if codec != "utf-8":
            return codec or _refuse(name)
        before, piece = damage, _next_piece(stream)
    return "utf-8"


def _next_piece(stream: BinaryIO) -> bytes:
    """The next bytes; they end with a line, so not inside a character."""
    piece = stream.read(SAMPLE_BYTES)
    return piece + stream.readline() if piece else piece


def _not_text(name: str, what: str) -> NotText:
    return NotText(f"{name!r} is {what}, not text", hint="convert it to UTF-8 text first, or leave it out")


def _refuse(name: str) -> str:
    raise NotText(
        f"{name!r} is neither UTF-8 nor in another encoding that is certain",
        hint="convert it first, for example: iconv -f LATIN1 -t UTF-8",
    )


# ---- zeros --------------------------------------------------------------------------------------


def _without_zeros(piece: bytes, name: str) -> bytes:
    """The bytes that are not zero; raises NotText where the zeros are no damage, but of a binary file."""
    if b"\0" not in piece:
        return piece
    rest = piece.replace(b"\0", b"")
    if 2 * len(rest) < len(piece) or _num_controls(rest) * 1000 > len(rest):
        raise _not_text(name, "a binary file")
    return rest


def _num_controls(data: bytes) -> int:
    return len(data) - len(data.translate(None, delete=CONTROLS))


def _wide(sample: bytes) -> str:
    """UTF-16 or UTF-32 without a BOM; "" where zeros are damage, or the file is binary.

    ASCII has a zero at every second place of UTF-16. Chinese has them at its line ends, and without them it hardly
    ever is UTF-8; a few hanzi may be, so common ones decide.
    """
    texts = {codec: text for codec in WIDE if (text := _clean(sample, codec))}
    codec = max(texts, key=lambda c: _num_usual(texts[c]) / len(texts[c]), default="")
    if not codec:
        return ""
    least = max(2, 0.75 * len(texts[codec])) if _is_narrow(sample.replace(b"\0", b"")) else 1
    return codec if _num_usual(texts[codec]) >= least else ""


def _num_usual(text: str) -> int:
    """How many characters are those of Latin script, or common in Chinese."""
    return sum(1 for c in text if c <= "\xff" or c in COMMON)


def _clean(sample: bytes, codec: str) -> str:
    """The text, if it has no control character and none of private use; else ""."""
    if len(sample) < 8 and codec.startswith("utf-32"):
        return ""
    try:
        text = codecs.getincrementaldecoder(codec)().decode(sample)
    except UnicodeDecodeError:
        return ""
    return "" if ODD.search(text) else text


def _is_narrow(data: bytes) -> bool:
    """Whether bytes are text of an encoding in which ASCII takes one byte.

    Of Devanagari every second byte is a tab, of its kin a line end.
    """
    ends = len(data) - len(data.translate(None, delete=b"\t\n\v\f\r"))
    return bool(damage_of(data).codec) and _num_controls(data) * 1000 <= len(data) and 3 * ends <= len(data)


# ---- UTF-8 with broken places, GB18030 ----------------------------------------------------------


@dataclass(frozen=True)
class Damage:
    """What a stretch of bytes is when it is read as UTF-8.

    Args:
        num_whole: its characters beyond ASCII.
        num_places: where it is broken, in one byte or several.
        num_broken: the bytes in these places.
        is_chinese: it reads as GB18030.
    """

    num_bytes: int = 0
    num_whole: int = 0
    num_places: int = 0
    num_broken: int = 0
    is_chinese: bool = False

    @property
    def codec(self) -> str:
        """UTF-8, perhaps with damage; GB18030; or "" for neither."""
        if self.num_whole >= 9 * self.num_places:
            return "utf-8"
        if self.is_chinese:
            return "gb18030"
        is_single = self.num_places == 1 and self.num_broken <= min(5, self.num_bytes // 4)
        return "utf-8" if is_single or 1000 * self.num_broken <= self.num_bytes else ""

    def __add__(self, other: Damage) -> Damage:
        """Both together, but for whole characters: those of the piece before are no sign that this one is UTF-8."""
        places, broken = self.num_places + other.num_places, self.num_broken + other.num_broken
        return Damage(self.num_bytes + other.num_bytes, 0, places, broken)


def damage_of(data: bytes) -> Damage:
    """How far `data` is from being UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", errors="surrogateescape")
    else:
        return Damage(len(data))
    runs = BROKEN.findall(text)
    broken = sum(map(len, runs))
    whole = sum(1 for c in text if c > "\x7f") - broken
    # A single bad byte and the letter behind it are a character of GB18030, too.
    is_chinese = max(map(len, runs)) > 1 and _chinese_share(data, may_break=True) >= 0.2
    return Damage(len(data), whole, len(runs), broken, is_chinese)


def _short_chinese_in_disguise(sample: bytes) -> bool:
    """GB18030 whose few characters happen to be UTF-8 of two bytes: 一 has the bytes of һ (联通 is the famous one).

    Accents and Cyrillic read as GB18030 give rare characters, so common ones decide.
    """
    try:
        text = sample.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return "\x7f" < max(text, default="") < "\u0800" and _chinese_share(sample) >= 0.5


def _chinese_share(sample: bytes, *, may_break: bool = False) -> float:
    """Share of the commonest Chinese characters among those beyond ASCII; 0 if it is not GB18030 or not Chinese.

    Args:
        may_break: one in twenty characters may be damaged.
    """
    try:
        decoder = codecs.getincrementaldecoder("gb18030")(MARKED if may_break else "strict")
        text = decoder.decode(sample, may_break)  # a cut at the end is damage, too
    except UnicodeDecodeError:
        return 0.0
    text, broken = BROKEN.subn("", text)
    letters = [c for c in text if c > "\x7f"]
    hanzi = sum(1 for c in letters if "\u4e00" <= c <= "\u9fff" or c in COMMON)
    common = sum(1 for c in letters if c in COMMON)
    is_it = letters and hanzi >= 0.8 * len(letters) and 20 * broken <= len(letters)
    return common / len(letters) if is_it else 0.0


# ---- lines --------------------------------------------------------------------------------------


def text_lines(stream: BinaryIO, encoding: str, name: str, newline: str | None = None) -> Iterator[tuple[str, int]]:
    """(line with its end, broken sequences in it), streaming; each of these is U+FFFD.

    Raises:
        NotText: more than ten broken sequences, and one in a hundred characters, of an encoding other than UTF-8.
    """
    errors = "surrogateescape" if encoding.startswith("utf-8") else MARKED
    lines = io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline=newline)
    num_characters = num_broken = 0
    try:
        for line in lines:
            text, broken = BROKEN.subn("\ufffd", line)
            yield text, broken
            num_characters, num_broken = num_characters + len(text), num_broken + broken
            if num_broken > max(10, num_characters // 100) and errors == MARKED:
                raise NotText(f"{name!r} is broken {encoding}", hint="convert it to UTF-8 first")
    except UnicodeError as error:  # a wide BOM and nothing behind it that could be text
        raise NotText(f"{name!r} is broken {encoding}: {error}", hint="convert it to UTF-8 first") from None
    finally:
        if not stream.closed:  # by a reader that was dropped in the middle
            lines.detach()  # whoever opened the stream closes it
