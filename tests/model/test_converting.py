"""Pickled weights become safetensors, in a process of their own; a pickle that is more than tensors runs nothing."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pretune.base.errors import BadFile, NotSupported
from pretune.model import converting
from pretune.model.converting import convert, pickles, tensors_of
from pretune.testing.folders import write_model


@pytest.fixture
def pickled(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A folder with weights in two .bin files, a tied pair in one of them, and a config that names code."""
    folder = write_model(tmp_path / "model", tmp_path / "words", "qwen3")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    torch.save({n: tensors[n] for n in names[:5]}, folder / "pytorch_model-00001-of-00002.bin")
    rest = {n: tensors[n] for n in names[5:]} | {"lm_head.weight": tensors["model.embed_tokens.weight"]}
    torch.save({"state_dict": rest}, folder / "pytorch_model-00002-of-00002.bin")
    torch.save({"lr": 1e-3}, folder / "training_args.bin")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoConfig": "x.Y"}}), encoding="utf-8")
    return folder, tensors


def test_the_converted_folder_holds_the_same_tensors_and_opens(
    pickled: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pretune.infer.load import open_model

    folder, tensors = pickled
    monkeypatch.setenv("PYTHONPATH", str(Path(converting.__file__).parents[2]))
    how = convert(folder, tmp_path / "safe")
    assert how.startswith("in a network namespace" if converting.namespaced() else "with Python's sockets")
    found = load_file(tmp_path / "safe" / "model.safetensors")
    assert found.keys() == tensors.keys() | {"lm_head.weight"}
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert "auto_map" not in json.loads((tmp_path / "safe" / "config.json").read_text(encoding="utf-8"))
    assert open_model(tmp_path / "safe").facts.task == "complete"
    with pytest.raises(NotSupported, match="is there already"):
        convert(folder, tmp_path / "safe")


def test_a_pickle_that_is_a_program_is_refused_and_does_not_run(tmp_path: Path) -> None:
    class Program:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'trap'}",)

    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"w": Program()}, protocol=2))
    with pytest.raises(pickle.UnpicklingError):
        tensors_of(tmp_path / "pytorch_model.bin")
    assert not (tmp_path / "trap").exists()
    torch.save({"w": torch.ones(2), "step": 3}, tmp_path / "pytorch_model.bin")
    with pytest.raises(TypeError, match="'step', which is no tensor"):
        tensors_of(tmp_path / "pytorch_model.bin")


def test_a_child_that_fails_leaves_no_folder_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"x")
    monkeypatch.setattr(converting.sys, "executable", "false")
    monkeypatch.setattr(converting, "namespaced", lambda: False)
    with pytest.raises(BadFile, match="exit code 1"):
        convert(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_trainer_keeps_besides_is_no_weights(pickled: tuple[Path, dict[str, Any]]) -> None:
    assert [path.name for path in pickles(pickled[0])] == [f"pytorch_model-0000{k}-of-00002.bin" for k in (1, 2)]
