"""How much faster an epoch is when the lower blocks are frozen and what they give is kept, and what it scores.

    python benchmarks/freeze.py --shared ../shared --out runs/freeze [--rounds 3] [--epochs 3] [--precision float32]
    python benchmarks/freeze.py --shared ... --out ... --rates freeze=5e-5,1e-4 bitfit=1e-3    dev scores by rate

all-MiniLM-L6-v2 on the first 2,000 sentences of SST-2, dev by the stage itself. The ways of training take turns; each
figure is a median over the rounds. Seconds are the card's: of the steps and of the looks at dev, per epoch, and what is
computed once, before the first step.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from statistics import median
from typing import Any

import pretune
from pretune.base.measurements import processor

WAYS: dict[str, Any] = {
    "full": "full",
    "half frozen, kept": "freeze",
    "half frozen": {"kind": "freeze", "keep": "no"},
    "all frozen, kept": {"kind": "freeze", "blocks": 6},
    "head, kept": "head",
    "head": {"kind": "head", "keep": "no"},
}
ROWS = 2000


def data(shared: Path, out: Path) -> Path:
    folder = out / "sst2"
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", ROWS), ("dev", None)):
        lines = (shared / f"data/sst2/{name}.jsonl").read_text(encoding="utf-8").splitlines()[:rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def train(shared: Path, out: Path, method: Any, **settings: Any) -> dict[str, Any]:
    """The card's metrics of a fine-tuning that is not kept."""
    base, rows = shared / "models/all-MiniLM-L6-v2", data(shared, out)
    for path in out.glob("tuned*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    usual = {"task": "classify", "method": method, "max_length": 128, "patience": 100, "quiet": True}
    return dict(pretune.fine_tune(base, rows, out=out / "tuned", **usual | settings).metrics)


def speeds(shared: Path, out: Path, *, rounds: int, epochs: int, precision: str) -> None:
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, method in WAYS.items():
            spent = train(shared, out, method, epochs=float(epochs), precision=precision)["seconds_of"]
            once = spent.get("kept outputs", 0.0)
            found[name].append((spent["steps"] / epochs, spent["validation"] / epochs, once))
    full = [median(column) for column in zip(*found["full"], strict=True)]
    print(f"{processor()}; {precision}; medians of {rounds} rounds")
    print("| | steps of an epoch, s | dev, s | once, s | steps, times as fast | with dev, times as fast |")
    print("|---|---|---|---|---|---|")
    for name, rows in found.items():
        steps, dev, once = (median(column) for column in zip(*rows, strict=True))
        both = (full[0] + full[1]) / (steps + dev)
        print(f"| {name} | {steps:.2f} | {dev:.2f} | {once:.2f} | {full[0] / steps:.1f} | {both:.1f} |")


def rates(shared: Path, out: Path, asked: list[str], *, epochs: int, precision: str) -> None:
    print(
        "| method | rate | best accuracy on dev | macro-F1 | step | trained | seconds |\n|---|---|---|---|---|---|---|"
    )
    for one in asked:
        method, _, peaks = one.partition("=")
        for peak in map(float, peaks.split(",")):
            optim = {"kind": "adamw", "learning_rate": peak}
            m = train(shared, out, method, optim=optim, epochs=float(epochs), precision=precision)
            told = f"{m['validation_accuracy']:.4f} | {m['validation_macro_f1']:.4f} | {m['best_step']}"
            print(f"| {method} | {peak:g} | {told} | {m['trained_parameters']:,} | {m['train_seconds']} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rates", nargs="*", default=[], help="METHOD=RATE,RATE")
    asked = parser.parse_args()
    how = {"epochs": asked.epochs, "precision": asked.precision}
    if asked.rates:
        rates(asked.shared, asked.out, asked.rates, **how)
    else:
        speeds(asked.shared, asked.out, rounds=asked.rounds, **how)


if __name__ == "__main__":
    main()
