"""Balancing: rows by count, weights by hand."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from pretune.base.errors import BadFile, NotSupported
from pretune.text.dataset.balance import BALANCE, balance, effective, inverse, read_weights
from pretune.text.dataset.example import SHAPES, Labelled, MultiLabelled, Pair, read_split


def ham_and_spam(ham: int = 100, spam: int = 20) -> list[Labelled]:
    rows = [Labelled(f"ham {k}", "ham", f"a#{k}") for k in range(ham)]
    return [*rows, *(Labelled(f"spam {k}", "spam", f"a#{ham + k}") for k in range(spam))]


def counts(rows: list[Any]) -> dict[str, int]:
    return dict(Counter(row.label for row in rows))


@pytest.mark.parametrize(
    ("how", "expected", "copies", "left_out"),
    [
        ({"kind": "over"}, {"ham": 100, "spam": 100}, 80, 0),
        ({"kind": "over", "ratio": 0.5}, {"ham": 100, "spam": 50}, 30, 0),
        ({"kind": "over", "ratio": 0.1}, {"ham": 100, "spam": 20}, 0, 0),
        ({"kind": "under"}, {"ham": 20, "spam": 20}, 0, 80),
        ({"kind": "under", "ratio": 0.5}, {"ham": 40, "spam": 20}, 0, 60),
        ({"kind": "weights"}, {"ham": 100, "spam": 20}, 0, 0),
    ],
)
def test_labels_are_as_frequent_as_the_ratio_says(how: Any, expected: Any, copies: int, left_out: int) -> None:
    found = balance(ham_and_spam(), "label", BALANCE(how), seed=3)
    assert counts(found.rows) == expected
    assert (found.copies, found.left_out) == (copies, left_out)


def test_every_row_is_repeated_once_before_any_is_twice_and_says_which_copy_it_is() -> None:
    found = balance(ham_and_spam(50, 20), "label", BALANCE("over"), seed=3)
    times = Counter(row.text for row in found.rows if row.label == "spam")
    assert sorted(times.values()) == [2] * 10 + [3] * 10
    assert {row.origin.partition("/")[2] for row in found.rows} == {"", "copy 2", "copy 3"}
    assert found.rows[:70] == ham_and_spam(50, 20), "what stays, stays in its place"


def test_a_row_that_is_added_moves_at_most_one_other() -> None:
    def kept(rows: list[Labelled]) -> set[str]:
        return {row.text for row in balance(rows, "label", BALANCE("under"), seed=3).rows if row.label == "ham"}

    before, after = kept(ham_and_spam()), kept([*ham_and_spam(), Labelled("new", "ham", "b#0")])
    assert len(before - after) <= 1
    assert kept(ham_and_spam()) == before


def test_a_row_of_several_labels_counts_as_one_of_its_rarest() -> None:
    rows = [MultiLabelled(f"t {k}", ("a", "b") if k < 3 else ("a",), f"o#{k}") for k in range(12)]
    rows.append(MultiLabelled("none", (), "o#12"))
    found = balance(rows, "labels", BALANCE("over"), seed=1)
    assert Counter(row.labels for row in found.rows) == {("a",): 9, ("a", "b"): 9, (): 1}


def test_inverse_weights_are_rows_by_labels_and_rows_of_the_label() -> None:
    weights = inverse({"ham": 100, "spam": 20})
    assert weights == {"ham": 120 / 200, "spam": 120 / 40}
    assert (100 * weights["ham"] + 20 * weights["spam"]) / 120 == pytest.approx(1)


def test_effective_weights_are_those_of_the_paper_by_hand() -> None:
    # beta 0.5: effective numbers of 1 and 2 rows are 1 and 1.5, so weights 1 and 2/3, scaled to a sum of 2.
    assert effective({"a": 1, "b": 2}, 0.5) == pytest.approx({"a": 1.2, "b": 0.8}, rel=1e-15)
    almost = effective({"ham": 100, "spam": 20}, 1 - 1e-9)
    assert almost["spam"] / almost["ham"] == pytest.approx(5, rel=1e-5)


def test_shapes_without_labels_are_refused() -> None:
    with pytest.raises(NotSupported, match="no labels"):
        balance([Pair("a", ("b",), "o#0")], "pair", BALANCE("over"), seed=0)
    assert {name for name, shape in SHAPES.items() if shape.names} == {"label", "labels", "tags"}


def write(path: Any, splits: dict[str, list[Labelled]]) -> str:
    rows = [{"text": e.text, "label": e.label, "split": split} for split, group in splits.items() for e in group]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return str(path)


def test_only_train_is_balanced_and_the_card_tells_how(tmp_path: Any, run_stage: Any) -> None:
    splits = {"train": ham_and_spam(60, 20), "dev": ham_and_spam(9, 3), "test": ham_and_spam(6, 3)}
    given = write(tmp_path / "a.json", splits)
    plain, over = run_stage("dataset", read=given), run_stage("dataset", read=given, balance="over")
    assert "train_rows" not in plain.card.metrics
    assert over.card.metrics["train_rows"] == {"as read": 80, "copies": 40, "left out": 0}
    assert over.card.metrics["splits"] == {"train": 120, "validation": 12, "test": 9}
    for split in ("validation", "test"):
        assert read_split(over.path, split) == read_split(plain.path, split)
    assert over.card.metrics["doctor"] == plain.card.metrics["doctor"], "the doctor sees what was read"


def test_weights_are_payload_so_that_other_weights_are_another_dataset(tmp_path: Any, run_stage: Any) -> None:
    given = write(tmp_path / "a.json", {"train": ham_and_spam(60, 20), "dev": ham_and_spam(9, 3)})
    made = run_stage("dataset", read=given, balance={"kind": "weights"})
    assert read_weights(made.path) == {"ham": 80 / 120, "spam": 2.0}
    assert made.card.metrics["class_weights"] == {"ham": 0.666667, "spam": 2.0}
    other = run_stage("dataset", read=given, balance={"kind": "weights", "weights": "effective"})
    assert other.card.id != made.card.id
    (other.path / "class_weights.json").write_text('{"ham": -1}', encoding="utf-8")
    with pytest.raises(BadFile, match="above 0"):
        read_weights(other.path)
