"""Near copies stand in one split, every label in every split, and what is added later moves nothing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from pretune.base.log import Log
from pretune.text.dataset.example import Example, Labelled
from pretune.text.dataset.splitting import divide

WORDS = [f"word{chr(97 + k // 26)}{chr(97 + k % 26)}" for k in range(676)]


def texts(number: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=30)) for _ in range(number)]


def splits_of(examples: list[Example], scratch: Path, **shares: float) -> dict[str, str]:
    given = {"": examples, "train": [], "validation": [], "test": []}
    wanted = {"validation": 0.1, "test": 0.1, **shares}
    splits, _ = divide(given, scratch=scratch, log=Log(quiet=True), **wanted)  # type: ignore[arg-type]
    return {e.origin: split for split, group in splits.items() for e in group}


def test_near_copies_stand_in_one_split(tmp_path: Path) -> None:
    examples: list[Example] = []
    for k, text in enumerate(texts(200)):
        changed = text.split()
        changed[7] = "another"  # one of 30 words: 2 of 30 pairs differ, Jaccard 0.87
        examples += [Labelled(text, str(k % 2), f"{k}a"), Labelled(" ".join(changed), str(k % 2), f"{k}b")]
    split = splits_of(examples, tmp_path)
    assert all(split[f"{k}a"] == split[f"{k}b"] for k in range(200))
    assert len(set(split.values())) == 3


def test_texts_that_are_added_later_move_nothing(tmp_path: Path) -> None:
    first: list[Example] = [Labelled(t, str(k % 2), str(k)) for k, t in enumerate(texts(300))]
    more: list[Example] = [Labelled(t, str(k % 2), f"new {k}") for k, t in enumerate(texts(300, seed=1))]
    before, after = splits_of(first, tmp_path), splits_of([*first, *more], tmp_path)
    assert all(after[name] == split for name, split in before.items())


def test_a_rare_label_is_in_every_split_from_three_texts_on(tmp_path: Path) -> None:
    made = [Labelled(t, "common" if k >= 12 else f"rare{k // 3}", str(k)) for k, t in enumerate(texts(400))]
    split = splits_of(list(made), tmp_path)
    for rare in ("rare0", "rare1", "rare2", "rare3"):
        assert {split[e.origin] for e in made if e.label == rare} == {"train", "validation", "test"}


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_a_split_that_is_not_wanted_gets_nothing(tmp_path: Path, missing: str) -> None:
    examples: list[Example] = [Labelled(t, str(k % 9), str(k)) for k, t in enumerate(texts(90))]
    assert missing not in splits_of(examples, tmp_path, **{missing: 0}).values()


def test_one_great_cluster_of_near_copies_is_told(tmp_path: Path) -> None:
    (text,) = texts(1)
    words = text.split()
    examples: list[Example] = [
        Labelled(" ".join([*words[:k], "x", *words[k + 1 :]]), str(k % 2), str(k)) for k in range(30)
    ] + [Labelled(t, "0", f"other {k}") for k, t in enumerate(texts(80, seed=3))]
    log = Log(quiet=True)
    given: dict[str, Any] = {"": examples, "train": [], "validation": [], "test": []}
    divide(given, validation=0.1, test=0.1, scratch=tmp_path, log=log)
    assert log.warnings == ["30 of 110 examples are near copies of one another and are in one split"]
