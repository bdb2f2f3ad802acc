"""Your own text in, your own language model out - served, on a laptop or a cluster.

    base = pretune.pretrain("books/", out="runs/base", minutes=5)
    clf = pretune.fine_tune(base, "reviews.csv", task="classify", out="runs/clf")
    clf.predict(["A lovely film"])

Importing this loads neither torch nor numpy; the names below are found when they are first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "load": "pretune.api",
    "pretrain": "pretune.api",
    "fine_tune": "pretune.api",
    "predict": "pretune.api",
    "run": "pretune.api",
    "plan": "pretune.api",
    "Recipe": "pretune.base.recipe",
    "Artifact": "pretune.base.artifact",
    "PretuneError": "pretune.base.errors",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'pretune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
