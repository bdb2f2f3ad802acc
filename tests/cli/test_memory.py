"""Memory that cannot be had is told before anything is allocated: by plan, and by the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.invariants.test_resume import text_folder

Run = Callable[..., tuple[int, str, str]]

HUGE = "{kind: qwen3, layers: 1, width: 98304, heads: 64, kv_heads: 64, head_width: 64, hidden: 300000}"
RECIPE = """
name: huge
work: runs
stages:
  corpus: {kind: corpus, read: {own: [text]}, validation: 0.3}
  tokenizer: {kind: tokenizer, corpus: $corpus, vocab_size: 300}
  tokens: {kind: tokens, corpus: $corpus, tokenizer: $tokenizer}
  base: {kind: pretrain, tokens: $tokens, model: MODEL, length: 16, batch: 4, steps: 2, precision: float32}
"""


def recipe(model: str) -> None:
    text_folder(Path("text"))
    Path("recipe.yaml").write_text(RECIPE.replace("MODEL", model), encoding="utf-8")


def test_a_model_of_a_terabyte_does_not_fit_says_plan_and_so_does_the_run(pretune: Run) -> None:
    recipe(HUGE)
    code, out, _ = pretune("plan", "recipe.yaml")
    assert code == 3
    assert "base needs about" in out and "[does-not-fit]" in out
    code, _, err = pretune("run", "recipe.yaml")
    assert code == 3
    assert "a step in micro-batches of 1 x 16 tokens needs" in err and "checkpointing=auto" in err
    assert not Path("runs/base").exists()


def test_plan_tells_bytes_and_seconds_of_a_model_that_fits(pretune: Run) -> None:
    recipe("{kind: gpt2, layers: 1, width: 32, heads: 2}")
    code, out, err = pretune("plan", "recipe.yaml", "--json")
    assert code == 0, err
    told = {row["name"]: row["forecast"] for row in json.loads(out)["stages"]}["base"]
    assert 2e8 < told["memory_bytes"] < 1e9, "python, torch and transformers, and next to nothing"
    assert 0 < told["seconds"] < 5
    assert told["tokens"] == 2 * 4 * 16
