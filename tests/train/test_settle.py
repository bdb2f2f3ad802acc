"""What a run chooses by itself: by the measurements that are there, and the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.base import probes
from pretune.base.errors import NotSupported
from pretune.base.log import Log
from pretune.objective.base import OBJECTIVE, Vocabulary
from pretune.tokens.packing import Arrays
from pretune.train.assembly import Parts, compile_blocks
from pretune.train.pretrain import PretrainStage
from pretune.train.runtime import Runtime, best_precision, evaluating, recalled, remembered
from pretune.train.settle import COMPILED, settle, settled_precision
from tests.invariants.worlds import LENGTH, VOCABULARY, packed_rows, tiny

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path / "cache"))


def products(*, bfloat16: float, float32: float) -> None:
    """A machine with these matrix products."""
    for kind, speed in (("bfloat16", bfloat16), ("float32", float32)):
        assert remembered(f"matrix cpu torch.{kind} {torch.get_num_threads()}", lambda s=speed: s) == speed


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


def parts(tokenizer: Path, **settings: Any) -> Parts:
    shape = {"kind": "qwen3", "layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "head_width": 16, "hidden": 48}
    stage = PretrainStage(
        **{"kind": "pretrain", "tokens": "t", "model": shape, "length": 16, "batch": 8, "precision": "float32"}
        | settings
    )
    return Parts(stage, Drawn(), tokenizer, Vocabulary(300, pad=0), Runtime(), 0)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({str(i): i for i in range(300)}, unk_token="0"))
    words.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize(("bfloat16", "float32", "best"), [(885e9, 180e9, "bfloat16"), (169e9, 325e9, "float32")])
def test_auto_takes_the_precision_whose_product_is_clearly_faster(bfloat16: float, float32: float, best: str) -> None:
    products(bfloat16=bfloat16, float32=float32)
    assert best_precision(CPU) == best
    assert settled_precision("auto", CPU, Log(quiet=True)) == best


def test_bfloat16_that_is_slow_here_is_used_as_asked_and_told() -> None:
    products(bfloat16=169e9, float32=325e9)
    log = Log(quiet=True)
    assert settled_precision("bfloat16", CPU, log) == "bfloat16"
    assert log.warnings == [
        "precision=bfloat16 is slow here: its matrix product has 52% of the speed of float32; "
        "bfloat16 is used as asked, precision=auto would take float32"
    ]


def test_settling_twice_measures_once_and_takes_the_same_path(tokenizer: Path) -> None:
    first = settle(parts(tokenizer, minutes=1), num_tokens=1000, log=Log(quiet=True))
    second = settle(parts(tokenizer, minutes=1), num_tokens=1000, log=Log(quiet=True))
    assert first == second
    assert first["steps"] == int(60 / first["seconds_per_step"])
    assert not first["compile"], "a minute of steps does not win twice 17 seconds back"


@pytest.mark.parametrize(("compiled", "taken"), [(0.5, True), (0.995, False)])
def test_a_compiled_step_is_taken_where_it_wins_its_price_back(tokenizer: Path, compiled: float, taken: bool) -> None:
    some = parts(tokenizer, minutes=60)
    shape = some.stage.model
    mark = f"{shape.model_dump(mode='json')} (8, 16, 300, None) float32 ('muon', 'float32', 'none', 'causal', 'cpu') 0"
    remembered(f"step {mark}", lambda: {"micro_batch": 8, "attention": "sdpa", "first": 1.0, "seconds": 1.0})
    trial = {"micro_batch": 8, "attention": "pretune-blocks", "first": 60.0, "seconds": compiled}
    assert recalled(f"compiled 8 {mark}") is None
    remembered(f"compiled 8 {mark}", lambda: [trial, {**trial, "attention": "sdpa", "seconds": 2.0}])
    found = settle(some, num_tokens=1000, log=Log(quiet=True))
    # An hour of steps of a second: 0.005 s less a step saves 18 s, less than a third of the price.
    assert found["compile"] is taken
    assert found["steps"] == (7200 if taken else 3600)
    assert found["attention"] == ("pretune-blocks" if taken else "sdpa")
    assert probes.recalled(COMPILED) == 60.0


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
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not settle(parts(tokenizer, minutes=60), num_tokens=1000, log=Log(quiet=True))["compile"]
    with pytest.raises(NotSupported, match=r"(?s)C\+\+ compiler.*hint: install g\+\+"):
        settle(parts(tokenizer, compile="yes"), num_tokens=1000, log=Log(quiet=True))
