"""Near copies: texts that share 70 % of their words are in one cluster, and a cluster is in one split.

Words here, not shingles as in dedup/near.py: two docstrings that say one thing in another order are copies, too. (With
shingles 4 % of the questions would change their split.)

Prefix filtering (Chaudhuri et al. 2006; Bayardo et al. 2007): with the words of a text from the rarest to the
commonest, two texts with Jaccard >= t share one of their first n - ceil(t n) + 1 words, so only those are indexed.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from pretune.text.dedup.near import Roots

THRESHOLD = 0.7


def join_near_copies(roots: Roots[int], texts: Sequence[str | None]) -> None:
    """Joins k and j where the sets of words of texts[k] and texts[j] have Jaccard >= 0.7; None is passed over."""
    rows = _rare_first(texts)
    index: dict[int, list[int]] = {}
    for k in sorted(range(len(rows)), key=lambda k: (len(rows[k]), k)):
        prefix = rows[k][: len(rows[k]) - math.ceil(THRESHOLD * len(rows[k])) + 1]
        mine = set(rows[k])
        for j in sorted({j for word in prefix for j in index.get(word, ())}):
            is_long_enough = len(rows[j]) >= THRESHOLD * len(mine)
            if is_long_enough and roots.of(j) != roots.of(k) and _jaccard(mine, rows[j]) >= THRESHOLD:
                roots.join(k, j)
        for word in prefix:
            index.setdefault(word, []).append(k)


def _rare_first(texts: Sequence[str | None]) -> list[list[int]]:
    sets = [sorted(set(re.findall(r"\w+", text.lower()))) if text else [] for text in texts]
    counts = Counter(word for row in sets for word in row)
    rank = {word: k for k, word in enumerate(sorted(counts, key=lambda word: (counts[word], word)))}
    return [sorted(rank[word] for word in row) for row in sets]


def _jaccard(mine: set[int], theirs: list[int]) -> float:
    shared = sum(word in mine for word in theirs)
    return shared / (len(mine) + len(theirs) - shared)
