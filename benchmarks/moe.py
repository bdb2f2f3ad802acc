"""A mixture of experts: which way through the experts is fastest, what a step costs, and what it learns.

    python benchmarks/moe.py experts                            one block, forward and backward, by implementation
    python benchmarks/moe.py speed                              a step next to the dense model of the active weights
    python benchmarks/moe.py loss --data FILE --out runs/moe    loss at equal tokens: active match, mixture, total match

`speed` takes turns between the sides and gives medians; a step in two micro-batches has a first pass without gradient.
`loss` trains by the command line; a run that is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

EXPERTS, PASSED, EXPERT_WIDTH, WIDTH, TOKENS, LENGTH, VOCABULARY = 8, 2, 352, 256, 4096, 256, 8192
MIXTURE = {"kind": "qwen3-moe-nano"}
ACTIVE = {"kind": "qwen3-nano", "hidden": PASSED * EXPERT_WIDTH}
TOTAL = {"kind": "qwen3-nano", "hidden": EXPERTS * EXPERT_WIDTH}
TYPES = ("float32", "bfloat16")


def medians(sides: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each, taking turns; the first turn is not counted."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats + 1):
        for name, run in sides.items():
            started = time.perf_counter()
            run()
            found[name].append(time.perf_counter() - started)
    return {name: 1e3 * statistics.median(seconds[1:]) for name, seconds in found.items()}


# ---- one block ----------------------------------------------------------------------------------


def experts(repeats: int) -> None:
    import torch
    from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeConfig, Qwen3MoeMLP, Qwen3MoeSparseMoeBlock

    from pretune.model.experts import register_experts

    def side(kind: str, dtype: Any, tokens: int) -> Callable[[], None]:
        config = Qwen3MoeConfig(
            hidden_size=WIDTH,
            intermediate_size=PASSED * EXPERT_WIDTH,
            moe_intermediate_size=EXPERT_WIDTH,
            num_experts=EXPERTS,
            num_experts_per_tok=PASSED,
            norm_topk_prob=True,
        )
        config._experts_implementation = kind
        torch.manual_seed(0)
        block: Any = Qwen3MoeMLP(config) if kind == "dense" else Qwen3MoeSparseMoeBlock(config)
        for parameter in block.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
        block.to(dtype)
        # Other tokens each time: how many an expert gets is another number in every step.
        states = iter([torch.randn(1, tokens, WIDTH, dtype=dtype, requires_grad=True) for _ in range(repeats + 1)])
        gradient = torch.ones(1, tokens, WIDTH, dtype=dtype)
        return lambda: block(next(states)).backward(gradient)

    kinds = ("dense", "eager", "grouped_mm", register_experts())
    for name in TYPES:
        dtype = getattr(torch, name)
        found = medians({kind: side(kind, dtype, TOKENS) for kind in kinds}, repeats)
        found |= medians({f"batched_mm, {TOKENS // 16} tokens": side("batched_mm", dtype, TOKENS // 16)}, 1)
        print(f"{name}, {TOKENS} tokens, milliseconds: {told(found)}")


def told(found: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.1f}" for name, value in found.items())


# ---- a step -------------------------------------------------------------------------------------


def speed(repeats: int, optim: str, batch: int, precisions: Sequence[str]) -> None:
    import numpy as np
    import torch

    from pretune.model.attention import register_attention
    from pretune.model.build import build_model
    from pretune.model.shape import SHAPE
    from pretune.objective.objective import OBJECTIVE
    from pretune.tokens.encode.tokenizer import Specials
    from pretune.tokens.rows import Vocabulary
    from pretune.train.loop.runtime import Runtime
    from pretune.train.loop.state import compute_dtype_of
    from pretune.train.loop.step import Scored, TrainState, take_step
    from pretune.train.optim.settings import OPTIM
    from pretune.train.optim.update import Update

    runtime, objective = Runtime.start("cpu"), OBJECTIVE("causal")
    vocabulary = Vocabulary(size=VOCABULARY, pad=0, mask=None, cls=None, specials=(0,))
    rows = [objective.blank(LENGTH, vocabulary, np.random.default_rng(i)) for i in range(batch)]
    drawn = np.random.default_rng(0)
    for row in rows:
        row["ids"] = drawn.integers(1, VOCABULARY, LENGTH + 1)

    def side(shape: Any, precision: str, pieces: int) -> Callable[[], Any]:
        specials = Specials(bos=None, eos=0, pad=0, unk=None, cls=None, sep=None, mask=None)
        model: Any = build_model(
            SHAPE(shape), "next", vocab_size=VOCABULARY, max_length=512, specials=specials, seed=0,
            attention=register_attention(),
        )  # fmt: skip
        update = Update(model.train(), OPTIM(optim), compute_dtype=compute_dtype_of(precision))
        state = TrainState(model, Scored(model, objective), update, total=1000)
        micro = batch // pieces
        batches = [objective.collate(rows[i : i + micro], vocabulary) for i in range(0, batch, micro)]
        return lambda: take_step(state, objective, batches, runtime)

    for precision in precisions:
        sides = {
            f"{name}, {pieces} micro-batch{'es' * (pieces > 1)}": side(shape, precision, pieces)
            for pieces in (1, 2)
            for name, shape in (("dense", ACTIVE), ("mixture", MIXTURE))
        }
        found = medians(sides, repeats)
        values = list(found.values())
        ratios = f"speed of the mixture: x {values[0] / values[1]:.3f}, with a first pass x {values[2] / values[3]:.3f}"
        print(f"{precision}, {optim}, {batch} x {LENGTH} tokens, {torch.get_num_threads()} threads, milliseconds")
        print(f"  {told(found)}\n  {ratios}")


# ---- what is learnt -----------------------------------------------------------------------------


def loss(data: Path, out: Path, epochs: float, seeds: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    arms = {"active match": ACTIVE, "mixture": MIXTURE, "total match": TOTAL, "no balance": {**MIXTURE, "balance": 0.0}}
    for name, shape in arms.items():
        for seed in range(seeds):
            place = out / f"{name.replace(' ', '-')}-{seed}"
            settings = [f"pretrain.model.{key}={value}" for key, value in shape.items()]
            settings += [f"pretrain.epochs={epochs}", f"seed={seed}", "tokenizer.vocab_size=2048"]
            settings += ["pretrain.length=128", "pretrain.batch=32", "pretrain.micro_batch=32"]
            if not (place / "artifact.json").is_file():
                command = [sys.executable, "-m", "pretune", "pretrain", str(data), "--out", str(place), *settings]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            found = json.loads((place / "artifact.json").read_text(encoding="utf-8"))["metrics"]
            busiest = found.get("validation_busiest_expert", {}).values()
            print(
                f"{name:<13} seed {seed}  {found['parameters'] / 1e6:5.1f}M  {found['tokens']:,} tokens"
                f"  {found['validation_bits_per_byte']:.4f} bits per byte  {found['tokens_per_second']:,.0f} tokens/s"
                f"  busiest expert {', '.join(f'{value:.2f}' for value in busiest) or '-'}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("experts", "speed", "loss"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data/tinyshakespeare/input.txt"))
    parser.add_argument("--out", type=Path, default=Path("runs/moe"))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--batch", type=int, default=TOKENS // LENGTH, help="rows of a step (speed)")
    parser.add_argument("--precision", action="append", choices=TYPES)
    parser.add_argument("--optim", default="muon")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    if asked.threads:
        import torch

        torch.set_num_threads(asked.threads)
    if asked.part == "experts":
        experts(asked.repeats)
    elif asked.part == "speed":
        speed(asked.repeats, asked.optim, asked.batch, asked.precision or TYPES)
    else:
        loss(asked.data, asked.out, asked.epochs, asked.seeds)


if __name__ == "__main__":
    main()
