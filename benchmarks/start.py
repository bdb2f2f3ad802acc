"""Seconds from the command to the end of the first step: ours, with empty and full caches, next to the Trainer's.

    python benchmarks/start.py --tokens TOKENS --model MINILM --data SST2     a table; `--rounds 3` by default
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/start.py ...   an older processor, rehearsed

TOKENS is an artifact of stage tokens (the quickstart's), MINILM a folder of an encoder, SST2 one of labelled jsonl.
Three starts: `base` (Qwen3 6 x 256, the quickstart's), `large` (Qwen3 12 x 512, 62 million parameters), `classify`.
Each side is a process of its own, in turn; the clock runs from its start until the first step has ended, when the
first line of metrics is written (ours), or the Trainer calls `on_step_end`. Both read the same rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHAPES = {
    "base": {"layers": 6, "width": 256, "heads": 4, "kv_heads": 2, "hidden": 704},
    "large": {"layers": 12, "width": 512, "heads": 8, "kv_heads": 4, "hidden": 1536, "head_width": 64},
}
BATCH = {"base": 32, "large": 8, "classify": 32}

TRAINER = r"""
import json, sys
import numpy as np
import torch
from transformers import (AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Qwen3Config,
                          Qwen3ForCausalLM, Trainer, TrainerCallback, TrainingArguments)
name, shape, batch, tokens, folder, data = json.loads(sys.argv[1])


class Ended(TrainerCallback):
    def on_step_end(self, *given, **named):
        print("first step", flush=True)


arguments = TrainingArguments(output_dir=sys.argv[2], per_device_train_batch_size=batch, max_steps=2, report_to=[],
                              save_strategy="no", disable_tqdm=True, logging_strategy="no", use_cpu=True)
if name == "classify":
    lines = [json.loads(line) for line in open(data + "/train.jsonl", encoding="utf-8")]
    key, label = [k for k in lines[0] if k != "label"][0], "label"
    names = sorted({str(line[label]) for line in lines})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer([line[key] for line in lines], truncation=True, max_length=128)["input_ids"]
    rows = [{"input_ids": i, "labels": names.index(str(line[label]))} for i, line in zip(ids, lines)]
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(names), dtype=torch.float32)
    given = {"data_collator": DataCollatorWithPadding(tokenizer)}
else:
    store = np.memmap(tokens + "/train.bin", dtype=np.uint16, mode="r")
    rows = [{"input_ids": torch.from_numpy(store[i : i + 256].astype(np.int64))} for i in range(0, 2**18, 256)]
    rows = [{**row, "labels": row["input_ids"]} for row in rows]
    model = Qwen3ForCausalLM(Qwen3Config(
        vocab_size=8192, hidden_size=shape["width"], num_hidden_layers=shape["layers"], tie_word_embeddings=True,
        num_attention_heads=shape["heads"], num_key_value_heads=shape["kv_heads"], intermediate_size=shape["hidden"],
        head_dim=64, max_position_embeddings=512))
    given = {}
Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[Ended()], **given).train()
"""


def trainer(name: str, given: argparse.Namespace, scratch: Path) -> float:
    told = json.dumps([name, SHAPES.get(name), BATCH[name], given.tokens, given.model, given.data])
    started = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-c", TRAINER, told, str(scratch / "trainer")]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}  # else it asks a hub for other forms of the folder, and waits
    with subprocess.Popen(
        command, env=offline, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
        process.kill()
    assert line.strip() == "first step", "the Trainer did not train"
    return seconds


def ours(name: str, given: argparse.Namespace, scratch: Path) -> float:
    out = scratch / "ours"
    for left in scratch.glob("ours*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    if name == "classify":
        words = ["finetune", given.model, given.data, "task=classify", f"batch={BATCH[name]}", "max_length=128"]
    else:
        shape = ", ".join(f"{key}: {value}" for key, value in {"kind": "qwen3", **SHAPES[name]}.items())
        words = ["pretrain", given.tokens, f"model={{{shape}}}", f"batch={BATCH[name]}"]
    command = [sys.executable, "-m", "pretune", *words, "steps=1", "--out", str(out)]
    environment = {**os.environ, "PRETUNE_CACHE": str(scratch / "cache")}
    started = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        # The log of the only step is written when it ends, into the scratch folder of the stage that trains.
        while process.poll() is None and not (scratch / "ours.scratch" / "metrics.jsonl").exists():
            time.sleep(0.005)
        seconds = time.perf_counter() - started
        assert process.poll() is None, f"{' '.join(command)} ended before its first step"
        process.kill()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tokens", "model", "data"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--only", choices=tuple(BATCH))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    given.tokens, given.model, given.data = (str(Path(p).absolute()) for p in (given.tokens, given.model, given.data))
    found: dict[str, Any] = {}
    for name in [given.only] if given.only else BATCH:
        rows = [_round(name, given) for _ in range(given.rounds)]
        found[name] = {side: statistics.median(row[side] for row in rows) for side in rows[0]} | {"rounds": rows}
        if not given.json:
            told = ", ".join(f"{side} {found[name][side]:.1f} s" for side in rows[0])
            print(f"{name}: {told}", flush=True)
    if given.json:
        print(json.dumps(found, indent=1))


def _round(name: str, given: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        return {
            "ours, empty caches": ours(name, given, scratch),
            "Trainer": trainer(name, given, scratch),
            "ours, full caches": ours(name, given, scratch),
        }


if __name__ == "__main__":
    main()
