"""What all tests share: a cache of their own, and real data where it lies next to the clone."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
SHARED = Path(os.environ.get("PRETUNE_SHARED", Path(__file__).parents[1].parent / "shared"))


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Digests and probes of the tests are not the user's."""
    os.environ["PRETUNE_CACHE"] = cache = str(tmp_path_factory.mktemp("cache"))
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{cache}/inductor"  # code of another processor's run gives garbage


@pytest.fixture(autouse=True, scope="module")
def memory_goes_back() -> Iterator[None]:
    """A training keeps what it frees for its next step (runtime.keep_freed_memory), and the tests are many trainings.

    What is alive behind a module are libraries, half a million objects: frozen, the next collection passes them by.
    """
    yield
    gc.collect()
    gc.freeze()
    with suppress(OSError, AttributeError):  # elsewhere than on Linux with glibc nothing is kept
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the real data sets are not next to this clone")
    return SHARED


@pytest.fixture
def model_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a tiny random model of a kind (tests/folders.py); `chat` adds a chat template."""
    from pretune.testing.folders import write_model

    def write(kind: str, *, chat: bool = False, model: Any = None) -> Path:
        folder = tmp_path / f"{kind}{'-chat' if chat else ''}"
        return write_model(folder, tmp_path / "words", kind, chat=chat, model=model)

    return write


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Run stages by name; returns their artifacts."""
    from pretune.base.log import Log
    from pretune.base.recipe import Recipe

    def stages(**by_name: Any) -> Any:
        return Recipe.build({"work": str(tmp_path / "work"), "stages": by_name}).run(log=Log(quiet=True))

    return stages


@pytest.fixture
def stage_run(run: Callable[..., Any]) -> Callable[..., Any]:
    """Run one stage; returns its artifact."""
    return lambda kind, name="made", **settings: run(**{name: {"kind": kind, **settings}})[name]
