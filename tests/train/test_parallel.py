"""A mesh changes no mathematics: one model over four processes moves as in one, and any mesh goes on from any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.base.errors import NotSupported, WrongValue
from pretune.testing.meshes import STEPS, Job, difference, run, together
from pretune.train.loop.runtime import Runtime
from pretune.train.parallel.mesh import Axis
from pretune.train.parallel.probe import measured_factor
from pretune.train.parallel.settings import Parallel, check_heads, check_model
from pretune.train.settings import TrainSettings

MUON: Job = {"kind": "qwen3", "optim": {"kind": "muon", "average": "ema"}}
ADAMW: Job = {"kind": "gpt2", "optim": {"kind": "adamw"}}
BERT: Job = {"kind": "bert", "objective": "masked", "optim": {"kind": "muon"}}
MESHES: list[Job] = [
    {"name": "data-shard", "parallel": {"shard": 2}, "batch": 6, **ADAMW},
    {"name": "shard-tensor", "parallel": {"shard": 2, "tensor": 2}, **MUON},
    {"name": "data-tensor", "parallel": {"tensor": 2}, **BERT},
    {"name": "pipeline", "parallel": {"pipeline": 4}, **ADAMW},
    {"name": "data-pipeline", "parallel": {"pipeline": 2}, **BERT},
    {"name": "tensor-pipeline", "parallel": {"tensor": 2, "pipeline": 2}, **MUON},
]
PASSED_ON: list[Job] = [
    {"name": "second", "parallel": {"shard": 4}, "steps": [1, 2], **MUON},
    {"name": "third", "parallel": {"tensor": 2, "pipeline": 2}, "steps": [2, 4], **MUON},
]
DROPS: Job = {**BERT, "dropout": 0.2, "place": "drops"}
DROPPING: list[Job] = [
    {"name": "apart", "parallel": {"data": 2, "shard": 2}, "steps": [0, 1], **DROPS},
    {"name": "in-halves", "parallel": {"tensor": 2}, "steps": [1, 4], **DROPS},
]
REFUSED: list[Job] = [
    {"name": "split-gpt2", "parallel": {"tensor": 4}, "is_refused": True, **ADAMW},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    run({**MUON, "steps": [0, 1]}, Runtime(), micro=8, folder=folder)  # a process alone begins
    return together([*MESHES, *PASSED_ON, *DROPPING, *REFUSED], folder, world=4)


@pytest.mark.parametrize("job", MESHES, ids=lambda job: job["name"])
def test_losses_norms_and_weights_of_four_processes_are_those_of_one(job: Job, found: dict[str, Any]) -> None:
    assert difference(run(job, Runtime(), micro=8), found[job["name"]]) < 1e-12


def test_a_run_goes_on_from_one_process_to_four_shards_to_stages_of_halves_and_back(
    folder: Path, found: dict[str, Any]
) -> None:
    uninterrupted = run(MUON, Runtime(), micro=8)
    each = len(uninterrupted[1]) // STEPS
    assert found["second"][1] == pytest.approx(uninterrupted[1][each : 2 * each], rel=1e-12)
    assert difference((uninterrupted[0], uninterrupted[1][2 * each :]), found["third"]) < 1e-12
    alone = run({**MUON, "steps": [2, 4]}, Runtime(), micro=8, folder=folder)  # what four shards wrote
    assert difference((uninterrupted[0], uninterrupted[1][2 * each :]), alone) < 1e-12


def test_four_processes_that_dropped_apart_go_on_as_halves_that_drop_the_same(found: dict[str, Any]) -> None:
    """`check_wholes` has compared, in the processes, what lies whole in both halves."""
    assert len(found["in-halves"][1]) == 3 * len(found["apart"][1])


def test_a_checkpoint_in_parts_has_no_weight_whole_in_one_file(folder: Path, found: dict[str, Any]) -> None:
    parts = sorted((folder / "step-00000002").glob("state-*-of-4.safetensors"))
    assert len(parts) == 4
    assert max(part.stat().st_size for part in parts) < 0.4 * sum(part.stat().st_size for part in parts)


def test_what_cannot_be_cut_is_refused_by_name(found: dict[str, Any]) -> None:
    assert "nobody has said how the blocks of a gpt2 model are split" in found["split-gpt2"]
    with pytest.raises(NotSupported, match=r"parallel\.pipeline with parallel\.shard: there is no way yet"):
        Parallel(pipeline=2, shard=2).sizes(4)


# ---- without processes ---------------------------------------------------------------------------


@pytest.mark.parametrize(("exchanged", "factor"), [(3.0, 1.0), (1.5, 2.0)])
def test_the_probe_tells_sums_from_means(exchanged: float, factor: float) -> None:
    """Two processes with the slopes 1 and 2: their sum is 3."""
    assert measured(exchanged) == factor


def test_gradients_that_are_not_exchanged_or_added_twice_end_the_run_before_it_begins() -> None:
    for exchanged in (1.0, 6.0):
        with pytest.raises(NotSupported, match="neither summed nor averaged"):
            measured(exchanged)


@pytest.mark.parametrize("size", range(2, 17))
def test_means_that_float32_rounds_are_means(size: int) -> None:
    """As DDP takes them: each process divides its own, and they are added up in some order."""
    parts = [torch.tensor(float(rank + 1)) / size for rank in range(size)]
    for order in (parts, parts[::-1]):
        assert measured(float(sum(order, torch.zeros(()))), size) == size


@pytest.mark.parametrize("exchanged", [0.0, float("nan"), float("inf")])
def test_gradients_that_are_no_numbers_are_refused_with_a_word(exchanged: float) -> None:
    with pytest.raises(NotSupported, match=f"come out as {exchanged:.4g} of their sum"):
        measured(exchanged)


def measured(exchanged: float, size: int = 2) -> float:
    def finish(gradients: list[torch.Tensor]) -> None:
        gradients[0].fill_(exchanged)

    return measured_factor(lambda module, blocks: module, finish, Axis(size, 0), torch.device("cpu"))


@pytest.mark.parametrize(
    ("parallel", "world", "told"),
    [
        ({"shard": 2, "tensor": 2}, 2, "{shard: 2, tensor: 2} asks for 4 processes, and there are 2"),
        ({"data": 3}, 4, "{data: 3} asks for 3 processes, and there are 4"),
        ({"shard": 3}, 3, "a batch of 8 rows cannot be dealt evenly to 3 processes"),
        ({"pipeline": 4}, 4, "2 micro-batches of 4 rows are fewer than the 4 stages"),
    ],
)
def test_a_mesh_that_does_not_fit_is_refused_by_name(parallel: dict[str, int], world: int, told: str) -> None:
    with pytest.raises(WrongValue, match=told.replace("{", r"\{")):
        TrainSettings.model_validate({"parallel": parallel, "batch": 8, "micro_batch": 4}).check_parallel(world)


def test_heads_that_cannot_be_dealt_name_the_number_that_can() -> None:
    with pytest.raises(WrongValue, match="does not divide the 6 key and value heads") as told:
        check_heads({"num_attention_heads": 12, "num_key_value_heads": 6, "intermediate_size": 48}, 4)
    assert "parallel.tensor=3" in str(told.value)


def test_a_model_with_fewer_blocks_than_stages_is_refused_by_name() -> None:
    with pytest.raises(WrongValue, match=r"parallel\.pipeline=8 is more than the 6 blocks"):
        check_model({"num_hidden_layers": 6}, Parallel(pipeline=8))


def test_settings_that_need_whole_weights_are_refused_together() -> None:
    settings = {"parallel": {"shard": 2}, "optim": {"kind": "adafactor", "offload": "disk"}}
    with pytest.raises(NotSupported, match=r"optim=adafactor and optim\.offload=disk"):
        TrainSettings.model_validate(settings).check_parallel(2)


def test_the_mesh_is_how_and_not_what() -> None:
    assert Parallel().sizes(6) == (6, 1, 1, 1)
    assert Parallel(tensor=2).sizes(6) == (3, 1, 1, 2)
