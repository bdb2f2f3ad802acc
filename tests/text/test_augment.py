"""Augmentation: labels stay, entities stay whole, chance is the row's own, held-out rows stay held out."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pretune.base.errors import BadFile
from pretune.text.dataset.augment import eda, homophones, noise
from pretune.text.dataset.augment.augment import AUGMENT, augment, with_texts
from pretune.text.dataset.example import SHAPES, Labelled, read_split
from tests.text.doctor_worlds import CLEAN, labels, labels_zh, spans, tags

LOCAL = ("eda", "noise", "homophones")
SYNONYMS = {"film": ("movie",), "movie": ("film",), "电影": ("影片",), "影片": ("电影",)}


def added(splits: Any, shape: str, *ways: Any, seed: int = 5) -> tuple[list[Any], dict[str, int]]:
    return augment(splits, shape, [AUGMENT(way) for way in ways], seed=seed, inputs={})


@pytest.mark.parametrize("world", CLEAN)
@pytest.mark.parametrize("kind", LOCAL)
def test_new_rows_have_everything_of_the_old_but_the_words_that_may_change(world: str, kind: str) -> None:
    shape, make = CLEAN[world]
    splits = make(2)
    rows, counts = added(splits, shape, kind)
    by_origin = {row.origin: row for row in splits["train"]}
    assert len(rows) == counts.get(kind, 0)
    assert len(rows) + counts.get("nothing new", 0) == len(splits["train"])
    assert rows or kind == "homophones"  # English has none
    for row in rows:
        source, _, told = row.origin.partition("/")
        assert told == f"{kind} 1"
        assert (
            with_texts(replace(row, origin=source), shape, lambda t: "x")
            == with_texts(by_origin[source], shape, lambda t: "x")
            or shape == "tags"
        )


@pytest.mark.parametrize("kind", LOCAL)
def test_entities_stay_whole_and_tags_go_with_their_words(kind: str) -> None:
    splits = tags(4)
    of = {row.origin: row for row in splits["train"]}
    rows, _ = added(splits, "tags", {"kind": kind, "share": 0.3} if kind != "homophones" else kind)
    for row in rows:
        before = of[row.origin.partition("/")[0]]
        at = row.tags.index(before.tags[1])
        assert row.tags[at : at + 2] == before.tags[1:3]
        assert row.tokens[at : at + 2] == before.tokens[1:3]
        assert len(row.tokens) == len(row.tags)
        assert Counter(row.tags) - Counter({"O": 99}) == Counter(before.tags) - Counter({"O": 99})


@pytest.mark.parametrize("kind", LOCAL)
def test_a_row_that_is_added_changes_no_other_and_the_seed_changes_them(kind: str) -> None:
    splits = labels_zh(3)
    more = {**splits, "train": [Labelled("天地人山水", "好", "new#0"), *splits["train"]]}
    first = added(splits, "label", kind)[0]
    assert first == added(splits, "label", kind)[0]
    assert first == [row for row in added(more, "label", kind)[0] if not row.origin.startswith("new")]
    assert first != added(splits, "label", kind, seed=6)[0]


def test_copies_and_the_share_of_rows_count() -> None:
    splits = labels(3)
    rows, counts = added(splits, "label", {"kind": "noise", "copies": 3}, "noise")
    assert len(rows) + counts.get("nothing new", 0) == 240
    assert {row.origin.rpartition(" ")[2] for row in rows} == {"1", "2", "3", "4"}
    assert len({row.origin for row in rows}) == len(rows)
    assert len({row.text for row in rows}) > 230, "each copy has its own chance"
    some, _ = added(splits, "label", {"kind": "noise", "rows": 0.5})
    assert 18 <= len(some) <= 42


def test_no_new_row_says_what_validation_or_test_says() -> None:
    splits = {
        "train": [Labelled("ab cd", "x", "a#0")],
        "test": [Labelled("Cd ab!", "x", "t#0"), Labelled("cd ab", "y", "t#1")],
    }
    rows, counts = added(splits, "label", {"kind": "eda", "operations": ["swap"]})
    assert (rows, counts) == ([], {"nothing new": 1})


# ---- eda ----------------------------------------------------------------------------------------


def once(text: str, operation: str, share: float = 0.1, seed: int = 0) -> str:
    def edit(units: list[eda.Unit]) -> list[eda.Unit]:
        return eda.OPERATIONS[operation](units, max(1, int(share * len(units))), share, SYNONYMS, random.Random(seed))

    return eda.edited(text, eda.words_with(SYNONYMS), edit)


def test_a_swap_moves_words_and_leaves_marks_in_their_places() -> None:
    for seed in range(50):
        after = once("One, two; three (four)!", "swap", seed=seed)
        words = after.replace(",", "").replace(";", "").replace("(", "").replace(")!", "").split()
        assert sorted(words) == sorted(["One", "two", "three", "four"])
        assert words != ["One", "two", "three", "four"]
        assert [c for c in after if not c.isalpha()] == [c for c in "One, two; three (four)!" if not c.isalpha()]


def test_a_chinese_swap_is_of_neighbours() -> None:
    text = "天地人山水火"
    for seed in range(50):
        after = once(text, "swap", seed=seed)
        moved = [k for k in range(6) if after[k] != text[k]]
        assert len(moved) == 2
        assert moved[1] - moved[0] == 1


def test_deleting_takes_the_share_of_words_and_never_all() -> None:
    text = " ".join(f"w{k}" for k in range(1000))
    assert 70 <= 1000 - len(once(text, "delete").split()) <= 130
    for seed in range(30):
        assert once("ab, cd.", "delete", share=1.0, seed=seed) in ("ab.", "cd.")


@pytest.mark.parametrize(
    ("text", "changed", "longer"),
    [("the Film was good", "the Movie was good", 5), ("这部电影很好", "这部影片很好", 8)],
)
def test_synonyms_replace_and_insert_whole_words(text: str, changed: str, longer: int) -> None:
    assert once(text, "synonyms") == changed
    after = once(text, "insert")
    assert (len(after.split()) if " " in text else len(after)) == longer
    assert "movie" in after or "影片" in after


def test_synonyms_come_from_a_file_that_is_an_input(tmp_path: Any, run_stage: Any) -> None:
    words = tmp_path / "synonyms.txt"
    words.write_text("# ours\nfilm movie picture\n好 妙\n", encoding="utf-8")
    rows = [{"text": f"the film number {k} is long", "label": "ab"[k % 2]} for k in range(40)]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    settings = {
        "read": str(tmp_path / "a.json"),
        "augment": [{"kind": "eda", "operations": ["synonyms"], "synonyms": str(words)}],
    }
    made = run_stage("dataset", **settings)
    assert made.card.inputs["augment.0.synonyms"]["kind"] == "files"
    train = read_split(made.path, "train")
    new = [row for row in train if "/eda " in row.origin]
    assert made.card.metrics["train_rows"] == {"as read": len(new), "eda": len(new)}
    assert {row.text.split()[1] for row in new} == {"movie", "picture"}
    assert not any("/" in row.origin for split in ("validation", "test") for row in read_split(made.path, split))
    words.write_text("alone\n", encoding="utf-8")
    with pytest.raises(BadFile, match="holds no synonyms"):
        run_stage("dataset", **settings)


# ---- noise and homophones -----------------------------------------------------------------------


def test_noise_touches_the_share_of_letters_and_no_figure_or_mark() -> None:
    text = "Room 3.5 costs 1,200 (really!) " * 20
    after = noise.noisy(text, 0.1, random.Random(1))
    assert [c for c in after if not c.isalpha()] == [c for c in text if not c.isalpha()]
    # "aaa..." shows neighbours (a quarter of 100) by another letter; drops and doubles by the length, swaps not at all.
    assert 10 <= sum(c != "a" for c in noise.noisy("a" * 1000, 0.1, random.Random(1))) <= 45


def test_keys_are_neighbours_both_ways_and_those_of_g_are_six() -> None:
    assert set(noise.KEYS["g"]) == set("ftyhvb")
    assert all(key in noise.KEYS[other] for key, others in noise.KEYS.items() for other in others)


def test_homophones_stand_in_one_group_each_and_change_one_character_at_least() -> None:
    groups: Sequence[str] = homophones.GROUPS.split()[1::2]
    characters = "".join(groups)
    assert len(set(characters)) == len(characters)
    assert sum(len(group) > 1 for group in groups) >= 100
    after = homophones.misheard("他在这里做事", 0.05, random.Random(0))
    (k,) = [k for k in range(6) if after[k] != "他在这里做事"[k]]
    assert after[k] in homophones.homophones_of("他在这里做事"[k])
    assert homophones.misheard("hello", 0.5, random.Random(0)) == "hello"


def test_questions_change_and_their_passages_do_not() -> None:
    splits = spans(3)
    rows, _ = added(splits, "span", "noise")
    for row in rows:
        start = row.answers[0].start
        assert row.context[start : start + 4] == row.answers[0].text
    assert set(SHAPES) == {shape for shape, _ in CLEAN.values()}
