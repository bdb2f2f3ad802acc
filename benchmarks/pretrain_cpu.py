"""Our pretraining step next to others', and next to the machine's own matrix product: same rows, in turn, in one run.

    python benchmarks/pretrain_cpu.py                                 a table
    python benchmarks/pretrain_cpu.py --litgpt DIR/bin/python         with litgpt, from an environment of its own
    python benchmarks/pretrain_cpu.py --only ours-512,trainer         some rows
    python benchmarks/pretrain_cpu.py --before "taskset -c 0,1"       words before the command of each row

litgpt's environment: `pip install --no-deps litgpt`, what it needs next to torch, and a .pth file that names the
site-packages of the torch that is here.

Each row runs in a process of its own with empty compile and probe caches; seconds are the median of the steps after
the first two. A share is tokens/s x flops per token / the best product of 512, 1024 and 2048 cubed with the same
threads in the same run: of bfloat16, and of the faster of bfloat16 and float32 (on some processors that is float32).
Learning is proven: losses and gradient norms of all rows are printed, and the loss must fall by half a nat.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pretrain_sides as sides

ROWS = {  # name: (length, is encoder)
    "trainer": (256, False),
    "trainer-bf16": (256, False),
    "plain": (256, False),
    "nanogpt": (256, False),
    "litgpt": (256, False),
    "ours-eager": (256, False),
    "ours-bf16": (256, False),
    "ours": (256, False),
    "ours-512": (512, False),
    "ours-1024": (1024, False),
    "ours-encoder-128": (128, True),
}
PRODUCTS = "products"


def prepare(folder: Path, steps: int) -> None:
    """Rows of real text, the sources of the installed Python, as ids [N, L] for each length."""
    from pretune.base.log import Log
    from pretune.base.oneline import stage_recipe
    from pretune.tokens.store.packing import Blocks, BlockTable, Shuffled
    from pretune.tokens.store.store import Store

    recipe, _ = stage_recipe("tokens", ["python:code", "tokenizer.vocab_size=8192"], str(folder / "data.tokens"))
    recipe.run(log=Log(quiet=True))
    store = Store.open(folder / "data.tokens", "train")
    for length in sorted({length for length, _ in ROWS.values()}):
        rows = Shuffled(BlockTable(Blocks(store, length)), seed=0)
        found = rows.at(np.arange(steps * sides.TOKENS // length))["ids"][:, :length]
        np.save(folder / f"rows-{length}.npy", found)


def products() -> dict[str, Any]:
    import torch

    from pretune.train.loop.runtime import PROBE_SIZES, _product_speed

    device = torch.device("cpu")
    kinds = {"bfloat16": torch.bfloat16, "float32": torch.float32}
    speeds = {name: max(_product_speed(n, kind, device) for n in PROBE_SIZES) for name, kind in kinds.items()}
    return {"flops": speeds, "threads": torch.get_num_threads()}


def one_row(name: str, folder: Path, steps: int) -> dict[str, Any]:
    if name == PRODUCTS:
        return products()
    length, encoder = ROWS[name]
    ids = np.load(folder / f"rows-{length}.npy")
    if name.startswith("trainer"):
        return sides.trainer(ids, steps, str(folder), bf16=name.endswith("bf16"))
    if not name.startswith("ours"):
        return {"plain": sides.plain, "nanogpt": sides.nanogpt, "litgpt": sides.litgpt}[name](ids, steps)
    precision = "bfloat16" if name.endswith("bf16") else None
    return sides.ours(ids, steps, encoder=encoder, compiled=not name.endswith("eager"), precision=precision)


def in_process(name: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Run one row in a fresh process with caches of its own."""
    python = given.litgpt if name == "litgpt" else sys.executable
    with tempfile.TemporaryDirectory() as caches:
        settings = {"PRETUNE_CACHE": caches, "TORCHINDUCTOR_CACHE_DIR": f"{caches}/inductor"}
        words = [python, __file__, "--row", name, "--folder", str(folder), "--steps", str(given.steps)]
        command = [*shlex.split(given.before), *words]
        done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, check=False)
    if done.returncode:
        return {"error": (done.stderr.decode().strip().splitlines() or ["no message"])[-1]}
    return json.loads(done.stdout.decode().strip().splitlines()[-1])  # type: ignore[no-any-return]


def measure(given: argparse.Namespace) -> dict[str, Any]:
    from pretune.base.extras import versions
    from pretune.base.measurements import processor

    names = [n for n in (given.only.split(",") if given.only else ROWS) if n != "litgpt" or given.litgpt]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in (PRODUCTS, *names)}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), given.steps)
        for _ in range(given.rounds):
            for name in (PRODUCTS, *names):
                runs[name].append(in_process(name, Path(folder), given))
                print(f"{name}: {runs[name][-1]}", file=sys.stderr, flush=True)
    kinds = ("bfloat16", "float32")
    speeds = {kind: statistics.median(run["flops"][kind] for run in runs[PRODUCTS]) for kind in kinds}
    failed = {name: runs[name][-1]["error"] for name in names if "error" in runs[name][-1]}
    rows = [_row(name, runs[name], speeds) for name in names if name not in failed]
    base = {row["side"]: row["tokens_per_second"] for row in rows}
    for row in rows:
        for peer in ("trainer", "trainer-bf16"):
            comparable = peer in base and ROWS[row["side"]] == ROWS[peer]
            row[f"times_{peer}"] = round(row["tokens_per_second"] / base[peer], 2) if comparable else None
    threads = runs[PRODUCTS][0]["threads"]
    return {
        "processor": processor(),
        "threads": threads,
        "products": speeds,
        "rows": rows,
        "failed": failed,
        "versions": versions(),
    }


def _row(name: str, runs: list[dict[str, Any]], speeds: dict[str, float]) -> dict[str, Any]:
    length, encoder = ROWS[name]
    speed = sides.TOKENS / statistics.median(statistics.median(run["seconds"][2:]) for run in runs)
    flops = speed * sides.flops_per_token(length, encoder=encoder)
    losses = runs[0]["losses"]
    return {
        "side": name,
        "tokens_per_second": round(speed),
        "share_of_bfloat16": round(flops / speeds["bfloat16"], 3),
        "share_of_fastest": round(flops / max(speeds.values()), 3),
        "first_step_seconds": round(statistics.median(run["seconds"][0] for run in runs), 1),
        "losses": [round(x, 4) for x in losses],
        "gradient_norms": [round(x, 3) for x in runs[0]["norms"]],
        "learns": losses[-1] < losses[0] - 0.5 and min(runs[0]["norms"]) > 0,
        "note": runs[0].get("note", ""),
    }


def table(found: dict[str, Any]) -> str:
    products = ", ".join(f"{kind} {speed / 1e9:.0f} GFLOP/s" for kind, speed in found["products"].items())
    lines = [
        f"{found['processor']}, {found['threads']} threads; products: {products}",
        f"Llama {sides.LAYERS} x {sides.WIDTH}, {sides.TOKENS:,} tokens a step, rows of 256 where no length is named",
        f"{'side':<18}{'tokens/s':>9}{'x trainer':>11}{'x its bf16':>11}{'of bf16':>9}{'of fastest':>11}"
        f"{'first':>8}  losses 1, 2, 4, last",
    ]
    for r in found["rows"]:
        times = [f"{t:.2f}" if (t := r[f"times_{peer}"]) else "" for peer in ("trainer", "trainer-bf16")]
        losses = "  ".join(f"{r['losses'][k]:.4f}" for k in (0, 1, 3, -1))
        lines.append(
            f"{r['side']:<18}{r['tokens_per_second']:>9,}{times[0]:>11}{times[1]:>11}{r['share_of_bfloat16']:>9.0%}"
            f"{r['share_of_fastest']:>11.0%}{r['first_step_seconds']:>6.1f} s  {losses}"
            f"{'' if r['learns'] else '  DOES NOT LEARN'}  {r['note']}"
        )
    return "\n".join([*lines, *(f"{name} failed: {why}" for name, why in found["failed"].items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10, help="steps of each row, the first two not counted")
    parser.add_argument("--rounds", type=int, default=1, help="turns of all rows")
    parser.add_argument("--litgpt", help="python of an environment that has litgpt")
    parser.add_argument("--only", help="names of rows, with commas")
    parser.add_argument("--before", default="", help="words before the command of each row")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        print(json.dumps(one_row(given.row, Path(given.folder), given.steps)))
        return
    found = measure(given)
    print(json.dumps(found, indent=2) if given.json else table(found))


if __name__ == "__main__":
    main()
