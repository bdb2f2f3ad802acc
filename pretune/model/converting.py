"""Pickled weights to safetensors: the one place in pretune where a pickle is read, and only on request.

    pretune convert FOLDER --out DIR
      asks                        a pickle is a program; torch's weights_only runs none of it but what builds tensors
      child process               without network: a network namespace of its own, where the system allows one;
                                  elsewhere Python's sockets are taken away, which native code could get round
      torch.load(weights_only)    in the child; only tensors pass
      DIR                         model.safetensors, the JSON files without their code, the tokenizer

`python -m pretune.model.converting FOLDER DIR` is the child.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretune.base.errors import BadFile, NotSupported
from pretune.infer.trusted import CODE, check_folder, read_json

NAMESPACE = ("unshare", "--map-root-user", "--net")
KEPT = (".json", ".txt", ".jinja", ".model")
"""Ends of files that are copied."""
MOST_SECONDS = 3600


def convert(folder: Path, out: Path) -> str:
    """Write the model of `folder` into `out`, which is not there yet, with safetensors weights.

    Returns:
        How the child was kept from the network.

    Raises:
        NotSupported: there are no .bin weights, or `out` is there; BadFile: what they hold is not tensors by name.
    """
    if not pickles(folder):
        raise NotSupported(f"{folder.as_posix()} has no .bin or .pt weights", hint="name the folder that has them")
    if out.exists():
        raise NotSupported(f"{out.as_posix()} is there already", hint="name another place with --out")
    out.mkdir(parents=True)
    try:
        how = _child(folder.absolute(), out.absolute())
        _copy(folder, out)
        check_folder(out)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return how


def pickles(folder: Path) -> list[Path]:
    """The files of pickled weights, in the order of their names; what a trainer keeps besides is none."""
    ends = (".bin", ".pt", ".pth")
    others = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")
    return sorted(p for p in folder.glob("*") if p.suffix in ends and not p.name.startswith(others))


def _child(folder: Path, out: Path) -> str:
    alone = namespaced()
    command = [*(NAMESPACE if alone else ()), sys.executable, "-m", "pretune.model.converting", str(folder), str(out)]
    keep = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP")
    given = {name: os.environ[name] for name in keep if name in os.environ}
    done = subprocess.run(command, env=given, capture_output=True, encoding="utf-8", check=False, timeout=MOST_SECONDS)
    if done.returncode:
        told = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        hint = "torch reads nothing but tensors here (weights_only); take a version of the model in safetensors"
        raise BadFile(f"the weights of {folder.as_posix()} were not read: {told[0][:300]}", hint=hint)
    return "in a network namespace of its own" if alone else "with Python's sockets taken away"


def namespaced() -> bool:
    """Whether this system lets a process have a network of its own (Linux, where user namespaces are allowed)."""
    if not shutil.which(NAMESPACE[0]):
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


def _copy(folder: Path, out: Path) -> None:
    """The small files, without entries that name code; links are not followed."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or path.suffix not in KEPT or path.name.endswith(".index.json"):
            continue
        tree = read_json(path) if path.suffix == ".json" and path.name != "tokenizer.json" else None
        if isinstance(tree, Mapping) and any(tree.get(word) for word in CODE):
            plain = {name: value for name, value in tree.items() if name not in CODE}
            (out / path.name).write_text(json.dumps(plain, indent=2, ensure_ascii=False), encoding="utf-8")
        else:
            shutil.copyfile(path, out / path.name)


# ---- in the child --------------------------------------------------------------------------------


def _without_sockets() -> None:
    import socket

    def refuse(*args: Any, **more: Any) -> Any:
        raise OSError("no network in this process")

    socket.socket = socket.create_connection = refuse  # type: ignore[assignment, misc]


def tensors_of(path: Path) -> dict[str, Any]:
    """Tensors by name from a pickled file. Raises TypeError where it holds anything else."""
    import torch

    held = torch.load(path, map_location="cpu", weights_only=True)
    held = next((held[name] for name in ("state_dict", "model") if isinstance(held.get(name), dict)), held)
    wrong = [str(name) for name, one in held.items() if not isinstance(one, torch.Tensor)]
    if wrong:
        raise TypeError(f"{path.name} holds {wrong[0]!r}, which is no tensor")
    return {str(name): tensor.clone() for name, tensor in held.items()}  # names that share memory are parted


def main(folder: str, out: str) -> None:
    from pretune.model.folder import write_safetensors

    _without_sockets()
    found: dict[str, Any] = {}
    for path in pickles(Path(folder)):
        found |= tensors_of(path)
    write_safetensors(found, Path(out) / "model.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
