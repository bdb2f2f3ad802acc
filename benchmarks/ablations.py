"""What each trick of training is worth on small data: one change at a time, five seeds, mean and spread.

    python benchmarks/ablations.py --data ../shared/data --out runs/ablations             the whole campaign
    python benchmarks/ablations.py --data ... --out ... --study schedule --limit 10       at most ten runs of one study
    python benchmarks/ablations.py --data ... --out runs/longer --steps 300               other runs, five times as long
    python benchmarks/ablations.py --out runs/ablations --table                           what is there so far

Characters of Shakespeare (en) and of Tang poems (zh), a decoder of 2 blocks x 128, through our own loop. First 90 %
of a text are for training, the last 10 % for validation, of which every fourth block is read. Rates are chosen by
`rates`, on a seed that no study uses and on the last ninth of the training part; studies take the best of them.
Every run appends one line to OUT/runs.jsonl; a run that is there is not run again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import statistics
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

LENGTH = 64
SHAPE = {"kind": "qwen3", "layers": 2, "width": 128, "heads": 2, "kv_heads": 2, "head_width": 64, "hidden": 344}
SEEDS, TUNING_SEEDS = range(5), (100,)
RATES: dict[str, tuple[float, ...]] = {"muon": (0.01, 0.02, 0.04, 0.08), "adamw": (1e-3, 2e-3, 4e-3, 8e-3)}
EPOCHS = (1, 4, 16)
SMALL = 16 * 1024
"""Characters of the text that is read many times."""
CHARACTERS = 4096
"""Of a text with more, the rarer ones are one unknown."""


@dataclass(frozen=True)
class Run:
    """One training run, described by what differs from the usual one."""

    study: str
    arm: str
    text: str
    seed: int
    optim: dict[str, Any]
    shape: dict[str, Any] = field(default_factory=dict)
    batch: int = 32
    steps: int = 60
    characters: int | None = None
    tuning: bool = False

    @property
    def key(self) -> str:
        return f"{self.text} {self.study} {self.arm} {self.seed}"


# ---- the studies --------------------------------------------------------------------------------


def rates(text: str) -> list[Run]:
    return [
        Run("rates", f"{kind} {rate:g}", text, seed, at_rate(kind, rate), tuning=True)
        for kind, choices in RATES.items()
        for rate in choices
        for seed in TUNING_SEEDS
    ]


def at_rate(kind: str, rate: float, **more: Any) -> dict[str, Any]:
    return {"kind": kind, ("matrix_rate" if kind == "muon" else "learning_rate"): rate, **more}


def optimizer(text: str, best: dict[str, float]) -> list[Run]:
    return _runs("optimizer", text, {kind: (at_rate(kind, best[kind]), {}) for kind in RATES})


def zero_init(text: str, best: dict[str, float]) -> list[Run]:
    arms = {f"{kind}, not zero": (at_rate(kind, best[kind]), {"zero_init": False}) for kind in RATES}
    return _runs("zero-init", text, arms)


def qk_norm(text: str, best: dict[str, float]) -> list[Run]:
    return _runs("qk-norm", text, {f"{k}, llama": (at_rate(k, best[k]), {"kind": "llama"}) for k in RATES})


def schedule(text: str, best: dict[str, float]) -> list[Run]:
    kinds = ("constant", "cosine", "wsd")
    return _runs("schedule", text, {k: (at_rate("muon", best["muon"], schedule={"kind": k}), {}) for k in kinds})


def epochs(text: str, best: dict[str, float]) -> list[Run]:
    ema, plain = {"average": {"kind": "ema"}}, {"weight_decay": 0.01}
    ways: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "plain": (plain, {}),
        "dropout": (plain, {"dropout": 0.1}),
        "ema": (ema, {}),
        "dropout + ema": (ema, {"dropout": 0.1}),
        "decay 1": ({"weight_decay": 1.0}, {}),
    }
    found: list[Run] = []
    for n in EPOCHS:
        arms = {f"{w}, {n} epochs": (at_rate("muon", best["muon"], **o), s) for w, (o, s) in ways.items()}
        found += _runs("epochs", text, arms, batch=16, steps=n * SMALL // (16 * LENGTH), characters=SMALL)
    return found


def _runs(study: str, text: str, arms: dict[str, tuple[dict[str, Any], dict[str, Any]]], **more: Any) -> list[Run]:
    return [Run(study, a, text, seed, o, shape=s, **more) for seed in SEEDS for a, (o, s) in arms.items()]


STUDIES = {"optimizer": optimizer, "zero-init": zero_init, "qk-norm": qk_norm, "schedule": schedule, "epochs": epochs}


def best_rates(done: list[dict[str, Any]], text: str) -> dict[str, float]:
    """The rate of each optimizer whose loss is lowest."""
    losses: dict[tuple[str, float], list[float]] = {}
    for row in done:
        if row["study"] == "rates" and row["text"] == text:
            kind, rate = row["arm"].split()
            losses.setdefault((kind, float(rate)), []).append(row["loss"])
    return {kind: min((statistics.mean(v), rate) for (k, rate), v in losses.items() if k == kind)[1] for kind in RATES}


# ---- one run ------------------------------------------------------------------------------------


def read_text(folder: Path, text: str) -> str:
    if text == "en":
        return (folder / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    with gzip.open(folder / "chinese-poetry" / "tang.jsonl.gz", "rt", encoding="utf-8") as lines:
        poems = [json.loads(line)["text"] for _, line in zip(range(16_000), lines, strict=False)]
    return "\n".join(poems)


def encoded(text: str, *, tuning: bool, characters: int | None) -> tuple[list[Any], list[Any], int]:
    """(training rows, validation rows, size of the vocabulary)."""
    import numpy as np

    kept = [c for c, _ in Counter(text).most_common(CHARACTERS - 1)]
    numbers = {c: i + 1 for i, c in enumerate(kept)}
    ids = np.array([numbers.get(c, 0) for c in text], dtype=np.int64)
    end, stop = (0.8, 0.9) if tuning else (0.9, 1.0)
    train, held = ids[: int(end * len(ids))], ids[int(end * len(ids)) : int(stop * len(ids))]
    return blocks(train[:characters]), blocks(held)[::4], len(kept) + 1


def blocks(ids: Any) -> list[dict[str, Any]]:
    """Rows of LENGTH + 1 tokens that share their borders, all of one document."""
    import numpy as np

    one = np.zeros(LENGTH + 1, dtype=np.int64)
    return [{"ids": ids[i : i + LENGTH + 1], "segments": one} for i in range(0, len(ids) - LENGTH, LENGTH)]


def train(run: Run, folder: Path) -> dict[str, float]:
    """Validation and training loss in nats per character, and seconds of the steps."""
    import torch

    from pretune.model.build import build_model
    from pretune.model.shape import SHAPE as CHOICE
    from pretune.objective.objective import OBJECTIVE
    from pretune.tokens.encode.tokenizer import Specials
    from pretune.tokens.rows import Vocabulary
    from pretune.train.loop.runtime import Runtime
    from pretune.train.loop.step import Scored, TrainState
    from pretune.train.loop.steps import steps
    from pretune.train.loop.stream import MicroBatches, RowStream
    from pretune.train.optim.settings import OPTIM
    from pretune.train.optim.update import Update
    from pretune.train.watch.validate import loss_over

    rows, held, size = encoded(read_text(folder, run.text), tuning=run.tuning, characters=run.characters)
    specials = Specials(bos=None, eos=0, pad=0, unk=None, cls=None, sep=None, mask=None)
    shape = CHOICE({**SHAPE, **run.shape})
    sizes: dict[str, Any] = {"vocab_size": size, "max_length": LENGTH, "specials": specials}
    net = build_model(shape, "next", **sizes, seed=run.seed, attention="sdpa")
    objective, runtime, vocabulary = OBJECTIVE("causal"), Runtime.start("cpu"), Vocabulary(size, pad=0)
    state = TrainState(net, Scored(net, objective), Update(net, OPTIM(run.optim)), total=run.steps)
    cut = MicroBatches(RowStream(rows, run.batch, run.seed), objective, vocabulary, run.seed, run.batch)
    torch.manual_seed(run.seed)
    started = time.perf_counter()
    last = [report.loss["loss"] for report in steps(state, objective, cut, runtime, until=run.steps)][-10:]
    seconds = time.perf_counter() - started
    with state.update.exact_weights():
        loss = loss_over(net, objective, held, vocabulary, runtime, batch=64).per_target
    return {"loss": loss, "train_loss": statistics.mean(last), "seconds": round(seconds, 1)}


# ---- the campaign -------------------------------------------------------------------------------


def campaign(folder: Path, out: Path, *, texts: list[str], studies: list[str], limit: int, steps: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for text in texts:
        while limit > 0 and (left := waiting(out, text, studies, steps)):
            limit -= 1
            row = asdict(left[0]) | train(left[0], folder)
            with (out / "runs.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{left[0].key}: {row['loss']:.4f} ({row['seconds']} s)", flush=True)


def waiting(out: Path, text: str, studies: list[str], steps: int) -> list[Run]:
    """The runs that are not there yet, seed by seed, so that a campaign that is cut short has as many of each arm.

    Those of `rates` come first, as the others need them. `steps` is how long each is, except in the study of
    epochs, whose runs are as long as it takes to read the text so many times.
    """
    done = finished(out)
    known = {f"{row['text']} {row['study']} {row['arm']} {row['seed']}" for row in done}
    if missing := [replace(run, steps=steps) for run in rates(text) if run.key not in known]:
        return missing
    best = best_rates(done, text)
    left = [run for name in studies for run in STUDIES[name](text, best) if run.key not in known]
    return [run if run.characters else replace(run, steps=steps) for run in sorted(left, key=lambda run: run.seed)]


def finished(out: Path) -> list[dict[str, Any]]:
    path = out / "runs.jsonl"
    return [json.loads(x) for x in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def table(done: list[dict[str, Any]]) -> str:
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in done:
        groups.setdefault((row["text"], row["study"], row["arm"]), []).append(row)
    lines = ["| text | study | arm | runs | validation | spread | training |", "|---|---|---|---|---|---|---|"]
    for (text, study, arm), rows in groups.items():
        losses = [row["loss"] for row in rows]
        spread = statistics.stdev(losses) if len(losses) > 1 else math.nan
        seen = statistics.mean(row["train_loss"] for row in rows)
        mean = statistics.mean(losses)
        lines.append(f"| {text} | {study} | {arm} | {len(rows)} | {mean:.4f} | {spread:.4f} | {seen:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--text", action="append", choices=("en", "zh"), help="by default both")
    parser.add_argument("--study", action="append", choices=sorted(STUDIES), help="by default all")
    parser.add_argument("--steps", type=int, default=60, help="of a run; each number wants a folder of its own")
    parser.add_argument("--limit", type=int, default=10_000, help="runs of this call")
    parser.add_argument("--table", action="store_true", help="print what is there, run nothing")
    given = parser.parse_args()
    if not given.table:
        studies, texts = given.study or list(STUDIES), given.text or ["en", "zh"]
        campaign(given.data, given.out, texts=texts, studies=studies, limit=given.limit, steps=given.steps)
    print(table(finished(given.out)))


if __name__ == "__main__":
    main()
