from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretune.base.artifact import Artifact
from pretune.base.log import Log
from pretune.base.recipe import Recipe


@pytest.fixture
def run_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Artifact]:
    """Run one stage by its settings, through a recipe as a user would; returns its artifact."""
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path / "cache"))
    number = iter(range(100))

    def run(kind: str, **settings: Any) -> Artifact:
        tree = {"work": str(tmp_path / f"out{next(number)}"), "stages": {"it": {"kind": kind, **settings}}}
        return Recipe.build(tree).run(log=Log(quiet=True))["it"]

    return run
