"""What all tests share: a cache of their own, and real data where it lies beside the clone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
SHARED = Path(os.environ.get("PRETUNE_SHARED", Path(__file__).parents[1].parent / "shared"))


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Digests and probes of the tests are not the user's."""
    os.environ["PRETUNE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the real data sets are not beside this clone")
    return SHARED
