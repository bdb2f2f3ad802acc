"""Plans, cards and lineage as text for the terminal."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.cells import cell_len

from pretune.base.artifact import Artifact, Card
from pretune.base.errors import PretuneError
from pretune.base.json import Json, JsonMap
from pretune.base.planning import StagePlan
from pretune.base.stage import Forecast, Machine
from pretune.report.lineage import lineage
from pretune.report.numbers import count, duration, metric, share, size
from pretune.report.training import loss_curves

MESHES_SHOWN = 5


def plan_text(plans: Sequence[StagePlan], machine: Machine, tight: Sequence[str]) -> str:
    width = max(len(p.name) for p in plans)
    lines = [f"{p.name:<{width}}  {p.status:<9} {_cost(p):<34} {'; '.join(p.reasons)}".rstrip() for p in plans]
    todo = [p for p in plans if p.status != "current"]
    seconds, disk = sum(p.forecast.seconds for p in todo), sum(p.forecast.disk_bytes for p in todo)
    free = f"free: {size(machine.free_memory_bytes)} memory, {size(machine.free_disk_bytes)} disk"
    total = f"{len(todo)} of {len(plans)} stages to run, about {duration(seconds)}, {size(disk)} of disk; {free}"
    meshes = [line for p in todo for line in mesh_lines(p.name, p.forecast.meshes)]
    return "\n".join([*lines, *meshes, "", total if todo else "everything is current; nothing to run", *tight])


def mesh_lines(name: str, meshes: Sequence[JsonMap]) -> list[str]:
    """The best meshes of a training, a line each, as reckoned on paper; none of a stage that does not train."""
    if not meshes:
        return []
    gpu = f"{meshes[0]['gpu']} of {size(meshes[0]['memory_of_gpu'])}"
    head = f"{name} on {gpu}, on paper: share of the peak, memory of a rank, bytes that it sends in a step"
    return ["", head, *(_mesh_line(mesh) for mesh in meshes[:MESHES_SHOWN])]


def _mesh_line(mesh: JsonMap) -> str:
    told = f"{mesh['share']:>4.0%}  {size(mesh['memory']):>8}  {size(mesh['wire']):>8}  micro_batch={mesh['micro']:<4}"
    return f"  {told} parallel={mesh['parallel']}{'' if mesh['fits'] else '  does not fit'}"


def _cost(plan: StagePlan) -> str:
    if plan.status == "current" or plan.forecast == Forecast():
        return ""
    told = plan.forecast
    parts = [f"~{duration(told.seconds)}"] if told.seconds else []
    parts += [size(told.memory_bytes)] if told.memory_bytes else []
    parts += [f"{count(told.parameters)} parameters"] if told.parameters else []
    return ", ".join(parts)


def does_not_fit(plans: Sequence[StagePlan], machine: Machine) -> list[str]:
    """Why the plan does not fit this machine; empty if it does."""
    todo = [p for p in plans if p.status != "current"]
    told = [
        f"{p.name} needs about {size(p.forecast.memory_bytes)} of memory  [does-not-fit]"
        for p in todo
        if p.forecast.memory_bytes > machine.memory_bytes and not p.forecast.meshes
    ]
    told += [
        f"{p.name} fits on no mesh of {machine.gpus}: a rank needs {size(p.forecast.memory_bytes)}  [does-not-fit]"
        for p in todo
        if p.forecast.meshes and not p.forecast.meshes[0]["fits"]
    ]
    disk = sum(p.forecast.disk_bytes for p in todo)
    if disk > machine.free_disk_bytes:
        told.append(f"the stages need about {size(disk)} of disk  [does-not-fit]")
    return told


def artifact_text(artifact: Artifact) -> str:
    """A card for people: what, how good, from what."""
    card = artifact.card
    article = {"tokens": "", "files": "", "app": "an "}.get(card.kind, "a ")
    lines = [f"{artifact.path.as_posix()}: {article}{card.kind}", f"  id      {card.id}"]
    if card.made:
        made = card.made
        lines.append(f"  made    {made['time']} in {duration(made['seconds'])} by {made['command'] or card.stage}")
    plain = [(name, value) for name, value in card.metrics.items() if not isinstance(value, dict | list)]
    lines += [f"  {name:<24} {metric(value, name)}" for name, value in plain]
    if card.metrics.get("mixture"):
        lines += ["", *(f"  {line}" for line in mixture_text(card.metrics["mixture"]).split("\n")), ""]
    there = sum((artifact.path / n).stat().st_size for n in card.files if (artifact.path / n).is_file())
    lines.append(f"  files   {len(card.files)}, {size(there)}")
    if card.inputs:
        lines.append("  from")
    for one in lineage({"": artifact})[1:]:
        where = f"{'  ' * one['depth']}  {one['place']}: {one['kind']} {one['id'][:8]}  {one['path']}"
        lines.append(f"{where}  {one['note']}".rstrip())
    drawn = loss_curves(artifact.path) if card.kind == "model" else ""
    table = classification_report(artifact.path) if card.kind == "report" else ""
    below = ["", "loss, nats per target, by step", drawn] if drawn else ["", table.rstrip()] if table else []
    return "\n".join([*lines, *below])


def classification_report(folder: Path) -> str:
    """The table of a report on labels, as scikit-learn prints it; "" where there is none."""
    path = folder / "report.json"
    return str(json.loads(path.read_text(encoding="utf-8")).get("text", "")) if path.is_file() else ""


MODEL_FIGURES = (
    *("parameters", "steps", "steps_taken", "tokens", "examples", "validation_loss", "validation_bits_per_byte"),
    *(
        "validation_accuracy",
        "validation_masked",
        "validation_masked_accuracy",
        "validation_next",
        "validation_next_accuracy",
        "validation_order",
        "validation_order_accuracy",
        "validation_generator",
        "validation_generator_accuracy",
        "validation_discriminator",
        "validation_discriminator_accuracy",
        "validation_discriminator_recall",
        "validation_discriminator_precision",
        "validation_macro_f1",
        "validation_spearman",
        "unfinished",
        "tokens_per_second",
        "share_of_machine",
        "data_wait",
        "peak_memory_bytes",
    ),
    *("gpu_memory_bytes", "energy_joules", "train_seconds"),
)
"""The figures of a trained model that its page shows, in this order."""


def mixture_text(groups: Sequence[JsonMap]) -> str:
    """A mixture as a tree: all, each source, its languages; names of any script align.

    Args:
        groups: source, language, documents, bytes, bytes_there (before any was repeated or left out) and perhaps tokens
            of each.
    """
    nodes: list[tuple[str, Sequence[JsonMap]]] = [("all", groups)]
    for source in dict.fromkeys(g["source"] for g in groups):
        mine = [g for g in groups if g["source"] == source]
        nodes.append((f"  {source}", mine))
        nodes += [(f"    {g['language'] or 'unknown'}", [g]) for g in mine]
    columns = {"documents": count, "bytes": size} | ({"tokens": count} if all("tokens" in g for g in groups) else {})
    total = sum(g["bytes"] for g in groups) or 1
    heads = ["", *columns, "share", "taken"]
    rows = [heads, *([name, *_sums(mine, columns, total)] for name, mine in nodes)]
    widths = [max(cell_len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join([_wide(row[0], widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)


def _sums(groups: Sequence[JsonMap], columns: Mapping[str, Callable[[float], str]], total: int) -> list[str]:
    sums = [text(sum(g[name] for g in groups)) for name, text in columns.items()]
    taken, there = sum(g["bytes"] for g in groups), sum(g["bytes_there"] for g in groups)
    return [*sums, share(taken / total, 1), f"x {taken / there:.2f}" if there else ""]


def _wide(name: str, width: int) -> str:
    return name + " " * (width - cell_len(name))


def check_rows(artifact: Artifact) -> list[Json]:
    """One row for each artifact back to the raw files: does it have the bytes it was made with."""
    rows: list[Json] = []
    _check(artifact, rows, set())
    return rows


def _check(artifact: Artifact, rows: list[Json], seen: set[str]) -> None:
    if artifact.card.id in seen:
        return
    seen.add(artifact.card.id)
    row: Json = {"path": artifact.path.as_posix(), "kind": artifact.card.kind, "ok": True, "problem": ""}
    try:
        artifact.verify()
    except PretuneError as error:
        row |= {"ok": False, "problem": error.problem}
    rows.append(row)
    for place, said in artifact.card.inputs.items():
        source = artifact.source(place)
        if source is not None:
            _check(source, rows, seen)
        else:
            problem = f"{place} ({said['kind']} {said['id'][:8]}) is not to be found, or was changed"
            rows.append({"path": said["path"], "kind": said["kind"], "ok": False, "problem": problem})


def check_text(rows: Sequence[Json]) -> str:
    told = (f"{'ok ' if r['ok'] else 'BAD'}  {r['kind']:<9} {r['path']}  {r['problem']}" for r in rows)
    return "\n".join(line.rstrip() for line in told)


NEXT = {
    "corpus": ("pretune tokenizer {path} --out NAME",),
    "tokenizer": ("pretune tokens CORPUS {path} --out NAME",),
    "tokens": ("pretune pretrain {path} --out NAME minutes=5",),
    "model": ("pretune show {path}", "pretune evaluate {path} DATA --out NAME", "pretune serve {path}"),
    "report": ("open {path}/report.html",),
    "app": ("pretune serve {path}", 'pretune predict {path} "..."'),
}
TASKS = {
    **{"label": "classify", "labels": "classify", "score": "regress", "span": "answer", "dialogue": "chat"},
    **{"preference": "prefer", "ranking": "rank", "pair": "seq2seq"},
}
"""The task that learns from a dataset of a shape."""


def next_steps(card: Card, path: str) -> list[str]:
    """Commands that go on from an artifact at `path`, ready to be typed in a shell; none that would be refused."""
    return [step.format(path=shlex.quote(path)) for step in _steps(card)]


def _steps(card: Card) -> tuple[str, ...]:
    if card.kind == "dataset":
        task = TASKS.get(str(card.metrics.get("shape")))
        return (f"pretune finetune MODEL {{path}} --out NAME task={task}",) if task else ("pretune check {path}",)
    if card.kind == "bundle":
        holds_tokens = card.inputs.get("model", {}).get("kind") == "tokens"
        return () if holds_tokens else ("pretune serve {path}",)
    return NEXT.get(card.kind, ())


def result_text(artifact: Artifact) -> str:
    """The end of a command: where the artifact is, its figures, what to do next."""
    card = artifact.card
    shown = [f"  {n}: {metric(v, n)}" for n, v in card.metrics.items() if isinstance(v, int | float | str)]
    steps = [f"  next: {line}" for line in next_steps(card, artifact.path.as_posix())]
    return "\n".join([f"{card.kind}: {artifact.path.as_posix()}", *shown, *steps])
