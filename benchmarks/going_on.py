"""A pretrained model learns on from other text: what it learns of it, and what it forgets of general text.

    python benchmarks/going_on.py --shared ../shared --out runs/going-on          every cell that is missing, a table
    python benchmarks/going_on.py --shared ... --out ... --only stories-replay    one cell

A cell is a recipe of pretune's own stages: the domain and the general text become tokens of the model's own tokenizer,
then `pretrain TOKENS base=MODEL watch=GENERAL`, with the defaults and one epoch of the domain; with `replay` every
second row is of the general text's training split. Figures are the card's: bits per byte of both validation splits
before and after. A cell that is there is not made again unless its recipe has changed.

stories15M comes with SentencePiece's `tokenizer.model` alone: `--stories` is a copy of its folder with the
`tokenizer.json` that transformers' LlamaTokenizer writes (it needs sentencepiece and protobuf to do so).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pretune.base.measurements import processor

TEXTS = {
    "stories": ("models/stories15M", "data/vue-docs", "data/gutenberg-en"),
    "minimind": ("models/minimind2-small", "data/d2l-zh", "data/alpaca-zh"),
}
RATES = (5e-5, 1e-4, 2e-4, 5e-4)
CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"{name}-alone": (name, {}) for name in TEXTS},
    **{f"{name}-replay": (name, {"replay": True}) for name in TEXTS},
    **{f"stories-rate-{rate:g}": ("stories", {"rate": rate, "steps": 60}) for rate in RATES},
}


def recipe(
    shared: Path, out: Path, name: str, *, stories: Path, replay: bool = False, rate: float = 0.0, steps: int = 0
) -> Any:
    model, domain, general = (str((shared / place).resolve()) for place in TEXTS[name])
    model = str(stories.resolve()) if name == "stories" else model
    corpus = {"kind": "corpus", "validation": 0.1, "test": 0}
    tokens = {"kind": "tokens", "tokenizer": model}
    on: dict[str, Any] = {"kind": "pretrain", "base": model, "watch": "$general", "batch": 16}
    on |= {"steps": steps} if steps else {"epochs": 1.0}
    on |= {"optim": {"learning_rate": rate}} if rate else {}
    on["tokens"] = {"domain": "$domain", "general": "$general"} if replay else "$domain"
    on |= {"mixture": {"weights": {"domain": 1.0, "general": REPLAYED[name]}}} if replay else {}
    stages = {
        "domain_text": {**corpus, "read": [domain]},
        "general_text": {**corpus, "read": [general]},
        "domain": {**tokens, "corpus": "$domain_text"},
        "general": {**tokens, "corpus": "$general_text"},
        "on": on,
    }
    return {"name": "going-on", "work": str(out / name), "stages": stages}


REPLAYED = {"stories": 0.35, "minimind": 1.0}
"""Share of the general text that is replayed: about as many rows as the domain has."""


def row_of(cell: str, card: Any) -> dict[str, Any]:
    told, found = (
        card["metrics"],
        {"cell": cell, "rate": card["metrics"]["learning_rate"], "steps": card["metrics"]["steps"]},
    )
    for text in ("domain", "general"):
        before, after = (told[when][text]["bits_per_byte"] for when in ("before", "after"))
        found[text] = {"before": round(before, 4), "after": round(after, 4), "change": f"{after / before - 1:+.1%}"}
    return {**found, "seconds": told["train_seconds"], "processor": processor()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stories", type=Path, default=Path("models/stories15M"))
    parser.add_argument("--only", action="append")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for cell in given.only or CELLS:
        name, how = CELLS[cell]
        tree = recipe(given.shared, given.out.resolve(), name, stories=given.stories, **how)
        path = given.out / f"{cell}.yaml"
        path.write_text(json.dumps(tree), encoding="utf-8")
        subprocess.run([sys.executable, "-m", "pretune", "run", str(path)], check=True)
        card = json.loads((given.out / name / "on" / "artifact.json").read_text(encoding="utf-8"))
        print(json.dumps(row_of(cell, card)), flush=True)


if __name__ == "__main__":
    main()
