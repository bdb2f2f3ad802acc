"""The judge of texts made of others, translations and summaries: how near they are to any of the targets.

    rouge_l         the longest common run of words, of Chinese characters; the best of all targets
    bleu, chrf      sacreBLEU's, of all answers together, 0 to 1 (extra `translate`)
    length_ratio    words of all answers to words of their nearest targets: below 1 too short

Where targets are mostly in Han or kana, BLEU counts characters (`tokenize="zh"`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

from pretune.base.errors import NoTarget
from pretune.base.json import Json
from pretune.infer.answers import Text
from pretune.infer.predictor import Facts
from pretune.task.judge.baselines import nearest
from pretune.task.judge.closeness import is_cjk, rouge_l, word_for_word, words_of
from pretune.task.judge.judge import Asked, Baseline, Judge, Marks, Part
from pretune.task.judge.passages import sentences_of
from pretune.text.dataset.example import Pair

LEAD = 3
"""Sentences of a source that stand for its summary."""


class TextJudge(Judge):
    """ROUGE-L, BLEU, chrF; next to the source itself, its first sentences, and the target of the nearest source."""

    main: ClassVar[str] = "rouge_l"
    order: ClassVar[str] = "rouge_l"
    subject: ClassVar[str] = "Texts made of others"
    columns: ClassVar[tuple[str, ...]] = ("source", "wanted", "answer", "baseline_answer", "rouge_l")

    def asked(
        self, examples: Sequence[Pair], train: Sequence[Pair], labels: Sequence[str] | None
    ) -> tuple[list[Asked], list[str]]:
        asked = [asked_of(e) for e in examples if any(map(str.strip, e.targets))]
        if not asked:
            raise NoTarget("no pair of this split has a target", hint="look at the dataset")
        return asked, []

    def strange(self, examples: Sequence[Pair], labels: Sequence[str]) -> list[str]:
        return []

    def marks(self, answer: Text, asked: Asked) -> Marks:
        closeness = [rouge_l(answer.text, text) for text in asked.wanted]
        best = asked.wanted[closeness.index(max(closeness))]
        return {
            "rouge_l": round(max(closeness), 6),
            "exact": any(word_for_word(answer.text, text) for text in asked.wanted),
            "length_ratio": Part(len(words_of(answer.text)), len(words_of(best))),
        }

    def figures(self, answers: Sequence[Text], asked: Sequence[Asked]) -> dict[str, float]:
        return bleu_and_chrf([a.text for a in answers], [a.wanted for a in asked]) if find_spec("sacrebleu") else {}

    def tell(self, answers: Sequence[Text], asked: Sequence[Asked], facts: Facts) -> tuple[Json, list[str]]:
        """Of sources that are too long, answers that do not end, and figures that are not installed."""
        late, cut = (sum(a.finish in why for a in answers) for why in (("too-long",), ("length", "window")))
        told = {
            f"{late} sources are longer than the model's {facts.max_length} tokens and count as answered with "
            "nothing": late,
            f"{cut} of {len(answers)} answers did not end by themselves: raise max_tokens, or train longer": cut,
            "BLEU and chrF are missing: pip install 'pretune[translate]'": find_spec("sacrebleu") is None,
        }
        return {}, [text for text, holds in told.items() if holds]

    def baselines(self, asked: Sequence[Asked], train: Sequence[Pair], *, seed: int) -> list[Baseline]:
        """The source, its first sentences where it has more; of the training split the target of the nearest source."""
        leads = [lead(a.input) for a in asked]
        found = [Baseline("copy", "the source itself", [Text(a.input) for a in asked])]
        if leads != [a.input for a in asked]:
            found.append(Baseline("lead", f"the first {LEAD} sentences of the source", [Text(text) for text in leads]))
        if known := [a for a in map(asked_of, train) if a.wanted]:
            near = nearest([k.input for k in known], [a.input for a in asked])
            what = "the target of the most similar training source (TF-IDF)"
            found.append(Baseline("nearest_pair", what, [Text(known[k].wanted[0]) for k in near]))
        return found

    def row(self, asked: Asked, answer: Text, marks: Marks, baselines: Mapping[str, Any]) -> Json:
        strongest = [*baselines.values()][-1]
        return {
            "origin": asked.origin,
            "group": asked.group,
            "source": asked.input,
            "wanted": " | ".join(asked.wanted),
            "answer": answer.text,
            "rouge_l": marks["rouge_l"],
            "exact": marks["exact"],
            "baseline_answer": strongest.text,
        }


def asked_of(pair: Pair) -> Asked:
    """A source; `wanted`: its targets, without empty ones."""
    wanted = [text for text in pair.targets if text.strip()]
    return Asked(pair.source, wanted, " ".join(wanted), pair.origin)


def lead(source: str) -> str:
    """The first sentences of a text; all of it where it has no more."""
    places = sentences_of(source)
    return source[places[0][0] : places[LEAD - 1][1]] if len(places) > LEAD else source


def bleu_and_chrf(answers: Sequence[str], wanted: Sequence[Sequence[str]]) -> dict[str, float]:
    """sacreBLEU's BLEU (cased; 13a, of Chinese zh) and chrF2 of all answers together, in [0, 1].

    Source: Post 2018, arXiv:1804.08771; Popović 2015.
    """
    from sacrebleu.metrics import BLEU, CHRF

    most = max(map(len, wanted))
    streams = [[texts[k] if k < len(texts) else None for texts in wanted] for k in range(most)]
    chinese = is_cjk("".join(texts[0] for texts in wanted))
    metrics = {"bleu": BLEU(tokenize="zh" if chinese else "13a"), "chrf": CHRF()}
    return {name: metric.corpus_score(list(answers), streams).score / 100 for name, metric in metrics.items()}
