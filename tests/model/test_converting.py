"""Pickled weights become safetensors, in a process of their own; a pickle that is more than tensors runs nothing."""

from __future__ import annotations

import json
import os
import pickle
import select
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
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
    for name in ("torch", "json", "struct"):  # a user may well stand in the folder
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'trap')!r}, 'w')", encoding="utf-8")
    monkeypatch.chdir(folder)
    how = convert(Path(), tmp_path / "safe")
    assert not (tmp_path / "trap").exists(), "a module of the folder was run"
    assert {path.name for path in tmp_path.iterdir()} == {"model", "words", "safe"}, "no staging is left"
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
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_trainer_keeps_besides_is_no_weights(pickled: tuple[Path, dict[str, Any]]) -> None:
    assert [path.name for path in pickles(pickled[0])] == [f"pytorch_model-0000{k}-of-00002.bin" for k in (1, 2)]


def saved(path: Path, held: Any) -> Path:
    torch.save(held, path)
    return path


def packed(path: Path) -> Path:
    """The same parts, deflated: megabytes of zeros in a few kilobytes."""
    saved(path.with_suffix(".plain"), {"w": torch.zeros(2**20)})
    with zipfile.ZipFile(path.with_suffix(".plain")) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for part in plain.infolist():
            out.writestr(part.filename, plain.read(part))
    return path


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (packed, "packed as torch never does it"),
        (lambda path: saved(path, {"w": torch.zeros(1).expand(2**20, 2**20)}), "larger than its bytes in the file"),
        (lambda path: saved(path, {"w": torch.eye(2).to_sparse()}), "larger than its bytes in the file"),
        (lambda path: saved(path, torch.zeros(2)), "holds a Tensor and no tensors by name"),
        (lambda path: saved(path, [1, 2]), "holds a list and no tensors by name"),
    ],
)
def test_what_would_be_larger_than_its_file_is_refused_before_it_is_made(
    write: Callable[[Path], Path], told: str, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, TypeError, pickle.UnpicklingError), match=told):
        tensors_of(write(tmp_path / "pytorch_model.bin"))


def test_a_name_in_two_files_is_refused_and_not_taken_from_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converting, "_limited", lambda num_bytes: None)
    monkeypatch.setattr(converting, "_without_sockets", lambda: None)
    for name in ("a.bin", "b.bin"):
        saved(tmp_path / name, {"w": torch.ones(2)})
    with pytest.raises(ValueError, match=r"b\.bin holds 'w' once more"):
        converting.main(str(tmp_path), str(tmp_path))


def test_a_folder_of_a_hub_keeps_its_config_and_a_link_out_of_a_folder_is_refused(
    pickled: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    home, blobs = tmp_path / "hub" / "snapshots" / "abc", tmp_path / "hub" / "blobs"
    home.mkdir(parents=True)
    pickled[0].rename(blobs)
    for path in blobs.iterdir():
        (home / path.name).symlink_to(Path("../../blobs") / path.name)
    (tmp_path / "out").mkdir()
    converting._copy(home, tmp_path / "out")
    assert {"config.json", "tokenizer.json"} <= {path.name for path in (tmp_path / "out").iterdir()}
    (home / "merges.txt").symlink_to("/etc/passwd")
    with pytest.raises(BadFile, match=r"merges\.txt is a link out of its folder"):
        convert(home, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_pipes_and_files_without_end_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model" / "pytorch_model.bin")
    assert pickles(tmp_path / "model") == []
    os.mkfifo(tmp_path / "model" / "merges.txt")
    with pytest.raises(BadFile, match=r"merges\.txt is no file"):
        converting._copy(tmp_path / "model", tmp_path)
    (tmp_path / "model" / "merges.txt").unlink()
    with (tmp_path / "model" / "merges.txt").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BadFile, match="no model needs"):
        converting._copy(tmp_path / "model", tmp_path)


def test_the_child_leaves_its_weights_and_nothing_besides(tmp_path: Path) -> None:
    weights = tmp_path / converting.WEIGHTS
    weights.symlink_to("/etc/passwd")
    with pytest.raises(BadFile):
        converting._only_weights(tmp_path)
    weights.unlink()
    weights.touch()
    converting._only_weights(tmp_path)
    (tmp_path / "config.json").touch()
    with pytest.raises(BadFile, match=r"left config\.json, model\.safetensors behind"):
        converting._only_weights(tmp_path)


def test_what_the_child_started_ends_with_it_and_both_when_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = f"sleep 300 & echo $! > {tmp_path / 'pid'}; echo told >&2"
    assert converting._ended(["sh", "-c", f"{begin}; exit 3"], tmp_path) == (3, "told\n")
    assert not is_alive(tmp_path)
    monkeypatch.setattr(converting, "MOST_SECONDS", 1)
    with pytest.raises(BadFile, match="not read within 1 seconds"):
        converting._ended(["sh", "-c", f"{begin}; wait"], tmp_path)
    assert not is_alive(tmp_path)


def is_alive(folder: Path) -> bool:
    """Whether the process whose number is in `pid` runs; one that nobody has waited for does not."""
    with suppress(psutil.NoSuchProcess):
        one = psutil.Process(int((folder / "pid").read_text()))
        psutil.wait_procs([one], timeout=5)
        return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
    return False


def forked(work: Callable[[], None]) -> int:
    """The exit code of `work` in a process of its own; 9 where it raised."""
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(9)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_the_child_has_memory_and_files_for_its_weights_and_no_more(tmp_path: Path) -> None:
    def work() -> None:
        converting._limited(2**20)
        with pytest.raises(MemoryError):
            bytearray(2 * converting.OWN_BYTES)
        with pytest.raises(OSError, match="File too large"):
            (tmp_path / "large").write_bytes(bytes(4 * 2**20))

    assert forked(work) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends a child with its parent on Linux alone")
def test_the_child_ends_with_a_parent_that_was_killed() -> None:
    read, write = os.pipe()

    def parent() -> None:
        if not os.fork():
            converting._limited(0)
            os.write(write, b"x")
            time.sleep(300)
        os.read(read, 1)

    assert forked(parent) == 0
    os.close(write)
    assert select.select([read], [], [], 10)[0] and os.read(read, 1) == b"", "the last that held it has ended"
    os.close(read)
