"""How near a piece of a context is to the wanted ones, by the arithmetic of the official scripts.

SQuAD    lower case, no ASCII punctuation, no articles, single blanks; F1 of the words, whatever their order
CMRC     lower case, no punctuation; Han and kana one by one, F1 of the longest run that both have

"The Norman conquest!" and "norman conquest of 1066": words norman conquest in common, P 2/2, R 2/4, F1 0.667
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from pretune.task.judge.closeness import CJK, is_cjk

ARTICLES = re.compile(r"\b(a|an|the)\b")
MARKS = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
"""What cmrc2018_evaluate.py takes out; its `……` is two characters and never found."""
PIECE = re.compile(f"[{CJK}]|[^\\W_{CJK}]+|[^\\w\\s]")
SENTENCE = re.compile(r"[^.!?。！？\n]*(?:[.!?](?=\S)[^.!?。！？\n]*)*[.!?。！？]*[\"”’」』)]*")


def exact_and_f1(given: str, wanted: Sequence[str], context: str) -> tuple[bool, float]:
    """Whether the answer is one of the wanted ones, and the best F1 with any; none wanted: it must be empty.

    A context mostly in Han or kana is judged as CMRC 2018 does, any other as SQuAD 2.0 does (where answers have words,
    SQuAD 1.1 gives the same). Of CMRC's script only the cut of Latin words differs: it asks NLTK.
    """
    said, words = (_bare, _pieces) if is_cjk(context) else (normalised, _words)
    common = longest_run if is_cjk(context) else overlap
    texts = [text for text in wanted if said(text)] or [""]
    return said(given) in {said(text) for text in texts}, max(_f1(words(given), words(text), common) for text in texts)


def normalised(text: str) -> str:
    """A text as the scripts of SQuAD compare it."""
    plain = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(ARTICLES.sub(" ", plain).split())


def overlap(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words two lists have in common, whatever their order."""
    return sum((Counter(one) & Counter(other)).values())


def longest_run(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest run of pieces that both lists have."""
    row, longest = [0] * (len(other) + 1), 0
    for piece in one:
        row = [0, *(row[k] + 1 if piece == two else 0 for k, two in enumerate(other))]
        longest = max(longest, *row)
    return longest


def _f1(given: Sequence[str], wanted: Sequence[str], common: Callable[[Sequence[str], Sequence[str]], int]) -> float:
    if not given or not wanted:
        return float(given == wanted)
    return 2 * common(given, wanted) / (len(given) + len(wanted))


def _words(text: str) -> list[str]:
    return normalised(text).split()


def _bare(text: str) -> str:
    return "".join(c for c in text.lower().strip() if c not in MARKS)


def _pieces(text: str) -> list[str]:
    return PIECE.findall(_bare(text))


def sentences_of(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text are, white space around them left out; the whole text where there is none."""
    found = [m.span() for m in SENTENCE.finditer(text) if m[0].strip()]
    return [(a + len(text[a:b]) - len(text[a:b].lstrip()), a + len(text[a:b].rstrip())) for a, b in found]
