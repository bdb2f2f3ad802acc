"""Cleaning: what is done to every text before it is stored. It repairs; it never selects letters.

`nfc` joins a letter with its accents (é as one character), the form that keyboards and the web write. Never
NFKC: that turns ２ into 2, ① into 1 and breaks code. Nothing here removes a letter of any script, a
joiner (ZWJ, ZWNJ), a tab or an indent.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from pretune.base.config import Choice, Variant


class Clean(Variant):
    """One repair of a text."""

    def clean(self, text: str) -> str:
        raise AssertionError(f"{type(self).__name__} has no clean()")


class Nfc(Clean):
    """Unicode normal form C: canonically equal texts become equal."""

    def clean(self, text: str) -> str:
        return unicodedata.normalize("NFC", text)


class Lines(Clean):
    """Line ends of Windows and old Macs become `\\n`."""

    def clean(self, text: str) -> str:
        return text.replace("\r\n", "\n").replace("\r", "\n")


CLEAN = Choice(
    Clean,
    {"nfc": "pretune.text.clean:Nfc", "lines": "pretune.text.clean:Lines"},
    group="pretune.cleaners",
)


def mend_surrogates(text: str) -> str:
    """Join surrogate pairs that were written apart; a lone one becomes U+FFFD (UTF-8 cannot hold it)."""
    if text.isascii() or not _has_surrogate(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _has_surrogate(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def cleaned(text: str, cleaners: Sequence[Clean]) -> str:
    """`text` after all cleaners, in their order."""
    text = mend_surrogates(text)
    for cleaner in cleaners:
        text = cleaner.clean(text)
    return text
