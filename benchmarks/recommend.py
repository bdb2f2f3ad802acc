"""Recommendations on MovieLens 100K: 100,000 ratings of 943 users, 1,682 films with titles and genres.

python benchmarks/recommend.py --shared ../shared --out runs/recommend

random    80/20, a tenth of the events to choose the weights by      nDCG@10 of every system and of the mixture
last      of each user the last rating
cold      the events of a tenth of the films are hidden: where text places them among each other (chance 50 %), by the
          words, by MiniLM as it is, and by MiniLM fine-tuned on films that were seen together (--tune: some minutes)
speed     lists over HTTP with 100,000 events, one client: p50, p95, p99; events that arrive, on the disk each

Finished parts are current when it is run again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from pretune.apps.app import open_app
from pretune.apps.recommend.app import Recommend
from pretune.apps.serving import serving_app
from pretune.base.recipe import Recipe

SYSTEMS = ("popularity", "neighbours", "ease", "text")
REQUESTS = 500


def recipe(data: Path, minilm: Path, out: Path, *, tunes: bool) -> Recipe:
    """All parts as one recipe, so that what is finished is current."""
    tables = {"items": [str(data / "ml-100k.item")], "events": [str(data / "ml-100k.inter")]}
    cold = {**tables, "split": "random", "test": 0.2, "cold": 0.1}
    stages: dict[str, Any] = {
        "random": {"kind": "recommend", **tables, "split": "random", "test": 0.2},
        "last": {"kind": "recommend", **tables, "split": "last"},
        "cold_words": {"kind": "recommend", **cold},
        "cold_minilm": {"kind": "recommend", **cold, "embed": str(minilm)},
    }
    if tunes:
        stages |= {
            "pairs": {"kind": "together", **cold, "most": 2},
            "alike": {"kind": "dataset", "read": ["$pairs"], "validation": 0.1, "test": 0},
            "embedder": {"kind": "finetune", "model": str(minilm), "data": "$alike", "task": "embed", "epochs": 1}
            | {"batch": 64, "max_length": 32},
            "cold_tuned": {"kind": "recommend", **cold, "embed": "$embedder"},
        }
    return Recipe.build({"name": "recommend", "work": str(out), "stages": stages})


def quality(metrics: dict[str, Any]) -> str:
    others = "  ".join(f"{name} {metrics[f'{name}_ndcg_10']:.3f}" for name in SYSTEMS if f"{name}_ndcg_10" in metrics)
    ends = f"recall@10 {metrics['recall_10']:.3f}  coverage {metrics['coverage']:.2f}"
    return f"mixture {metrics['ndcg_10']:.3f}  {others}  {ends}"


def speed(folder: Path, state: Path) -> dict[str, float]:
    """Milliseconds of lists and of events over HTTP."""
    app = open_app(folder, state)
    assert isinstance(app, Recommend)
    users = [*app.seen][:REQUESTS]
    with serving_app(app) as address, httpx.Client(base_url=address, timeout=60) as client:
        lists = [_timed(client, "/v1/recommend", {"user_id": user}) for user in users]
        items = app.shop.items.ids
        events = [
            _timed(client, "/v1/events", {"events": [{"user_id": user, "item_id": items[k % len(items)]}]})
            for k, user in enumerate(users)
        ]
    told = {"list": lists[20:], "event": events[20:]}
    return {f"{name} p{p}": float(np.percentile(ms, p)) for name, ms in told.items() for p in (50, 95, 99)}


def _timed(client: httpx.Client, path: str, body: Any) -> float:
    start = time.perf_counter()
    client.post(path, json=body).raise_for_status()
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/recommend"))
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    data, minilm = args.shared / "data" / "ml-100k", args.shared / "models" / "all-MiniLM-L6-v2"
    made = recipe(data, minilm, args.out, tunes=args.tune).run()
    found = {name: one.card.metrics for name, one in made.items() if one.card.kind == "app"}
    measured = speed(made["random"].path, args.out / "state")
    if args.json:
        print(json.dumps({"quality": found, "milliseconds": measured}, indent=1))
        return
    for name in ("random", "last"):
        print(f"{name:<12}{quality(found[name])}")
    for name in [name for name in found if name.startswith("cold")]:
        auc = {key: found[name][f"new_items_{key}"] for key in ("auc", "examples", "items")}
        print(f"{name:<12}new items: AUC {auc['auc']:.3f} of {auc['items']:.0f} films, {auc['examples']} users")
    print("ms over HTTP  " + "  ".join(f"{name} {value:.1f}" for name, value in measured.items()))


if __name__ == "__main__":
    main()
