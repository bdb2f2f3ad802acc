"""How near an answer is to the one that was wanted. An empty answer scores 0 and is never skipped.

wanted   The quick brown fox jumps over the lazy dog
given    The quick brown dog jumps on the log.
ROUGE-L  longest common run of words in order: the quick brown jumps the -> 5;  P 5/8, R 5/9, F 0.588
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pretune.text.dataset.example import keyword_pattern

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Scripts written without spaces: kana and Han. Hangul has spaces."""
_WORD = re.compile(f"[{CJK}]|[^\\W_{CJK}]+")
_CJK = re.compile(f"[{CJK}]")


def words_of(text: str) -> list[str]:
    """Words in lower case: runs of letters and digits, and every Han or kana character by itself."""
    return _WORD.findall(text.casefold())


def is_cjk(text: str) -> bool:
    """Whether a text is written mostly in Han or kana."""
    return 2 * len(_CJK.findall(text)) > len("".join(text.split()))


def has_cjk(text: str) -> bool:
    """Whether a text has a character of Han or kana."""
    return _CJK.search(text) is not None


def longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence; time len(a) x len(b)."""
    row = [0] * (len(b) + 1)
    for x in a:
        corner = 0
        for j, y in enumerate(b, start=1):
            above = row[j]
            row[j] = corner + 1 if x == y else max(above, row[j - 1])
            corner = above
    return row[-1]


def rouge_l(answer: str, wanted: str) -> float:
    """F-measure of the longest common subsequence of words, in [0, 1].

    Source: Lin 2004; with equal weight of precision and recall, and no stemming, as rouge-score computes it.
    """
    given, reference = words_of(answer), words_of(wanted)
    if not given or not reference:
        return float(given == reference and answer.strip() == wanted.strip())
    common = longest_common(given, reference)
    return 2 * common / (len(given) + len(reference))


def word_for_word(answer: str, wanted: str) -> bool:
    """Whether the two are the same text; only white space may differ."""
    return answer.split() == wanted.split()


def has_keyword(answer: str, keyword: str) -> bool:
    """Whether a keyword stands in the answer as whole words (`cat` is not in `concatenate`), in any case.

    A keyword without letters or digits (`++`) is looked for as it is; one between slashes is a regular expression.
    """
    if pattern := keyword_pattern(keyword):
        return bool(pattern.search(answer))
    wanted, given = words_of(keyword), words_of(answer)
    if not wanted:
        return keyword.casefold() in answer.casefold()
    starts = (i for i, word in enumerate(given) if word == wanted[0])
    return any(given[i : i + len(wanted)] == wanted for i in starts)
