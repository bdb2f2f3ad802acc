"""What is installed: extras, versions, the commit of the sources."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from pretune.base.errors import MissingExtra

MODULES = {
    "serve": ("starlette", "uvicorn"),
    "apps": ("usearch",),
    "structured": ("llguidance",),
    "bundle": ("onnxruntime",),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "gguf": ("gguf",),
    "kquants": ("libgguf",),
    "llamacpp": ("cyllama",),
    "data": ("zstandard", "resiliparse", "fastwarc", "pypdfium2", "fasttext"),
    "evaluate": ("sklearn",),
    "crf": ("pycrfsuite",),
    "smote": ("imblearn",),
    "translate": ("sacrebleu",),
    "scale": ("ray", "pandas", "tensorboardX"),
    "tune": ("optuna", "sklearn"),
    "track": ("tensorboard",),
    "wandb": ("wandb",),
    "swanlab": ("swanlab",),
    "mlflow": ("mlflow", "sqlalchemy"),
    "trackio": ("trackio",),
}
"""What an extra of pyproject.toml brings; checked without importing."""


VERSIONED = ("pretune", "torch", "transformers", "tokenizers", "peft", "numpy", "pyarrow", "onnxruntime", "trafilatura")
"""Packages whose version can change a result."""


def need(extras: Iterable[str]) -> None:
    """Raise MissingExtra, naming all at once, unless these extras are installed."""
    missing = {e: [m for m in MODULES[e] if find_spec(m) is None] for e in sorted(set(extras))}
    missing = {e: modules for e, modules in missing.items() if modules}
    if missing:
        modules = ", ".join(m for group in missing.values() for m in group)
        raise MissingExtra(f"not installed: {modules}", hint=f"pip install 'pretune[{','.join(missing)}]'")


def versions() -> dict[str, str]:
    """Versions of what can change a result."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine_name() -> str:
    """System and processor, for the card; never the host's name."""
    return f"{platform.system()} {platform.machine()}"


@cache
def git_commit() -> str | None:
    """The commit of pretune's sources, when they are a clone."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
        return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
