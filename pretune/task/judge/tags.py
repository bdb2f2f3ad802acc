"""The judge of taggers: entities found, of those that are there, as conlleval and seqeval count them.

    wanted   B-PER I-PER O   B-LOC      entities 0-2 PER, 3-4 LOC
    said     B-PER I-PER O   B-PER      0-2 PER is right; precision 1/2, recall 1/2, F1 0.5; 3 of 4 tags are right

An entity is right where both ends and the kind are. All counts are over all sentences together (micro).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

from pretune.base.errors import NotSupported
from pretune.base.json import Json, JsonMap
from pretune.infer.answers import Tags
from pretune.infer.predictor import Facts
from pretune.infer.tag import entities_in
from pretune.task.judge.baselines import most_frequent
from pretune.task.judge.judge import Asked, Baseline, Judge, Marks, Part, whole
from pretune.text.dataset.cutting import joined
from pretune.text.dataset.example import Tagged
from pretune.text.dataset.shapes.schemes import parts_of, pieces_of

Pieces = set[tuple[int, int, str]]


class TagJudge(Judge):
    """F1 of entities; next to each word's most frequent tag and, where it is installed, a linear-chain CRF."""

    main: ClassVar[str] = "f1"
    order: ClassVar[str] = "f1_of_text"
    subject: ClassVar[str] = "Entities"
    columns: ClassVar[tuple[str, ...]] = ("wanted", "said", "f1_of_text")
    marked: ClassVar[tuple[str, ...]] = ("wanted", "said", "baseline_said")

    def asked(
        self, examples: Sequence[Tagged], train: Sequence[Tagged], labels: Sequence[str] | None
    ) -> tuple[list[Asked], list[str]]:
        asked = [Asked(e.tokens, e.tags, joined(e.tokens)[0], e.origin) for e in examples]
        strange = [] if labels is None else self.strange(examples, labels)
        return asked, _told(asked, strange) if strange else []

    def strange(self, examples: Sequence[Tagged], labels: Sequence[str]) -> list[str]:
        return sorted(_kinds(e.tags for e in examples) - _kinds([labels]))

    def marks(self, answer: Tags, asked: Asked) -> Marks:
        return tag_marks(answer.tags, asked.wanted)

    def figures(self, answers: Sequence[Tags], asked: Sequence[Asked]) -> dict[str, float]:
        """Mean F1 of the kinds that occur."""
        classes = by_kind([a.tags for a in answers], [a.wanted for a in asked])
        return {"macro_f1": sum(row["f1"] for row in classes.values()) / len(classes) if classes else 0.0}

    def tell(self, answers: Sequence[Tags], asked: Sequence[Asked], facts: Facts) -> tuple[Json, list[str]]:
        """Figures by kind; of words that were not read, and of a baseline that is not installed."""
        told = {
            f"{(unread := sum(a.num_unread for a in answers))} words are behind the model's {facts.max_length} tokens "
            "or have no token, and count as tagged O": unread,
            "the CRF baseline is missing: pip install 'pretune[crf]'": find_spec("pycrfsuite") is None,
        }
        classes = by_kind([a.tags for a in answers], [a.wanted for a in asked])
        return {"classes": classes}, [text for text, holds in told.items() if holds]

    def baselines(self, asked: Sequence[Asked], train: Sequence[Tagged], *, seed: int) -> list[Baseline]:
        """None without a training split."""
        if not train:
            return []
        words = [a.input for a in asked]
        what = "each word's most frequent tag in the training split; of other words O"
        found = [Baseline("word_tags", what, [Tags(tags) for tags in tags_by_word(train, words)])]
        if find_spec("pycrfsuite"):
            from pretune.task.judge.crf import crf_tags

            what = "a linear-chain CRF on words, endings and neighbours"
            found.append(Baseline("crf", what, [Tags(tags) for tags in crf_tags(train, words)]))
        return found

    def row(self, asked: Asked, answer: Tags, marks: Marks, baselines: Mapping[str, Any]) -> Json:
        f1, theirs = marks["f1"], baselines.get("crf") or baselines.get("word_tags")
        return {
            "origin": asked.origin,
            "group": asked.group,
            "text": asked.text,
            "wanted": _places(asked.input, asked.wanted),
            "said": _places(asked.input, answer.tags),
            "baseline_said": theirs and _places(asked.input, theirs.tags),
            "f1_of_text": round(whole([f1]), 6) if f1.below else 1.0,
        }

    def mark_in(self, row: JsonMap) -> Part:
        mine, true = ({(e["start"], e["end"], e["label"]) for e in row[name]} for name in ("said", "wanted"))
        return Part(2 * len(mine & true), len(mine) + len(true))


def _told(asked: Sequence[Asked], strange: Sequence[str]) -> list[str]:
    """What to say of kinds in the data that the model never gives; NotSupported when it gives none of them."""
    if {*strange} == _kinds(a.wanted for a in asked):
        problem = f"the data has entities of {', '.join(strange[:8])}, and the model knows none of them"
        raise NotSupported(problem, hint="evaluate on data with the tags that the model was fine-tuned on")
    number = sum(kind in strange for a in asked for _, _, kind in pieces_of(a.wanted))
    return [f"{number} entities are of a kind that the model does not know, and count as missed: {', '.join(strange)}"]


def _kinds(sentences: Any) -> set[str]:
    return {kind for tags in sentences for tag in tags if (kind := parts_of(tag)[1])}


def _places(words: Sequence[str], tags: Sequence[str]) -> list[Json]:
    entities = entities_in(*joined(words), tags)
    return [{"start": e.start, "end": e.end, "label": e.label} for e in entities]


# ---- figures ------------------------------------------------------------------------------------


def tag_marks(said: Sequence[str], wanted: Sequence[str]) -> dict[str, Part]:
    """f1, precision and recall of the entities of one text, and accuracy of its tags: what each adds to the whole."""
    mine, true = set(pieces_of(said)), set(pieces_of(wanted))
    hits, right = len(mine & true), sum(a == b for a, b in zip(said, wanted, strict=True))
    return {
        "f1": Part(2 * hits, len(mine) + len(true)),
        "precision": Part(hits, len(mine)),
        "recall": Part(hits, len(true)),
        "accuracy": Part(right, len(wanted)),
    }


def tag_figures(said: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]) -> dict[str, float]:
    """The same of all texts together."""
    marks = [tag_marks(*pair) for pair in zip(said, wanted, strict=True)]
    return {name: whole([m[name] for m in marks]) for name in marks[0]}


def by_kind(said: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support (entities of it) of every kind."""
    mine, true = (Counter[str](), Counter[str]())
    hits = Counter[str]()
    for one, other in zip(map(_pieces, said), map(_pieces, wanted), strict=True):
        for counter, pieces in ((mine, one), (true, other), (hits, one & other)):
            counter.update(kind for _, _, kind in pieces)
    return {kind: _row(hits[kind], mine[kind], true[kind]) for kind in sorted({*mine, *true})}


def _pieces(tags: Sequence[str]) -> Pieces:
    return set(pieces_of(tags))


def _row(hits: int, said: int, true: int) -> dict[str, float]:
    ratios = {"precision": Part(hits, said), "recall": Part(hits, true), "f1": Part(2 * hits, said + true)}
    return {**{name: whole([part]) for name, part in ratios.items()}, "support": true}


# ---- baselines ----------------------------------------------------------------------------------


def tags_by_word(train: Sequence[Tagged], texts: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The tag that each word has most often in `train`; O for words that are not there."""
    seen: dict[str, list[str]] = {}
    for example in train:
        for word, tag in zip(example.tokens, example.tags, strict=True):
            seen.setdefault(word, []).append(tag)
    often = {word: most_frequent(tags) for word, tags in seen.items()}
    return [tuple(often.get(word, "O") for word in words) for words in texts]
