"""Quality against size for every way to compress: perplexity of language models, accuracy of a classifier.

    python benchmarks/smaller.py --shared ../shared --out runs/smaller               every cell that is missing, tables
    python benchmarks/smaller.py --shared ... --out ... --only stories-int8 ...       these cells

Models: stories15M on stories that it wrote itself (temperature 1: there are none of its training text here),
minimind2-small on replies of alpaca-zh, all-MiniLM-L6-v2 fine-tuned on 4,000 sentences of sst2. A cell is a recipe of
pretune's own stages; figures are the card's, on validation splits: what is calibrated or learnt is of train splits.
Bytes are those of the weights in an exported file; bits are 8 x bytes / parameters of the float32 model.

`--stories` is a copy of stories15M's folder with the `tokenizer.json` that transformers' LlamaTokenizer writes.
`--classifier MODEL DATA` are folders of a fine-tuned classifier and its data set, instead of training one.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from pretune.base.log import Log
from pretune.base.measurements import processor
from pretune.base.recipe import Recipe

INT4: dict[str, Any] = {"kind": "int4", "group": 32}
WEIGHTS: dict[str, Any] = {"kind": "prune", "what": "weights"}
HEADER = "perplexity or accuracy | MB | bits | ms a row | seconds to make |\n|---|---|---|---|---|---|"
LANGUAGE: dict[str, Any] = {
    "int8": "int8",
    **{f"int4-{group}-nearest": {**INT4, "group": group, "by": "nearest"} for group in (32, 64, 128)},
    **{f"int4-{group}-gptq": {**INT4, "group": group} for group in (32, 64, 128)},
    "int4-32-nearest-ends": {**INT4, "by": "nearest", "symmetric": False},
    "int4-32-learnt": {**INT4, "by": "nearest", "steps": 200},
    "int4-32-gptq-learnt": {**INT4, "steps": 200},
    "int4-32-gptq-spare": {**INT4, "spare": 0.1},
    **{f"low-rank-{ratio}": {"kind": "low-rank", "ratio": ratio} for ratio in (0.2, 0.4)},
    "low-rank-0.2-learnt": {"kind": "low-rank", "ratio": 0.2, "steps": 200},
    **{f"ffn-{ratio}": {"kind": "prune", "ratio": ratio} for ratio in (0.1, 0.25, 0.5)},
    "ffn-0.25-magnitude": {"kind": "prune", "ratio": 0.25, "by": "magnitude"},
    "ffn-0.25-distil": [{"kind": "prune", "ratio": 0.25}, {"kind": "distil", "steps": 300}],
    "heads-0.25": {"kind": "prune", "what": "heads", "ratio": 0.25},
    "layers-0.25": {"kind": "prune", "what": "layers", "ratio": 0.25},
    "layers-0.25-last": {"kind": "prune", "what": "layers", "ratio": 0.25, "by": "last"},
    "layers-0.25-distil": [{"kind": "prune", "what": "layers", "ratio": 0.25}, {"kind": "distil", "steps": 300}],
    "weights-wanda": {**WEIGHTS, "ratio": 0.5},
    "weights-magnitude": {**WEIGHTS, "ratio": 0.5, "by": "magnitude"},
    "weights-two-of-four": {**WEIGHTS, "pattern": "2:4"},
}
CLASSIFIER = {name: how for name, how in LANGUAGE.items() if "heads" not in name} | {
    "ladder": [{"kind": "prune", "ratio": 0.5}, {"kind": "distil"}, INT4],
    "layers-0.5-distil": [{"kind": "prune", "what": "layers", "ratio": 0.5}, {"kind": "distil", "steps": 600}],
}


def written(stories: Path, out: Path, *, texts: int = 160, tokens: int = 128) -> Path:
    """Stories of the model's own, one a line."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    path = out / "stories.jsonl"
    if path.is_file():
        return path
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(stories, dtype=torch.float32).eval()
    start = torch.full((texts, 1), 1)
    with torch.inference_mode():
        made = model.generate(start, max_new_tokens=tokens, do_sample=True, top_k=0, temperature=1.0, pad_token_id=2)
    tokenizer = Tokenizer.from_file(str(stories / "tokenizer.json"))
    lines = [tokenizer.decode(row.tolist()).split("<s>")[0].strip() for row in made]
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines if len(line) > 100), encoding="utf-8")
    return path


def stages_of(
    name: str, shared: Path, out: Path, stories: Path, classifier: list[str]
) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The stages that a model's cells share, the model, and the ways that are tried."""
    if name == "stories":
        corpus = {"kind": "corpus", "read": [str(written(stories, out))], "filters": [], "validation": 0.25, "test": 0}
        tokens = {"kind": "tokens", "corpus": "$corpus", "tokenizer": str(stories)}
        return {"corpus": corpus, "data": tokens}, str(stories), LANGUAGE
    if name == "minimind":
        data = {"kind": "dataset", "read": [f"{shared}/data/alpaca-zh/train.jsonl.gz#2000"]}
        return {"data": data}, f"{shared}/models/minimind2-small", LANGUAGE
    if classifier:
        return {}, classifier[0], CLASSIFIER
    data = sst2(shared, out)
    tuned = {"kind": "finetune", "model": f"{shared}/models/all-MiniLM-L6-v2", "data": "$data", "task": "classify"}
    return {"data": data, "tuned": tuned | {"max_length": 64, "seed": 0}}, "$tuned", CLASSIFIER


def sst2(shared: Path, out: Path, rows: int = 4000) -> dict[str, Any]:
    folder = out / "sst2"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "dev", "test"):
        lines = (shared / f"data/sst2/{name}.jsonl").read_text(encoding="utf-8").splitlines()
        chosen = lines[:rows] if name == "train" else lines
        (folder / f"{name}.jsonl").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    return {"kind": "dataset", "read": [str(folder)]}


def cell(name: str, way: str, shared: Path, out: Path, *, stories: Path, classifier: list[str]) -> dict[str, Any]:
    """The card's figures of one way; kept as a file."""
    kept = out / "cells" / f"{name}-{way}.json"
    shared_stages, model, ways = stages_of(name, shared, out, stories, classifier)
    if not kept.is_file():
        small = {
            "kind": "compress",
            "model": model,
            "data": classifier[1] if name == "minilm" and classifier else "$data",
        }
        small |= {"method": ways[way]}
        recipe = {"work": str(out / name), "stages": {**shared_stages, "small": small}}
        made = Recipe.build(recipe).run(log=Log(quiet=True))
        card = list(made.values())[-1].card
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(card.metrics, indent=1), encoding="utf-8")
    return dict(json.loads(kept.read_text(encoding="utf-8")))


def shown(value: dict[str, float]) -> str:
    return f"{math.exp(value['loss']):.3f}" if "loss" in value else f"{next(iter(value.values())):.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stories", type=Path, default=Path("models/stories15M"))
    parser.add_argument("--classifier", nargs=2, default=[], help="MODEL DATA")
    parser.add_argument("--only", nargs="*", action="extend", default=[], help="names of cells: MODEL-WAY")
    asked = parser.parse_args()
    print(f"{processor()}\n")
    for name in ("stories", "minimind", "minilm"):
        ways = CLASSIFIER if name == "minilm" else LANGUAGE
        chosen = [way for way in ways if not asked.only or f"{name}-{way}" in asked.only]
        if chosen:
            print(f"| {name} | {HEADER}")
        for number, way in enumerate(chosen):
            given = {"stories": asked.stories, "classifier": asked.classifier}
            m = cell(name, way, asked.shared, asked.out, **given)
            whole = m["bytes_before"]
            if not number:
                size, read = f"{whole / 1e6:.2f} | 32", f"{1e3 * m['seconds_per_row_before']:.1f}"
                print(f"| float32 | {shown(m['quality_before'])} | {size} | {read} | |")
            size = f"{m['bytes_after'] / 1e6:.2f} | {32 * m['bytes_after'] / whole:.2f}"
            took = sum(one["metrics"].get("seconds_to_compress", 0) for one in m.get("rungs", [{"metrics": m}]))
            told = f"{1e3 * m['seconds_per_row_after']:.1f} | {took:.0f}"
            print(f"| {way} | {shown(m['quality_after'])} | {size} | {told} |", flush=True)
        print() if chosen else None


if __name__ == "__main__":
    main()
