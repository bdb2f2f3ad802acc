"""Fine-tuning by PEFT's methods, as a user asks for it: stopped and gone on, refused, answered everywhere alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pretune
from pretune.api import Loaded
from pretune.base.errors import NotSupported, PretuneError, Stopped, WrongValue
from pretune.base.stage import Context
from pretune.testing.bench import has_saved
from pretune.testing.folders import write_model
from pretune.testing.roundtrips import WORLDS
from pretune.testing.worlds import ADAPTERS


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peft")
    write_model(folder / "base", folder / "words", "qwen3")
    write_model(folder / "windows", folder / "words2", "gemma3")
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in WORLDS["classify"].rows)
    (folder / "rows.jsonl").write_text(rows, encoding="utf-8")
    return folder


def tuned(world: Path, name: str, method: Any, base: str = "base", **settings: Any) -> Loaded:
    usual: dict[str, Any] = {"task": "classify", "batch": 8, "micro_batch": 8, "precision": "float32", "quiet": True}
    usual |= {"max_length": 32, "steps": 4, "evaluate_every": 4, "dataset": {"validation": 0.2, "test": 0.2}}
    return pretune.fine_tune(world / base, world / "rows.jsonl", out=world / name, method=method, **usual | settings)


@pytest.mark.parametrize(
    ("method", "precision"),
    [
        *(("adalora", "float32"), ("p-tuning", "float32"), ("pissa", "float32"), ("prefix", "float32")),
        *(("dora", "int4"), ("parallel", "int8")),
    ],
)
def test_a_run_that_was_stopped_ends_with_the_same_bits_and_leaves_the_base_alone(
    world: Path, method: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = (world / "base" / "model.safetensors").read_bytes()
    settings: dict[str, Any] = {"base_precision": precision, "save_every": 2}
    whole = tuned(world, f"{method}-whole", ADAPTERS[method], **settings)
    with monkeypatch.context() as at_once:
        at_once.setattr(Context, "stop", property(lambda self: has_saved(self.scratch)))
        with pytest.raises(Stopped):
            tuned(world, f"{method}-cut", ADAPTERS[method], **settings)
    again = tuned(world, f"{method}-cut", ADAPTERS[method], **settings)
    files = ("adapter_model.safetensors", "adapter_config.json", "base.json", "labels.json")
    assert all((again.path / name).read_bytes() == (whole.path / name).read_bytes() for name in files)
    assert (world / "base" / "model.safetensors").read_bytes() == base


@pytest.mark.parametrize(
    ("method", "base", "error", "told"),
    [
        ({"kind": "prompt", "tokens": 90}, "base", WrongValue, "leaves 6 of the model's 96 positions"),
        ("prefix", "windows", NotSupported, "a gemma3_text model has layers that lose sight of them"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(
    world: Path, method: Any, base: str, error: type[PretuneError], told: str
) -> None:
    with pytest.raises(error, match=told):
        tuned(world, "refused", method, base)
    assert not (world / "refused.scratch" / "choices.json").is_file()


def test_a_live_reference_is_refused_where_the_base_was_moved() -> None:
    from pretune.task.settings import FinetuneSettings

    task = {"kind": "prefer", "loss": {"kind": "dpo", "reference": "live"}}
    with pytest.raises(ValueError, match="variant=pissa moves the base"):
        FinetuneSettings(model="m", data="d", task=task, method={"kind": "lora", "variant": "pissa"})  # type: ignore[arg-type]
