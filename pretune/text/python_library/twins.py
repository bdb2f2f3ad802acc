"""Near copies: texts that share 70 % of their words belong to one cluster, and a cluster stays in one split of a split.

Prefix filtering (Chaudhuri et al. 2006; Bayardo et al. 2007): with the words of a text from the rarest to the
commonest, two texts with Jaccard >= t share one of their first n - ceil(t n) + 1 words, so only those are indexed.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

THRESHOLD = 0.7


class Clusters:
    """Numbers 0 ... n-1 joined into clusters (union-find); a cluster is named by its smallest member."""

    def __init__(self, num: int):
        self.parent = list(range(num))

    def find(self, k: int) -> int:
        while self.parent[k] != k:
            self.parent[k] = self.parent[self.parent[k]]
            k = self.parent[k]
        return k

    def join(self, a: int, b: int) -> None:
        a, b = self.find(a), self.find(b)
        self.parent[max(a, b)] = min(a, b)


def join_near_copies(clusters: Clusters, texts: Sequence[str | None], threshold: float = THRESHOLD) -> None:
    """Joins k and j where the sets of words of texts[k] and texts[j] have Jaccard >= threshold; None is passed over."""
    rows = _rare_first(texts)
    index: dict[int, list[int]] = {}
    for k in sorted(range(len(rows)), key=lambda k: (len(rows[k]), k)):
        prefix = rows[k][: len(rows[k]) - math.ceil(threshold * len(rows[k])) + 1]
        mine = set(rows[k])
        for j in sorted({j for word in prefix for j in index.get(word, ())}):
            is_long_enough = len(rows[j]) >= threshold * len(mine)
            if is_long_enough and clusters.find(j) != clusters.find(k) and _jaccard(mine, rows[j]) >= threshold:
                clusters.join(k, j)
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
