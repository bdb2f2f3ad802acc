"""`pretune doctor`: what this machine has, and which models can be trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pretune.base import probes
from pretune.base.extras import MODULES, versions
from pretune.base.stage import Machine
from pretune.model.shape import SHAPE

if TYPE_CHECKING:
    import torch


def doctor_facts() -> dict[str, Any]:
    """Cores, bytes, measured matrix products (operations per second), a forecast per preset."""
    from dataclasses import asdict
    from importlib.util import find_spec

    import torch

    from pretune.train.runtime import best_precision, device_of, matrix_speed
    from pretune.train.settle import has_compiler

    machine, device = Machine.here(), device_of()
    speeds = {str(d).removeprefix("torch."): matrix_speed(d, device) for d in (torch.float32, torch.bfloat16)}
    best = best_precision(device)
    training = float(probes.remembered(probes.TRAINING, lambda: training_flops(device, best)))
    return {
        **asdict(machine),
        "processor": probes.processor(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "matrix_flops": speeds,
        "training_flops": training,
        "precision": best,
        "compiler": has_compiler(),
        "presets": [_preset(kind, training, machine) for kind in ("qwen3-nano", "qwen3-mini", "qwen3-small")],
        "extras": {name: all(find_spec(m) for m in modules) for name, modules in MODULES.items()},
        "versions": versions(),
    }


def training_flops(device: torch.device, precision: str) -> float:
    """Floating-point operations per second of a real training step, eager: qwen3-nano, 16 rows of 256, AdamW."""
    import numpy as np

    from pretune.model.attention import register_attention
    from pretune.model.build import build_model
    from pretune.objective.base import OBJECTIVE, Vocabulary
    from pretune.tokens.tokenizer import Specials
    from pretune.train.assembly import narrow_of
    from pretune.train.loop import Scored, TrainState, take_step
    from pretune.train.optim import OPTIM
    from pretune.train.runtime import Runtime
    from pretune.train.update import Update

    runtime = Runtime.start(device.type)
    specials, attention = Specials(None, 0, 1, None, None, None, None), register_attention()
    shape, objective = SHAPE("qwen3-nano"), OBJECTIVE("causal")
    model = build_model(shape, vocab_size=8192, max_length=256, specials=specials, seed=0, attention=attention)
    update = Update(model.to(device), OPTIM("adamw"), narrow=narrow_of(precision))
    state = TrainState(model, Scored(model, objective), update, total=10)
    ids = np.random.default_rng(0).integers(2, 8192, (16, 257))
    batch = objective.collate([{"ids": row, "segments": np.zeros(257, int)} for row in ids], Vocabulary(8192, pad=1))
    seconds = min(take_step(state, objective, [batch], runtime).seconds for _ in range(4))
    return float(16 * 256 * shape.layout().flops_per_token(8192, 256) / seconds)


def _preset(kind: str, flops: float, machine: Machine) -> dict[str, Any]:
    """Memory as foretold for the default settings of stage pretrain, tokens per second at the speed of a real step."""
    from pretune.train.foretell import foretell_pretraining
    from pretune.train.pretrain import USUAL_VOCABULARY, PretrainStage

    stage = PretrainStage(kind="pretrain", tokens="-", model=SHAPE(kind), compile="no", epochs=1)
    told = foretell_pretraining(stage, tokens=1e6, vocab_size=USUAL_VOCABULARY, machine=machine, timed=False)
    return {
        "kind": kind,
        "parameters": told.parameters,
        "memory_bytes": told.memory_bytes,
        "tokens_per_second": flops / stage.model.layout().flops_per_token(USUAL_VOCABULARY, stage.length),
        "fits": told.memory_bytes < machine.memory_bytes,
    }


def _share(found: dict[str, Any]) -> float:
    return float(found["training_flops"] / found["matrix_flops"][found["precision"]])


def doctor_text(found: dict[str, Any]) -> str:
    lines = [
        f"cores      {found['cores']} ({found['threads']} threads), device {found['device']}",
        f"memory     {found['memory_bytes'] / 2**30:.1f} GiB, {found['free_memory_bytes'] / 2**30:.1f} GiB free",
        f"disk       {found['free_disk_bytes'] / 2**30:.1f} GiB free here",
        *(f"{name:<10} {speed / 1e9:,.0f} GFLOP/s matrix product" for name, speed in found["matrix_flops"].items()),
        f"training   {found['training_flops'] / 1e9:,.0f} GFLOP/s in a step, {_share(found):.0%} of the product",
        f"precision  {found['precision']}",
        f"compiler   {'found' if found['compiler'] else 'none: training runs eager, about a quarter slower'}",
        f"extras     {', '.join(f'{n} {chr(43) if ok else chr(45)}' for n, ok in found['extras'].items())}",
    ]
    for row in found["presets"]:
        size = f"{row['parameters'] / 1e6:.0f} million parameters"
        speed = f"about {row['tokens_per_second']:,.0f} tokens/s in {row['memory_bytes'] / 2**30:.1f} GiB"
        fits = speed if row["fits"] else "does not fit"
        lines.append(f"{row['kind']:<12} {size}: {fits} in training")
    return "\n".join(lines)
