"""Does a search find in 16 trials of TPE what takes 32 random ones?

    python benchmarks/tune.py functions                               medians of the best score, on six functions
    python benchmarks/tune.py sst2 --shared ../shared --out runs/tune     on 2,000 sentences with MiniLM, trial by trial

`sst2` searches learning rate, batch and warm-up of a full fine-tuning by `pretune tune`'s own code:
TPE, random, and TPE with halving. Each study is kept and goes on where it was; each winner is judged on the test split,
next to the defaults. One seed each, so a difference of a point between two of them says nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the functions are those of the tests

from pretune.base.log import Log  # noqa: E402
from pretune.base.measurements import processor, usable_cores  # noqa: E402
from pretune.base.recipe import Recipe  # noqa: E402
from pretune.base.yaml import write_yaml  # noqa: E402
from pretune.tune import proposing  # noqa: E402
from pretune.tune.command import Wanted, opened, tuned  # noqa: E402
from pretune.tune.outcome import best_so_far  # noqa: E402
from tests.tune.functions import FUNCTIONS, lowest, tried  # noqa: E402

SEARCHED = ("tuned.optim.learning_rate=1e-5..3e-3", "tuned.batch=8..64", "tuned.optim.warmup=0..0.3")
STUDIES: dict[str, dict[str, Any]] = {"tpe": {}, "random": {"sampler": "random"}, "halving": {"halving": True}}


def functions(seeds: int) -> list[dict[str, Any]]:
    """Per function the median over seeds of the best score, and in how many seeds TPE was ahead."""
    rows = []
    for name in FUNCTIONS:
        tpe = [lowest(tried(name, "tpe", 16, seed)) for seed in range(seeds)]
        drawn = [lowest(tried(name, "random", 32, seed)) for seed in range(seeds)]
        ahead = sum(a <= b for a, b in zip(tpe, drawn, strict=True))
        rows.append({
            "function": name,
            "TPE, 16 trials": f"{statistics.median(tpe):.3g}",
            "random, 32 trials": f"{statistics.median(drawn):.3g}",
            "seeds in which TPE was ahead": f"{ahead} of {seeds}",
        })  # fmt: skip
    return rows


def recipe(arguments: argparse.Namespace) -> dict[str, Any]:
    tuned_stage = {
        "kind": "finetune",
        "model": str(arguments.shared / "models" / "all-MiniLM-L6-v2"),
        "data": "$data",
        "task": "classify",
        "max_length": 64,
        **({"steps": 4, "evaluate_every": 2} if arguments.smoke else {"epochs": 3}),
    }
    read = f"{arguments.shared / 'data' / 'sst2'}#{80 if arguments.smoke else 2000}"
    stages = {
        "data": {"kind": "dataset", "read": [read]},
        "tuned": tuned_stage,
        "report": {
            "kind": "evaluate",
            "model": "$tuned",
            "data": "$data",
            **({"max_examples": 40} if arguments.smoke else {}),
        },
    }
    return {"name": "tune", "work": str(arguments.out / "work"), "stages": stages}


def sst2(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row per study: the best validation accuracy after 1, 2, 4 ... trials, seconds, accuracy on the test split."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "recipe.yaml"
    path.write_text(write_yaml(recipe(arguments)), encoding="utf-8")
    log = Log(quiet=arguments.json)
    plain = Recipe.read(path).run(log=log)
    usual = plain["tuned"].card.metrics["validation_accuracy"]
    rows = [{"study": "defaults", "1": f"{usual:.3f}", "test": f"{plain['report'].card.metrics['accuracy']:.3f}"}]
    for name, how in STUDIES.items():
        trials = arguments.trials * (2 if name == "random" else 1)
        settings = (*SEARCHED, f"work={arguments.out / name}-work")  # none finds what another has made
        wanted = Wanted(str(path), settings, trials=trials, out=str(arguments.out / name), **how)
        facts = tuned(*opened(wanted), log=log, command="benchmark", stopping=lambda gentle: lambda: False).facts
        curve = dict(best_so_far([trial["score"] for trial in facts["trials"]], lower=False))
        at = {str(k): f"{curve[k]:.3f}" for k in (1, 2, 4, 8, 16, 32) if k in curve}
        seconds = sum(trial["seconds"] for trial in facts["trials"])
        values = ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in facts["best"]["values"].items())
        test = facts["made"]["report"]["metrics"]["accuracy"]
        rows.append({"study": name, **at, "seconds": f"{seconds:.0f}", "best": values, "test": f"{test:.3f}"})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for row in sorted(rows, key=len, reverse=True) for key in row))
    lines = [keys, ["---"] * len(keys), *([str(row.get(key, "")) for key in keys] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["functions", "sst2"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--good", type=float, default=proposing.GOOD, help="of functions: the share of good trials")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=Path, default=Path("runs/tune-benchmark"))
    parser.add_argument("--trials", type=int, default=16, help="of TPE; random takes twice as many")
    parser.add_argument("--smoke", action="store_true", help="80 sentences, 4 steps: seconds, says nothing")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    proposing.GOOD = arguments.good
    rows = functions(arguments.seeds) if arguments.what == "functions" else sst2(arguments)
    machine = f"{processor()}, {usable_cores()} cores"
    print(json.dumps({"machine": machine, "rows": rows}, indent=1) if arguments.json else f"{machine}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
