"""Cleaning: what is done to every text before it is stored. It repairs; it never selects letters.

`nfc` joins a letter with its accents (é as one character), the form that keyboards and the web write. Never
NFKC: that turns ２ into 2, ① into 1 and breaks code. Nothing here removes a letter of any script, a
joiner (ZWJ, ZWNJ), a tab or an indent. What a cleaner that selects letters does is shown, by running it, in
docs/en/naive-cleaner.md.

    mojibake                           first: what it repairs may need nfc        mojibake.py
    nfc, lines                         here
    controls, invisible, blank-lines   what cannot be seen                        boilerplate.py
    boilerplate                        menus that are repeated in one text        boilerplate.py
    mask-pii                           what points to one person                  masking.py
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from pretune.base.config import Choice, Variant


class Clean(Variant):
    """One repair of a text; gives back the very same object where there is nothing to repair."""

    def clean(self, text: str) -> str:
        raise AssertionError(f"{type(self).__name__} has no clean()")


class Nfc(Clean):
    """Unicode normal form C: canonically equal texts become equal.

    Source: Unicode Standard Annex 15; W3C Character Model, section 3 (the web's form is C).
    """

    def clean(self, text: str) -> str:
        if text.isascii() or unicodedata.is_normalized("NFC", text):  # asking takes half as long as doing
            return text
        return unicodedata.normalize("NFC", text)


class Lines(Clean):
    """Line ends of Windows and old Macs become `\\n`."""

    def clean(self, text: str) -> str:
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


CLEAN = Choice(
    Clean,
    {
        "nfc": "pretune.text.clean.cleaners:Nfc",
        "lines": "pretune.text.clean.cleaners:Lines",
        "mojibake": "pretune.text.clean.mojibake:Mojibake",
        "controls": "pretune.text.clean.boilerplate:Controls",
        "invisible": "pretune.text.clean.boilerplate:Invisible",
        "blank-lines": "pretune.text.clean.boilerplate:BlankLines",
        "boilerplate": "pretune.text.clean.boilerplate:Boilerplate",
        "mask-pii": "pretune.text.clean.masking:MaskPii",
    },
    group="pretune.cleaners",
)


def cleaned(text: str, cleaners: Sequence[Clean], counts: Counter[str] | None = None) -> str:
    """`text` after all cleaners, in their order; adds 1 in `counts` under the kind of each that changed it.

    Args:
        text: without lone surrogates (`mend_surrogates`).
    """
    for cleaner in cleaners:
        after = cleaner.clean(text)
        if counts is not None and after is not text and after != text:
            counts[cleaner.kind] += 1
        text = after
    return text
