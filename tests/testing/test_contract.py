"""The contract of plug-ins: every registered kind once, every check once; the whole is `python -m pretune.testing`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from pretune.model.methods.method import Method
from pretune.objective.pretraining.causal import Causal
from pretune.testing import Bench, Check, NotAsked, all_checks, checks, each_once
from pretune.tokens.rows import Batch, Row, Vocabulary


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("check", each_once([*all_checks()]), ids=str)
def test_what_is_registered_keeps_the_contract(check: Check, bench: Bench) -> None:
    try:
        check(bench)
    except NotAsked as why:
        pytest.skip(str(why))


# ---- the suite finds what is wrong ---------------------------------------------------------------


class Mean(Causal):
    """Divides by the targets of its own micro-batch, as most training loops do."""

    weight: float = 1.0
    """Of the loss."""

    def sums(self, model: Any, batch: Batch, step_wide: Any = None) -> dict[str, Any]:
        whole = super().sums(model, batch, step_wide)
        return {"loss": self.weight * whole["loss"] / max(1.0, self.counts(batch)["loss"])}


class Salted(Causal):
    """Draws from a generator of its own."""

    undocumented: int = 3

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return {**row, "ids": np.random.default_rng().integers(4, 30, len(row["ids"]))}


class Rigid(Method):
    """Trains everything, and reads what torch is at its top."""

    usual_rate: ClassVar[float] = 1e-3

    def apply(self, model: Any, *, heads: Sequence[str]) -> Any:
        return model


def named(plugin: Any, name: str) -> Check:
    return next(check for check in checks(plugin) if check.name == name)


@pytest.mark.parametrize(
    ("plugin", "name", "told"),
    [
        (Mean(), "cuts-float64", "8 rows at once and one at a time differ"),
        (Mean(), "padding", "the sums differ by"),
        (Salted(), "settings", "undocumented"),
        (Salted(), "prepare", "draws from elsewhere"),
        (Salted(), "deterministic", "other bytes in the second run"),
    ],
)
def test_a_plug_in_that_breaks_a_promise_is_named_with_what_it_broke(
    plugin: Any, name: str, told: str, bench: Bench
) -> None:
    with pytest.raises(AssertionError, match=told):
        named(plugin, name)(bench)


def test_a_method_of_another_package_is_checked_by_its_class(bench: Bench) -> None:
    assert named(Rigid(), "resumes")(bench)
    assert {check.name for check in checks(Rigid())} >= {"cuts-float64", "cuts-float32", "saves-and-loads", "refuses"}


def test_every_row_and_every_column_is_there_once() -> None:
    every, few = [*all_checks()], each_once([*all_checks()])
    assert {str(check.plugin) for check in few} == {str(check.plugin) for check in every}
    places = [{(check.plugin.room, check.name) for check in found} for found in (few, every)]
    assert places[0] == places[1]
