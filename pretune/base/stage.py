"""A stage: a pure function of settings and inputs that writes one artifact.

It reads nothing but its settings and inputs, writes nothing outside the folder it is given, and never
calls another stage. So it can be rerun, cached, moved to a cluster, or replaced by another program.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from pretune.base.artifact import SCHEMA, Artifact
from pretune.base.config import Choice, Variant, differing
from pretune.base.digest import digest
from pretune.base.json import Json, JsonMap
from pretune.base.log import Log
from pretune.base.team import ALONE, Team

T = TypeVar("T")


@dataclass(frozen=True)
class Machine:
    """What this machine has: logical cores, bytes of memory (whole and free), bytes of disk that are free.

    Args:
        gpus: of another machine, on paper: `8x80GB`.
    """

    cores: int
    memory_bytes: int
    free_memory_bytes: int
    free_disk_bytes: int
    gpus: str | None = None

    @classmethod
    def here(cls, folder: Path = Path()) -> Machine:
        import psutil

        from pretune.base.limits import memory, usable_cores

        found = memory()
        there = next(p for p in [folder.absolute(), *folder.absolute().parents] if p.exists())
        return cls(usable_cores(), found.total, found.free, psutil.disk_usage(str(there)).free)


@dataclass(frozen=True)
class Forecast:
    """What a stage will take (seconds, bytes) and what comes out of it. Zero means: not known.

    Args:
        config: of a model, its transformers config.
        meshes: of a training on the machine's `gpus`: how it could be dealt to them, the best first.
    """

    seconds: float = 0
    memory_bytes: float = 0
    disk_bytes: float = 0
    documents: float = 0
    text_bytes: float = 0
    tokens: float = 0
    parameters: float = 0
    vocab_size: float = 0
    config: JsonMap | None = None
    meshes: Sequence[JsonMap] = ()


class Choose(Protocol):
    """Resolves a choice of the run (JSON) once and keeps it for resume."""

    def __call__(self, name: str, resolve: Callable[[], T]) -> T: ...


@dataclass
class Context:
    """What a running stage may use besides its inputs.

    Args:
        seed: derived from the recipe's seed and the stage's kind.
        scratch: survives a crash; checkpoints lie here.
        home: where the artifact will lie when it is finished (for paths relative to it).
        stopping: true once the user asked to stop (Ctrl-C, SIGTERM).
        choose: `choose(name, resolve)` resolves a choice of the run once and keeps it for resume.
        notes: names of files in `out` that are notes (logs, pages), not payload.
        started: when the stage began (time.monotonic).
        team: the processes that run it together; only rank 0 writes.
        run: what the run is of: `key`, `settings` and `deciding` ones by their dotted names, `inputs`.
    """

    seed: int
    log: Log
    scratch: Path
    home: Path
    stopping: Callable[[], bool]
    choose: Choose
    command: str = ""
    notes: set[str] = field(default_factory=set)
    started: float = field(default_factory=time.monotonic)
    team: Team = ALONE
    run: Json = field(default_factory=dict)

    @property
    def stop(self) -> bool:
        return self.stopping()


class Stage(Variant):
    """Settings of one stage; `run` does the work."""

    makes: ClassVar[str]
    """The kind of artifact that comes out."""
    version: ClassVar[int] = 1
    """Raised in the commit that changes what the same settings write, or a default."""
    takes_samples: ClassVar[bool] = False
    """True if `run` reads no more of an input `FILE#500` than it asks for; other stages refuse one."""
    stops_gently: ClassVar[bool] = False
    """True if `run` watches `context.stop` and saves; otherwise Ctrl-C interrupts it at once."""

    trains: ClassVar[bool] = False
    """True if `run` takes part on every rank; other stages are made by rank 0 while the others wait."""

    gathers_seeds: ClassVar[bool] = False
    """True if it takes what was made with every seed, where others are made once for each (base/seeds.py)."""

    def check_ranks(self, world: int) -> None:
        """Raise WrongValue where so many processes cannot run it together."""

    def chosen_by(self) -> str:
        """The metric of its card that says, of held-out data, how good what it made is; "" where there is none."""
        return ""

    def follows_links(self) -> bool:
        """Whether links that lead out of an input's folder are read."""
        return False

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        """Time, memory and disk that `run` will take, and what comes out, from forecasts of the inputs."""
        return Forecast()

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        """Write the payload into `out`; returns the metrics for the card (JSON)."""
        raise AssertionError(f"{type(self).__name__} has no run()")


STAGE = Choice(
    Stage,
    {
        "corpus": "pretune.text.corpus.stage:CorpusStage",
        "dataset": "pretune.text.dataset.stage:DatasetStage",
        "tokenizer": "pretune.tokens.learn.stage:TokenizerStage",
        "tokens": "pretune.tokens.store.stage:TokensStage",
        "pretrain": "pretune.train.run.stage:PretrainStage",
        "finetune": "pretune.task.stage:FinetuneStage",
        "evaluate": "pretune.evaluate.stage:EvaluateStage",
        "summary": "pretune.evaluate.summary:SummaryStage",
        "compress": "pretune.compress.stage:CompressStage",
        "export": "pretune.export.stage:ExportStage",
        "support": "pretune.apps.support.stage:SupportStage",
        "monitor": "pretune.apps.monitor.stage:MonitorStage",
        "recommend": "pretune.apps.recommend.stage:RecommendStage",
        "together": "pretune.apps.recommend.stage:TogetherStage",
    },
    group="pretune.stages",
)


def stage_key(stage: Stage, inputs: Mapping[str, str], seed: int) -> str:
    """Digest of everything that decides the payload: settings, versions, ids of the inputs, the seed."""
    return digest([SCHEMA, stage.kind, differing(stage), sorted(inputs.items()), seed])


def derive_seed(seed: int, name: str) -> int:
    """A stage's own seed in [0, 2**63), from the recipe's seed and the stage's kind."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1
