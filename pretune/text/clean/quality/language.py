"""Which language a text is in: by a fastText model of the user's, or by script and frequent words.

The model is a file (lid.176.ftz, 0.9 MB, knows 176 languages: Joulin et al. 2016, arXiv:1612.03651); nothing is
downloaded. Without one, a script that writes one language shows it, and frequent words in Latin, Cyrillic and Arabic.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pretune.base.errors import BadFile, NoSuchFile
from pretune.base.extras import need
from pretune.text.clean.quality.scripts import main_script, scripts_of
from pretune.text.clean.quality.words import languages_of

if TYPE_CHECKING:
    from fasttext.FastText import _FastText as FastText

MAX_CHARACTERS: Final = 800
"""The head of a text that is looked at, some 130 English words; with 2000 the model is no more often right."""
BATCH: Final = 1024
"""Texts whose scripts are counted together."""
MIN_DISTINCT: Final = 2
MIN_SHARE: Final = 0.05
"""Fewer different stop words, or a smaller share of the words, mean nothing."""

OF_SCRIPT: Final = {
    **{"Hani": "zh", "Bopo": "zh", "Jpan": "ja", "Hira": "ja", "Kana": "ja", "Hang": "ko", "Thai": "th", "Grek": "el"},
    **{"Hebr": "he", "Arab": "ar", "Deva": "hi", "Cyrl": "ru", "Beng": "bn", "Taml": "ta", "Telu": "te", "Gujr": "gu"},
    **{"Guru": "pa", "Knda": "kn", "Mlym": "ml", "Orya": "or", "Sinh": "si", "Mymr": "my", "Khmr": "km", "Laoo": "lo"},
    **{"Tibt": "bo", "Geor": "ka", "Armn": "hy", "Ethi": "am", "Mong": "mn", "Thaa": "dv", "Cher": "chr"},
}
"""The language a script most likely writes; Latin is none."""
_LATIN: Final = re.compile(r"[\x00-\u024f]+")
WRITE_ALONE: Final = {"Hani": ("zh", "yue", "wuu", "lzh"), "Jpan": ("ja",), "Hang": ("ko",)}
"""The languages that write so; lid.176 calls a fifth of the Tang poems Japanese, though none has any kana."""
_WRITTEN_ALONE: Final = re.compile(r"[\u1100-\u11ff\u3040-\u318f\u3400-\u9fff\uac00-\ud7a3]")
"""Their letters, so that other texts need not be counted."""
MIN_ALONE: Final = 0.9
"""Share of the letters from which a text is written in that script alone."""
WRITTEN_IN: Final = {"Cyrl": ("ru", "uk", "bg"), "Arab": ("ar", "fa", "ur")}
"""Scripts of several languages with a list of stop words; Latin has all the others."""


def identify(texts: Sequence[str], model: Path | None = None) -> list[tuple[str, float]]:
    """(language, confidence) of each text: a code of ISO 639, "und" if it is not known, and 0 ... 1.

    A model's confidence is its probability; by words it is the share of the winner among the two best languages.

    Args:
        model: a file of fastText, loaded once in each process; None goes by script and stop words.

    Raises:
        NoSuchFile, BadFile: the file is not there, or is no fastText model.
        MissingExtra: `fasttext-predict` is not installed.
    """
    heads = [" ".join(text[:MAX_CHARACTERS].split()) for text in texts]
    if model is None:
        return by_words(heads)
    known = _load(model)
    found = [_predicted(known, head) if head else ("und", 0.0) for head in heads]
    written = [k for k, head in enumerate(heads) if _WRITTEN_ALONE.search(head)]
    names, shares = scripts_of([heads[k] for k in written])
    for k, script, share in zip(written, names, shares.tolist(), strict=True):
        found[k] = _as_written(found[k], script, share)
    return found


@cache
def _load(path: Path) -> FastText:
    need(["data"])
    import fasttext

    if not path.is_file():
        raise NoSuchFile(f"no such language model: {path.as_posix()!r}", hint="give the path of lid.176.ftz")
    try:
        return fasttext.load_model(str(path))
    except (ValueError, RuntimeError, MemoryError) as error:
        raise BadFile(f"{path.as_posix()!r} is not a fastText model ({error})", hint="lid.176.ftz is one") from error


def _predicted(model: FastText, line: str) -> tuple[str, float]:
    # The model says 1.00005 now and then; bytes that UTF-8 cannot hold were mended when the text was read.
    labels, shares = model.predict(line, k=1, on_unicode_error="replace")
    return (labels[0].removeprefix("__label__"), min(1.0, float(shares[0]))) if labels else ("und", 0.0)


def _as_written(predicted: tuple[str, float], script: str, share: float) -> tuple[str, float]:
    """The model's answer, unless the text is written as its language is not."""
    languages = WRITE_ALONE.get(script)
    if languages is None or share < MIN_ALONE or predicted[0] in languages:
        return predicted
    return OF_SCRIPT[script], share


def by_words(texts: Sequence[str]) -> list[tuple[str, float]]:
    """(language, confidence) by the main script, and by stop words where a script writes many languages."""
    found: list[tuple[str, float]] = []
    for at in range(0, len(texts), BATCH):
        some = texts[at : at + BATCH]
        names, shares = scripts_of(some)
        found += [_by_words(*one) for one in zip(some, names, shares.tolist(), strict=True)]
    return found


def _by_words(text: str, script: str, share: float) -> tuple[str, float]:
    usual = OF_SCRIPT.get(script, "und")
    if script not in WRITTEN_IN and script != "Latn":
        return usual, share if usual != "und" else 0.0
    own = WRITTEN_IN.get(script)
    found = [item for item in _stop_words(text) if own is None or item[0] in own]
    if not found:
        return (usual, 0.5 * share) if usual != "und" else _apart_from_latin(text)
    (language, best), second = found[0], found[1][1] if len(found) > 1 else 0
    return language, share * best / (best + second)


def _apart_from_latin(text: str) -> tuple[str, float]:
    """The language of what is not Latin: a chapter in Chinese may hold more code than Chinese."""
    rest = _LATIN.sub("", text)
    if len(rest) < MIN_SHARE * len(text):
        return "und", 0.0
    language = OF_SCRIPT.get(main_script(rest)[0], "und")
    return language, len(rest) / len(text) if language != "und" else 0.0


def _stop_words(text: str) -> list[tuple[str, int]]:
    """(language, occurrences of its stop words), the most first, of languages with enough of them."""
    words = text.lower().split()
    of = languages_of()
    counts: Counter[str] = Counter()
    distinct: Counter[str] = Counter()
    for word, times in Counter(words).items():
        for name in of.get(word, ()):
            counts[name] += times
            distinct[name] += 1
    enough = [n for n in counts if distinct[n] >= MIN_DISTINCT and counts[n] >= MIN_SHARE * len(words)]
    return [(n, counts[n]) for n in sorted(enough, key=lambda n: (-counts[n], -distinct[n], n))]
