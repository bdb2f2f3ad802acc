"""`pretune doctor`: what this machine has, and which models can be trained on it."""

from __future__ import annotations

from pretune.base import measurements
from pretune.base.extras import MODULES, versions
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.stage import Machine
from pretune.model.shape import SHAPE
from pretune.report.numbers import count, share, size


def doctor_facts(log: Log) -> Json:
    """Cores, bytes, measured matrix products (operations per second), a forecast per preset."""
    from dataclasses import asdict
    from importlib.util import find_spec

    import torch

    from pretune.train.forecast.choosing import has_compiler
    from pretune.train.forecast.speed import best_precision, matrix_speed, multiplies_bfloat16, training_speed
    from pretune.train.loop.runtime import device_of

    machine, device = Machine.here(), device_of()
    kinds = (torch.float32, torch.bfloat16) if multiplies_bfloat16(device) else (torch.float32,)
    speeds = {str(d).removeprefix("torch."): matrix_speed(d, device, log) for d in kinds}
    best = best_precision(device, log)
    training = training_speed(best, device, log)
    return {
        **asdict(machine),
        "processor": measurements.processor(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "mps": torch.backends.mps.is_available(),
        "matrix_flops": speeds,
        "training_flops": training,
        "precision": best,
        "compiler": has_compiler(),
        "presets": [_preset(kind, training, machine) for kind in ("qwen3-nano", "qwen3-mini", "qwen3-small")],
        "extras": {name: all(find_spec(m) for m in modules) for name, modules in MODULES.items()},
        "versions": versions(),
    }


def _preset(kind: str, flops: float, machine: Machine) -> Json:
    """Memory as forecast for the default settings of stage pretrain, tokens per second at the speed of a real step."""
    from pretune.train.run.pretraining import USUAL_VOCABULARY, forecast_pretraining
    from pretune.train.run.settings import PretrainSettings

    stage = PretrainSettings(tokens="-", model=SHAPE(kind), compile="no", epochs=1)
    told = forecast_pretraining(stage, tokens=1e6, vocab_size=0, machine=machine, timed=False)
    return {
        "kind": kind,
        "parameters": told.parameters,
        "memory_bytes": told.memory_bytes,
        "tokens_per_second": flops / stage.model.layout().flops_per_token(USUAL_VOCABULARY, stage.length),
        "fits": told.memory_bytes < machine.memory_bytes,
    }


def _share(found: Json) -> float:
    return float(found["training_flops"] / found["matrix_flops"][found["precision"]])


def doctor_text(found: Json) -> str:
    lines = [
        f"cores      {found['cores']} ({found['threads']} threads), device {found['device']}, {found['capability']}",
        f"memory     {size(found['memory_bytes'])}, {size(found['free_memory_bytes'])} free",
        f"disk       {size(found['free_disk_bytes'])} free here",
        *(f"{name:<10} {speed / 1e9:,.0f} GFLOP/s matrix product" for name, speed in found["matrix_flops"].items()),
        f"training   {found['training_flops'] / 1e9:,.0f} GFLOP/s in a step, {share(_share(found))} of the product",
        f"precision  {found['precision']}{'' if len(found['matrix_flops']) > 1 else ': no bfloat16 in this processor'}",
        f"compiler   {'found' if found['compiler'] else 'none: training runs eager, about a quarter slower'}",
        *(["GPU        device=mps trains on this Mac's GPU, in float32; it was not tested"] if found["mps"] else []),
        f"extras     {', '.join(f'{n} {chr(43) if ok else chr(45)}' for n, ok in found['extras'].items())}",
    ]
    for row in found["presets"]:
        speed = f"about {count(row['tokens_per_second'])} tokens/s in {size(row['memory_bytes'])}"
        fits = speed if row["fits"] else "does not fit"
        lines.append(f"{row['kind']:<12} {count(row['parameters'])} parameters: {fits} in training")
    return "\n".join(lines)
