"""The listeners, one class each. Their libraries are imported when they are opened, in a process of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pretune.train.watch.track.listener import Curves, Listener, Place

PROJECT = "pretune"


class TensorBoard(Listener):
    """Event files; look at them with: tensorboard --logdir OUT.track"""

    extras: ClassVar[tuple[str, ...]] = ("track",)

    def open(self, place: Place) -> Curves:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        return _Events(EventFileWriter(str(place.folder)))


@dataclass(frozen=True)
class _Events:
    writer: Any

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self.writer.add_event(Event(step=step, summary=Summary(value=values), wall_time=time.time()))
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class WandB(Listener):
    """Weights & Biases, offline; send a run with: wandb sync OUT.track/wandb/NAME/wandb/offline-run-*"""

    extras: ClassVar[tuple[str, ...]] = ("wandb",)

    def open(self, place: Place) -> Curves:
        import wandb

        quiet = wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True)
        return _Logged(
            wandb.init(
                project=PROJECT,
                dir=str(place.folder),
                mode="offline",
                name=place.name,
                config=dict(place.settings),
                settings=quiet,
            )
        )


class SwanLab(Listener):
    """SwanLab, offline; send a run with: swanlab sync OUT.track/swanlab/NAME/run-*"""

    extras: ClassVar[tuple[str, ...]] = ("swanlab",)

    def open(self, place: Place) -> Curves:
        import swanlab

        folder, settings = str(place.folder), dict(place.settings)
        return _Logged(swanlab.init(project=PROJECT, log_dir=folder, mode="offline", name=place.name, config=settings))


class Trackio(Listener):
    """trackio; look at it with: TRACKIO_DIR=OUT.track/trackio/NAME trackio show"""

    extras: ClassVar[tuple[str, ...]] = ("trackio",)

    def open(self, place: Place) -> Curves:
        os.environ["TRACKIO_DIR"] = str(place.folder)  # read when the library is imported
        import trackio

        about = {"project": PROJECT, "name": place.name, "config": dict(place.settings)}
        return _Logged(trackio.init(**about, embed=False, auto_log_gpu=False, auto_log_cpu=False))


@dataclass(frozen=True)
class _Logged:
    """What W&B, SwanLab and trackio have in common: `log` and `finish`.

    W&B counts a step as over when another one is logged, so the parts of one may only grow.
    """

    run: Any

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        self.run.log(dict(numbers), step=step)

    def close(self) -> None:
        self.run.finish()


class MLflow(Listener):
    """MLflow in a file of SQLite; look at it with: mlflow ui --backend-store-uri sqlite:///OUT.track/mlflow/NAME/mlflow.db"""

    extras: ClassVar[tuple[str, ...]] = ("mlflow",)

    def open(self, place: Place) -> Curves:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{(place.folder / 'mlflow.db').as_posix()}")
        experiment = client.create_experiment(PROJECT, artifact_location=(place.folder / "artifacts").as_uri())
        run = client.create_run(experiment, run_name=place.name).info.run_id
        for name, value in place.settings.items():
            client.log_param(run, name, str(value)[:500])
        return _Client(client, run)


@dataclass(frozen=True)
class _Client:
    client: Any
    run: str

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run, metrics=[Metric(n, v, now, step) for n, v in numbers.items()])

    def close(self) -> None:
        self.client.set_terminated(self.run)
