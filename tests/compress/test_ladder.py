"""Rungs one after the other; the smallest within the budget is the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretune.base.errors import MissingSetting, NotSupported, TooMuchLost
from pretune.compress.compressor import COMPRESSOR
from pretune.compress.ladder import Rung, chosen_rung
from pretune.compress.measure import lost
from tests.compress.test_stage import write_rows


def rung(name: str, quality: float, stored: int) -> Rung:
    return Rung(name, Path(name), {"accuracy": quality}, 0.01, stored)


def test_the_smallest_within_the_budget_is_chosen_and_the_nearest_named_where_none_is() -> None:
    rungs = [rung("before", 0.9, 100), rung("a", 0.895, 60), rung("b", 0.87, 30), rung("c", 0.892, 40)]
    assert chosen_rung(rungs, 1.0).name == "c"
    assert chosen_rung(rungs, 3.5).name == "b"
    assert chosen_rung(rungs, None).name == "c"
    with pytest.raises(TooMuchLost, match=r"the nearest, a, lost 0.5 \(accuracy 0.9 before, 0.895 after\)"):
        chosen_rung(rungs, 0.1)


def test_of_equally_small_rungs_the_one_that_learnt_again_is_chosen() -> None:
    """Distilling changes no size, so it must not lose to the pruning that it makes good."""
    rungs = [rung("before", 0.9, 100), rung("prune", 0.85, 60), rung("distil", 0.89, 60)]
    assert chosen_rung(rungs, 10.0).name == "distil"


def test_points_are_hundredths_of_a_score_and_per_cent_of_a_loss() -> None:
    assert lost({"accuracy": 0.9, "examples": 10}, {"accuracy": 0.88, "examples": 10}) == pytest.approx(2)
    assert lost({"loss": 2.0, "targets": 9}, {"loss": 2.1, "targets": 9}) == pytest.approx(5)
    assert lost({"loss": 2.0}, {"loss": 1.9}) == pytest.approx(-5)


ROWS = [{"text": f"number {i} the cat", "label": "坏" if i % 3 else "good"} for i in range(12)]


def test_a_ladder_of_a_classifier(model_folder: Callable[..., Path], run: Callable[..., Any], tmp_path: Path) -> None:
    method = [
        {"kind": "prune", "what": "ffn", "ratio": 0.5, "rows": 8},
        {"kind": "distil", "steps": 20, "rows": 8, "rate": 1e-4},
        {"kind": "int4", "rows": 8},
    ]
    made = run(
        data={"kind": "dataset", "read": [write_rows(tmp_path / "data", ROWS)]},
        small={
            "kind": "compress",
            "model": str(model_folder("bert-labels")),
            "data": "$data",
            "method": method,
            "max_drop": 100,
        },
    )["small"]
    facts = made.card.metrics
    assert [one["name"] for one in facts["rungs"]] == ["before", "prune", "distil", "int4"]
    assert facts["chosen"] == "int4"
    prune, distil, int4 = facts["rungs"][1:]
    assert distil["metrics"]["distance"] < distil["metrics"]["distance_before"]
    assert int4["bytes"] < prune["bytes"] == distil["bytes"] < facts["bytes_before"]
    assert (made.path / "int4-scales.safetensors").is_file()
    page = (made.path / "ladder.html").read_text(encoding="utf-8")
    assert "distil" in page and "<svg" in page and "<script" not in page


@pytest.mark.parametrize(("method", "error", "why"), [("int4", MissingSetting, "reads text"), ("low-rank", MissingSetting, "reads text"), (["int8"], None, ""), (["prune", "int4"], MissingSetting, "reads text")])  # fmt: skip
def test_text_is_asked_for_by_name(
    method: Any, error: Any, why: str, model_folder: Callable[..., Path], run: Callable[..., Any]
) -> None:
    if error is None:
        run(small={"kind": "compress", "model": str(model_folder("llama")), "method": method})
        return
    with pytest.raises(error, match=why):
        run(small={"kind": "compress", "model": str(model_folder("llama")), "method": method})


def test_a_rounded_model_is_not_rounded_in_another_way(
    model_folder: Callable[..., Path], run: Callable[..., Any]
) -> None:
    with pytest.raises(NotSupported, match="is compressed already"):
        run(
            once={"kind": "compress", "model": str(model_folder("llama"))},
            twice={"kind": "compress", "model": "$once", "method": {"kind": "int4", "by": "nearest"}},
        )


def test_a_plan_counts_the_models_that_are_in_memory_at_once() -> None:
    from pretune.base.stage import Forecast, Machine
    from pretune.compress.stage import CompressStage

    def models(method: Any) -> float:
        stage = CompressStage.model_validate({"kind": "compress", "model": "m", "method": method})
        return (stage.forecast({"model": Forecast(parameters=1e9)}, Machine.here()).memory_bytes - 5e8) / 4e9

    assert models("int8") == 3
    # Of distilling: model, teacher, free weights, both gradients, AdamW's two, a byte for each zero.
    assert models([{"kind": "prune"}, {"kind": "distil"}]) == 1 + 2 + 1 + 2 + 2 + 0.25
    assert models({"kind": "average", "others": ["a", "b", "c", "d"]}) == 6


def test_a_vocabulary_is_no_rung() -> None:
    with pytest.raises(ValueError, match="method=vocabulary is no rung"):
        COMPRESSOR({"kind": "ladder", "rungs": ["prune", {"kind": "vocabulary", "tokenizer": "words"}]})
    with pytest.raises(ValueError, match="method=int4 is the last rung"):
        COMPRESSOR({"kind": "ladder", "rungs": ["int4", "distil"]})
