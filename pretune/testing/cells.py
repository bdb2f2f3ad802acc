"""Campaigns of many small proofs: each is kept as it ends, and a rerun does only what is missing or failed."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Cell = tuple[str, Callable[[], tuple[bool, str]]]
"""A name, and what says whether it is right and what was found."""
Kept = dict[str, dict[str, Any]]


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="cells whose name holds this")
    parser.add_argument("--list", action="store_true")
    return parser


def run(cells: Iterable[Cell], out: Path) -> tuple[int, Kept]:
    """Run the cells that are not known to be right, keeping each in `out`; (exit status, all that are kept)."""
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PRETUNE_CACHE", str(out / "cache"))
    asked, kept = list(cells), _kept(out / "cells.jsonl")
    for number, (name, one) in enumerate(asked, 1):
        if not kept.get(name, {}).get("right"):
            kept[name] = _ran(name, one)
            with (out / "cells.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(kept[name], ensure_ascii=False) + "\n")
            word = "right" if kept[name]["right"] else "WRONG"
            print(f"[{number}/{len(asked)}] {word}  {name}: {kept[name]['told']}", flush=True)
    wrong = [name for name, _ in asked if not kept[name]["right"]]
    print(
        f"{len(asked) - len(wrong)} of {len(asked)} cells are right", *(f"  WRONG {name}" for name in wrong), sep="\n"
    )
    return (1 if wrong else 0), kept


def _kept(path: Path) -> Kept:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {one["cell"]: one for one in map(json.loads, lines)}


def _ran(name: str, one: Callable[[], tuple[bool, str]]) -> dict[str, Any]:
    started = time.monotonic()
    try:
        right, told = one()
    except Exception as error:  # a cell that fails is a finding, and the others go on
        right, told = False, f"{type(error).__name__}: {error}"
    return {"cell": name, "right": right, "told": told, "seconds": round(time.monotonic() - started, 1)}
