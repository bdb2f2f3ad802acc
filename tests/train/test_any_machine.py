"""An older processor, a system without resource, fork and mallopt: every command starts, and measures next to nothing.

What a start costs is held to a count of operations, not to seconds: those depend on who else is at work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pretune.train.loop.runtime import Runtime
from tests.cli.test_memory import RECIPE
from tests.invariants.test_resume import text_folder

OLDER = {
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"},
    "avx512": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
}

COMMANDS = r"""
import collections, json, sys, time
from urllib.request import Request, urlopen

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from pretune.train.forecast.dry_run import _flops

counted = collections.Counter()


class Counted(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and type(out) is torch.Tensor:
            counted[str(out.dtype).removeprefix("torch.")] += _flops(func, args, kwargs or {}, out)
        return out


def command(*words):
    from pretune.cli import main

    counted.clear()
    started = time.monotonic()
    with Counted():
        try:
            main(list(words))
        except SystemExit as ended:
            assert not ended.code, (words, ended.code)
    told[words[0]] = {"flops": dict(counted), "seconds": time.monotonic() - started}


told = {}
command("doctor", "--json")
command("plan", "recipe.yaml", "--json")
command("run", "recipe.yaml")
command("finetune", "runs/base", "labels.csv", "--out", "clf", "task=classify", "steps=1", "batch=2")
from pretune.infer.load import open_model
from pretune.serve.run import serving

with serving({"base": open_model("runs/base")}) as url:
    body = json.dumps({"model": "base", "prompt": "The", "max_tokens": 2}).encode()
    with urlopen(Request(url + "/v1/completions", body, {"Content-Type": "application/json"}), timeout=60) as reply:
        told["serve"] = json.load(reply)["choices"][0]["finish_reason"]
import pathlib
pathlib.Path("told.json").write_text(json.dumps(told), encoding="utf-8")
"""

SHAPE = "{kind: qwen3, layers: 1, width: 32, heads: 2, kv_heads: 1, head_width: 16, hidden: 48}"
TINY = RECIPE.replace("MODEL", SHAPE).replace(", precision: float32", "")

# By reading: Windows has no resource, no fork and no mallopt; where these are hidden stands for it.
HIDDEN = """
import ctypes, os, sys
import psutil  # which asks Linux through resource itself
sys.modules["resource"] = None
for name in ("fork", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
load = ctypes.CDLL.__init__
def refused(self, name=None, *rest, **named):
    asked_by = sys._getframe(1).f_globals.get("__name__", "")  # torch of Linux needs its libc
    if asked_by.startswith("pretune") and "libc" in str(name):
        raise FileNotFoundError(name)
    load(self, name, *rest, **named)
ctypes.CDLL.__init__ = refused
"""


def commands(folder: Path, environment: dict[str, str], before: str) -> dict[str, dict[str, dict[str, float]]]:
    """What the commands of a fresh process with empty caches multiplied, by command and type."""
    text_folder(folder / "text")
    (folder / "recipe.yaml").write_text(TINY, encoding="utf-8")
    rows = "".join(f"text {i} {'good' if i % 2 else 'bad'},{i % 2}\n" for i in range(20))
    (folder / "labels.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    settings = {**os.environ, "PRETUNE_CACHE": str(folder / "cache"), "PYTHONUTF8": "1", **environment}
    command = [sys.executable, "-c", before + COMMANDS]
    done = subprocess.run(
        command, cwd=folder, env=settings, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    told: dict[str, dict[str, dict[str, float]]] = json.loads((folder / "told.json").read_text(encoding="utf-8"))
    return told


HAS_AVX512 = torch.cpu._is_avx512_supported()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "name",
    ["avx2", pytest.param("avx512", marks=pytest.mark.skipif(not HAS_AVX512, reason="this processor has no AVX-512"))],
)
def test_on_an_older_processor_every_command_starts_with_few_operations(name: str, tmp_path: Path) -> None:
    """AVX2 on one core, and without what only Linux has; AVX-512 without bfloat16 on two."""
    told = commands(tmp_path, OLDER[name], HIDDEN if name == "avx2" else "")
    assert told["serve"] in ("length", "stop")
    flops = {command: found["flops"] for command, found in told.items() if command != "serve"}
    if name == "avx2":
        assert all(found.get("bfloat16", 0) == 0 for found in flops.values()), "there it is a plain loop"
    # doctor: products of up to 2,048 squared, two of each type (41 GFLOP), and at most 34 rows of 256 tokens of a
    # model with some 10 million parameters (0.5 TFLOP on a processor that is quick enough to be asked for so many).
    assert sum(flops["doctor"].values()) < 6e11
    # What doctor measured is remembered: plan and the two trainings multiply for their own tiny models only.
    assert all(sum(flops[command].values()) < 1e9 for command in ("plan", "run", "finetune"))


def test_compiled_code_is_kept_apart_by_what_the_processor_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    Runtime.start("cpu")
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) == tmp_path / "pretune" / "inductor" / "avx2"
