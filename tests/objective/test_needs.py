"""What an objective says it needs is refused before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from pretune.base.config import build
from pretune.base.errors import SettingsError, WrongValue
from pretune.model.families import Head
from pretune.objective.pretraining.masked import Masked
from pretune.train.run.settings import PretrainSettings, resolved_shape


class OfPairs(Masked):
    packing: ClassVar[str | None] = "pairs"


class Two(Masked):
    weights: ClassVar[Mapping[str, float]] = {"masked": 1.0, "next": 0.5}


class OfLabels(Masked):
    head: ClassVar[Head] = "label"


def settings(objective: str, **others: Any) -> PretrainSettings:
    tree = {"tokens": "-", "objective": f"{__name__}:{objective}", **others}
    return build(PretrainSettings, tree, source="here")


def test_an_objective_that_reads_pairs_is_refused_with_rows_of_another_packing() -> None:
    assert settings("OfPairs", packing="pairs").packing.kind == "pairs"
    with pytest.raises(SettingsError, match=r"objective=.*OfPairs reads rows of packing=pairs, not best-fit"):
        settings("OfPairs", packing="best-fit")


def test_an_objective_for_which_no_shape_is_chosen_by_itself_asks_for_one() -> None:
    with pytest.raises(WrongValue, match=r"(?s)no shape is chosen by itself .*hint: name it: model.kind=.*bert"):
        resolved_shape(settings("OfLabels"), tokens=1000, vocab_size=100, flops=1e9)


def test_what_is_trained_on_is_called_loss_and_its_terms_stand_next_to_it_where_there_are_several() -> None:
    assert Two(kind="two").named({"masked": 4.0, "next": 0.5}) == {"masked": 4.0, "next": 0.5, "loss": 4.25}
    assert Masked(kind="masked").named({"loss": 4.0}) == {"loss": 4.0}
