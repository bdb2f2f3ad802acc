"""The whole matrix: every contract, every kind of training by every cut and by ranks, every
task by every method and base.

    python -m pretune.testing --out FOLDER [--only WORD] [--list]

A cell is kept in FOLDER/cells.jsonl as it ends, and a rerun does only what is missing or failed. The exit status is 1
while a cell is wrong. `make test` runs each row and each column of it once.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from pretune.testing import Bench, Check, NotAsked, all_checks, roundtrips
from pretune.testing.cells import Cell, arguments, run
from pretune.testing.meshes import Job, difference, together
from pretune.testing.meshes import run as alone
from pretune.testing.worlds import BY_METHOD, CASES, largest_difference, ranks_apart, trained
from pretune.train.loop.runtime import Runtime

BARS = {torch.float64: 1e-12, torch.float32: 1e-5}
RATES: dict[torch.dtype, dict[str, float | None]] = {
    torch.float64: {"": 1e-2},
    torch.float32: {"": 1e-2, " at its usual rate": None},
}
"""1e-2 is far above what a run has. Adam divides a gradient by its own size, so a weight whose gradient is 0 by
arithmetic (the bias of BERT's keys: a softmax does not see it) moves by its rounding, a whole rate at a time; at the
usual rate that is what a user's run has of it."""


def contracts(bench: Bench) -> Iterator[Cell]:
    """Every check of every plug-in that is registered."""
    for check in all_checks():
        yield f"contract {check}", partial(_held, check, bench)


def _held(check: Check, bench: Bench) -> tuple[bool, str]:
    try:
        return True, check(bench)
    except NotAsked as why:
        return True, f"not asked: {why}"


def cuts() -> Iterator[Cell]:
    """Eight rows at once against 1, 2, 3 and 5 at a time, by optimizer and type."""
    for name in (*CASES, *BY_METHOD):
        for optim in ("adamw", "muon"):
            for kind, rates in RATES.items():
                for (told, rate), micro in itertools.product(rates.items(), (1, 2, 3, 5)):
                    title = f"cut {name} {optim} {str(kind).partition('.')[2]}{told} 8 against {micro}"
                    yield title, partial(_cut, name, optim, kind, micro, rate)


def _cut(name: str, optim: str, kind: torch.dtype, micro: int, rate: float | None) -> tuple[bool, str]:
    whole, cut = (trained(name, micro=m, optim=optim, kind=kind, rate=rate) for m in (8, micro))
    gap = largest_difference(whole, cut)
    return gap <= BARS[kind], f"{gap:.1e}"


def ranks() -> Iterator[Cell]:
    for name in (*CASES, *BY_METHOD):
        yield f"ranks {name}", partial(_ranks, name)


def _ranks(name: str) -> tuple[bool, str]:
    with tempfile.TemporaryDirectory() as folder:
        gap = ranks_apart([name], Path(folder))[name]
    return gap <= 1e-12, f"{gap:.1e}"


ALONE = (("shard", 2), ("tensor", 2), ("pipeline", 2))
PAIRS = ({"shard": 2, "tensor": 2}, {"tensor": 2, "pipeline": 2})
MESHES: dict[int, list[dict[str, int]]] = {
    2: [{}, *({name: size} for name, size in ALONE)],
    4: [{}, *({name: 4} for name, _ in ALONE), *({name: size} for name, size in ALONE), *PAIRS],
}


def meshes() -> Iterator[Cell]:
    """Models in parts over two and four processes, what is left of them copies; in float64, clipped."""
    for world, known in MESHES.items():
        for mesh in known:
            told = " ".join(f"{name} {size}" for name, size in mesh.items()) or "data"
            yield f"mesh {world} {told}", partial(_mesh, world, mesh)


def _mesh(world: int, mesh: dict[str, int]) -> tuple[bool, str]:
    kinds = {"qwen3": "causal", "bert": "masked", **({} if "tensor" in mesh else {"gpt2": "causal"})}
    optims: list[Job] = [{"kind": "adamw"}, {"kind": "muon", "average": "ema"}]
    jobs: list[Job] = [
        {"name": f"{kind}-{optim['kind']}", "parallel": mesh, "kind": kind, "objective": objective, "optim": optim}
        for kind, objective in kinds.items()
        for optim in optims
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = together(jobs, Path(folder), world, seconds=900)
    gaps = {job["name"]: difference(alone(job, Runtime(), micro=8), found[job["name"]]) for job in jobs}
    return max(gaps.values()) <= 1e-12, ", ".join(f"{name} {gap:.1e}" for name, gap in gaps.items())


def worlds() -> Iterator[Cell]:
    """One process, two, four, one again, each going on from the checkpoint of those before."""
    for name, two, four in (
        ("copies", {}, {}),
        ("shards", {"shard": 2}, {"shard": 4}),
        ("all", {"tensor": 2}, {"pipeline": 2, "tensor": 2}),
    ):
        yield f"worlds 1 2 4 1 {name}", partial(_worlds, two, four)


def _worlds(two: dict[str, int], four: dict[str, int]) -> tuple[bool, str]:
    job: Job = {"kind": "qwen3", "optim": {"kind": "muon", "average": "ema"}}
    whole, told = alone(job, Runtime(), micro=8), []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        told += alone({**job, "steps": [0, 1]}, Runtime(), micro=8, folder=folder)[1]
        for world, mesh in ((2, two), (4, four)):
            part: Job = {"name": "part", "parallel": mesh, "steps": [world // 2, world // 2 + 1], **job}
            told += together([part], folder, world, seconds=900)["part"][1]
        weights, last = alone({**job, "steps": [3, 4]}, Runtime(), micro=8, folder=folder)
    gap = difference(whole, (weights, told + last))
    return gap <= 1e-12, f"{gap:.1e}"


def trips() -> Iterator[Cell]:
    for cell in roundtrips.CELLS:
        yield f"trip {' '.join(cell)}", partial(_trip, cell)


def _trip(cell: tuple[str, str, str]) -> tuple[bool, str]:
    with tempfile.TemporaryDirectory() as folder:
        one = roundtrips.made(Path(folder), *cell)
        if one.refused:
            return True, f"refused: {one.refused}"
        (again,) = roundtrips.elsewhere([(one.folder, roundtrips.WORLDS[cell[0]].asked)])
    here = one.answers["folder"]
    others = {"server": 0.0, **({} if one.unexported else {"bundle": roundtrips.NEAR})}
    wrong = [who for who, near in others.items() if not roundtrips.alike(here, one.answers[who], near)]
    wrong += [] if roundtrips.alike(here, again) else ["another process"]
    wrong += ["the export"] if one.unexported else []
    return not wrong, f"other answers from: {', '.join(wrong)}" if wrong else "folder, process, server, bundle alike"


def main() -> int:
    asked = arguments(__doc__ or "").parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        makers = (partial(contracts, Bench(Path(folder))), cuts, ranks, meshes, worlds, trips)
        found = [cell for make in makers for cell in make() if asked.only in cell[0]]
        if asked.list:
            print(*(name for name, _ in found), sep="\n")
            return 0
        return run(found, asked.out)[0]


if __name__ == "__main__":
    sys.exit(main())
