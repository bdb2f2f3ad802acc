"""Runs of the fault lab: the real commands, each in a process that is forked from this one, which has imported all.

A start takes 0.2 s in the place of 3; what it finds on the disk is what a new process would find.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPE = """
name: faults
stages:
  corpus: {kind: corpus, read: [text], validation: 0.3}
  words: {kind: tokenizer, corpus: $corpus, vocab_size: 300}
  tokens: {kind: tokens, corpus: $corpus, tokenizer: $words}
  base:
    kind: pretrain
    tokens: $tokens
    model: {kind: qwen3, layers: 2, width: 32, heads: 2, kv_heads: 1, head_width: 16, hidden: 48, dropout: 0.1}
    length: 16
    batch: 4
    micro_batch: 2
    steps: 40
    save_every: 5
    precision: float32
  data: {kind: dataset, read: [labels.jsonl], validation: 0.25, test: 0}
  classifier:
    kind: finetune
    model: $base
    data: $data
    task: classify
    steps: 40
    batch: 4
    micro_batch: 2
    evaluate_every: 10
    save_every: 5
    precision: float32
    max_length: 24
"""
STAGES = ("base", "classifier")


def write_world(folder: Path) -> Path:
    """A recipe with a few texts and labels."""
    (folder / "text").mkdir(parents=True, exist_ok=True)
    for i in range(8):
        lines = [f"The {i + k} foxes jump over {k * i} lazy dogs. 第{k}只狐狸跳过了{i}只懒狗 🙂" for k in range(12)]
        (folder / "text" / f"{i}.txt").write_text("\n".join(lines), encoding="utf-8")
    rows = [{"text": f"{word} things, {k} of them", "label": word} for k in range(24) for word in ("good", "bad")]
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


def preload() -> None:
    """Import what a run imports, so that a fork need not."""
    import torch
    from transformers import Qwen3ForCausalLM, Qwen3ForSequenceClassification

    import pretune.cli
    import pretune.task.finetuning
    import pretune.task.stage
    import pretune.train.run.pretraining

    torch.set_num_threads(1)
    assert Qwen3ForCausalLM and Qwen3ForSequenceClassification and pretune.cli


@dataclass
class Started:
    """A forked run."""

    pid: int
    log: Path
    code: int | None = None

    def poll(self) -> int | None:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def wait(self, seconds: float = 300.0) -> int:
        deadline = time.monotonic() + seconds
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, f"a run has not ended in {seconds} s; see {self.log}"
            time.sleep(0.005)
        return code

    def send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    @property
    def told(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def start(folder: Path, work: str, *more: str, hook: Callable[[], None] = lambda: None) -> Started:
    """`pretune run recipe.yaml work=WORK ...` in `folder`; `hook` is called in the process before it begins."""
    log = folder / f"{work}.log"
    pid = os.fork()
    if pid:
        return Started(pid, log)
    code = 70
    try:
        code = _run(folder, log, ["run", "recipe.yaml", f"work={work}", *more], hook)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        code = 1
    finally:
        os._exit(code)


def _run(folder: Path, log: Path, words: list[str], hook: Callable[[], None]) -> int:
    os.chdir(folder)
    place = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(place, 1), os.dup2(place, 2)
    os.environ.update({"PRETUNE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})
    sys.argv = ["pretune", *words]
    hook()
    from pretune.cli import main

    main(words)
    return 0


def finish(folder: Path, work: str, *more: str) -> Started:
    one = start(folder, work, *more)
    assert one.wait() == 0, one.told[-1500:]
    return one


def weights(folder: Path, work: str, stage: str) -> str:
    """sha256 of what a stage has made."""
    return hashlib.sha256((folder / work / stage / "model.safetensors").read_bytes()).hexdigest()


def link(folder: Path, work: str, *, whole: str, stages: Sequence[str]) -> None:
    """Take these finished stages from another run, so that this one begins where it is to be disturbed."""
    import shutil

    (folder / work).mkdir(exist_ok=True)
    for stage in stages:
        if not (folder / work / stage).exists():
            shutil.copytree(folder / whole / stage, folder / work / stage)
