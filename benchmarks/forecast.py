"""What `pretune plan` tells of a training step next to what the step then takes: memory and seconds, on 20 shapes.

    python benchmarks/forecast.py                a table
    python benchmarks/forecast.py --only 0:5     the first five shapes
    python benchmarks/forecast.py --json         one object

Each shape is forecast in one process and trained in three others: the real loop, eager, some steps after two to warm
up. Measured are the most memory that a process ever held (VmHWM of /proc) and the median seconds of a step; of both the
median of the three processes, for where gaps fall in the heap is chance, and one process differs from the next by up
to 16 %. Foretold is first, so that nothing measured can leak into it. Needs Linux and a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SMALL = {"layers": 4, "width": 256, "heads": 4}
MIDDLE = {"layers": 6, "width": 384, "heads": 6}
WIDE = {"layers": 3, "width": 640, "heads": 10}
SHAPES: list[dict[str, Any]] = [
    {"kind": "qwen3", "sizes": SMALL, "length": 64, "batch": 32, "micro": 32, "optim": "adamw"},
    {"kind": "qwen3", "sizes": SMALL, "length": 256, "batch": 16, "micro": 8, "optim": "muon"},
    {"kind": "qwen3", "sizes": MIDDLE, "length": 128, "batch": 16, "micro": 16, "optim": "muon"},
    {"kind": "qwen3", "sizes": MIDDLE, "length": 256, "batch": 16, "micro": 4, "optim": "adamw"},
    {"kind": "qwen3", "sizes": MIDDLE, "length": 512, "batch": 4, "micro": 4, "optim": "muon"},
    {"kind": "qwen3", "sizes": SMALL, "length": 1024, "batch": 4, "micro": 2, "optim": "lion"},
    {"kind": "qwen3", "sizes": SMALL, "length": 2048, "batch": 2, "micro": 1, "optim": "muon"},
    {"kind": "qwen3", "sizes": WIDE, "length": 256, "batch": 8, "micro": 8, "optim": "adamw"},
    {"kind": "qwen3", "sizes": SMALL, "length": 256, "batch": 8, "micro": 8, "optim": "muon", "narrow": True},
    {"kind": "gpt2", "sizes": SMALL, "length": 128, "batch": 32, "micro": 16, "optim": "adamw"},
    {"kind": "gpt2", "sizes": MIDDLE, "length": 512, "batch": 4, "micro": 2, "optim": "schedule-free"},
    {"kind": "gpt2", "sizes": SMALL, "length": 1024, "batch": 4, "micro": 4, "optim": "muon"},
    {"kind": "bert", "sizes": SMALL, "length": 64, "batch": 64, "micro": 64, "optim": "adamw"},
    {"kind": "bert", "sizes": MIDDLE, "length": 128, "batch": 32, "micro": 16, "optim": "muon"},
    {"kind": "bert", "sizes": MIDDLE, "length": 512, "batch": 4, "micro": 4, "optim": "adamw"},
    {"kind": "bert", "sizes": SMALL, "length": 1024, "batch": 4, "micro": 2, "optim": "adafactor"},
    {"kind": "bert", "sizes": MIDDLE, "length": 128, "batch": 32, "micro": 32, "optim": "adamw", "task": "classify"},
    {"kind": "bert", "sizes": MIDDLE, "length": 128, "batch": 32, "micro": 32, "optim": "adamw", "task": "classify",
     "method": "lora"},
    {"kind": "qwen3", "sizes": MIDDLE, "length": 256, "batch": 8, "micro": 8, "optim": "adamw", "method": "lora"},
    {"kind": "qwen3", "sizes": SMALL, "length": 1024, "batch": 4, "micro": 2, "optim": "adamw", "method": "lora"},
]  # fmt: skip
VOCABULARY = 8192
WARM_UP, STEPS, PROCESSES = 2, 5, 3


def plan_of(case: dict[str, Any], *, real: bool = False) -> Any:
    """The step of a case, in the words of the forecast."""
    import torch

    from pretune.model.methods.method import METHOD
    from pretune.objective.labels import Labels
    from pretune.objective.objective import OBJECTIVE
    from pretune.tokens.rows import Vocabulary
    from pretune.train.forecast.dry_run import weightless
    from pretune.train.forecast.plan import Plan
    from pretune.train.loop.step import Scored, TrainState
    from pretune.train.optim.settings import OPTIM
    from pretune.train.optim.update import Update

    classify = case.get("task") == "classify"
    objective = Labels(kind="labels") if classify else OBJECTIVE("masked" if case["kind"] == "bert" else "causal")
    narrow = torch.bfloat16 if case.get("narrow") else None

    def build() -> Any:
        heads = ("classifier",) if classify else ()

        def make() -> Any:
            return METHOD(case.get("method", "full")).apply(model_of(case, classify), heads=heads)

        model = make() if real else weightless(make, torch.device("cpu"))
        return TrainState(
            model, Scored(model, objective), Update(model, OPTIM(case["optim"]), compute_dtype=narrow), total=99
        )

    vocabulary = Vocabulary(size=VOCABULARY, pad=0, mask=1, specials=(0, 1, 2))
    return Plan(build, objective, vocabulary, length=case["length"], batch=case["batch"])


def model_of(case: dict[str, Any], classify: bool) -> Any:
    from transformers import AutoModelForSequenceClassification

    from pretune.model.attention import register_attention
    from pretune.model.build import build_model
    from pretune.model.shape import SHAPE
    from pretune.tokens.encode.tokenizer import Specials

    specials = Specials(bos=None, eos=2, pad=0, unk=None, cls=2, sep=2, mask=1)
    shape = SHAPE({"kind": case["kind"], **case["sizes"]})
    attention = register_attention()
    head = "masked" if case["kind"] == "bert" else "next"
    model = build_model(
        shape, head, vocab_size=VOCABULARY, max_length=case["length"], specials=specials, seed=0, attention=attention
    )
    return AutoModelForSequenceClassification.from_config(model.config) if classify else model


def forecast(case: dict[str, Any]) -> dict[str, float]:
    import time

    from pretune.train.forecast.plan import CPU, run_bytes, step_seconds
    from pretune.train.forecast.speed import training_speed

    precision = "bfloat16" if case.get("narrow") else "float32"
    training_speed(precision, CPU)
    plan, started = plan_of(case), time.perf_counter()
    found = {"bytes": run_bytes(plan, case["micro"]), "seconds": step_seconds(plan, case["micro"], precision)}
    return found | {"took": time.perf_counter() - started}


def measured(case: dict[str, Any]) -> dict[str, float]:
    """Train for a few steps; VmHWM, because the peak of getrusage is inherited from the parent process."""
    import numpy as np

    from pretune.train.loop.runtime import Runtime
    from pretune.train.loop.steps import steps
    from pretune.train.loop.stream import MicroBatches, RowStream

    import pretune.task.finetuning  # noqa: F401  # isort: skip

    runtime, plan = Runtime.start("cpu"), plan_of(case, real=True)
    rng = np.random.default_rng(0)
    rows = [plan.objective.blank(case["length"], plan.vocabulary, rng) for _ in range(64)]
    for row in rows:
        row["ids"] = rng.integers(3, VOCABULARY, len(row["ids"]))
    cut = MicroBatches(RowStream(rows, case["batch"], seed=0), plan.objective, plan.vocabulary, 0, case["micro"])
    found = list(steps(plan.build(), plan.objective, cut, runtime, until=WARM_UP + STEPS))
    most = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert most is not None
    return {"bytes": int(most[1]) * 1024.0, "seconds": statistics.median(r.seconds for r in found[WARM_UP:])}


def told_by_a_process(part: str, number: int, cache: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--part", part, "--only", f"{number}:{number + 1}"]
    environment = {**os.environ, "PRETUNE_CACHE": cache}  # nothing that was remembered in a worse hour
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
    return json.loads(out.splitlines()[-1])  # type: ignore[no-any-return]


def name_of(case: dict[str, Any]) -> str:
    words = [
        case["kind"],
        "{layers}x{width}".format(**case["sizes"]),
        f"{case['batch']}/{case['micro']} x {case['length']}",
    ]
    return " ".join(
        [*words, case["optim"], case.get("task", ""), case.get("method", ""), "bf16" * case.get("narrow", 0)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=":", help="first:last+1 of the shapes")
    parser.add_argument("--part", choices=("forecast", "measured"), help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    chosen = list(range(len(SHAPES)))[slice(*[int(n) if n else None for n in given.only.split(":")])]
    if given.part:
        print(json.dumps({"forecast": forecast, "measured": measured}[given.part](SHAPES[chosen[0]])))
        return
    with tempfile.TemporaryDirectory() as cache:
        compare(chosen, cache, as_json=given.json)


def compare(chosen: list[int], cache: str, *, as_json: bool) -> None:
    rows = []
    for number in chosen:
        told = told_by_a_process("forecast", number, cache)
        runs = [told_by_a_process("measured", number, cache) for _ in range(PROCESSES)]
        was = {key: statistics.median(run[key] for run in runs) for key in ("bytes", "seconds")}
        ratios = {"memory": told["bytes"] / was["bytes"], "time": told["seconds"] / was["seconds"]}
        rows.append({"shape": name_of(SHAPES[number]), "forecast": told, "measured": was, "runs": runs, **ratios})
        if not as_json:
            print(line(number, rows[-1]), flush=True)
    if as_json:
        print(json.dumps({"steps": STEPS, "shapes": rows}, indent=1))


def line(number: int, row: dict[str, Any]) -> str:
    """A row of the table; in brackets what each process took."""
    told, was = row["forecast"], row["measured"]
    bytes_of_all = ", ".join(f"{run['bytes'] / 2**20:,.0f}" for run in row["runs"])
    seconds_of_all = ", ".join(f"{run['seconds']:.3f}" for run in row["runs"])
    return (
        f"| {number:2} {row['shape']:48} "
        f"| {told['bytes'] / 2**20:6,.0f} | {was['bytes'] / 2**20:6,.0f} ({bytes_of_all}) | {row['memory']:.2f} "
        f"| {told['seconds']:6.3f} | {was['seconds']:6.3f} ({seconds_of_all}) | {row['time']:.2f} |"
    )


if __name__ == "__main__":
    main()
