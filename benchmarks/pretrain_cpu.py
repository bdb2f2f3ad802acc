"""Our pretraining step beside the transformers Trainer's: same model, data and batch, in turn, on this machine.

    python benchmarks/pretrain_cpu.py            a table
    python benchmarks/pretrain_cpu.py --json     one object

Each side runs in a process of its own with empty compile and probe caches; seconds are the median of the
steps after the first three. Learning is proven: the mean loss of the last steps must lie below that of the
first by a nat, or the row is marked. The share is tokens/s x flops per token / the best bfloat16 product of
512, 1024 and 2048 squared, measured in the same run. The price of compiling stands beside its row.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIDES = ("trainer", "trainer-bf16", "ours-eager", "ours-compiled")
BATCH, LENGTH, VOCABULARY = 16, 256, 8192
SHAPE = {"kind": "qwen3", "layers": 6, "width": 384, "heads": 6, "kv_heads": 6, "hidden": 1024}
RATE = 1e-3


def blocks(folder: Path) -> Any:
    """Rows of real text: the sources of the installed Python, through our own corpus, tokenizer and tokens."""
    from pretune.tokens.packing import Blocks
    from pretune.tokens.store import Store

    return Blocks(Store.open(folder / "data.tokens", "train"), LENGTH)


def prepare(folder: Path) -> None:
    from pretune.base.log import Log
    from pretune.base.oneline import stage_recipe

    words = ["python:code", "tokenizer.vocab_size=8192"]
    recipe, _ = stage_recipe("tokens", words, str(folder / "data.tokens"))
    recipe.run(log=Log(quiet=True))


def model() -> Any:
    from pretune.model.build import build_model
    from pretune.model.shape import SHAPE as CHOICE
    from pretune.tokens.tokenizer import Specials

    specials = Specials(bos=None, eos=0, pad=1, unk=None, cls=None, sep=None, mask=None)
    return build_model(CHOICE(SHAPE), vocab_size=VOCABULARY, max_length=LENGTH, specials=specials, seed=0)


def ours(folder: Path, steps: int, *, compiled: bool) -> dict[str, Any]:
    import torch

    from pretune.objective.base import OBJECTIVE, Vocabulary
    from pretune.tokens.packing import BlockTable, Shuffled
    from pretune.train.loop import Scored, TrainState
    from pretune.train.loop import steps as loop
    from pretune.train.optim import OPTIM
    from pretune.train.runtime import Runtime
    from pretune.train.stream import Cut, StoreStream
    from pretune.train.update import Update

    runtime, objective, net = Runtime.start("cpu"), OBJECTIVE("causal"), model()
    optim = OPTIM({"kind": "adamw", "learning_rate": RATE, "betas": (0.9, 0.999), "weight_decay": 0.0, "warmup": 0.0})
    update = Update(net, optim, narrow=torch.bfloat16)
    scored: Any = torch.compile(Scored(net, objective)) if compiled else Scored(net, objective)
    state = TrainState(net, scored, update, total=steps)
    stream = StoreStream(Shuffled(BlockTable(blocks(folder)), seed=0), BATCH)
    cut = Cut(stream, objective, Vocabulary(VOCABULARY, pad=1), 0, BATCH)
    reports = list(loop(state, objective, cut, runtime, until=steps))
    return {"seconds": [r.seconds for r in reports], "losses": [r.loss["loss"] for r in reports]}


def trainer(folder: Path, steps: int, *, bf16: bool) -> dict[str, Any]:
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from pretune.tokens.order import Order

    rows = blocks(folder)
    order = Order(len(rows), 0)

    class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return BATCH * steps

        def __getitem__(self, i: int) -> dict[str, Any]:
            ids = torch.from_numpy(rows[order.row(i)][0][:LENGTH].astype("int64"))
            return {"input_ids": ids, "labels": ids}

    class Clock(TrainerCallback):
        seconds: list[float] = []

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.seconds.append(time.perf_counter() - self.started)

    net, clock = model(), Clock()
    net.set_attn_implementation("sdpa")  # what a model has by default
    settings = TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=BATCH,
        max_steps=steps,
        learning_rate=RATE,
        bf16=bf16,
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        train_sampling_strategy="sequential",  # the rows of our steps, in our order
    )
    work = Trainer(model=net, args=settings, train_dataset=Rows(), callbacks=[clock])
    work.train()
    losses = [row["loss"] for row in work.state.log_history if "loss" in row]
    return {"seconds": clock.seconds, "losses": [float(x) for x in losses]}


def side(name: str, folder: Path, steps: int) -> dict[str, Any]:
    if name == "matrix":
        import torch

        from pretune.train.runtime import PROBE_SIZES, _product_speed

        device = torch.device("cpu")
        return {"flops": max(_product_speed(n, torch.bfloat16, device) for n in PROBE_SIZES)}
    if name.startswith("trainer"):
        return trainer(folder, steps, bf16=name.endswith("bf16"))
    return ours(folder, steps, compiled=name.endswith("compiled"))


def in_process(name: str, folder: Path, steps: int) -> dict[str, Any]:
    """Run one side in a fresh process with caches of its own."""
    with tempfile.TemporaryDirectory() as caches:
        settings = {"PRETUNE_CACHE": caches, "TORCHINDUCTOR_CACHE_DIR": f"{caches}/inductor"}
        command = [sys.executable, __file__, "--side", name, "--folder", str(folder), "--steps", str(steps)]
        done = subprocess.run(
            command, env={**os.environ, **settings}, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    return json.loads(done.stdout.decode().strip().splitlines()[-1])  # type: ignore[no-any-return]


def measure(steps: int, rounds: int) -> dict[str, Any]:
    from pretune.base.extras import versions
    from pretune.model.shape import SHAPE as CHOICE

    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
    speeds = []
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for _ in range(rounds):
            speeds.append(in_process("matrix", Path(folder), steps)["flops"])
            for name in SIDES:
                runs[name].append(in_process(name, Path(folder), steps))
    flops = CHOICE(SHAPE).layout().flops_per_token(VOCABULARY, LENGTH)
    matrix = statistics.median(speeds)
    rows = [_row(name, runs[name], flops, matrix) for name in SIDES]
    base = rows[0]["tokens_per_second"]
    rows = [{**row, "times_trainer": round(row["tokens_per_second"] / base, 2)} for row in rows]
    return {
        "processor": processor(),
        "batch": BATCH,
        "length": LENGTH,
        "shape": SHAPE,
        "matrix_flops": matrix,
        "rows": rows,
        "versions": versions(),
    }


def processor() -> str:
    """Name, family and model: AMD's 25 (Zen 4) multiplies bfloat16 at half the speed of 26 (Zen 5)."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if info.is_file() else []
    facts = dict(line.replace("\t", "").split(": ", 1) for line in lines if ": " in line)
    return f"{facts.get('model name', 'unknown')}, family {facts.get('cpu family')}, model {facts.get('model')}"


def _row(name: str, runs: list[dict[str, Any]], flops: float, matrix: float) -> dict[str, Any]:
    medians = [statistics.median(run["seconds"][3:]) for run in runs]
    speed = BATCH * LENGTH / statistics.median(medians)
    first, last = (statistics.mean(runs[0]["losses"][s]) for s in (slice(0, 2), slice(-2, None)))
    return {
        "side": name,
        "tokens_per_second": round(speed),
        "share_of_matrix": round(speed * flops / matrix, 3),
        "first_step_seconds": round(statistics.median(run["seconds"][0] for run in runs), 1),
        "loss_first": round(first, 3),
        "loss_last": round(last, 3),
        "learns": last < first - 1.0,
    }


def table(found: dict[str, Any]) -> str:
    head = f"Qwen3 6 x 384, {BATCH} x {LENGTH}, bfloat16 product {found['matrix_flops'] / 1e9:.0f} GFLOP/s"
    lines = [
        found["processor"],
        head,
        f"{'side':<15}{'tokens/s':>10}{'x trainer':>11}{'share':>8}{'first step':>12}{'loss':>16}  learns",
    ]
    for r in found["rows"]:
        loss = f"{r['loss_first']:.2f} -> {r['loss_last']:.2f}"
        lines.append(
            f"{r['side']:<15}{r['tokens_per_second']:>10,}{r['times_trainer']:>11.2f}{r['share_of_matrix']:>8.0%}"
            f"{r['first_step_seconds']:>10.1f} s{loss:>16}  {r['learns']}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=14, help="steps of each side, the first three not counted")
    parser.add_argument("--rounds", type=int, default=2, help="turns of all sides")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(side(given.side, Path(given.folder), given.steps)))
        return
    found = measure(given.steps, given.rounds)
    print(json.dumps(found, indent=2) if given.json else table(found))


if __name__ == "__main__":
    main()
