"""The digests of eighteen small artifacts, of every stage: what a change of structure must not change.

    python benchmarks/golden.py --out before.json       on the commit before
    python benchmarks/golden.py --against before.json   on the commit after; names what differs

All of it in float32 on one thread, so on one machine the same settings give the same bytes. Weights differ between
processors: both sides are made on the same one. Two minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

RECIPE = """
name: golden
work: runs
stages:
  corpus: {kind: corpus, read: {en: [en], zh: [zh]}, validation: 0.25, clean: [nfc], dedup: minhash}
  words: {kind: tokenizer, corpus: $corpus, vocab_size: 320}
  pieces: {kind: tokenizer, corpus: $corpus, algorithm: wordpiece, vocab_size: 400}
  tokens: {kind: tokens, corpus: $corpus, tokenizer: $words}
  hidden: {kind: tokens, corpus: $corpus, tokenizer: $pieces}
  causal:
    kind: pretrain
    tokens: $tokens
    model: {kind: qwen3, layers: 2, width: 32, heads: 2, kv_heads: 1, head_width: 16, hidden: 48}
    length: 32
    batch: 8
    steps: 12
    precision: float32
    micro_batch: 3
  placed:
    kind: pretrain
    tokens: $tokens
    model: {kind: gpt2, layers: 1, width: 32, heads: 2, dropout: 0.1}
    length: 32
    batch: 4
    steps: 6
    precision: float32
    optim: adamw
  masked:
    kind: pretrain
    tokens: $hidden
    model: {kind: bert, layers: 2, width: 32, heads: 2, hidden: 48}
    objective: masked
    length: 32
    batch: 8
    steps: 12
    precision: float32
    micro_batch: 4
  labelled: {kind: dataset, read: [labels.jsonl], validation: 0.25, test: 0.2}
  talk: {kind: dataset, read: [talk.jsonl], shape: dialogue, validation: 0.25}
  classifier:
    kind: finetune
    model: $masked
    data: $labelled
    task: classify
    epochs: 2
    precision: float32
    max_length: 24
    batch: 8
  layered:
    kind: finetune
    model: $masked
    data: $labelled
    task: classify
    steps: 4
    layer_decay: 0.8
    precision: float32
    max_length: 24
    batch: 8
  on_decoder:
    kind: finetune
    model: $causal
    data: $labelled
    task: classify
    method: head
    steps: 4
    precision: float32
    max_length: 32
    batch: 8
  chat:
    kind: finetune
    model: $causal
    data: $talk
    task: chat
    method: {kind: lora, rank: 4}
    steps: 6
    precision: float32
    max_length: 64
    batch: 4
  report: {kind: evaluate, model: $classifier, data: $labelled}
  small: {kind: compress, model: $classifier, method: int8}
  bundle: {kind: export, model: $classifier, data: $labelled, to: [onnx]}
  talking: {kind: export, model: $chat, to: [onnx]}
"""
ANIMALS = ["fox", "dog", "cat", "hen", "cow", "owl"]


def write_inputs(folder: Path) -> None:
    for language, line in (
        ("en", "The {} {}s jump over {} lazy {}s, and {} of them sleep."),
        ("zh", "第{}只狐狸{}跳过了{}只懒狗{}，{}只在睡觉。"),
    ):
        (folder / language).mkdir()
        for i in range(24):
            text = [line.format(i, ANIMALS[(i + k) % 6], k * i, ANIMALS[(i * k) % 6], i + k) for k in range(10)]
            (folder / language / f"{i}.txt").write_text("\n".join(text), encoding="utf-8")
    kinds = {"good": "A lovely {} that I would buy {} times.", "bad": "This {} broke after {} days, 很差。"}
    rows = [
        {"text": text.format(ANIMALS[i % 6], i), "label": label} for i in range(60) for label, text in kinds.items()
    ]
    talk = [
        {
            "messages": [
                {"role": "user", "content": f"How many {ANIMALS[i % 6]}s are there?"},
                {"role": "assistant", "content": f"There are {i}."},
            ]
        }
        for i in range(48)
    ]
    for name, found in (("labels", rows), ("talk", talk)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    (folder / "golden.yaml").write_text(RECIPE, encoding="utf-8")


def ids() -> dict[str, dict[str, str]]:
    """Digests of the files of every artifact, by stage."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_inputs(folder)
        env = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PRETUNE_CACHE": f"{scratch}/cache",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        subprocess.run([sys.executable, "-m", "pretune", "run", "golden.yaml"], cwd=folder, env=env, check=True)
        cards = sorted((folder / "runs").glob("*/artifact.json"))
        return {path.parent.name: json.loads(path.read_text(encoding="utf-8"))["files"] for path in cards}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the digests here")
    parser.add_argument("--against", type=Path, help="the digests of another commit")
    given = parser.parse_args()
    found = ids()
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if given.against:
        before = json.loads(given.against.read_text(encoding="utf-8"))
        other = {name: _other(before.get(name, {}), found.get(name, {})) for name in sorted({*before, *found})}
        for name, files in other.items():
            print(f"{name:12} {'the same' if not files else 'OTHER: ' + ', '.join(files)}")
        raise SystemExit(any(other.values()))


def _other(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


if __name__ == "__main__":
    main()
