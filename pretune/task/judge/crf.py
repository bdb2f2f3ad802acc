"""A linear-chain CRF on hand-made features (python-crfsuite, extra `crf`): what tagging was before pretrained models.

Of each word: itself, its beginning and end, and the words (or characters) and forms (Aa9-) up to two places away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from pretune.base.extras import need
from pretune.text.dataset.example import Tagged

SETTINGS = {"c1": 0.1, "c2": 0.1, "max_iterations": 100, "feature.possible_transitions": True}
"""L-BFGS with both penalties: those of the tutorial of sklearn-crfsuite on CoNLL 2002."""


def crf_tags(train: Sequence[Tagged], texts: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The likeliest tags of every text. Raises MissingExtra."""
    need(["crf"])
    import pycrfsuite

    trainer = pycrfsuite.Trainer(verbose=False)
    for example in train:
        trainer.append(features_of(example.tokens), list(example.tags))
    trainer.set_params(SETTINGS)
    with TemporaryDirectory() as folder:
        file = str(Path(folder) / "model")
        trainer.train(file)
        tagger = pycrfsuite.Tagger()
        tagger.open(file)
        try:
            return [tuple(tagger.tag(features_of(words))) for words in texts]
        finally:
            tagger.close()


def features_of(words: Sequence[str]) -> list[list[str]]:
    """The features of every word of a text."""
    around = ["<2", "<1", *words, ">1", ">2"]
    return [_of_word(word, around[k : k + 5]) for k, word in enumerate(words)]


def _of_word(word: str, near: Sequence[str]) -> list[str]:
    lows, forms = [one.lower() for one in near], [_form(one) for one in near]
    places = {
        **{f"word{k - 2}": one for k, one in enumerate(lows)},
        **{f"form{k - 2}": one for k, one in enumerate(forms)},
    }
    low, pairs = lows[2], {"pair-1": f"{lows[1]} {lows[2]}", "pair+1": f"{lows[2]} {lows[3]}"}
    parts = {"word": word, "begin": low[:3], "end3": low[-3:], "end2": low[-2:]}
    return ["bias", *(f"{name}={value}" for name, value in {**places, **parts, **pairs}.items())]


def _form(word: str) -> str:
    """Aa of Ann, A9 of B52, 9-9 of 3-1."""
    kinds = re.sub(r"\d", "9", re.sub(r"[^\W\d_]", lambda found: "A" if found[0].isupper() else "a", word))
    return "".join(kind for kind, _ in groupby(kinds))
