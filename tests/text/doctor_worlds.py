"""Ten clean sets of labelled data, over all nine shapes, and forty ways to spoil one of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pretune.text.dataset.example import (
    Answer,
    Dialogue,
    Labelled,
    Message,
    MultiLabelled,
    Pair,
    Preference,
    Question,
    Ranking,
    ScoredText,
    Tagged,
)

SIZES = {"train": 60, "validation": 15, "test": 15}
ENGLISH = """
the of and to in is that it was for with this from they have a house river mountain blue green quickly singing
winter summer letter garden window teacher student market bridge forest island music paper silver golden quiet
loud early late small large road train ship harbour kitchen table bread water stone fire cloud rain storm candle
"""
CHINESE = "天地人山水火木金土日月星云雨风雪春夏秋冬东南西北上下左右中大小多少高低长短新旧快慢明暗红黄蓝绿白黑书笔纸墨城市村路桥河海湖岛林花草树叶鸟鱼马牛羊"
Splits = dict[str, list[Any]]


class Words:
    """Sentences by chance that do not resemble each other."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)

    def english(self, number: int = 14) -> str:
        return " ".join(self.rng.choices(ENGLISH.split(), k=number)).capitalize() + "."

    def chinese(self, number: int = 18) -> str:
        return "的" + "".join(self.rng.choices(CHINESE, k=number)) + "。"


def _splits(make: Callable[[int, str], Any]) -> Splits:
    at = iter(range(10_000))
    return {split: [make(next(at), f"{split}.jsonl#{k}") for k in range(n)] for split, n in SIZES.items()}


def labels(seed: int) -> Splits:
    w = Words(seed)
    return _splits(lambda k, o: Labelled(w.english(), ("good", "bad", "so-so")[k % 3], o))


def labels_zh(seed: int) -> Splits:
    w = Words(seed)
    return _splits(lambda k, o: Labelled(w.chinese(), ("好", "坏")[k % 2], o))


def many_labels(seed: int) -> Splits:
    w = Words(seed)
    return _splits(lambda k, o: MultiLabelled(w.english(), tuple(sorted({"abc"[k % 3], "abc"[k * 7 % 3]})), o))


def scores(seed: int) -> Splits:
    w = Words(seed)
    return _splits(lambda k, o: ScoredText(w.english(), float(k % 5), o, w.english()))


def tags(seed: int) -> Splits:
    w = Words(seed)

    def make(k: int, origin: str) -> Tagged:
        tokens = w.english(12).split()
        kind = ("PER", "LOC")[k % 2]
        return Tagged(tuple(tokens), ("O", f"B-{kind}", f"I-{kind}", *["O"] * 9), origin)

    return _splits(make)


def spans(seed: int) -> Splits:
    w = Words(seed)

    def make(k: int, origin: str) -> Question:
        context = w.chinese(60)
        return Question(f"{w.chinese(8)[1:-1]}？", context, (Answer(context[20:24], 20),), origin)

    return _splits(make)


def pairs(seed: int) -> Splits:
    w = Words(seed)
    return _splits(lambda k, o: Pair(w.chinese(20), (w.english(12),), o))


def dialogues(seed: int) -> Splits:
    w = Words(seed)

    def make(k: int, origin: str) -> Dialogue:
        turns = [("user", w.english()), ("assistant", w.english()), ("user", w.english()), ("assistant", w.english())]
        return Dialogue(tuple(Message(r, c) for r, c in [("system", "Be short."), *turns]), origin)

    return _splits(make)


def preferences(seed: int) -> Splits:
    w = Words(seed)
    return _splits(lambda k, o: Preference((Message("user", w.english()),), w.english(), w.english(), o))


def rankings(seed: int) -> Splits:
    w = Words(seed)

    def make(k: int, origin: str) -> Ranking:
        scores = [0.0] * 4
        scores[k % 4] = 1.0
        return Ranking(w.english(), tuple(w.english(6) for _ in range(4)), tuple(scores), origin)

    return _splits(make)


CLEAN: dict[str, tuple[str, Callable[[int], Splits]]] = {
    "labels": ("label", labels),
    "labels-zh": ("label", labels_zh),
    "many-labels": ("labels", many_labels),
    "scores": ("score", scores),
    "tags": ("tags", tags),
    "spans": ("span", spans),
    "pairs": ("pair", pairs),
    "dialogues": ("dialogue", dialogues),
    "preferences": ("preference", preferences),
    "rankings": ("ranking", rankings),
}
"""name -> (shape, how it is made from a seed)."""


# ---- faults -------------------------------------------------------------------------------------

Spoil = Callable[[Splits], Sequence[str]]
"""Spoils the splits in place; returns the origins of the rows that must be told."""


def change(split: str, k: int, **fields: Any) -> Spoil:
    """Give a row other fields; a function is given the row."""

    def spoil(splits: Splits) -> list[str]:
        row = splits[split][k]
        splits[split][k] = replace(row, **{n: v(row) if callable(v) else v for n, v in fields.items()})
        return [row.origin]

    return spoil


def copy(source: str, k: int, split: str, **fields: Any) -> Spoil:
    """Put a row once more at the end of a split."""

    def spoil(splits: Splits) -> list[str]:
        row = splits[source][k]
        changed = {n: v(row) if callable(v) else v for n, v in fields.items()}
        splits[split].append(replace(row, origin="copy#0", **changed))
        return ["copy#0"]

    return spoil


def relabel(split: str, rows: Sequence[int], label: str) -> Spoil:
    def spoil(splits: Splits) -> list[str]:
        for k in rows:
            splits[split][k] = replace(splits[split][k], label=label)
        return [splits[split][k].origin for k in rows]

    return spoil


def turns(split: str, k: int, *messages: tuple[str, str]) -> Spoil:
    return change(split, k, messages=tuple(Message(role, content) for role, content in messages))


def every_label_but_one(splits: Splits) -> Sequence[str]:
    splits["train"] = [replace(row, label="good") for row in splits["train"]]
    return [row.origin for row in splits["train"][:5]]


def hardly_any(splits: Splits) -> Sequence[str]:
    splits["train"] = [row for k, row in enumerate(splits["train"]) if row.label != "bad" or k < 5]
    return [row.origin for row in splits["train"] if row.label == "bad"]


LONG = "the house and the river in the blue garden is a quiet place for students of music. " * 60
GERMAN = "Das ist nicht der Weg, den die Schüler mit dem Brief nach Hause gehen, und es wird spät für alle."

FAULTS: dict[str, tuple[str, str, Spoil]] = {
    "a copy": ("labels", "duplicates", copy("train", 3, "train")),
    "a copy in capitals and wide letters": (
        "labels",
        "duplicates",
        copy("train", 3, "train", text=lambda r: r.text.upper().replace(" ", "　")),
    ),
    "a copied dialogue": ("dialogues", "duplicates", copy("train", 4, "train")),
    "a near copy": ("labels", "near-duplicates", copy("train", 9, "train", text=lambda r: r.text[:-1] + ", so!")),
    "a leak into test": ("labels-zh", "leaks", copy("train", 5, "test")),
    "a leak into validation": ("scores", "leaks", copy("train", 5, "validation")),
    "a leak from validation into test": ("tags", "leaks", copy("validation", 2, "test")),
    "a leaked passage with another question": ("spans", "leaks", copy("train", 5, "test", question="何时？")),
    "a leaked source with another target": (
        "pairs",
        "leaks",
        copy("train", 5, "test", targets=("The river is blue and quiet in winter.",)),
    ),
    "a leaked question": ("dialogues", "leaks", copy("train", 5, "test")),
    "a leak in almost the same words": (
        "labels",
        "near-leaks",
        copy("train", 7, "test", text=lambda r: r.text[:-1] + ", so!"),
    ),
    "two labels for one text": ("labels", "contradictions", copy("train", 6, "train", label="bad")),
    "two scores for one pair": ("scores", "contradictions", copy("train", 5, "train", score=4.0)),
    "two taggings of one sentence": ("tags", "contradictions", copy("train", 5, "train", tags=("O",) * 12)),
    "A over B and B over A": (
        "preferences",
        "both-ways",
        copy("train", 2, "train", chosen=lambda r: r.rejected, rejected=lambda r: r.chosen),
    ),
    "a label in capitals": ("labels", "label-spelling", relabel("train", [0, 3], "GOOD ")),
    "a label in wide letters": ("labels", "label-spelling", relabel("test", [1], "ｂａｄ")),
    "a label that only test has": ("labels", "unknown-labels", relabel("test", [4], "awful")),
    "a label that test lacks": ("labels-zh", "unused-labels", relabel("train", range(0, 20, 2), "妙")),
    "a label with two rows": ("labels", "few-rows", relabel("train", [7, 8], "awful")),
    "five rows of one label": ("labels", "imbalance", hardly_any),
    "one label for all": ("labels", "one-answer", every_label_but_one),
    "a score that is nan": ("scores", "bad-score", change("train", 8, score=float("nan"))),
    "an empty text": ("labels", "empty", change("train", 8, text=" \n")),
    "an empty target": ("pairs", "empty", change("validation", 3, targets=())),
    "a text of a whole page": ("labels", "over-long", change("train", 8, text=LONG)),
    "mojibake": ("labels", "mojibake", change("train", 8, text="The cafÃ© is in the naÃ¯ve house of the quiet road.")),
    "lost characters": ("labels-zh", "mojibake", change("train", 8, text="天地锟斤拷人山水火木金")),
    "a control character": ("many-labels", "controls", change("test", 3, text=lambda r: r.text + "\x07")),
    "HTML": ("labels", "html", change("train", 8, text=lambda r: r.text.replace(" ", "<br />", 1))),
    "a link alone": ("labels", "no-words", change("train", 8, text="https://example.org/a?b=c 17:30 !!")),
    "German among English": ("labels", "languages", change("train", 8, text=GERMAN)),
    "Russian among Chinese": (
        "labels-zh",
        "languages",
        change("train", 8, text="Это не дом, а река, и она была зимой."),
    ),
    "an offset that is off by one": (
        "spans",
        "wrong-offset",
        change("train", 8, answers=lambda r: (replace(r.answers[0], start=21),)),
    ),
    "an answer from elsewhere": ("spans", "answer-not-there", change("train", 8, answers=(Answer("猫狗猫狗", 3),))),
    "more tags than tokens": ("tags", "tags-unequal", change("train", 8, tags=("O",) * 13)),
    "a tag without a kind": ("tags", "tags-unparsable", change("train", 8, tags=("B-", *["O"] * 11))),
    "a tag of BIOES": ("tags", "tags-unparsable", change("train", 8, tags=("S-PER", *["O"] * 11))),
    "an I- after O": ("tags", "tags-inside", change("train", 8, tags=("O", "I-PER", *["O"] * 10))),
    "an entity that changes its kind": (
        "tags",
        "tags-inside",
        change("train", 8, tags=("B-PER", "I-LOC", *["O"] * 10)),
    ),
    "an empty token": ("tags", "empty-tokens", change("train", 8, tokens=lambda r: (" ", *r.tokens[1:]))),
    "a target that repeats its source": ("pairs", "echo", change("train", 8, targets=lambda r: (r.source + " ",))),
    "a target that was cut": ("pairs", "length-ratio", change("train", 8, targets=("The.",))),
    "a reply of dots": (
        "dialogues",
        "empty-reply",
        turns("train", 8, ("user", "The house of music?"), ("assistant", "……")),
    ),
    "a reply of N/A": (
        "dialogues",
        "empty-reply",
        turns("train", 8, ("user", "The house of music?"), ("assistant", "N/A.")),
    ),
    "no reply": ("dialogues", "no-reply", turns("train", 8, ("user", "The house of the music?"))),
    "the assistant begins": (
        "dialogues",
        "turns",
        turns("train", 8, ("assistant", "The house."), ("user", "The river?"), ("assistant", "Blue.")),
    ),
    "two questions in a row": (
        "dialogues",
        "turns",
        turns("train", 8, ("user", "The house?"), ("user", "The river?"), ("assistant", "Blue.")),
    ),
    "the user has the last word": (
        "dialogues",
        "turns",
        turns("train", 8, ("user", "The house?"), ("assistant", "Blue."), ("user", "Oh.")),
    ),
    "a tool that nobody called": (
        "dialogues",
        "roles",
        turns("train", 8, ("user", "The house?"), ("tool", "{}"), ("assistant", "Blue.")),
    ),
    "chosen and rejected are one": (
        "preferences",
        "no-preference",
        change("train", 8, rejected=lambda r: r.chosen.upper()),
    ),
    "nothing is right": ("rankings", "no-positive", change("train", 8, scores=(0.0,) * 4)),
    "a candidate twice": (
        "rankings",
        "candidates-twice",
        change("train", 8, candidates=lambda r: (*r.candidates[:3], r.candidates[0])),
    ),
    "a gold answer out of range": ("rankings", "scores-unequal", change("train", 8, scores=(0.0, 0.0, 0.0, 0.0, 1.0))),
    "a text that is cut at 256 tokens": ("labels", "truncation", change("train", 8, text=LONG)),
}
"""what was done -> (world, name of the finding, how)."""
