"""What is had for nothing. A model that does not beat its baseline has learnt nothing worth its size.

    labels    the most frequent one; a linear SVM on TF-IDF
    answers   the most frequent one; the words of the question; the answer to the most similar question

Words are cut by script: character 1- to 3-grams where a text is Han or kana (white space would make whole
sentences one word), words and pairs of words elsewhere. Everything is learnt from the training split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pretune.task.judge.closeness import is_cjk, words_of

MAX_FEATURES = 200_000
ROWS_AT_ONCE = 256


def most_frequent(values: Sequence[str]) -> str:
    """The most frequent value; among equals the first in the alphabet."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def features_of(text: str) -> list[str]:
    """Character 1- to 3-grams of a text in Han or kana, words and pairs of words of any other."""
    words = words_of(text)
    longest = 3 if is_cjk(text) else 2
    return [" ".join(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words) - n + 1)]


def tfidf(texts: Sequence[str]) -> tuple[Any, Any]:
    """A fitted TF-IDF vectoriser (sublinear counts, unit rows), and the rows of the texts it was fitted on."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectoriser = TfidfVectorizer(analyzer=features_of, sublinear_tf=True, max_features=MAX_FEATURES)
    try:
        return vectoriser, vectoriser.fit_transform(texts)
    except ValueError:  # no text has a word: let every text have one and the same
        vectoriser = TfidfVectorizer(analyzer=lambda text: [*features_of(text), ""])
        return vectoriser, vectoriser.fit_transform(texts)


def svm_labels(train: Sequence[str], labels: Sequence[str], texts: Sequence[str], *, seed: int) -> list[str]:
    """Labels of `texts` by a linear SVM on TF-IDF (C = 1), learnt from `train`; of one label, that one."""
    from sklearn.svm import LinearSVC

    if len(set(labels)) == 1:
        return [labels[0]] * len(texts)
    vectoriser, rows = tfidf(train)
    machine = LinearSVC(random_state=seed % 2**32, max_iter=5000).fit(rows, list(labels))
    return [str(name) for name in machine.predict(vectoriser.transform(texts))]


def nearest(train: Sequence[str], texts: Sequence[str]) -> list[int]:
    """For each text the number of the training text with the largest TF-IDF cosine; among equals the first."""
    vectoriser, rows = tfidf(train)
    found: list[int] = []
    for start in range(0, len(texts), ROWS_AT_ONCE):
        part = vectoriser.transform(texts[start : start + ROWS_AT_ONCE])
        found += [int(np.argmax(row)) for row in (part @ rows.T).toarray()]
    return found
