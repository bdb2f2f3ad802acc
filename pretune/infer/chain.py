"""The best sequence of tags under a linear-chain CRF (model/chain.py), by the algorithm of Viterbi.

*W words, K tags.*
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def best_path(scores_WK: np.ndarray, *, first: ArrayLike, pairs: ArrayLike, last: ArrayLike) -> Sequence[int]:
    """The tags of W words whose scores, with those of each two in a row, add up to the most."""
    if not len(scores_WK):
        return []
    pairs_KK = np.asarray(pairs)
    paths_K = np.asarray(first) + scores_WK[0]
    before = []
    for scores_K in scores_WK[1:]:
        longer_KK = paths_K[:, None] + pairs_KK
        before.append(longer_KK.argmax(axis=0))
        paths_K = longer_KK.max(axis=0) + scores_K
    found = [int((paths_K + np.asarray(last)).argmax())]
    for best_K in reversed(before):
        found.append(int(best_K[found[-1]]))
    return found[::-1]
