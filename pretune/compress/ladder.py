"""A ladder: compressors one after the other, each measured; the smallest model within the budget is the result.

    before ── prune ──▶ rung 1 ── distil ──▶ rung 2 ── int4 ──▶ rung 3        each goes on from the one before it
    as it was           worse                nearly as good     smaller       of those within max_drop the smallest

One compressor is a ladder of one rung.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from pretune.base.artifact import Artifact
from pretune.base.config import chosen
from pretune.base.errors import MissingSetting, NotSupported, TooMuchLost
from pretune.base.json import Json
from pretune.base.stage import Context
from pretune.compress.compressor import COMPRESSOR, Compressed, Compressor, Work
from pretune.compress.low_rank import FACTORS
from pretune.compress.measure import better_of, lost, quality, seconds_of
from pretune.compress.quantise import INT4_SCALES, SCALES
from pretune.report.drawing import chart
from pretune.report.numbers import named
from pretune.report.pages import write_page

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pretune.infer.predictor import Predictor

PAGE = "ladder.html"
LAST = ("int8", "int4", "low-rank")
"""What rounds or factors weights, which nothing may change afterwards."""
ROW = 64
"""Tokens of the row that is read to see how long a model takes."""


class Ladder(Compressor):
    """Compressors one after the other; the smallest model within `max_drop` is the result."""

    kind: str = "ladder"
    rungs: list[Annotated[Compressor, *chosen(COMPRESSOR)]] = Field(min_length=1)
    """What is done, in this order, each to the model of the one before it."""

    @property
    def copies(self) -> float:
        """Those of the widest rung, and the first model, which rungs behind it learn from."""
        return 1 + max(rung.copies for rung in self.rungs)

    @model_validator(mode="after")
    def _can_climb(self) -> Self:
        if odd := [rung.kind for rung in self.rungs if rung.kind in ("ladder", "vocabulary", "average")]:
            raise ValueError(f"method={odd[0]} is no rung of a ladder; run it as a stage of its own before")
        if early := [rung.kind for rung in self.rungs[:-1] if rung.kind in LAST]:
            raise ValueError(f"method={early[0]} is the last rung of a ladder: what changed its weights would undo it")
        return self


@dataclass(frozen=True)
class Rung:
    """A model on the ladder.

    Args:
        name: of what made it; "before" of the first.
        seconds: in which torch reads a row of ROW tokens, the median of five.
        stored: bytes of the weights in an exported file.
    """

    name: str
    folder: Path
    quality: dict[str, float]
    seconds: float
    stored: int
    metrics: Json = field(default_factory=dict)

    def to_json(self) -> Json:
        told = {"name": self.name, "quality": self.quality, "bytes": self.stored, "seconds_per_row": self.seconds}
        return {**told, "metrics": self.metrics}


def climb(
    method: Compressor,
    folder: Path,
    data: Artifact | None,
    out: Path,
    context: Context,
    *,
    words: Path,
    others: Sequence[Path] = (),
    max_drop: float | None,
) -> Json:
    """Makes and measures every rung, and leaves the chosen one in `out`.

    Args:
        folder: of the model; words: of the tokenizer that it gets; others: of the models that it is averaged with.

    Returns:
        Figures for the card, as `CompressStage.run`.
    """
    ways = method.rungs if isinstance(method, Ladder) else [method]
    _check(ways, data, max_drop)
    first = _measured("before", folder, data, stored=None)
    rungs = [first]
    for number, way in enumerate(ways):
        place = out if len(ways) == 1 else context.scratch / f"rung-{number}"
        rungs.append(_rung(way, rungs[-1], first, data, place, words=words, others=others))
        _tell(rungs[-1], first, context)
    best = chosen_rung(rungs, max_drop)
    if len(ways) > 1:
        shutil.copytree(best.folder, out, dirs_exist_ok=True)
        _write_page(rungs, best, out, context)
    return _card(rungs, best)


def _check(ways: Sequence[Compressor], data: Artifact | None, max_drop: float | None) -> None:
    reading = [way.kind for way in ways if way.reads]
    if data is None and (reading or max_drop is not None or len(ways) > 1):
        problem = f"method={reading[0]} reads text, and `data` names none" if reading else "quality needs `data`"
        raise MissingSetting(problem, hint="give data=DATASET or tokens, with a train and a validation split")


def _check_exact(way: Compressor, folder: Path) -> None:
    """Raise NotSupported for a model that a file next to it rounds or factors: what changes it now makes that wrong."""
    there = [name for name in (INT4_SCALES, FACTORS, SCALES) if (folder / name).is_file()]
    if there and not (way.kind == "int8" and there == [SCALES]):
        problem = f"{folder.as_posix()} is compressed already ({there[0]}), and method={way.kind} needs float weights"
        raise NotSupported(problem, hint="begin with the model that it was made of; on a ladder rounding is last")


def _rung(
    way: Compressor,
    below: Rung,
    first: Rung,
    data: Artifact | None,
    out: Path,
    *,
    words: Path,
    others: Sequence[Path],
) -> Rung:
    from pretune.compress.calibration import read_by
    from pretune.model.generate import module_of, open_folder

    _check_exact(way, below.folder)
    ready = open_folder(below.folder)
    model: Any = module_of(ready)
    text = read_by(ready, below.folder, data, most=way.reads) if data and way.reads else None
    teacher = module_of(open_folder(first.folder)) if way.reads and below is not first else None
    source = words if below.folder == first.folder else below.folder
    start = time.perf_counter()
    work = Work(model, source=below.folder, tokenizer=source, text=text, teacher=teacher, others=others)
    compressed = way.compress(work)
    metrics = {**compressed.metrics, "seconds_to_compress": round(time.perf_counter() - start, 2)}
    out.mkdir(parents=True, exist_ok=True)
    _write(compressed.model or model, compressed, below.folder, out, tokenizer=source)
    return _measured(way.kind, out, data, stored=compressed.stored, metrics=metrics)


def _measured(
    name: str, folder: Path, data: Artifact | None, *, stored: int | None, metrics: Json | None = None
) -> Rung:
    from pretune.model.generate import open_folder

    ready = open_folder(folder)
    found = quality(ready, folder, data) if data else {}
    return Rung(name, folder, found, _seconds(ready), stored or _bytes(ready), metrics or {})


def _seconds(ready: Predictor) -> float:
    from pretune.model.generate import longest_of, module_of

    config = module_of(ready).config
    return seconds_of(ready, [k % config.vocab_size for k in range(min(ROW, longest_of(config)))])


def _bytes(ready: Predictor) -> int:
    from pretune.model.generate import module_of

    return 4 * int(sum(p.numel() for p in module_of(ready).parameters()))


def _write(model: PreTrainedModel, compressed: Compressed, folder: Path, out: Path, *, tokenizer: Path) -> None:
    from pretune.model.folder import save_model, write_safetensors

    save_model(model, out, tokenizer=tokenizer)
    for name, tensors in compressed.files.items():
        write_safetensors(tensors, out / name)
    if (folder / "labels.json").is_file():
        (out / "labels.json").write_bytes((folder / "labels.json").read_bytes())


def _tell(rung: Rung, first: Rung, context: Context) -> None:
    for name in rung.quality:
        context.log.info(f"    {rung.name}: {name}: {first.quality[name]:.4g} before, {rung.quality[name]:.4g} after")
    context.log.info(f"    {rung.name}: {first.stored / 1e6:.3g} MB before, {rung.stored / 1e6:.3g} MB after")


def chosen_rung(rungs: Sequence[Rung], max_drop: float | None) -> Rung:
    """The smallest rung above the first that lost no more than the budget, of equally small ones the best; without a
    budget the last.

    Raises:
        TooMuchLost: none did; the one that lost least is named.
    """
    first, made = rungs[0], rungs[1:]
    if max_drop is None:
        return made[-1]
    losses = {rung.folder: lost(first.quality, rung.quality) for rung in made}
    within = [rung for rung in made if losses[rung.folder] <= max_drop]
    if not within:
        near = min(made, key=lambda rung: losses[rung.folder])
        name, _ = better_of(first.quality)
        figures = f"{name} {first.quality[name]:.4g} before, {near.quality[name]:.4g} after"
        nearest = f"the nearest, {near.name}, lost {losses[near.folder]:.3g} ({figures})"
        raise TooMuchLost(
            f"nothing is within max_drop={max_drop:g}; {nearest}",
            hint="allow more by max_drop, compress less, or add {kind: distil} behind it",
        )
    return min(within, key=lambda rung: (rung.stored, losses[rung.folder]))


def _write_page(rungs: Sequence[Rung], best: Rung, out: Path, context: Context) -> None:
    import torch

    name, sign = better_of(best.quality)
    megabytes = [(rung.stored / 1e6, rung.quality[name]) for rung in rungs]
    milliseconds = [(1e3 * rung.seconds, rung.quality[name]) for rung in rungs]
    charts = [
        replace(drawn, across=across, names_ends=False)
        for across, points in (("MB", megabytes), ("milliseconds", milliseconds))
        if (drawn := chart(f"{named(name)} against {across}", named(name), {"rungs": points}))
    ]
    rows = [
        {
            "rung": rung.name + (" (chosen)" if rung is best else ""),
            name: rung.quality[name],
            "points_lost": round(lost(rungs[0].quality, rung.quality), 3),
            "bytes": rung.stored,
            "ms_a_row": round(1e3 * rung.seconds, 2),
        }
        for rung in rungs
    ]
    smaller, points = rungs[0].stored / best.stored, lost(rungs[0].quality, best.quality)
    verdict = f"{smaller:.3g} times smaller for {points:.3g} {'points' if sign > 0 else 'per cent'} of {named(name)}"
    told = {"row_tokens": ROW, "threads": torch.get_num_threads(), "verdict": verdict}
    write_page(out / PAGE, context, "ladder", "Ladder of smaller models", charts=charts, rows=rows, **told)


def _card(rungs: Sequence[Rung], best: Rung) -> Json:
    import torch

    first = rungs[0]
    found: Json = {**best.metrics, "quality_before": first.quality, "quality_after": best.quality}
    sizes = {"bytes_before": first.stored, "bytes_after": best.stored}
    times = {"seconds_per_row_before": first.seconds, "seconds_per_row_after": best.seconds}
    found |= {**sizes, **times, "row_tokens": ROW, "threads": torch.get_num_threads()}
    return found | ({"rungs": [rung.to_json() for rung in rungs], "chosen": best.name} if len(rungs) > 2 else {})
