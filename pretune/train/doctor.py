"""`pretune doctor`: what this machine has, and which models can be trained on it."""

from __future__ import annotations

from typing import Any

from pretune.base.extras import MODULES, versions
from pretune.base.stage import Machine
from pretune.model.shape import SHAPE


def doctor_facts() -> dict[str, Any]:
    """Cores, bytes, measured matrix products (operations per second), a forecast per preset."""
    import shutil
    from dataclasses import asdict
    from importlib.util import find_spec

    import torch

    from pretune.train.runtime import best_precision, matrix_speed

    machine = Machine.here()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    speeds = {str(d).removeprefix("torch."): matrix_speed(d, device) for d in (torch.float32, torch.bfloat16)}
    best = best_precision(device)
    return {
        **asdict(machine),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "matrix_flops": speeds,
        "precision": best,
        "compiler": any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")),
        "presets": [_preset(kind, machine) for kind in ("qwen3-nano", "qwen3-mini", "qwen3-small")],
        "extras": {name: all(find_spec(m) for m in modules) for name, modules in MODULES.items()},
        "versions": versions(),
    }


def _preset(kind: str, machine: Machine) -> dict[str, Any]:
    """Of one epoch over a million tokens, as the settings of stage pretrain are by default."""
    from pretune.train.foretell import foretell_pretraining
    from pretune.train.pretrain import USUAL_VOCABULARY, PretrainStage

    stage = PretrainStage(kind="pretrain", tokens="-", model=SHAPE(kind), compile="no", epochs=1)
    told = foretell_pretraining(stage, tokens=1e6, vocab_size=USUAL_VOCABULARY, machine=machine)
    return {
        "kind": kind,
        "parameters": told.parameters,
        "memory_bytes": told.memory_bytes,
        "tokens_per_second": told.tokens / told.seconds if told.seconds else 0.0,
        "fits": told.memory_bytes < machine.memory_bytes,
    }


def doctor_text(found: dict[str, Any]) -> str:
    lines = [
        f"cores      {found['cores']} ({found['threads']} threads), device {found['device']}",
        f"memory     {found['memory_bytes'] / 2**30:.1f} GiB, {found['free_memory_bytes'] / 2**30:.1f} GiB free",
        f"disk       {found['free_disk_bytes'] / 2**30:.1f} GiB free here",
        *(f"{name:<10} {speed / 1e9:,.0f} GFLOP/s matrix product" for name, speed in found["matrix_flops"].items()),
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
