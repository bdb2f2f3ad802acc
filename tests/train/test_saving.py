"""Checkpoints behind a run's back: the same bytes, one at a time; what is kept, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from pretune.base import asked, digest
from pretune.base.errors import DiskFull, NotSaved, OtherRun, OtherVersion, Stopped
from pretune.base.log import Log
from pretune.task.choosing import Best
from pretune.train.loop import checkpoint, saving, sharded
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.saving import Saver
from pretune.train.parallel.pieces import Pieces
from pretune.train.settings import Keep, TrainSettings
from tests.faults.small import alike, finished, session
from tests.train.test_checkpoint import state, step

QUIET = Log(quiet=True, silent=True)


def test_written_behind_the_runs_back_it_has_the_bytes_of_the_moment_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, go_on = state(), threading.Event()
    step(one)
    checkpoint.write(checkpoint.snapshot(one), tmp_path / "at-once", Keep())
    real = saving.write
    monkeypatch.setattr(saving, "write", lambda *given: go_on.wait(10) and real(*given))
    with Saver(tmp_path / "behind", Keep(), QUIET) as saver:
        saver.save(checkpoint.snapshot(one))
        step(one)  # the weights move before a byte is written
        go_on.set()
    for name in (checkpoint.TENSORS, checkpoint.NUMBERS, checkpoint.MANIFEST):
        both = [(tmp_path / how / "step-00000001" / name).read_bytes() for how in ("at-once", "behind")]
        assert both[0] == both[1], name


def test_one_is_written_at_a_time_and_its_error_comes_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work: list[int] = []

    def slow(one: checkpoint.Snapshot, *rest: Any) -> None:
        at_work.append(one.step)
        assert len(at_work) == 1, "two at a time"
        time.sleep(0.1)
        at_work.clear()
        if one.step == 2:
            raise NotSaved("the checkpoint of step 2 could not be written")

    monkeypatch.setattr(saving, "write", slow)
    one, saver = state(), Saver(tmp_path, Keep(), QUIET)
    for _ in range(2):
        step(one)
        saver.save(checkpoint.snapshot(one))
    saver.check()  # it is still being written: nothing is known yet
    time.sleep(0.3)
    with pytest.raises(NotSaved, match="step 2"):
        saver.check()
    saver.finish()


def test_without_room_for_a_copy_the_run_waits_and_the_tensors_are_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "free_bytes", lambda device: 100.0)
    monkeypatch.setattr(checkpoint.Snapshot, "copied", lambda self: pytest.fail("there is no room for it"))
    one = state()
    step(one)
    saver = Saver(tmp_path, Keep(), QUIET)
    saver.save(checkpoint.snapshot(one))
    assert checkpoint.verify(tmp_path / "step-00000001") is None


def test_the_damaged_chunk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "CHUNK", 1000)
    one = state()
    step(one)
    path = checkpoint.save(one, tmp_path) / checkpoint.TENSORS
    whole = path.read_bytes()
    path.write_bytes(whole[:2500] + bytes([whole[2500] ^ 4]) + whole[2501:])
    assert checkpoint.verify(path.parent) == (
        f"state.safetensors was changed in chunk 3 of {-(-len(whole) // 1000)} (4.0 MiB each)"
    )
    path.write_bytes(whole[:-7])
    assert "was changed in chunk" in str(checkpoint.verify(path.parent))
    path.write_bytes(whole[:2000])
    assert checkpoint.verify(path.parent) == "state.safetensors is cut off: 2,000 bytes are left"


def test_a_checkpoint_under_the_name_of_another_step_is_skipped(tmp_path: Path) -> None:
    one = state()
    step(one)
    (checkpoint.save(one, tmp_path)).rename(tmp_path / "step-00000007")
    assert checkpoint.verify(tmp_path / "step-00000007") == "it is that of step 1, under another name"


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep(), [8, 9]),
        (Keep(last=1), [9]),
        (Keep(last=1, every=3), [3, 6, 9]),
        (Keep(last=1, best=True), [4, 9]),
    ],
)
def test_what_is_kept_of_nine(tmp_path: Path, keep: Keep, left: list[int]) -> None:
    one = state()
    for score in (9.0, 8.0, 7.0, 1.0, 5.0, 3.0, 1.0, 2.0, None):
        step(one)
        checkpoint.save(one, tmp_path, keep, score=score)
    assert sorted(int(p.name[5:]) for p in checkpoint.checkpoints(tmp_path)) == left


def test_what_others_put_among_checkpoints_is_left_alone(tmp_path: Path) -> None:
    one, others = state(), ("step-1 (2)", "step-00000001 (2)", "step-00000001.bak", "step-7")
    for name in others:
        (tmp_path / name).mkdir()
    for _ in range(3):
        step(one)
        checkpoint.save(one, tmp_path, Keep(last=1))
    assert [p.name for p in checkpoint.checkpoints(tmp_path)] == ["step-00000003"]
    checkpoint.drop_behind(tmp_path, 0)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(others)


def test_the_best_weights_that_a_kept_checkpoint_names_are_there(tmp_path: Path) -> None:
    one = session(tmp_path, save_every=4)
    best = Best(None, one, None, tmp_path, 1, None)  # type: ignore[arg-type]  # of which nothing is asked here

    def better(report: Any) -> bool:
        one.state.extra["best_step"] = report.step
        best._keep()
        return False

    finished(one, better)
    named = [extra["best_step"] for extra in checkpoint.extras(tmp_path / "checkpoints")]
    assert named == [12, 8]
    there = sorted(path.name for path in tmp_path.glob("best-*"))
    assert {best.path(step).name for step in named} <= set(there) and len(there) <= 3


def test_where_a_run_goes_back_to_is_kept_and_damaged_ones_behind_it_do_not_push_the_good_one_out(
    tmp_path: Path,
) -> None:
    one = state()
    for is_anchor in (True, False, False, False):
        step(one)
        checkpoint.save(one, tmp_path, Keep(last=1), is_anchor=is_anchor)
    assert [p.name for p in checkpoint.checkpoints(tmp_path)] == ["step-00000004", "step-00000001"]
    (tmp_path / "step-00000004" / checkpoint.NUMBERS).write_text("{}", encoding="utf-8")
    again, last = state(), state()
    assert checkpoint.resume(again, tmp_path, QUIET)
    assert again.step == 1
    step(again)
    checkpoint.save(again, tmp_path, Keep(last=1))
    assert checkpoint.resume(last, tmp_path, QUIET)
    assert last.step == 2


def test_a_disk_that_is_full_says_how_much_room_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = state()
    step(one)
    checkpoint.save(one, tmp_path)

    def full(tensors: Any, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    step(one)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_safetensors", full)
        with pytest.raises(
            DiskFull, match=r"checkpoint of step 2 could not be written: it needs 5\.\d KiB, .* are free"
        ):
            checkpoint.save(one, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"], "what was begun takes no room"
    assert checkpoint.verify(tmp_path / "step-00000001") is None


@pytest.fixture
def group() -> Iterator[None]:
    """Of one process, which is alone in it."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_a_disk_that_is_full_for_parts_says_so_too_and_what_was_begun_takes_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = state()
    step(one)
    shot, pieces = checkpoint.snapshot(one), Pieces(pieces=one.update.held())

    def full(tensors: Any, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sharded, "write_safetensors", full)
        with pytest.raises(DiskFull, match=r"step 1 could not be written: it needs 5\.\d KiB, .* are free"):
            sharded.write_parts(shot, pieces, tmp_path, Runtime())
    assert list(tmp_path.iterdir()) == []
    parts = sharded.write_parts(shot, pieces, tmp_path, Runtime())
    monkeypatch.setattr(checkpoint, "write_durably", lambda *given: full({}, tmp_path / "other"))
    with pytest.raises(DiskFull, match=r"it needs \d\.\d KiB, .* are free"):
        checkpoint.write(parts, tmp_path, Keep())
    (tmp_path / "file").write_text("in the place of the folder", encoding="utf-8")
    with pytest.raises(NotSaved, match="rank 0"):
        sharded.write_parts(shot, pieces, tmp_path / "file", Runtime())


def test_checkpoints_of_another_run_are_refused_with_each_difference_and_both_values(tmp_path: Path) -> None:
    def of(batch: int, tokens: str) -> dict[str, Any]:
        every = {"optim.kind": "muon", "pretrain.batch": batch}
        return {
            "key": f"{batch}{tokens}",
            "settings": every,
            "deciding": {"pretrain.batch": batch},
            "inputs": {"tokens": tokens},
        }

    one = state()
    step(one)
    checkpoint.save(one, tmp_path, run=of(8, "runs/a (id 1f)"))
    with pytest.raises(OtherRun) as told:
        checkpoint.resume(state(), tmp_path, QUIET, of(16, "runs/b (id 2e)"))
    assert "step-00000001 is of another run: pretrain.batch was 8 and is 16; " in told.value.problem
    assert "tokens was 'runs/a (id 1f)' and is 'runs/b (id 2e)'" in told.value.problem


def test_a_checkpoint_of_a_newer_version_is_refused_and_not_taken_for_damaged(tmp_path: Path) -> None:
    one = state()
    step(one)
    manifest = checkpoint.save(one, tmp_path) / checkpoint.MANIFEST
    facts = json.loads(manifest.read_text(encoding="utf-8")) | {"format": 99}
    facts["digest"] = digest.digest({name: value for name, value in facts.items() if name != "digest"})
    manifest.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(OtherVersion, match="a newer version"):
        checkpoint.resume(state(), tmp_path, QUIET)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no SIGUSR1 here")
def test_sigusr1_saves_and_goes_on(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    asked.listen()
    try:
        one = session(tmp_path, save_every=99)
        finished(one, lambda report: report.step == 5 and bool(os.kill(os.getpid(), signal.SIGUSR1)))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [p.name for p in checkpoint.checkpoints(tmp_path / "checkpoints")] == ["step-00000005"]
    assert one.state.step == 12


def test_stop_after_saves_leaves_with_130_and_the_next_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = finished(session(tmp_path / "whole"))
    one = session(tmp_path / "cut", stop_after="1h")
    one.context.started -= 3600 - 1e9
    with pytest.raises(Stopped) as told:
        finished(one, lambda report: setattr(one.context, "started", -1e9 if report.step == 6 else 1e9))  # type: ignore[arg-type]
    assert told.value.problem == "stopped after step 6 of 12 (stop_after=1:00:00)" and told.value.exit_code == 130
    assert alike(finished(session(tmp_path / "cut")), whole)


@pytest.mark.parametrize(
    ("text", "seconds"), [("3h", 10800.0), ("90m", 5400.0), ("1.5h", 5400.0), ("45s", 45.0), (60, 60.0)]
)
def test_times_are_written_as_people_write_them(text: object, seconds: float) -> None:
    assert TrainSettings(stop_after=text).stop_after == seconds


def test_every_rank_goes_on_with_its_own_random_numbers(tmp_path: Path) -> None:
    one = state()
    step(one)
    mine = torch.get_rng_state()
    torch.manual_seed(77)
    both = {"rng/cpu": torch.stack([mine, torch.get_rng_state()])}
    snapshot = checkpoint.snapshot(one)
    of_two = {"tensors": {**snapshot.tensors, **both}, "numbers": {**snapshot.numbers, "mesh": [2, 1, 1, 1]}}
    path = checkpoint.write(checkpoint.replace(snapshot, **of_two), tmp_path, Keep())
    assert load_file(path / checkpoint.TENSORS)["rng/cpu"].shape[0] == 2
    checkpoint.load(state(), path, Runtime(rank=1, world=2))
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(77)))
