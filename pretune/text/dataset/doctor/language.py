"""Texts in another language than nearly all the others of their field (a translation has a language on each side).

Without a model, languages in Latin letters are identified by frequent words, and short questions mislead: Polish has
`do`, `i` and `to` as well. So words that are common in this very data say nothing about a text that seems strange.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from pretune.base.sample import evenly
from pretune.text.clean.quality.language import identify
from pretune.text.dataset.doctor.findings import Check, Data, Finding, Level, counted

COMMON = 0.005
"""Share of the usual texts from which a word of theirs says nothing about another."""

Numbered = list[tuple[int, str]]
"""Row numbers and a text, or a language, of each."""


class Languages(Check):
    """Texts in another language than nearly all others."""

    kind: str = "languages"
    level: ClassVar[Level] = "hint"
    advice: ClassVar[str] = "Look whether they belong here; a model learns a language from many rows or not at all."
    bulk: float = Field(default=0.8, gt=0.5, le=1)
    """Share of the texts whose language is known, from which it is that of the rest."""
    confidence: float = Field(default=0.6, ge=0, le=1)
    """Below it a text's language counts as unknown."""
    model: str | None = None
    """A fastText model, say lid.176.ftz; without one languages are identified by script and frequent words."""

    most: int = Field(default=20_000, gt=0)
    """Rows that are looked at, evenly spread; half a second."""

    def find(self, data: Data) -> Iterator[Finding]:
        fields: dict[str, Numbered] = {}
        for k in evenly(range(len(data.rows)), self.most):
            for name, text in data.pieces[k]:
                fields.setdefault(name, []).append((k, text))
        strange: dict[int, str] = {}
        usual: dict[str, str] = {}
        for name, texts in fields.items():
            usual[name], found = self._strange(texts)
            strange |= found
        if strange:
            listed = ", ".join(f"{tag} ({n})" for tag, n in Counter(strange.values()).most_common(8))
            main = " and ".join(dict.fromkeys(u for u in usual.values() if u))
            rows = [data.rows[k] for k in sorted(strange)]
            yield self.finding(f"{counted(len(rows), 'row')} in another language than {main}: {listed}", rows)

    def _strange(self, texts: Numbered) -> tuple[str, dict[int, str]]:
        """The usual language, "" if there is none, and row -> language of those in another."""
        tags = self._identified([text for _, text in texts])
        counts = Counter(tag for tag in tags if tag)
        usual, number = counts.most_common(1)[0] if counts else ("", 0)
        if number < self.bulk * counts.total() or not number:
            return "", {}
        common = _common([text for (_, text), tag in zip(texts, tags, strict=True) if tag == usual])
        doubted = [(k, text, tag) for (k, text), tag in zip(texts, tags, strict=True) if tag not in ("", usual)]
        again = self._identified([_without(text, common) for _, text, _ in doubted])
        return usual, {k: tag for (k, _, tag), sure in zip(doubted, again, strict=True) if sure == tag}

    def _identified(self, texts: Sequence[str]) -> list[str]:
        """The language of each text, "" where it is not sure."""
        found = identify(texts, Path(self.model) if self.model else None)
        return [tag if tag != "und" and sure >= self.confidence else "" for tag, sure in found]


def _common(texts: Sequence[str]) -> set[str]:
    """Words that are in many of these texts."""
    counts = Counter(word for text in texts for word in set(text.lower().split()))
    least = max(2, COMMON * len(texts))
    return {word for word, number in counts.items() if number >= least}


def _without(text: str, words: set[str]) -> str:
    return " ".join(word for word in text.split() if word.lower() not in words)
