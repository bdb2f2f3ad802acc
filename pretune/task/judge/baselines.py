"""What is had for nothing. A model that does not beat its baseline has learnt nothing worth its size.

    labels    the most frequent one; a linear SVM on TF-IDF, of several labels one for each
    scores    the mean; ridge regression on TF-IDF
    answers   the most frequent one; the words of the question; the answer to the most similar question

Two texts that are compared have the features of each, what they share, and their cosine.
Words are cut by script: character 1- to 3-grams where a text is Han or kana (white space would make whole
sentences one word), words and pairs of words elsewhere. Everything is learnt from the training split.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretune.infer.classify import Given
from pretune.task.judge.closeness import is_cjk, words_of
from pretune.task.judge.figures import best_cut

MAX_FEATURES = 200_000
ROWS_AT_ONCE, INPUTS_AT_ONCE = 256, 4096


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


def features(train: Sequence[Given]) -> tuple[Any, Callable[[Sequence[Given]], Any]]:
    """TF-IDF of texts, learnt from them, and what gives that of others."""
    vectoriser, rows = tfidf(list(map(_joined, train)))
    if all(isinstance(one, str) for one in train):
        return rows, lambda inputs: vectoriser.transform(list(map(_joined, inputs)))
    return _compared(vectoriser, train), lambda inputs: _compared(vectoriser, inputs)


def _joined(one: Given) -> str:
    return one if isinstance(one, str) else "\n".join(one)


def in_parts(say: Callable[[Any], Any], of: Callable[[Sequence[Given]], Any], inputs: Sequence[Given]) -> list[Any]:
    """What is said of each input, with the features of a few in memory at once."""
    parts = (inputs[i : i + INPUTS_AT_ONCE] for i in range(0, len(inputs), INPUTS_AT_ONCE))
    return [value for part in parts for value in say(of(part)).tolist()]


def _compared(vectoriser: Any, inputs: Sequence[Given]) -> Any:
    """Of two texts a and b: a, b, a * b (what they share), |a - b|, and the cosine; one alone has an empty second."""
    from scipy.sparse import hstack

    pairs = [(one, "") if isinstance(one, str) else one for one in inputs]
    a, b = (vectoriser.transform([pair[k] for pair in pairs]) for k in (0, 1))
    both = a.multiply(b)
    return hstack([a, b, both, abs(a - b), both.sum(axis=1)], format="csr")


def svm_labels(train: Sequence[Given], labels: Sequence[str], inputs: Sequence[Given], *, seed: int) -> list[str]:
    """Labels of `inputs` by a linear SVM on TF-IDF (C = 1), learnt from `train`; of one label, that one."""
    from sklearn.svm import LinearSVC

    if len(set(labels)) == 1:
        return [labels[0]] * len(inputs)
    rows, of = features(train)
    machine = LinearSVC(random_state=seed % 2**32, max_iter=5000).fit(rows, list(labels))
    return list(map(sys.intern, in_parts(machine.predict, of, inputs)))


def svm_sets(
    train: Sequence[Given], sets: Sequence[Sequence[str]], inputs: Sequence[Given], *, seed: int
) -> list[tuple[str, ...]]:
    """Labels of `inputs` by a linear SVM for each label on TF-IDF; each says yes from where F1 was best in a
    cross-validation of three parts."""
    from sklearn.model_selection import KFold

    rows, of = features(train)
    asked = of(inputs)
    names = sorted({name for one in sets for name in one})
    parts = list(KFold(min(3, len(sets)), shuffle=True, random_state=seed % 2**32).split(rows)) if len(sets) > 1 else []
    said = []
    for name in names:
        holds, values = np.array([name in one for one in sets]), np.zeros(len(sets))
        for known, held in parts:
            values[held] = _margins(rows[known], holds[known], rows[held], seed)
        said.append(_margins(rows, holds, asked, seed) >= best_cut(values, holds, default=0.0))
    chosen = np.array(said).reshape(len(names), len(inputs)).T
    return [tuple(name for name, yes in zip(names, row, strict=True) if yes) for row in chosen]


def _margins(rows: Any, holds: NDArray[np.bool_], asked: Any, seed: int) -> NDArray[np.float64]:
    """How far each is on the side of yes; 1 or -1 where all training texts are on one side."""
    from sklearn.svm import LinearSVC

    if holds.all() or not holds.any():
        return np.full(asked.shape[0], 1.0 if holds.all() else -1.0)
    machine = LinearSVC(random_state=seed % 2**32, max_iter=5000).fit(rows, holds)
    return np.asarray(machine.decision_function(asked))


def ridge_scores(train: Sequence[Given], scores: Sequence[float], inputs: Sequence[Given]) -> list[float]:
    """Numbers for `inputs` by ridge regression on TF-IDF (alpha = 1), learnt from `train`."""
    from sklearn.linear_model import Ridge

    rows, of = features(train)
    return in_parts(Ridge().fit(rows, list(scores)).predict, of, inputs)


def nearest(train: Sequence[str], texts: Sequence[str]) -> list[int]:
    """For each text the number of the training text with the largest TF-IDF cosine; among equals the first."""
    vectoriser, rows = tfidf(train)
    found: list[int] = []
    for start in range(0, len(texts), ROWS_AT_ONCE):
        part = vectoriser.transform(texts[start : start + ROWS_AT_ONCE])
        found += [int(np.argmax(row)) for row in (part @ rows.T).toarray()]
    return found
