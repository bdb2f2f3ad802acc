"""Figures over several seeds, by hand."""

from __future__ import annotations

from pretune.base.seeds import without_seed
from pretune.evaluate.summarising import over_seeds


def test_mean_and_standard_deviation_of_a_sample_and_what_has_one_seed_has_neither() -> None:
    figures = {
        **{
            f"tuned.s{k}": {"accuracy": value, "baseline": "svm", "baseline_beaten": True}
            for k, value in enumerate((0.9, 0.8, 1.0))
        },
        "other.s0": {"accuracy": 0.5},
        "plain": {"accuracy": 0.1},
    }
    (row,) = over_seeds(figures)
    assert (row["report"], row["figure"], row["seeds"]) == ("tuned", "accuracy", 3)
    assert abs(row["mean"] - 0.9) < 1e-12 and abs(row["std"] - 0.1) < 1e-12, "variance (0.01 + 0.01) / 2"
    assert (row["least"], row["most"]) == (0.8, 1.0)


def test_a_name_without_its_seed_is_that_of_the_stage() -> None:
    names = ("tuned.s0", "tuned.s12", "tuned", "a.s1.s2", ".s0", "tuned.s", "tuned.s1x")
    assert [*map(without_seed, names)] == ["tuned", "tuned", "tuned", "a.s1", ".s0", "tuned.s", "tuned.s1x"]
