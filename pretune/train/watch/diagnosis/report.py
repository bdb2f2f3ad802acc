"""A run beside the references or beside another run, as facts and as text for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pretune.base.json import Json
from pretune.report.curves import sketch
from pretune.report.numbers import count, metric, size
from pretune.train.watch.diagnosis.reading import Points, Run
from pretune.train.watch.diagnosis.reference import nearest
from pretune.train.watch.diagnosis.rules import Case, Finding, diagnosed

UNITS = "bits per byte of held-out text, by megabytes read"


def compared(path: str, other: str, *, as_json: bool) -> Any:
    """A run beside the references, or beside another run where one is named: an object, or text."""
    run = Run.open(path)
    if not other:
        return normal_facts(run) if as_json else normal_text(run)
    beside = Run.open(other)
    return pair_facts(run, beside) if as_json else pair_text(run, beside)


def normal_facts(run: Run) -> Json:
    """The verdict, the figures it rests on, and the curves, as one object."""
    case, findings = diagnosed(run)
    return {
        "run": run.name,
        "normal": not findings,
        "findings": [asdict(one) for one in findings],
        "bits_per_byte": {"validation": _known(case.held_out), "train": _known(case.train)},
        "references": asdict(case.band) if case.band else None,
        "read": {"bytes": _known(run.num_bytes), "tokens": run.tokens, "epochs": _known(run.epochs)},
        "parameters": run.parameters,
        "curves": curves_of(run, case),
    }


def curves_of(run: Run, case: Case) -> dict[str, Points]:
    """(megabytes read, bits per byte) of the run and of the reference that is most like it."""
    if run.text is None or case.band is None:
        return {}
    like = nearest(run.text.language, run.matrices, run.num_bytes)
    name = f"reference {like.text}, {count(like.parameters)} parameters"
    return {run.name: held_out_curve(run), name: [(b / 1e6, v) for b, v in like.validation]}


def held_out_curve(run: Run) -> Points:
    """(megabytes read, bits per byte) of the validation split; (step, nats per target) where that is not known."""
    if run.text is None or math.isnan(run.bits_per_byte):
        return run.validation
    scale = run.text.bits("validation")
    return [(run.bytes_at(step) / 1e6, loss * scale) for step, loss in run.validation]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def normal_text(run: Run) -> str:
    """Is my loss normal? In words, with the evidence and the curves."""
    case, findings = diagnosed(run)
    told = [_verdict(case, findings)]
    told += [f"{one.name}: {one.says}\n  do: {one.do}" for one in findings]
    curves = curves_of(run, case)
    return "\n\n".join([*told, *([f"{UNITS}\n{sketch(curves)}"] if curves else [])])


def _verdict(case: Case, findings: list[Finding]) -> str:
    run = case.run
    if case.band is None:
        gone = "it was fine-tuned" if run.card.stage == "finetune" else "its tokens are not to be found"
        why = gone if run.text is None else "it is far from what we ran, or has no bits per byte"
        said = f"{run.name} is not laid beside the references: {why}"
    else:
        read = f"{size(run.num_bytes)} read ({run.epochs:.2g} epochs), {count(run.parameters)} parameters"
        beside = f"references ({case.band.num_runs} runs, {' and '.join(case.band.languages)}) end between"
        band = f"{case.band.low:.2f} and {case.band.high:.2f}"
        said = f"{run.name}: {case.held_out:.2f} bits per byte after {read}; {beside} {band}"
    return f"{said}\n{'not normal' if findings else 'nothing is wrong with it'}"


# ---- two runs ------------------------------------------------------------------------------------


def pair_facts(run: Run, other: Run) -> Json:
    """The settings in which two runs differ, their figures and their curves."""
    runs = {run.name: run, other.name if other.name != run.name else f"{other.name} (other)": other}
    names = list(runs)
    return {
        "runs": names,
        "settings": differing(run.card.settings, other.card.settings),
        "metrics": {
            n: [_figure(r, n) for r in runs.values()] for n in FIGURES if any(_figure(r, n) for r in (run, other))
        },
        "curves": {name: held_out_curve(one) for name, one in runs.items()},
    }


FIGURES = (
    "validation_bits_per_byte",
    "validation_loss",
    "validation_accuracy",
    "parameters",
    "tokens",
    "steps",
    "tokens_per_second",
    "share_of_machine",
    "train_seconds",
)
"""What two runs are compared by, where they have it."""


def _figure(run: Run, name: str) -> Any:
    return run.card.metrics.get(name)


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Dotted settings that are not alike, with both values."""
    flat = _flat(one), _flat(other)
    names = sorted({*flat[0], *flat[1]})
    return {n: [flat[0].get(n), flat[1].get(n)] for n in names if flat[0].get(n) != flat[1].get(n)}


def _flat(tree: Any, place: str = "") -> Json:
    if not isinstance(tree, Mapping) or not tree:
        return {place: tree}
    return {k: v for n, sub in tree.items() for k, v in _flat(sub, f"{place}.{n}" if place else n).items()}


def pair_text(run: Run, other: Run) -> str:
    """Two runs beside each other: figures, the settings that differ, both curves."""
    facts = pair_facts(run, other)
    rows = [["", *facts["runs"]]]
    rows += [[n, *(metric(v, n) or "-" for v in values)] for n, values in facts["metrics"].items()]
    rows += [["", "", ""]] + [[n, *map(_shown, values)] for n, values in facts["settings"].items()]
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    table = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
    drawn = sketch(facts["curves"])
    return f"{table}\n\n{UNITS}\n{drawn}" if drawn else table


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)
