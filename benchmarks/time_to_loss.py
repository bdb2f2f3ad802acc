"""How soon a character model of Shakespeare is good: our loop next to nanoGPT's setting for a CPU, in turn.

    python benchmarks/time_to_loss.py --data ../shared/data                        five seeds of each side, a table
    python benchmarks/time_to_loss.py --data ... --side clock --seed 0 --out FILE    one piece; rows are kept in FILE

nanogpt   its setting for a CPU: 4 blocks x 128, 4 heads, 2,000 steps of 12 x 64, AdamW 1e-3 (.9, .99), decay .1,
          warm-up 100, cosine to 1e-4, no dropout, not compiled; written out below
clock     ours until the loss is below 1.88: a short run whose schedule ends there
tokens    ours with nanoGPT's 1.54 million training tokens: how low the loss is then

First 90 % of the text are for training. The loss is the mean over the whole last 10 %, in blocks of 64 that do not
overlap, every position once, float32. Each run is a process of its own; its seconds run from its start to the end of
that validation, so imports, set-up and any compiling are inside. Recipes of ours are chosen on other seeds and on the
last tenth of the training part (`tuning=True`), but for the length of `clock`: it was set again after one look at what
is reported (docs/LOG.md).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SIDES, SEEDS = ("nanogpt", "clock", "tokens"), (0, 1, 2, 3, 4)
LENGTH, TOKENS = 64, 2000 * 12 * 64
SIZES = {"layers": 4, "width": 128, "heads": 4, "kv_heads": 4, "head_width": 32, "hidden": 344}
SHAPE = {"kind": "qwen3", **SIZES, "zero_init": True}
"""As many parameters as nanoGPT's 4 x 128. Zero-init is what the figures in docs/LOG.md were made with."""
SHALLOW = {**SHAPE, "layers": 2, "width": 96, "heads": 3, "kv_heads": 3, "hidden": 256}
"""A quarter of them: a step of 16 rows costs 21 ms (docs/LOG.md)."""
NEAR = {"rope_theta": 100.0}
"""Positions are 64 at most: slower angles tell nothing."""
RECIPES: dict[str, dict[str, Any]] = {
    "clock": {
        "shape": {**SHALLOW, **NEAR},
        "batch": 16,
        "steps": 260,
        "optim": {"kind": "muon", "matrix_rate": 0.03, "momentum": 0.85, "learning_rate": 1.5e-2, "warmup": 0.02},
    },
    "tokens": {
        "shape": {**SHAPE, **NEAR},
        "batch": 64,
        "steps": 375,
        "optim": {"kind": "muon", "matrix_rate": 0.03, "momentum": 0.9, "learning_rate": 8e-3, "warmup": 0.02},
    },
}


def split(folder: Path, *, tuning: bool) -> tuple[Any, Any, int]:
    """(training ids, validation ids, size of the vocabulary); for tuning both from the first 90 %."""
    import numpy as np

    text = (folder / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    numbers = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = np.array([numbers[c] for c in text], dtype=np.int64)
    ids = ids[: int(0.9 * len(ids))] if tuning else ids
    return ids[: int(0.9 * len(ids))], ids[int(0.9 * len(ids)) :], len(numbers)


# ---- ours ---------------------------------------------------------------------------------------


def ours(recipe: dict[str, Any], folder: Path, seed: int, *, tuning: bool) -> dict[str, float]:
    import torch

    from pretune.model.build import build_model
    from pretune.model.shape import SHAPE as CHOICE
    from pretune.objective.objective import OBJECTIVE
    from pretune.tokens.encode.tokenizer import Specials
    from pretune.tokens.rows import Vocabulary
    from pretune.train.loop.runtime import Runtime
    from pretune.train.loop.step import Scored, TrainState
    from pretune.train.loop.steps import steps
    from pretune.train.loop.stream import MicroBatches, RowStream
    from pretune.train.optim.settings import OPTIM
    from pretune.train.optim.update import Update
    from pretune.train.watch.validate import loss_over

    train, held, size = split(folder, tuning=tuning)
    specials = Specials(bos=None, eos=0, pad=0, unk=None, cls=None, sep=None, mask=None)
    shape, runtime, objective = CHOICE(recipe["shape"]), Runtime.start("cpu"), OBJECTIVE("causal")
    sizes: dict[str, Any] = {"vocab_size": size, "max_length": LENGTH, "specials": specials}
    net = build_model(shape, "next", **sizes, seed=seed, attention="sdpa")
    torch.set_float32_matmul_precision(recipe.get("products", "highest"))
    state = TrainState(net, Scored(net, objective), Update(net, OPTIM(recipe["optim"])), total=recipe["steps"])
    vocabulary = Vocabulary(size, pad=0)
    cut = MicroBatches(RowStream(rows(train), recipe["batch"], seed), objective, vocabulary, seed, recipe["batch"])
    began = time.perf_counter()
    losses = [report.loss["loss"] for report in steps(state, objective, cut, runtime, until=recipe["steps"])]
    seconds = time.perf_counter() - began
    torch.set_float32_matmul_precision("highest")
    with state.update.exact_weights():
        loss = loss_over(net, objective, rows(held), vocabulary, runtime, batch=64)
    assert loss.targets["loss"] == len(held) - 1, "every position once"
    tokens = recipe["batch"] * LENGTH * recipe["steps"]
    return {"loss": loss.per_target, "first_loss": losses[0], "tokens": tokens, "step_seconds": seconds}


def rows(ids: Any) -> list[dict[str, Any]]:
    """Blocks of LENGTH + 1 that share their borders; the last one is filled up with places that are not scored."""
    import numpy as np

    whole, found = np.zeros(LENGTH + 1, dtype=np.int64), []
    for start in range(0, len(ids) - 1, LENGTH):
        block = ids[start : start + LENGTH + 1]
        missing = LENGTH + 1 - len(block)
        segments = np.pad(whole[: len(block)], (0, missing), constant_values=-1) if missing else whole
        found.append({"ids": np.pad(block, (0, missing)) if missing else block, "segments": segments})
    return found


# ---- nanoGPT's setting, written out ----------------------------------------------------------------


def small_gpt(size: int) -> Any:
    """GPT-2's block without biases; embedding and head share their weights; branches begin 1 / sqrt(8) smaller."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    width, heads, layers = 128, 4, 4

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before_attention, self.before_hidden = (nn.LayerNorm(width, bias=False) for _ in range(2))
            self.qkv, self.mix = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
            self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

        def forward(self, x: Any) -> Any:
            parts = self.qkv(self.before_attention(x)).unflatten(-1, (3, heads, -1)).movedim(2, 0).transpose(2, 3)
            seen = F.scaled_dot_product_attention(*parts, is_causal=True)
            x = x + self.mix(seen.transpose(1, 2).flatten(2))
            return x + self.down(F.gelu(self.up(self.before_hidden(x))))

    class Gpt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(size, width), nn.Embedding(LENGTH, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.norm, self.head = nn.LayerNorm(width, bias=False), nn.Linear(width, size, bias=False)
            for name, weight in self.named_parameters():
                last = name.endswith(("mix.weight", "down.weight"))
                if weight.dim() > 1:
                    nn.init.normal_(weight, std=0.02 / math.sqrt(2 * layers) if last else 0.02)
            self.head.weight = self.tokens.weight

        def forward(self, ids: Any, targets: Any) -> Any:
            x = self.blocks(self.tokens(ids) + self.places.weight[: ids.shape[1]])
            return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())

    assert torch.get_default_dtype() == torch.float32
    return Gpt()


def nanogpt(folder: Path, seed: int) -> dict[str, float]:
    import torch
    from torch import nn

    train, held, size = (torch.from_numpy(x) if hasattr(x, "dtype") else x for x in split(folder, tuning=False))
    torch.manual_seed(seed)
    net, steps, batch = small_gpt(size), 2000, 12
    sides: Any = [p for p in net.parameters() if p.dim() > 1], [p for p in net.parameters() if p.dim() < 2]
    groups = [{"params": sides[0], "weight_decay": 0.1}, {"params": sides[1], "weight_decay": 0.0}]
    optimizer, losses = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99)), []
    began = time.perf_counter()
    for step in range(steps):
        fallen = 0.5 * (1 + math.cos(math.pi * (step - 100) / (steps - 100)))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (step + 1) / 101 if step < 100 else 1e-4 + fallen * 9e-4
        at = torch.randint(len(train) - LENGTH, (batch, 1)) + torch.arange(LENGTH + 1)
        part = train[at]
        loss = net(part[:, :-1], part[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    seconds = time.perf_counter() - began
    return {
        "loss": mean_loss(net, held),
        "first_loss": losses[0],
        "tokens": steps * batch * LENGTH,
        "step_seconds": seconds,
    }


def mean_loss(net: Any, held: Any) -> float:
    import torch

    whole = (len(held) - 1) // LENGTH * LENGTH
    ids, targets = held[:whole].view(-1, LENGTH), held[1 : whole + 1].view(-1, LENGTH)
    with torch.no_grad():
        nats = sum(
            float(net(ids[i : i + 64], targets[i : i + 64])) * targets[i : i + 64].numel()
            for i in range(0, len(ids), 64)
        )
        rest = len(held) - 1 - whole
        nats += float(net(held[None, whole:-1], held[None, whole + 1 :])) * rest if rest else 0.0
    return nats / (len(held) - 1)


# ---- sides in turn --------------------------------------------------------------------------------


def in_process(side: str, seed: int, folder: Path) -> dict[str, Any]:
    """One run in a fresh process; `seconds` is its whole life."""
    command = [sys.executable, __file__, "--inside", "--side", side, "--seed", str(seed), "--data", str(folder)]
    began = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    seconds = time.perf_counter() - began
    return {"side": side, "seed": seed, "seconds": seconds, **json.loads(done.stdout.decode().splitlines()[-1])}


def inside(side: str, seed: int, folder: Path) -> dict[str, Any]:
    import torch

    found = nanogpt(folder, seed) if side == "nanogpt" else ours(RECIPES[side], folder, seed, tuning=False)
    return {**found, "threads": torch.get_num_threads(), "torch": torch.__version__}


def table(found: list[dict[str, Any]]) -> str:
    lines = [
        f"{'side':<9}{'seeds':>6}{'tokens':>11}{'loss':>9}{'spread':>9}{'worst':>8}{'seconds':>9}{'of them steps':>15}"
    ]
    for side in SIDES:
        if mine := [row for row in found if row["side"] == side]:
            losses = [row["loss"] for row in mine]
            spread = statistics.stdev(losses) if len(mine) > 1 else math.nan
            seconds, stepping = (statistics.median(row[k] for row in mine) for k in ("seconds", "step_seconds"))
            lines.append(
                f"{side:<9}{len(mine):>6}{mine[0]['tokens']:>11,}{statistics.mean(losses):>9.4f}{spread:>9.4f}"
                f"{max(losses):>8.3f}{seconds:>9.1f}{stepping:>15.1f}"
            )
    clocks = {s: statistics.median(r["seconds"] for r in found if r["side"] == s) for s in {r["side"] for r in found}}
    if clocks.keys() >= {"nanogpt", "clock"}:
        lines.append(f"clock / nanogpt: 1 / {clocks['nanogpt'] / clocks['clock']:.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder that holds tinyshakespeare/input.txt"
    )
    parser.add_argument("--side", action="append", choices=SIDES, help="by default all, in turn")
    parser.add_argument("--seed", action="append", type=int, help="by default 0 to 4")
    parser.add_argument("--out", type=Path, help="file (jsonl) to which rows are added, and of which the table is made")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        print(json.dumps(inside(given.side[0], given.seed[0], given.data)))
        return
    kept = given.out.read_text(encoding="utf-8").splitlines() if given.out and given.out.is_file() else []
    found = [json.loads(line) for line in kept]
    for seed in given.seed or SEEDS:
        for side in given.side or SIDES:
            found.append(in_process(side, seed, given.data))
            if given.out:
                with given.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found[-1]) + "\n")
    print(json.dumps(found, indent=2) if given.json else table(found))


if __name__ == "__main__":
    main()
