"""What a run chooses by itself: by the measurements that are there, and the same each time."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.base.errors import NotSupported
from pretune.base.log import Log
from pretune.objective.objective import OBJECTIVE
from pretune.testing.worlds import LENGTH, SPECIALS, VOCABULARY, packed_rows, tiny
from pretune.tokens.rows import Vocabulary
from pretune.tokens.store.packing import Arrays
from pretune.train.forecast.choosing import attention_for, compiles, resolved_precision
from pretune.train.forecast.speed import PATIENCE, best_precision, grown, multiplies_bfloat16, narrow_gain, remembered
from pretune.train.loop.runtime import evaluating
from pretune.train.loop.spec import TrainSpec
from pretune.train.loop.state import compile_blocks
from pretune.train.run.pretraining import spec_of
from pretune.train.run.resolve import mark, of_a_step, patience, resolve
from pretune.train.run.settings import PretrainSettings
from pretune.train.run.starting import fresh

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path / "cache"))


def products(*, bfloat16: float, float32: float) -> None:
    """A machine with these matrix products."""
    for kind, speed in (("bfloat16", bfloat16), ("float32", float32)):
        assert remembered(f"matrix cpu torch.{kind}", lambda s=speed: s) == speed


class Drawn:
    """Rows of random ids, endless."""

    def __len__(self) -> int:
        return 64

    def at(self, positions: Any) -> Arrays:
        ids = np.random.default_rng(0).integers(4, 300, (len(positions), 17))
        return {"ids": ids.astype(np.int32), "segments": np.zeros_like(ids, dtype=np.int32)}

    def sample(self, number: int) -> Arrays:
        return self.at(np.arange(number))

    def where(self, positions: Any) -> str:
        return ""


def spec(**settings: Any) -> TrainSpec:
    shape = {"kind": "qwen3", "layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "head_width": 16, "hidden": 48}
    given = {"tokens": "t", "model": shape, "length": 16, "batch": 8, "precision": "float32"} | settings
    made = PretrainSettings(**given)
    vocabulary, how = Vocabulary(300, pad=0), {"length": made.length, "attention": attention_for(CPU)}
    start = fresh(made.model, made.objective.head, vocabulary, SPECIALS, **how)
    return spec_of(made, start, vocabulary, device=CPU, rows=Drawn())


@pytest.mark.parametrize(("bfloat16", "float32", "best"), [(885e9, 180e9, "bfloat16"), (169e9, 325e9, "float32")])
def test_auto_takes_the_precision_whose_product_is_clearly_faster(bfloat16: float, float32: float, best: str) -> None:
    products(bfloat16=bfloat16, float32=float32)
    assert best_precision(CPU) == (best if multiplies_bfloat16(CPU) else "float32")


def test_where_torch_has_no_onednn_bfloat16_is_neither_asked_for_nor_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._C, "_has_mkldnn", False)
    assert not multiplies_bfloat16(CPU)
    assert narrow_gain(CPU) == 0.0
    assert best_precision(CPU) == "float32"


def test_bfloat16_that_is_slow_here_is_used_as_asked_and_told() -> None:
    products(bfloat16=169e9, float32=325e9)
    log = Log(quiet=True)
    assert resolved_precision("bfloat16", CPU, log) == "bfloat16"
    why = "its matrix product has 52% of the speed of float32"
    assert log.warnings == [
        f"precision=bfloat16 is slow here: {why if multiplies_bfloat16(CPU) else 'the processor has no such product'}; "
        "bfloat16 is used as asked, precision=auto would take float32"
    ]


def test_resolving_twice_measures_once_and_takes_the_same_path() -> None:
    first = resolve(spec(minutes=1), Log(quiet=True))
    second = resolve(spec(minutes=1), (log := Log(quiet=True)))
    assert {**first, "steps": 0} == {**second, "steps": 0}
    assert "measuring" not in log.seconds
    assert second["steps"] <= 58 / (second["seconds_per_step"] * 1.05), "saving takes two seconds, looking 5 %"
    assert not first["compile"], "a minute of steps is not worth compiling"


@pytest.mark.parametrize("objective", [{"kind": "hybrid"}, {"a": "causal", "b": {"kind": "masked-next"}}])
def test_minutes_are_told_of_objectives_with_a_batch_for_each_part(objective: Any) -> None:
    some = replace(spec(minutes=1, objective=objective), vocabulary=replace(VOCABULARY, size=300))
    assert resolve(some, Log(quiet=True))["steps"] > 1


def test_minutes_count_what_was_spent_before_the_first_step() -> None:
    some = spec(minutes=1)
    resolve(some, Log(quiet=True))
    whole, late = (resolve(some, Log(quiet=True), started=time.monotonic() - spent) for spent in (0.0, 29.0))
    assert late["steps"] == pytest.approx(whole["steps"] / 2, rel=0.05)


def test_what_a_trial_has_compiled_costs_six_seconds_once_more_not_a_minute() -> None:
    some = spec(minutes=0.5, compile="yes")
    choices = {"precision": "float32", "checkpointed": 0, "compile": True, "micro_batch": 8}
    remembered(mark(some, choices), lambda: [0.1, 0.0])
    steps = resolve(some, Log(quiet=True))["steps"]
    whole = (30 - 6 - 2) / 0.105  # compiling, saving; 5 % for looking
    assert 0.6 * whole < steps <= whole


def test_steps_or_epochs_need_no_measuring_at_all() -> None:
    products(bfloat16=1e9, float32=100e9)
    log = Log(quiet=True)
    assert resolve(spec(steps=7), log)["steps"] == 7
    assert set(log.seconds) == {"forecast"}


def test_a_measurement_grows_while_the_next_size_is_foretold_to_be_quick() -> None:
    asked: list[int] = []

    def slow(size: int) -> float:
        asked.append(size)
        return 0.1 * size

    assert grown(slow, 16) == {1: 0.1, 2: 0.2, 4: 0.4}
    assert asked == [1, 1, 2, 4, 4], "first and last are taken twice; 0.8 s are too many"
    assert sum(0.1 * size for size in asked) < 4 * PATIENCE


def test_two_sizes_are_tried_where_two_rows_may_take_two_thirds_of_a_second() -> None:
    """An optimizer of 0.28 s and rows of 0.02 s: by one size alone sixteen rows would take 4.8 s, not 0.6."""
    times = grown(lambda size: 0.28 + 0.02 * size, 16)
    assert times.keys() == {1, 2}
    assert of_a_step(times, 16) == pytest.approx(0.6)
    assert grown(lambda size: 0.34 * size, 16).keys() == {1}, "all together stay below two seconds"


@pytest.mark.parametrize(("minutes", "seconds"), [(0.5, 0.5), (2.0, 1.2), (15.0, 5.0)])
def test_where_the_length_of_a_run_hangs_on_a_step_it_is_timed_for_longer(minutes: float, seconds: float) -> None:
    assert patience(spec(minutes=minutes)) == pytest.approx(seconds)
    assert patience(spec(steps=7)) == PATIENCE


def test_the_minutes_of_a_slow_machine_are_not_cut_to_a_quarter() -> None:
    """Muon on AVX2: an optimizer of 0.45 s, rows of 0.07 s. One row alone would make 4.2 s of a step of one second."""
    step = lambda size: 0.45 + 0.07 * size  # noqa: E731
    assert of_a_step(grown(step, 8), 8) == pytest.approx(4.16)
    assert of_a_step(grown(step, 8, patience(spec(minutes=15.0))), 8) == pytest.approx(1.01)


def test_a_step_is_told_from_steps_of_a_few_rows() -> None:
    """An optimizer that takes 0.3 s and rows that take 0.1 s each: 32 rows take 3.5 s."""
    assert of_a_step({1: 0.4, 2: 0.5, 4: 0.7}, 32) == pytest.approx(3.5)
    assert of_a_step({8: 0.8}, 32) == pytest.approx(3.2), "of one size, all of it is the rows'"
    assert of_a_step({1: 0.9, 8: 0.8}, 32) == pytest.approx(0.8), "noise makes no row give time back"


@pytest.mark.parametrize(
    ("asked", "precision", "seconds", "compiled"),
    [
        ("auto", "bfloat16", 1300.0, True),
        ("auto", "bfloat16", 1100.0, False),
        ("auto", "float32", 1e6, False),
        ("no", "bfloat16", 1e6, False),
        ("yes", "float32", 1.0, True),
    ],
)
def test_long_runs_in_a_narrow_type_are_compiled(asked: str, precision: str, seconds: float, compiled: bool) -> None:
    assert compiles(asked, seconds, precision, Log(quiet=True)) is compiled


@pytest.mark.parametrize(("shape", "kind"), [("qwen3", "causal"), ("gpt2", "causal"), ("bert", "masked")])
def test_blocks_that_are_traced_give_the_loss_and_gradient_of_eager_ones(shape: str, kind: str) -> None:
    objective = OBJECTIVE(kind)
    rows = packed_rows(4, LENGTH + (kind == "causal"))
    rows = [row | {"labels": row["ids"]} for row in rows] if kind == "masked" else rows
    batch, found = objective.collate(rows, VOCABULARY), []
    for traced in (False, True):
        model = tiny(shape, attention="sdpa")
        if traced:
            compile_blocks(model, backend="aot_eager")
        loss = objective.sums(model, batch)["loss"]
        found.append([loss.detach(), *torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])])
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


def test_what_is_evaluated_is_not_compiled_anew() -> None:
    traced = []

    def backend(graph: Any, inputs: Any) -> Any:
        traced.append(graph)
        return graph.forward

    model, objective = tiny("qwen3", attention="sdpa"), OBJECTIVE("causal")
    compile_blocks(model, backend=backend)
    objective.sums(model, objective.collate(packed_rows(4, LENGTH + 1), VOCABULARY))
    assert len(traced) == 1, "both blocks are one program"
    with evaluating(model):
        objective.sums(model, objective.collate(packed_rows(3, LENGTH + 1), VOCABULARY))
    objective.sums(model, objective.collate(packed_rows(4, LENGTH + 1), VOCABULARY))
    assert len(traced) == 1


def test_without_a_compiler_steps_stay_eager_and_compile_yes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not resolve(spec(minutes=60), Log(quiet=True))["compile"]
    with pytest.raises(NotSupported, match=r"(?s)C\+\+ compiler.*hint: install g\+\+"):
        resolve(spec(compile="yes"), Log(quiet=True))
