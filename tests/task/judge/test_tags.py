"""Entities counted as conlleval and seqeval count them."""

from __future__ import annotations

import random

import pytest

from pretune.base.errors import NotSupported
from pretune.infer.answers import Tags
from pretune.infer.predictor import Facts
from pretune.task.judge.judge import Part, whole
from pretune.task.judge.tags import TagJudge, by_kind, tag_figures, tags_by_word
from pretune.text.dataset.example import Tagged

WANTED = ["B-PER I-PER O B-LOC", "O O", "B-LOC I-LOC I-LOC B-PER", "B-ORG O B-ORG I-ORG", "O B-MISC O"]
SAID = ["B-PER I-PER O B-PER", "O B-LOC", "B-LOC I-LOC O B-PER", "B-ORG O B-ORG I-ORG", "I-MISC I-PER O"]
PAIR = [[tags.split() for tags in side] for side in (SAID, WANTED)]


def drawn() -> tuple[list[list[str]], list[list[str]]]:
    """Forty sentences of tags drawn at random, I- behind anything."""
    rng = random.Random(3)
    tags = ["O", "O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-work-of-art", "I-work-of-art"]
    sides = [[], []]  # type: ignore[var-annotated]
    for _ in range(40):
        wanted = [rng.choice(tags) for _ in range(rng.randrange(1, 12))]
        sides[0].append([tag if rng.random() < 0.8 else rng.choice(tags) for tag in wanted])
        sides[1].append(wanted)
    return sides[0], sides[1]


def test_f1_precision_and_recall_by_hand() -> None:
    """Right: PER 0-2, PER 3-4, ORG 0-1, ORG 2-4, of 9 that are said and 7 that are wanted."""
    found = tag_figures(*PAIR)
    assert found == pytest.approx({"f1": 8 / 16, "precision": 4 / 9, "recall": 4 / 7, "accuracy": 12 / 17})


def test_figures_are_those_of_seqeval_also_of_tags_that_break_the_scheme() -> None:
    """Golden values of seqeval 1.2.2 (default mode; after to_iob2 its strict IOB2 gives the same)."""
    golden = {"f1": 0.6891891891891893, "precision": 0.6986301369863014, "recall": 0.68, "accuracy": 0.76}
    assert tag_figures(*drawn()) == pytest.approx(golden, abs=1e-12)
    f1 = {"LOC": 0.7155963302752293, "PER": 0.6222222222222223, "work-of-art": 0.7216494845360825}
    found = by_kind(*drawn())
    assert {kind: row["f1"] for kind, row in found.items()} == pytest.approx(f1, abs=1e-12)
    assert {kind: row["support"] for kind, row in found.items()} == {"LOC": 54, "PER": 46, "work-of-art": 50}
    assert sum(row["f1"] for row in found.values()) / 3 == pytest.approx(0.6864893456778448, abs=1e-12)


def test_figures_by_kind_and_their_mean_by_hand() -> None:
    classes = by_kind(*PAIR)
    assert classes["PER"] == pytest.approx({"precision": 2 / 4, "recall": 2 / 2, "f1": 4 / 6, "support": 2})
    assert classes["LOC"] == pytest.approx({"precision": 0, "recall": 0, "f1": 0, "support": 2})
    assert classes["ORG"] == pytest.approx({"precision": 1, "recall": 1, "f1": 1, "support": 2})
    assert classes["MISC"]["support"] == 1
    asked, _ = TagJudge().asked(examples(PAIR[1]), (), None)
    figures = TagJudge().figures([Tags(tuple(tags)) for tags in PAIR[0]], asked)
    assert figures["macro_f1"] == pytest.approx((4 / 6 + 0 + 1 + 0) / 4)


def examples(sentences: list[list[str]]) -> list[Tagged]:
    return [Tagged(tuple(f"w{k}" for k in range(len(t))), tuple(t), f"a#{n}") for n, t in enumerate(sentences)]


def test_the_marks_of_texts_add_up_to_the_figures_of_all() -> None:
    asked, _ = TagJudge().asked(examples(drawn()[1]), (), None)
    marks = [TagJudge().marks(Tags(tuple(said)), one) for said, one in zip(drawn()[0], asked, strict=True)]
    assert {name: whole([m[name] for m in marks]) for name in marks[0]} == tag_figures(*drawn())
    assert whole([]) == whole([Part(0, 0)]) == 0.0


def test_a_word_has_its_most_frequent_tag_and_one_that_was_never_read_none() -> None:
    train = [Tagged(("Ann", "met", "Ann"), ("B-PER", "O", "B-PER"), "a"), Tagged(("Ann", "Lee"), ("O", "I-PER"), "b")]
    assert tags_by_word(train, [("Ann", "Bob", "Lee"), ()]) == [("B-PER", "O", "I-PER"), ()]


def test_a_crf_learns_what_no_table_of_words_can() -> None:
    pytest.importorskip("pycrfsuite", reason="the extra `crf` is not installed")
    from pretune.task.judge.crf import crf_tags

    names = ["Ann", "Bob", "Eve", "Joe", "Kim", "Lee", "Max", "Sue", "Tom", "Una"]
    train = [Tagged(("Mr", name, "met", f"x{k}"), ("O", "B-PER", "O", "O"), str(k)) for k, name in enumerate(names)]
    assert crf_tags(train, [("Mr", "Zoe", "met", "x9"), ()]) == [("O", "B-PER", "O", "O"), ()]


def test_kinds_that_the_model_does_not_know_are_counted_and_refused_where_it_knows_none() -> None:
    judge, data = TagJudge(), examples([["B-PER", "O"], ["B-LOC", "I-LOC"]])
    assert judge.strange(data, ["O", "B-PER", "I-PER"]) == ["LOC"]
    _, notes = judge.asked(data, (), ["O", "B-PER", "I-PER"])
    assert notes == ["1 entities are of a kind that the model does not know, and count as missed: LOC"]
    with pytest.raises(NotSupported, match="knows none of them"):
        judge.asked(data, (), ["O", "B-ORG"])
    assert judge.asked(examples([["O", "O"]]), (), ["O", "B-ORG"])[1] == []


def test_words_that_were_not_read_are_told() -> None:
    asked, _ = TagJudge().asked(examples([["O", "B-PER"]]), (), None)
    _, told = TagJudge().tell([Tags(("O", "O"), num_unread=1)], asked, Facts("tag", "tags", 4))
    assert told[0] == "1 words are behind the model's 4 tokens or have no token, and count as tagged O"


def test_a_row_says_where_in_the_text_entities_are() -> None:
    (asked,), _ = TagJudge().asked([Tagged(("Ann", "met", "安"), ("B-PER", "O", "B-PER"), "a#0")], (), None)
    answer = Tags(("O", "O", "B-PER"))
    row = TagJudge().row(asked, answer, TagJudge().marks(answer, asked), {"word_tags": Tags(("B-PER", "O", "O"))})
    assert row["text"] == "Ann met安"
    assert row["wanted"] == [{"start": 0, "end": 3, "label": "PER"}, {"start": 7, "end": 8, "label": "PER"}]
    assert (row["said"], row["baseline_said"]) == (row["wanted"][1:], row["wanted"][:1])
    assert row["f1_of_text"] == pytest.approx(2 / 3, abs=1e-6)
