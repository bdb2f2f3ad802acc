"""What is dropped is what it costs; ranks keep to their budget."""

from __future__ import annotations

import pytest
import torch

from pretune.base.errors import WrongValue
from pretune.compress.calibration import error_of
from pretune.compress.compressor import Work
from pretune.compress.low_rank import FACTORS, LowRank, spread_ranks, whitened
from pretune.testing.folders import build
from tests.compress.test_int4 import TEXT, correlated

WEIGHT_OI = torch.randn(24, 72, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rank", [1, 7, 23])
def test_the_cost_of_dropping_is_the_sum_of_the_dropped_squares(rank: int) -> None:
    moment_II = correlated()
    squares, left_OR, right_RI = whitened(WEIGHT_OI, moment_II)
    missing = left_OR[:, :rank] @ right_RI[:rank] - WEIGHT_OI
    assert error_of(missing, moment_II) == pytest.approx(float(squares[rank:].sum()), rel=1e-3)
    torch.testing.assert_close(left_OR @ right_RI, WEIGHT_OI, rtol=1e-4, atol=1e-4)


def test_text_of_fewer_places_than_inputs_has_a_root_though_float32_spoilt_its_moments() -> None:
    draw = torch.Generator().manual_seed(0)
    x_NI = torch.nn.functional.gelu(torch.randn(100, 20, generator=draw) @ torch.randn(20, 400, generator=draw))
    moment_II = x_NI.T @ x_NI / 100
    least = torch.linalg.eigvalsh(moment_II.double())[0]
    assert least < -1e-6 * moment_II.diagonal().mean()
    weight_OI = torch.randn(8, 400, generator=draw)
    squares, left_OR, right_RI = whitened(weight_OI, moment_II)
    given = x_NI @ weight_OI.T
    torch.testing.assert_close(x_NI @ (left_OR @ right_RI).T, given, rtol=1e-3, atol=1e-3 * float(given.std()))
    missing = left_OR[:, :4] @ right_RI[:4] - weight_OI
    assert error_of(missing, moment_II) == pytest.approx(float(squares[4:].sum()), rel=1e-2)


def test_no_other_product_of_that_rank_costs_less() -> None:
    moment_II = correlated()
    squares, _, _ = whitened(WEIGHT_OI, moment_II)
    left, values, right = torch.linalg.svd(WEIGHT_OI, full_matrices=False)
    plain = (left[:, :7] * values[:7]) @ right[:7]
    assert float(squares[7:].sum()) < error_of(plain - WEIGHT_OI, moment_II)


def test_ranks_go_where_they_cost_least_and_keep_to_the_budget() -> None:
    flat, steep = torch.ones(40), torch.cat([torch.full((4,), 100.0), torch.full((36,), 1e-4)])
    ranks = spread_ranks({"flat": (flat, (40, 40)), "steep": (steep, (40, 40))}, 0.4)
    assert ranks == {"steep": 4}  # 80 numbers a rank: the flat one is cheaper as it is, 1,600 numbers
    for ratio in (0.2, 0.5, 0.8):
        some = {str(k): (torch.rand(30).sort(descending=True).values ** 4, (30, 50)) for k in range(5)}
        found = spread_ranks(some, ratio)
        assert sum(found[n] * 80 if n in found else 1500 for n in some) <= (1 - ratio) * 7500


def test_the_model_computes_with_the_product_and_the_file_holds_its_factors() -> None:
    for kind in ("gpt2", "llama"):
        model = build(kind)
        made = LowRank(ratio=0.3).compress(Work(model, text=TEXT))
        assert made.metrics["numbers_after"] <= 0.7 * made.metrics["numbers_before"]
        for name, rank in made.metrics["ranks"].items():
            left, right = made.files[FACTORS][f"{name}.left"], made.files[FACTORS][f"{name}.right"]
            assert left.shape[1] == right.shape[0] == rank
            weight = model.get_parameter(name).detach()
            torch.testing.assert_close(left @ right, weight.T if kind == "gpt2" else weight, rtol=0, atol=1e-6)
        assert made.stored == sum(4 * p.numel() for p in model.parameters()) - 4 * (
            made.metrics["numbers_before"] - made.metrics["numbers_after"]
        )


def test_factors_that_learn_come_nearer() -> None:
    facts = LowRank(ratio=0.5, steps=30, rate=1e-3).compress(Work(build("llama"), text=TEXT)).metrics
    assert facts["distance_learnt"] < facts["distance"]


def test_a_rank_that_saves_nothing_is_refused() -> None:
    with pytest.raises(WrongValue, match="rank=64 saves nothing"):
        LowRank(rank=64).compress(Work(build("llama"), text=TEXT))
