"""Our pretraining step on a GPU next to the transformers Trainer and a plain eager loop, on a bare machine, offline.

    python benchmarks/pretrain_gpu.py                              a table: size x length x precision
    python benchmarks/pretrain_gpu.py --sizes 1b --lengths 2048    one cell
    python benchmarks/pretrain_gpu.py --smoke                      tiny sizes on a CPU: does it run?

Each row runs in a process of its own: tokens/s (median of the steps after the first three), MFU, and the most memory
that torch held. MFU = tokens/s x flops per token / peak. Flops: 6 per matrix parameter (head counted, embedding
look-up not) + 12 x layers x width x length, causal not halved. Peak: the data sheet's dense bfloat16 where the card is
known, else the best product that was measured. Text is drawn: words by Zipf's law, each followed by its favourite
half of the time, in documents; so the loss must fall, and it is printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"layers": 2, "width": 64, "heads": 2, "kv_heads": 1, "head_width": 32, "hidden": 128},
    "100m": {"layers": 12, "width": 768, "heads": 12, "kv_heads": 4, "head_width": 64, "hidden": 2048},
    "400m": {"layers": 24, "width": 1024, "heads": 16, "kv_heads": 8, "head_width": 64, "hidden": 2816},
    "1b": {"layers": 20, "width": 2048, "heads": 16, "kv_heads": 8, "head_width": 128, "hidden": 5632},
}
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40": 181e12, "4090": 165e12, "L4": 121e12}
"""Dense bfloat16 operations per second by the makers' data sheets."""
SIDES = ("trainer", "plain", "ours")
RATE = 3e-4


def drawn(rows: int, length: int, vocabulary: int) -> Any:
    """Rows of `ids` and `segments`, [rows, length + 1] each."""
    rng = np.random.default_rng(0)
    zipf = 1 / np.arange(1, vocabulary - 1)
    favourite = rng.permutation(vocabulary)
    ids = rng.choice(np.arange(2, vocabulary), size=(rows, length + 1), p=zipf / zipf.sum())
    for place in range(1, length + 1):
        follows = rng.random(rows) < 0.5
        ids[follows, place] = np.maximum(favourite[ids[follows, place - 1]], 2)
    segments = np.cumsum(rng.random((rows, length + 1)) < 4 / length, axis=1)
    return ids, segments


def shape_of(given: Any) -> Any:
    from pretune.model.shape import SHAPE

    return SHAPE({"kind": "qwen3", **SIZES[given.size]})


def model_of(given: Any, attention: str) -> Any:
    from pretune.model.build import build_model
    from pretune.tokens.encode.tokenizer import Specials

    shape, specials = shape_of(given), Specials(eos=0, pad=1)
    vocabulary, longest = given.vocabulary, given.length
    return build_model(
        shape, "next", vocab_size=vocabulary, max_length=longest, specials=specials, seed=0, attention=attention
    )


# ---- sides ---------------------------------------------------------------------------------------


def ours(given: Any) -> dict[str, Any]:
    """Compiled blocks, chunked cross-entropy, float32 masters; attention by the device, as in a run."""
    from pretune.train.forecast.choosing import attention_for
    from pretune.train.loop.runtime import Runtime

    runtime = Runtime.start("auto")
    attention = attention_for(runtime.device)
    reset_memory()
    reports = _ours(given, attention, runtime, given.steps)
    losses, seconds = [r.loss["loss"] for r in reports], [r.seconds for r in reports]
    return {"seconds": seconds, "losses": losses, "note": attention}


def _ours(given: Any, attention: str, runtime: Any, steps: int) -> list[Any]:
    from pretune.objective.objective import OBJECTIVE
    from pretune.tokens.rows import Vocabulary
    from pretune.train.loop.state import compile_blocks, compute_dtype_of
    from pretune.train.loop.step import Scored, TrainState, take_step
    from pretune.train.optim.settings import OPTIM
    from pretune.train.optim.update import Update

    net, objective = model_of(given, attention).to(runtime.device), OBJECTIVE("causal")
    optim = OPTIM({"kind": "adamw", "learning_rate": RATE, "warmup": 0.0})
    update = Update(net, optim, compute_dtype=compute_dtype_of(given.precision))
    compile_blocks(net)
    state = TrainState(net, Scored(net, objective), update, total=steps)
    ids, segments = drawn(given.batch * steps, given.length, given.vocabulary)
    vocabulary, reports = Vocabulary(given.vocabulary, pad=1), []
    for step in range(steps):
        rows = [{"ids": ids[k], "segments": segments[k]} for k in range(step * given.batch, (step + 1) * given.batch)]
        cuts = [rows[i : i + given.micro] for i in range(0, given.batch, given.micro)]
        reports.append(take_step(state, objective, [objective.collate(c, vocabulary) for c in cuts], runtime))
    return reports


def plain(given: Any) -> dict[str, Any]:
    """A loop as a tutorial writes it: autocast, eager, torch's fused AdamW; documents are not kept apart."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = model_of(given, "sdpa").to(device)
    optim = torch.optim.AdamW(net.parameters(), lr=RATE, fused=device == "cuda")
    ids = drawn(given.batch * given.steps, given.length, given.vocabulary)[0]
    seconds, losses = [], []
    for step in range(given.steps):
        started, total = time.perf_counter(), 0.0
        for start in range(step * given.batch, (step + 1) * given.batch, given.micro):
            x = torch.from_numpy(ids[start : start + given.micro, :-1]).to(device)
            with torch.autocast(device, dtype=torch.bfloat16, enabled=given.precision != "float32"):
                loss = net(input_ids=x, labels=x).loss * given.micro / given.batch
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optim.step()
        optim.zero_grad(set_to_none=True)
        losses.append(total)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, "losses": losses}


def trainer(given: Any) -> dict[str, Any]:
    import torch
    from pretrain_sides import trained_by_transformers

    ids = drawn(given.batch * given.steps, given.length, given.vocabulary)[0][:, :-1]
    settings = {
        "learning_rate": RATE,
        "max_steps": given.steps,
        "per_device_train_batch_size": given.micro,
        "gradient_accumulation_steps": given.batch // given.micro,
        "bf16": given.precision != "float32",
        "use_cpu": not torch.cuda.is_available(),
    }
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = trained_by_transformers(model_of(given, "sdpa"), ids, folder, settings)
    return found


# ---- one row, and the table ----------------------------------------------------------------------


def reset_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def one_row(given: Any) -> dict[str, Any]:
    """A side, in micro-batches that are halved until they fit."""
    import torch

    if given.side == "product":
        return product()
    side = {"ours": ours, "plain": plain, "trainer": trainer}[given.side]
    while True:
        try:
            reset_memory()
            found = side(given)
            break
        except torch.OutOfMemoryError:
            if given.micro == 1:
                return {"error": "out of memory with one row"}
            given.micro //= 2
        torch.cuda.empty_cache()
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return found | {"memory_bytes": peak, "micro_batch": given.micro}


def product() -> dict[str, Any]:
    import torch

    from pretune.train.forecast.speed import product_speed

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = (2048, 4096, 8192) if device.type == "cuda" else (256,)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    return {"flops": product_speed(torch.bfloat16, device, [(n, 8) for n in sizes]), "device": name}


def in_process(given: Any, **row: Any) -> dict[str, Any]:
    words = [f"--{name}={value}" for name, value in row.items()]
    settings = [f"--steps={given.steps}", f"--vocabulary={given.vocabulary}"]
    command = [sys.executable, __file__, "--row", *words, *settings]
    done = subprocess.run(command, capture_output=True, check=False, encoding="utf-8")
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["failed"])[-1][:160]}
    return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


def measure(given: Any) -> dict[str, Any]:
    found = in_process(given, side="product", size="tiny", length=64)
    peak = next((peak for name, peak in PEAKS.items() if name in found["device"]), found["flops"])
    rows = []
    for size in given.sizes.split(","):
        for length in map(int, given.lengths.split(",")):
            for precision in given.precisions.split(","):
                for side in SIDES:
                    batch = max(1, given.tokens // length)
                    asked = {"size": size, "length": length, "precision": precision, "side": side, "batch": batch}
                    rows.append(asked | _told(in_process(given, micro=batch, **asked), asked, given.vocabulary, peak))
                    print(rows[-1], file=sys.stderr, flush=True)
    return {**found, "peak": peak, "rows": rows}


def _told(row: dict[str, Any], asked: dict[str, Any], vocabulary: int, peak: float) -> dict[str, Any]:
    if "error" in row:
        return {"error": row["error"]}
    speed = asked["batch"] * asked["length"] / statistics.median(row["seconds"][3:] or row["seconds"])
    layout = shape_of(argparse.Namespace(**asked)).layout()
    share = speed * layout.flops_per_token(vocabulary, asked["length"]) / peak
    losses = row["losses"]
    facts = {key: row[key] for key in ("memory_bytes", "micro_batch")}
    learns = losses[-1] < losses[0] - 0.1
    return {**facts, "tokens_per_second": round(speed), "mfu": share, "losses": losses, "learns": learns} | {
        "note": row.get("note", "")
    }


def table(found: dict[str, Any]) -> str:
    lines = [
        f"{found['device']}, bfloat16 product {found['flops'] / 1e12:.1f} TFLOP/s, peak {found['peak'] / 1e12:.1f}",
        f"{'size':<7}{'length':>7}  {'precision':<10}{'side':<9}{'tokens/s':>10}{'MFU':>7}{'GiB':>7}{'micro':>7}  loss",
    ]
    for r in found["rows"]:
        start = f"{r['size']:<7}{r['length']:>7}  {r['precision']:<10}{r['side']:<9}"
        if "error" in r:
            lines.append(f"{start}  {r['error']}")
            continue
        loss = f"{r['losses'][0]:.2f} -> {r['losses'][-1]:.2f}{'' if r['learns'] else '  DOES NOT LEARN'}  {r['note']}"
        numbers = f"{r['tokens_per_second']:>10,}{r['mfu']:>7.1%}{r['memory_bytes'] / 2**30:>7.1f}{r['micro_batch']:>7}"
        lines.append(f"{start}{numbers}  {loss}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100m,400m,1b")
    parser.add_argument("--lengths", default="1024,2048,4096")
    parser.add_argument("--precisions", default="bfloat16")
    parser.add_argument("--tokens", type=int, default=65_536, help="tokens of a step")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--vocabulary", type=int, default=32_768)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, a CPU will do")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--row", action="store_true", help=argparse.SUPPRESS)
    for name, kind in {"side": str, "size": str, "precision": str, "length": int, "batch": int, "micro": int}.items():
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        print(json.dumps(one_row(given)))
        return
    if given.smoke:
        given.sizes, given.lengths, given.precisions = "tiny", "64", "bfloat16"
        given.tokens, given.steps, given.vocabulary = 512, 12, 256
    found = measure(given)
    print(json.dumps(found, indent=2) if given.json else table(found))


if __name__ == "__main__":
    main()
