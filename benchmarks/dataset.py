"""How fast labelled data is read, split and written: `pretune dataset` on one jsonl file of texts with labels.

    python benchmarks/dataset.py                      texts of 200 bytes, 100 MB, split by near copies
    python benchmarks/dataset.py --bytes-a-text 2000

Three figures, one process: splits given by the file's name (read + write), the same file without a split (near copies
are looked for, then it is split), and `json.loads` over its lines alone, which no reader in Python can beat.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path


def write(path: Path, megabytes: float, bytes_a_text: int) -> int:
    """Texts of random words with one of ten labels; returns the file's bytes."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(20_000)]
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < megabytes * 1e6:
            for _ in range(100):
                text = " ".join(rng.choices(words, k=max(1, bytes_a_text // 7)))
                file.write(json.dumps({"text": text, "label": rng.randrange(10)}) + "\n")
    return path.stat().st_size


def seconds_of_stage(path: Path, work: Path) -> float:
    from pretune.base.log import Log
    from pretune.base.recipe import Recipe

    started = time.perf_counter()
    Recipe.build({"work": str(work), "stages": {"it": {"kind": "dataset", "read": [str(path)]}}}).run(
        log=Log(quiet=True)
    )
    return time.perf_counter() - started


def seconds_of_json(path: Path) -> float:
    started = time.perf_counter()
    with path.open(encoding="utf-8") as file:
        for line in file:
            json.loads(line)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--bytes-a-text", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PRETUNE_CACHE"] = folder
        given, loose = Path(folder) / "test.jsonl", Path(folder) / "all.jsonl"
        size = write(given, options.megabytes, options.bytes_a_text)
        loose.write_bytes(given.read_bytes())
        for name, path in (("json.loads", given), ("split given", given), ("split", loose)):
            times = [
                seconds_of_json(path) if name == "json.loads" else seconds_of_stage(path, Path(folder) / f"{name}{k}")
                for k in range(options.rounds)
            ]
            print(f"{name:12} {size / 1e6 / statistics.median(times):6.1f} MB/s   {statistics.median(times):6.1f} s")


if __name__ == "__main__":
    main()
