"""Who draws the same random numbers, and who draws others, at the start of a run and when it goes on."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

from pretune.train.loop.dice import draw_apart, draw_on
from pretune.train.loop.runtime import Runtime, own_device
from pretune.train.parallel.mesh import Axis, Mesh


def ranks(data: int = 1, pipeline: int = 1, shard: int = 1, tensor: int = 1) -> list[Runtime]:
    """All processes of a mesh, in the order of their ranks."""
    found = []
    for rank, (d, p, s, t) in enumerate(product(*map(range, (data, pipeline, shard, tensor)))):
        axes = {
            "data": Axis(data, d),
            "pipeline": Axis(pipeline, p),
            "shard": Axis(shard, s),
            "tensor": Axis(tensor, t),
        }
        rows, nobody = Axis(data * shard, d * shard + s), Axis()
        devices: Any = None
        mesh = Mesh(**axes, rows=rows, apart=nobody, devices=devices)
        found.append(Runtime(rank=rank, world=data * pipeline * shard * tensor, mesh=mesh))
    return found


def drawn() -> tuple[float, ...]:
    return tuple(torch.rand(4).tolist())


def begun(runtimes: list[Runtime]) -> list[tuple[float, ...]]:
    """What each process draws first."""
    found = []
    for runtime in runtimes:
        draw_apart(3, runtime)
        found.append(drawn())
    return found


def gone_on(runtimes: list[Runtime], states: torch.Tensor, *, same: bool) -> list[tuple[float, ...]]:
    found = []
    for runtime in runtimes:
        draw_on({"rng/cpu": states}, runtime, same=same)
        found.append(drawn())
    return found


@pytest.fixture
def states() -> torch.Tensor:
    """Of four processes that have drawn other numbers, and not as many."""
    return torch.stack([torch.Generator().manual_seed(k).get_state() for k in (5, 6, 7, 8)])


@pytest.mark.parametrize("sizes", [{"data": 4}, {"data": 2, "shard": 2}, {"data": 2, "pipeline": 2}, {"shard": 4}])
def test_processes_with_rows_or_blocks_of_their_own_draw_other_numbers(sizes: Any, states: torch.Tensor) -> None:
    here = ranks(**sizes)
    assert len({*begun(here)}) == 4
    for same in (True, False):
        assert len({*gone_on(here, states, same=same)}) == 4
    assert len({*begun([Runtime(rank=k, world=4) for k in range(4)])}) == 4


@pytest.mark.parametrize("sizes", [{"data": 2}, {"shard": 2}, {"pipeline": 2}])
def test_processes_that_compute_the_same_rows_draw_the_same_numbers(sizes: Any, states: torch.Tensor) -> None:
    """Also when they go on from four processes that drew apart; else norms, which lie whole in both, would part."""
    here = ranks(**sizes, tensor=2)
    for first, second, third, fourth in (begun(here), gone_on(here, states, same=False)):
        assert first == second != third == fourth


def test_one_process_draws_on_as_it_does_and_the_same_mesh_where_it_was(states: torch.Tensor) -> None:
    torch.manual_seed(11)
    expected = drawn()
    torch.manual_seed(11)
    draw_apart(3, Runtime())
    assert drawn() == expected
    wanted = [tuple(torch.rand(4, generator=torch.Generator().manual_seed(k)).tolist()) for k in (5, 6, 7, 8)]
    assert gone_on(ranks(data=2, tensor=2), states, same=True) == wanted
    assert gone_on([Runtime()], states, same=False) == wanted[:1], "that of rank 0"


def test_a_gpu_of_a_process_is_the_one_whose_random_state_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[torch.device] = []
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "set_device", named.append)
    assert own_device("cuda") == torch.device("cuda:3")
    assert named == [torch.device("cuda:3")]
    assert own_device("cpu") == torch.device("cpu")
