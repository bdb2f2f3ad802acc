"""Mojibake: text that was read in the wrong encoding, and so stored, is read again in the right one.

    cafÃ© â€œnaÃ¯veâ€\x9d   ->   café “naïve”       UTF-8 that was read as cp1252 or Latin-1, once or twice
    ä¸­æ–‡               ->   中文
    鐨勪腑鏂囨枃             ->   的中文文           UTF-8 that was read as GBK
    锟斤拷                 stays: the letters were lost before (`lost_characters` counts it)

Correct text must never change, and correct text does hold such pairs: É… in CAFÉ…, Å² in physics, é » before
a French quotation mark. So a pair counts only where no language writes it; doubtful pairs follow when their
whole line reads as UTF-8 and holds one that is beyond doubt. The price: a page that shows mojibake on purpose is
repaired, and a line that lost single bytes is repaired in part.

Source: the idea of a strict decoder behind a cheap test is ftfy's (R. Speer, ftfy.readthedocs.io); the rules are ours.
"""

from __future__ import annotations

import re
import unicodedata

from pretune.text.clean.cleaners import Clean
from pretune.text.read.encoding import COMMON


class Mojibake(Clean):
    """UTF-8 that was read as cp1252, Latin-1 or GBK is read as UTF-8 again, line by line, where it is beyond doubt."""

    def clean(self, text: str) -> str:
        return repaired(text)


LOST = re.compile("\ufffd+|(?:锟斤拷?)+|ï¿½")


def repaired(text: str) -> str:
    """`text` read again where it was read wrongly; the same object if there was nothing to repair."""
    if text.isascii():
        return text
    if PAIR.search(text):
        text = _by_line(text)
    if GBK_SIGN.search(text):
        after = GBK_RUN.sub(_from_gbk, text)
        return text if after == text else after
    return text


def lost_characters(text: str) -> int:
    """Places whose characters no repair brings back: U+FFFD, and what GBK makes of it (锟斤拷)."""
    return 0 if text.isascii() else len(LOST.findall(text))


# ---- UTF-8 read as cp1252 or Latin-1 ------------------------------------------------------------

_BYTES = {bytes([b]).decode("cp1252", "ignore"): chr(b) for b in range(0x80, 0xA0)}
_LATIN1 = {ord(c): byte for c, byte in _BYTES.items() if c}
"""cp1252 as browsers read it: what it lacks (81, 8D, 8F, 90, 9D) is the control character of that number."""

_CONT = "[\x80-\xbf" + "".join(map(chr, _LATIN1)) + "]"
PAIR = re.compile(f"[Â-ô]{_CONT}")
RUN = re.compile(f"(?:[Â-ß]{_CONT}|[à-ï]{_CONT}{{2}}|[ð-ô]{_CONT}{{3}})+")
# Signs that no language writes right after an accented letter. Not among them: quotation marks, dashes, dots, the
# letters Š Ž Œ Ÿ, the no-break space, ™ ® ° and the raised ¹ ² ³ ª º.
_SIGN = "\x80-\x9f€†‡ˆ‰‹¡-©¬\xad¯±´µ¶¸¼½¾¿"
SIGN = re.compile(f"[{_SIGN}]")
STRONG = re.compile(
    f"Ã[{_SIGN}ƒª‚]|Â[{_SIGN}°®]|(?<=[a-z0-9])[ÂÃ]{_CONT}|(?<![A-Za-zÀ-ÿ])Ã{_CONT}(?=[a-z])|(?<=[.,;:!?)])Â\xa0"
    f"|â€{_CONT}|â‚¬|â„¢|â[\x80-\x9f†‡ˆ‰Š]{_CONT}|ï»¿|ï¿½|ð[Ÿ\x9f]{_CONT}{{2}}"
)


def _by_line(text: str) -> str:
    lines = text.split("\n")
    after = [_read_again(line) if PAIR.search(line) else line for line in lines]
    return text if after == lines else "\n".join(after)


def _read_again(line: str) -> str:
    """Up to three readings; the last one that is made of characters."""
    best = current = line
    for _ in range(3):
        after = _once(current)
        if after == current:
            break
        current = after
        best = current if _is_text(current, line) else best
    return best


def _once(line: str) -> str:
    """The whole line as UTF-8 if it is that and holds a pair beyond doubt; else such runs alone."""
    if not any(map(_is_beyond_doubt, RUN.finditer(line))):
        return line
    return _utf8(line) or RUN.sub(lambda m: (_utf8(m[0]) if _is_beyond_doubt(m) else None) or m[0], line)


def _is_beyond_doubt(run: re.Match[str]) -> bool:
    strong = STRONG.search(run.string, run.start(), run.end() + 1)  # one more for what looks ahead
    if strong and strong.start() < run.end():
        return True
    # Words of other scripts: three pairs in a row, or two triples; but ½×½×½ is arithmetic.
    return len(run[0]) >= 6 and SIGN.search(run[0]) is not None and not set(run[0]) <= set("×¼½¾±")


def _utf8(text: str) -> str | None:
    try:
        return text.translate(_LATIN1).encode("latin-1").decode("utf-8")
    except UnicodeError:
        return None


def _is_text(after: str, before: str) -> bool:
    """No control, private or unassigned character that was not there before."""
    return all(unicodedata.category(c) not in ("Cc", "Co", "Cn") for c in set(after) - set(before))


# ---- UTF-8 read as GBK --------------------------------------------------------------------------

# The bytes of ， 。 的 是 在 不 了 有 一 as GBK shows them, from the first byte and from the second.
GBK_SIGN = re.compile("[锛銆鐨鏄鍦浜涓鏈殑紝槸湪笉簡湁竴]")
GBK_RUN = re.compile("[^\x00-\x7f\ufffd]{4,}")


def _from_gbk(run: re.Match[str]) -> str:
    """The run as UTF-8, if all of it is that and rare characters become common ones.

    A last character that was cut in two (an odd number of bytes) is the U+FFFD behind the run.
    """
    try:
        data = run[0].encode("gb18030")
        after = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data" or run.string[run.end() : run.end() + 1] != "\ufffd":
            return run[0]
        after = data[: error.start].decode("utf-8")
    except UnicodeEncodeError:
        return run[0]
    return after if _common(after) >= 0.4 and _common(run[0]) <= 0.15 else run[0]


def _common(text: str) -> float:
    return sum(c in COMMON for c in text) / max(len(text), 1)
