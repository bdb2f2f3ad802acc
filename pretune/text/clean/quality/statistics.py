"""Statistics of texts: the columns that every rule reads.

A text is cut into pieces of at most 131,072 characters (at a line end), pieces are measured side by side in one numpy
batch, and the counts of the pieces of a text add up. Small texts so cost little, and a large one little memory.

    texts -> pieces -> batch of code points -> cells, units, lines -> counts [P, ...] -> shares [N]

A **unit** is a word between white space, or a single character of a script without spaces (Chinese, Japanese, Thai):

    "GPT-4 是模型。" -> [GPT-4, 是, 模, 型, 。]

Units and lines are compared in lower case, by 64-bit hashes. Repetition is looked for within a piece, so that a
book is not repetitive for being long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from pretune.text.clean.quality import scripts, words
from pretune.text.clean.quality.counting import BATCH, BATCH_PIECES, REPEATED, TOP, Counts, Ints, count, pieces_of
from pretune.text.read.characters import batches

Value = float | int | str
Columns = dict[str, list[Value]]

GOPHER: Final = "Rae et al. 2021, arXiv:2112.11446, appendix A1"
C4: Final = "Raffel et al. 2020, arXiv:1910.10683, section 2.2"
FINEWEB: Final = "Penedo et al. 2024, arXiv:2406.17557, section 3.6"

ABOUT: Final = {
    "characters": "code points, white space included",
    "visible_characters": "code points that are not white space",
    "words": f"units: words of spaced scripts, characters of the others ({GOPHER})",
    "mean_word_length": f"visible characters per unit ({GOPHER})",
    "letter_share": "letters and marks among the visible characters",
    "digit_share": "figures of any script among the visible characters",
    "white_space_share": "white space among all characters",
    "punctuation_share": "punctuation among the visible characters",
    "symbol_share": "symbols (+ = $ and emoji) among the visible characters",
    "upper_case_share": "upper-case letters among the letters",
    "script": "ISO 15924 name of the main script; Jpan for Han with kana, Zyyy without letters",
    "script_share": "letters of that script among the letters",
    "alphabetic_word_share": f"units with at least one letter ({GOPHER})",
    "hashes_per_word": f"# signs per unit ({GOPHER})",
    "ellipses_per_word": f"... or … per unit ({GOPHER})",
    "sentences": f"ends of sentences in any script ({C4})",
    "lines": "lines that are not blank",
    "mean_line_length": "characters per line, white space at its ends not counted",
    "lines_under_30_share": f"lines shorter than 30 characters ({FINEWEB})",
    "lines_under_12_share": "lines shorter than 12 characters: the same for scripts without spaces (ours)",
    "terminal_line_share": f"lines that end with . ! ? … or a closing quotation mark, in any script ({C4}; {FINEWEB})",
    "bullet_line_share": f"lines that begin with a bullet, a hyphen or an asterisk ({GOPHER})",
    "ellipsis_line_share": f"lines that end with ... or … ({GOPHER})",
    "duplicate_line_share": f"lines that repeat an earlier one ({GOPHER})",
    "duplicate_line_character_share": f"characters in such lines ({GOPHER}; {FINEWEB})",
    "paragraphs": "runs of lines without a blank one",
    "duplicate_paragraph_share": f"paragraphs that repeat an earlier one ({GOPHER})",
    "duplicate_paragraph_character_share": f"characters in such paragraphs ({GOPHER})",
    **{f"top_{n}gram_share": f"visible characters in the most frequent {n}-gram of units ({GOPHER})" for n in TOP},
    **{f"repeated_{n}gram_share": f"visible characters in {n}-grams that occur again ({GOPHER})" for n in REPEATED},
    "often_10gram_share": "visible characters in 10-grams that occur ten times or more (ours: a loop, not a chorus)",
    "stop_word_language": "the language whose stop words are most frequent, und if there are none",
    "stop_words": f"occurrences of that language's stop words ({GOPHER} counts eight English ones)",
    "distinct_stop_words": f"how many different ones of them, in the richest piece ({GOPHER})",
    "stop_word_share": "stop words among the units",
    "replacement_share": "U+FFFD among all characters: bytes that could not be decoded",
    "control_share": "control characters, surrogates and private use among all characters",
    "curly_brace_share": f"{{ and }} among the visible characters ({C4})",
    "lorem_ipsum": f"occurrences of `lorem ipsum` ({C4})",
    "javascript_lines": f"lines that speak of JavaScript ({C4})",
}
"""Every column: what it counts, and who proposed it."""

_INTEGERS = ("characters", "visible_characters", "words", "sentences", "lines", "paragraphs", "stop_words")
_COUNTS = frozenset({*_INTEGERS, "distinct_stop_words", "lorem_ipsum", "javascript_lines"})


def _type(name: str) -> pa.DataType:
    if name in ("script", "stop_word_language"):
        return pa.string()
    return pa.int64() if name in _COUNTS else pa.float32()


COLUMNS: Final[dict[str, pa.DataType]] = {name: _type(name) for name in ABOUT}
"""Column -> type. Shares are 0 ... 1, and float32: `measure_all` rounds so too, so a threshold decides alike."""


def measure_all(texts: Sequence[str]) -> list[dict[str, Value]]:
    """The statistics of each text, one entry per column of COLUMNS: the same as for it alone."""
    if not texts:
        return []
    pieces = [pieces_of(text) for text in texts]
    together = batches((piece for of in pieces for piece in of), BATCH, BATCH_PIECES)
    counts = _joined([count(batch) for batch in together])
    firsts = np.cumsum([0, *(len(of) for of in pieces[:-1])])
    columns = _columns({name: _adder(name).reduceat(of, firsts) for name, of in counts.items()})
    columns["lorem_ipsum"] = [text.count("orem ipsum") + text.count("OREM IPSUM") for text in texts]
    columns["javascript_lines"] = [_javascript_lines(text) for text in texts]
    return [dict(zip(COLUMNS, row, strict=True)) for row in zip(*(columns[name] for name in COLUMNS), strict=True)]


def _adder(name: str) -> np.ufunc:
    """How the counts of pieces join: different words are not different again in the next piece."""
    return np.maximum if name == "distinct_stop" else np.add


def _javascript_lines(text: str) -> int:
    if not any(part in text for part in ("avascript", "avaScript", "AVASCRIPT")):
        return 0
    return sum("javascript" in line.lower() for line in text.split("\n"))


def _joined(counts: Sequence[Counts]) -> Counts:
    return {name: np.concatenate([one[name] for one in counts]) for name in counts[0]}


# ---- from counts to columns ---------------------------------------------------------------------


def _share(part: Ints, whole: Ints) -> list[float]:
    """part / whole, 0 where there is nothing, rounded to float32 as the column will be."""
    shares: list[float] = (part / np.maximum(whole, 1)).astype(np.float32).tolist()
    return shares


def _columns(counts: Counts) -> Columns:
    """The counts of each text as columns of N values."""
    return _character_columns(counts) | _word_columns(counts) | _line_columns(counts) | _stop_columns(counts)


def _character_columns(counts: Counts) -> Columns:
    cells = counts["cells"]
    characters = cells.sum(axis=1)
    white = cells[:, [scripts.NEWLINE, scripts.WHITE]].sum(axis=1)
    letters = cells[:, scripts.LETTERS :].sum(axis=1)
    visible, marks = characters - white, cells[:, scripts.NARROW_END : scripts.LETTERS]
    script, share = scripts.main_scripts(scripts.by_script(cells))
    return {
        "characters": characters.tolist(),
        "visible_characters": visible.tolist(),
        "letter_share": _share(letters, visible),
        "digit_share": _share(cells[:, scripts.DIGIT], visible),
        "white_space_share": _share(white, characters),
        "punctuation_share": _share(marks.sum(axis=1), visible),
        "symbol_share": _share(cells[:, scripts.SYMBOL], visible),
        "upper_case_share": _share(cells[:, scripts.LETTERS + 1 :: 2].sum(axis=1), letters),
        "script": script,
        "script_share": share.astype(np.float32).tolist(),
        "replacement_share": _share(cells[:, scripts.REPLACEMENT], characters),
        "control_share": _share(cells[:, [scripts.CONTROL, scripts.PRIVATE]].sum(axis=1), characters),
        "curly_brace_share": _share(cells[:, scripts.CURLY], visible),
    }


def _word_columns(counts: Counts) -> Columns:
    num, cells = counts["words"], counts["cells"]
    visible = cells.sum(axis=1) - cells[:, scripts.NEWLINE] - cells[:, scripts.WHITE]
    return {
        "words": num.tolist(),
        "mean_word_length": _share(visible, num),
        "alphabetic_word_share": _share(counts["alphabetic_words"], num),
        "hashes_per_word": _share(cells[:, scripts.HASH], num),
        "ellipses_per_word": _share(counts["ellipses"], num),
        "sentences": counts["sentences"].tolist(),
        **{f"top_{n}gram_share": _share(np.minimum(counts[f"top_{n}gram"], visible), visible) for n in TOP},
        **{f"repeated_{n}gram_share": _share(counts[f"repeated_{n}gram"], visible) for n in REPEATED},
        "often_10gram_share": _share(counts["often"], visible),
    }


def _line_columns(counts: Counts) -> Columns:
    num, paragraphs = counts["lines"], counts["paragraphs"]
    flags = ("lines_under_30", "lines_under_12", "terminal_lines", "bullet_lines", "ellipsis_lines", "duplicate_lines")
    return {
        "lines": num.tolist(),
        "mean_line_length": _share(counts["line_characters"], num),
        **{f"{name.replace('_lines', '_line')}_share": _share(counts[name], num) for name in flags},
        "duplicate_line_character_share": _share(counts["duplicate_line_characters"], counts["line_characters"]),
        "paragraphs": paragraphs.tolist(),
        "duplicate_paragraph_share": _share(counts["duplicate_paragraphs"], paragraphs),
        "duplicate_paragraph_character_share": _share(
            counts["duplicate_paragraph_characters"], counts["paragraph_characters"]
        ),
    }


def _stop_columns(counts: Counts) -> Columns:
    names, stop, distinct = list(words.STOP_WORDS), counts["stop"], counts["distinct_stop"]
    best, occurrences = stop.argmax(axis=1), stop.max(axis=1)
    found = zip(best.tolist(), occurrences.tolist(), strict=True)
    return {
        "stop_word_language": [names[k] if n else "und" for k, n in found],
        "stop_words": occurrences.tolist(),
        "distinct_stop_words": distinct[np.arange(len(best)), best].tolist(),
        "stop_word_share": _share(occurrences, counts["words"]),
    }
