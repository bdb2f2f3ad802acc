"""Meshes on paper: the formulas by hand, and what they say at their ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pretune.base.errors import BadCommand
from pretune.train.forecast.mesh import (
    BETWEEN,
    GB,
    KERNELS,
    OWN_BYTES,
    Gpu,
    Work,
    gpus_of,
    memory_of,
    meshes,
    ring,
    wire_of,
)
from pretune.train.parallel.settings import Parallel

A100 = Gpu("A100", 80 * GB, 312e12, 300 * GB)
SEVEN = Work(
    # weights and gradients in 2 bytes, masters and two moments in 4: 16 bytes a parameter
    rest=16 * 7e9,
    row=34 * 4096 * 4096 * 32.0,
    flops=6 * 7e9 * 4096 * 256,
    parameters=7e9,
    trained=7e9,
    layers=32,
    width=4096,
    length=4096,
    batch=256,
    divides=(32, 32, 11008),
)


def test_gpus_are_read_by_memory_or_name() -> None:
    assert gpus_of("8x80GB") == (8, A100)
    assert gpus_of("16xh100")[1].peak == 989e12
    assert gpus_of("2x20gb") == (2, Gpu("RTX4090", 20 * GB, 165e12, 32 * GB))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("80GB", "is not NUMBERxMEMORY"),
        ("8x", "is not NUMBERxMEMORY"),
        ("8x80", "is not NUMBERxMEMORY"),
        ("8x80MB", "is not NUMBERxMEMORY"),
        ("8x80TB", "is not NUMBERxMEMORY"),
        ("8x-80GB", "is not NUMBERxMEMORY"),
        ("0x80GB", "asks for no GPU"),
        ("0xH100", "asks for no GPU"),
        ("8x0GB", r"take 1\.5 GB of each by themselves"),
        ("8x1.5GB", r"take 1\.5 GB of each by themselves"),
        ("8x9999GB", "no GPU with so much memory is known"),
        ("8xRX580", "no such GPU is known"),
    ],
)
def test_gpus_that_are_none_are_refused_with_what_is_wrong(wrong: str, told: str) -> None:
    with pytest.raises(BadCommand, match=told):
        gpus_of(wrong)


def test_what_rests_is_dealt_and_what_a_row_adds_follows_equation_2() -> None:
    alone = memory_of(SEVEN, (1, 1, 1, 1), 1)
    assert alone == OWN_BYTES + 16 * 7e9 + SEVEN.row
    sharded = memory_of(SEVEN, (1, 1, 8, 1), 1)
    assert sharded == OWN_BYTES + 2 * 7e9 + 4 * 7e9 / 32 + SEVEN.row, "an eighth, and two blocks that are whole"
    tensor = memory_of(SEVEN, (1, 1, 1, 8), 1)
    assert tensor == pytest.approx(OWN_BYTES + 2 * 7e9 + SEVEN.row * 13 / 34), "10 + 24 / 8 of 34"
    assert memory_of(SEVEN, (1, 4, 1, 1), 1) == OWN_BYTES + 4 * 7e9 + SEVEN.row, "a quarter of 4 micro-batches"


def test_bytes_on_the_wire_are_those_of_the_papers() -> None:
    assert (ring(1), ring(2), ring(8)) == (0, 1, 1.75)
    assert wire_of(SEVEN, (8, 1, 1, 1), 32) == (1.75 * 2 * 7e9, {"tensor": 0, "pipeline": 0})
    hidden, _ = wire_of(SEVEN, (1, 1, 8, 1), 32)
    assert hidden == 3 * 2 * 7e9 * 7 / 8, "ZeRO: three times the parameters, for the one micro-batch"
    assert wire_of(SEVEN, (1, 1, 8, 1), 16)[0] == 2 * hidden
    _, waited = wire_of(SEVEN, (1, 1, 1, 8), 1)
    assert waited["tensor"] == 1.75 * 4 * 2 * 256 * 4096 * 4096 * 32, "Megatron: four all-reduces a block"
    assert wire_of(SEVEN, (1, 2, 1, 1), 1)[1]["pipeline"] == 2 * 2 * 256 * 4096 * 4096


def test_seven_billions_fit_on_eight_cards_of_80_gb_but_not_as_whole_copies() -> None:
    found = meshes(SEVEN, 8, A100)
    by = {(one.data, one.pipeline, one.shard, one.tensor): one for one in found}
    assert found[0].fits
    assert not by[8, 1, 1, 1].fits, "16 bytes of 7 billion are 112 GB"
    assert by[1, 1, 8, 1].fits
    assert [one.fits for one in found] == sorted((one.fits for one in found), reverse=True)
    assert all(0 < one.share <= KERNELS for one in found)
    assert not meshes(SEVEN, 1, A100)[0].fits


def test_a_small_model_is_copied_and_reaches_what_its_kernels_do() -> None:
    small = replace(SEVEN, rest=16 * 1e8, parameters=1e8, trained=1e8, flops=6 * 1e8 * 4096 * 256, row=1e8)
    best = meshes(small, 8, A100)[0]
    assert best.setting == "{data: 8}"
    assert best.share == pytest.approx(KERNELS)


def test_a_mesh_fits_processes_heads_rows_and_blocks() -> None:
    odd = replace(SEVEN, divides=(6, 2), batch=24, layers=3)
    found = meshes(odd, 12, A100)
    assert {one.tensor for one in found} == {1, 2}, "of the divisors of 12 that also divide 6 and 2"
    assert max(one.pipeline for one in found) == 3
    assert all(one.data * one.pipeline * one.shard * one.tensor == 12 for one in found)
    assert meshes(replace(SEVEN, batch=3, divides=(1,), layers=1), 8, A100) == []


def test_only_meshes_that_a_run_would_take_are_named() -> None:
    """One that is named is put into a recipe: a run refuses stages of shards, and what a family cannot do."""
    for one in meshes(SEVEN, 16, A100):
        Parallel(data=one.data, pipeline=one.pipeline, shard=one.shard, tensor=one.tensor).check(
            16, batch=SEVEN.batch, micro_batch=one.micro
        )
    whole = meshes(replace(SEVEN, cuts=frozenset()), 8, A100)
    assert [one.setting for one in whole] == ["{data: 8}"]
    dealt = meshes(replace(SEVEN, cuts=frozenset({"shard"})), 8, A100)
    assert {(one.pipeline, one.tensor) for one in dealt} == {(1, 1)} and len(dealt) == 4


def test_a_model_without_blocks_and_a_number_with_many_divisors_are_reckoned() -> None:
    flat = replace(SEVEN, layers=0, divides=())
    assert {one.pipeline for one in meshes(flat, 8, A100)} == {1}
    assert len(meshes(replace(SEVEN, batch=720720), 720720, A100)) > 100


def test_between_machines_the_wire_is_narrower() -> None:
    many = meshes(SEVEN, 64, A100)
    assert A100.link > BETWEEN
    assert all(one.tensor <= 8 for one in many)
