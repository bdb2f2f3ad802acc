"""Listeners show the numbers of metrics.jsonl, each point once, and cannot touch the run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pretune.base.errors import MissingExtra
from pretune.base.extras import MODULES
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.base.stage import Context
from pretune.report.training import numbers_of
from pretune.train.watch.track.follow import following, whole_lines
from pretune.train.watch.track.listener import LISTENER, Curves, Listener, Place

TENSORBOARD = """
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(str(folder)).Reload()
found = [(s.step, tag, s.value) for tag in events.Tags()["scalars"] for s in events.Scalars(tag)]
"""
MLFLOW = """
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
run, = client.search_runs([client.get_experiment_by_name("pretune").experiment_id])
found = [(m.step, n, m.value) for n in run.data.metrics for m in client.get_metric_history(run.info.run_id, n)]
"""
TRACKIO = """
import os
os.environ["TRACKIO_DIR"] = str(folder)
from trackio.sqlite_storage import SQLiteStorage
rows = SQLiteStorage.get_logs("pretune", folder.name)
found = [(row["step"], n, v) for row in rows for n, v in row.items() if n not in ("step", "timestamp")]
"""
SWANLAB = """
from swanlab.proto.swanlab.record.v1.record_pb2 import Record
from swanlab.sdk.internal.core_python.store import DataStoreReader
reader, found = DataStoreReader(), []
reader.open(next(folder.rglob("*.swanlab")))
for data in reader:
    record = Record.FromString(data)
    if record.HasField("scalar"):
        found.append((record.scalar.step, record.scalar.key, record.scalar.value.number))
"""
# The file of W&B is LevelDB's log behind seven bytes: records in blocks of 32 KiB, a header of 4 + 2 + 1 bytes each.
WANDB = """
from wandb.proto.wandb_internal_pb2 import Record
data, at, whole, found = next(folder.rglob("*.wandb")).read_bytes(), 7, b"", []
while at + 7 <= len(data):
    if 32768 - at % 32768 < 7:
        at += 32768 - at % 32768
        continue
    size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
    whole, at = whole + data[at + 7 : at + 7 + size], at + 7 + size
    if kind in (1, 4):
        record, whole = Record.FromString(whole), b""
        for item in record.history.item:
            name = item.key or "/".join(item.nested_key)
            if not name.startswith("_"):
                found.append((record.history.step.num, name, json.loads(item.value_json)))
"""
READERS = {"tensorboard": TENSORBOARD, "mlflow": MLFLOW, "trackio": TRACKIO, "swanlab": SWANLAB, "wandb": WANDB}
Points = list[tuple[int, str, float]]


def read_back(kind: str, folder: Path) -> Points:
    """(step, name, value) of every point, by the library's own reader, in a process of its own."""
    code = f"import json, pathlib\nfolder = pathlib.Path({str(folder)!r})\n{READERS[kind]}\nprint(json.dumps(found))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [(int(step), name, value) for step, name, value in json.loads(done.stdout.splitlines()[-1])]


def of_file(file: Path) -> Points:
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [(p["step"], name, value) for p in lines for name, value in numbers_of(p).items()]


def context_of(folder: Path) -> Context:
    scratch = folder / "base.scratch"
    scratch.mkdir(exist_ok=True)
    (scratch / "key").write_text("1a2b3c4d5e", encoding="utf-8")
    log = Log(quiet=True, metrics_file=scratch / "metrics.jsonl")
    return Context(7, log, scratch, folder / "base", stopping=lambda: False, choose=lambda name, settle: settle())


@contextmanager
def run_of(kind: str, folder: Path, *, step: int) -> Iterator[Log]:
    """A run that goes on behind `step`, with its listener."""
    context = context_of(folder)
    context.log.cut_metrics(step)
    with following([LISTENER(kind)], context, {"length": 256, "optim": {"kind": "muon"}}):
        yield context.log
    assert context.log.warnings == []


@pytest.mark.parametrize("kind", READERS)
def test_the_librarys_own_reader_gives_the_numbers_of_the_file_each_point_once_after_a_resume(
    kind: str, tmp_path: Path
) -> None:
    for module in MODULES["track" if kind == "tensorboard" else kind]:
        pytest.importorskip(module)
    with run_of(kind, tmp_path, step=0) as log:
        for step in (10, 20, 30):
            log.metrics(step=step, loss=7 / step, gradient_norm=float("nan") if step == 20 else 0.5)
    with run_of(kind, tmp_path, step=20) as log:
        log.metrics(step=30, loss=0.25, validation_loss_by_source={"code": 1.5, "文档": 2.5})
        log.metrics(step=40, loss=0.125)
    found = read_back(kind, tmp_path / "base.track" / kind / "base@1a2b3c4d")
    wanted = of_file(tmp_path / "base.scratch" / "metrics.jsonl")
    assert [(step, name) for step, name, _ in sorted(found)] == [(step, name) for step, name, _ in sorted(wanted)]
    float32 = 1e-6 if kind == "tensorboard" else 0
    assert [v for *_, v in sorted(found)] == pytest.approx([v for *_, v in sorted(wanted)], rel=float32, abs=0)


# ---- what goes wrong ----------------------------------------------------------------------------


class Broken(Listener):
    """Fails at its second point."""

    def open(self, place: Place) -> Curves:
        return Failing()


class Failing:
    def __init__(self) -> None:
        self.points = 0

    def add(self, step: int, numbers: Any) -> None:
        self.points += 1
        if self.points == 2:
            raise ConnectionError("no network")

    def close(self) -> None:
        pass


def test_a_listener_that_fails_is_told_once_and_what_it_said_is_kept(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    with following([LISTENER(f"{__name__}:Broken")], context, {}):
        for step in range(5):
            context.log.metrics(step=step, loss=1.0)
    (warning,) = context.log.warnings
    assert warning.startswith(f"{__name__}:Broken did not follow to the end")
    assert "no network" in Path(warning.rpartition(": ")[2]).read_text(encoding="utf-8")


def test_a_library_that_is_missing_is_named_with_its_extra_before_the_first_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretune.base.extras.find_spec", lambda name: None)
    stages = {"base": {"kind": "pretrain", "tokens": str(tmp_path), "track": "mlflow,tensorboard"}}
    recipe = Recipe.build({"work": str(tmp_path / "work"), "stages": stages})
    with pytest.raises(MissingExtra, match=r"pretune\[mlflow,track\]"):
        recipe.run(log=Log(quiet=True))
    assert not (tmp_path / "work").exists()


def test_track_and_prompts_do_not_change_the_key() -> None:
    from pretune.base.config import differing
    from pretune.base.stage import STAGE

    plain: dict[str, Any] = {"kind": "pretrain", "tokens": "t"}
    watched = plain | {"track": ["tensorboard"], "prompts": ["The"]}
    assert differing(STAGE(watched)) == differing(STAGE(plain))


def test_a_line_that_is_not_written_to_its_end_waits(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"step": 1}\n{"st')
    assert whole_lines(file, 0) == ([b'{"step": 1}'], 12)
    file.write_bytes(b'{"step": 1}\n{"step": 2}\n')
    assert whole_lines(file, 12) == ([b'{"step": 2}'], 24)
