"""The token store: encoding, reading, resuming, and what packing leaves empty; one core (`taskset`), nothing compared.

    python benchmarks/tokens.py --data ../shared/data
    python benchmarks/tokens.py --data ../shared/data --tokens 2e9 --folder DIR   4 GB of disk

encode   stage tokens with its tokenizer opened (reading the corpus, encoding, counting, writing), in MB of text per
         second; then the encoder alone. Tokenizer: `--tokenizer`, or 16,000 words learnt from both texts.
read     rows made ready for training (ids and segments as arrays of each row), in shuffled order, 32 at a time, from
         the page cache; positions per second at length 1,024, and how long making the plan took.
resume   a fresh process opens the store and reads the batch at half of it: seconds of that alone, and of the process.
waste    share of places for text that stay empty at length 512.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32
WORDS = 16_000
READ = 30_000_000


# ---- encode and waste ---------------------------------------------------------------------------


def made(data: Path, folder: Path, tokenizer: str | None) -> dict[str, Any]:
    """A corpus of each language, of both, a tokenizer, and the tokens of both."""
    from pretune.base.log import Log
    from pretune.base.recipe import Recipe

    texts = {"en": str(data / "gutenberg-en/*.md"), "zh": str(data / "chinese-poetry/*.gz")}
    plain = {
        "kind": "corpus",
        "filters": [],
        "clean": [],
        "dedup": "none",
        "max_overlap": None,
        "validation": 0,
        "test": 0,
    }
    stages: dict[str, Any] = {name: {**plain, "read": {name: [path]}} for name, path in texts.items()}
    stages["both"] = {**plain, "read": {name: [path] for name, path in texts.items()}}
    if tokenizer is None:
        stages["words"] = {"kind": "tokenizer", "corpus": "$both", "vocab_size": WORDS}
    stages["tokens"] = {"kind": "tokens", "corpus": "$both", "tokenizer": tokenizer or "$words"}
    return Recipe.build({"work": str(folder / "made"), "stages": stages}).run(log=Log(quiet=True))


def encode(corpus: Path, tokenizer: Path) -> dict[str, float]:
    """MB/s of the stage's work and of the encoder alone, the median of three rounds in one process, and the first.

    Each round has an encoder that has seen no text: libraries remember words, and give those of a second pass back.
    """
    import pyarrow.compute as pc

    from pretune.tokens.store.stage import Counted, encoded
    from pretune.tokens.store.store import StoreWriter

    def stage() -> tuple[float, float]:
        encoder = fresh(tokenizer)
        started, size, counted = time.perf_counter(), 0, Counted()
        with tempfile.TemporaryDirectory() as out:
            writer = StoreWriter(Path(out), "train", vocab_size=vocab_size, end_id=0)
            for split, ids, ends, table in encoded(corpus, encoder):
                assert split == "train"
                writer.add(ids, ends, table)
                counted.add(table, np.diff(ends, prepend=0) + 1)
                size += pc.sum(table["bytes"]).as_py()
            writer.close()
        return time.perf_counter() - started, size / 1e6

    vocab_size = fresh(tokenizer).tokenizer.get_vocab_size()
    runs = [stage() for _ in range(3)]
    texts = _texts(corpus)
    alone = []
    for _ in range(3):
        encoder = fresh(tokenizer)
        started = time.perf_counter()
        encoder.encode(texts)
        alone.append(time.perf_counter() - started)
    size = runs[0][1]
    rates = [size / seconds for seconds, _ in runs]
    return {"megabytes": size, "stage": statistics.median(rates), "first": rates[0], "encoder": size / min(alone)}


def fresh(tokenizer: Path) -> Any:
    """An encoder that remembers no word."""
    from pretune.tokens.encode import encoding

    encoding._fast.cache_clear()
    return encoding.Encoder.open(tokenizer)


def _texts(corpus: Path) -> list[str]:
    from pretune.text.read.shards import read_rows

    return [row["text"] for row in read_rows(corpus, "train", ["text"])]


def waste(tokens: Path) -> dict[str, Any]:
    """Of each packing: share of places that stay empty, at length 512."""
    from pretune.tokens.store.packing import PACKING, RowForm
    from pretune.tokens.store.store import Store

    store, form, found = Store.open(tokens, "train"), RowForm(512), {}
    for kind in ("blocks", "best-fit", "document"):
        rows = PACKING(kind).rows(store, form, 0)
        empty = sum(
            int((rows.at(np.arange(at, min(at + 512, len(rows))))["segments"] < 0).sum())
            for at in range(0, len(rows), 512)
        )
        found[kind] = {"rows": len(rows), "empty": empty / (len(rows) * form.room)}
    return found


# ---- reading and resuming -----------------------------------------------------------------------


def write_store(folder: Path, tokens: int) -> None:
    """Random ids in documents of lognormal lengths (median 330)."""
    from pretune.tokens.store.store import write_manifest

    rng = np.random.default_rng(0)
    lengths = np.maximum(2, rng.lognormal(5.8, 1.2, tokens // 400)).astype(np.int64)
    ends = np.cumsum(lengths)
    ends = np.append(ends[ends < tokens], tokens).astype("<u8")
    with (folder / "train.bin").open("wb") as file:
        for start in range(0, tokens, 1 << 24):
            file.write(rng.integers(0, 50_000, min(1 << 24, tokens - start), dtype=np.uint16).data)
    ends.tofile(folder / "train.ends")
    facts = {"tokens": tokens, "documents": len(ends), "bytes": 4 * tokens}
    write_manifest(folder, vocab_size=50_000, end_id=0, splits={"train": facts})


def read(folder: Path, kind: str, length: int) -> dict[str, float]:
    from pretune.tokens.store.packing import PACKING, RowForm
    from pretune.tokens.store.store import Store
    from pretune.train.loop.stream import StoreStream

    store = Store.open(folder, "train")
    np.asarray(store.ids[: 1 << 28]).sum()  # into the page cache
    started = time.perf_counter()
    rows = PACKING(kind).rows(store, RowForm(length), 0)
    planned = time.perf_counter() - started
    stream, rates = StoreStream(rows, BATCH), []
    for attempt in range(3):
        started, steps = time.perf_counter(), READ // (BATCH * length)
        for step in range(steps):
            stream.rows(attempt * steps + step)
        rates.append(steps * BATCH * length / (time.perf_counter() - started) / 1e6)
    return {"mega_per_s": statistics.median(rates), "plan_seconds": planned, "documents": store.num_documents}


def resume(folder: Path, kind: str, length: int) -> dict[str, float]:
    """Imports done: open the store and read the batch that stands at half of its tokens."""
    from pretune.tokens.store.packing import PACKING, RowForm
    from pretune.tokens.store.store import Store
    from pretune.train.loop.stream import StoreStream

    started = time.perf_counter()
    store = Store.open(folder, "train")
    stream = StoreStream(PACKING(kind).rows(store, RowForm(length), 0), BATCH)
    stream.rows(store.num_tokens // 2 // (BATCH * length))
    return {"ready_seconds": time.perf_counter() - started, "tokens": store.num_tokens}


# ---- each in a process of its own ---------------------------------------------------------------


def in_process(what: str, *words: object) -> dict[str, Any]:
    """One measurement on one core; `process_seconds` is the whole process, imports included."""
    command = ["taskset", "-c", "0", sys.executable, __file__, "--part", what, *map(str, words)]
    env = {**os.environ, "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout) | {"process_seconds": time.perf_counter() - started}


PARTS: dict[str, Any] = {
    "encode": lambda corpus, tokenizer: encode(Path(corpus), Path(tokenizer)),
    "read": lambda folder, kind, length: read(Path(folder), kind, int(length)),
    "resume": lambda folder, kind, length: resume(Path(folder), kind, int(length)),
}


def measure(data: Path, tokens: int, tokenizer: str | None, folder: Path) -> dict[str, Any]:
    os.environ["PRETUNE_CACHE"] = str(folder / "cache")
    artifacts = made(data, folder, tokenizer)
    words = tokenizer or artifacts["words"].path
    found: dict[str, Any] = {
        f"encode {name}": in_process("encode", artifacts[name].path, words) for name in ("en", "zh")
    }
    found["waste"] = waste(artifacts["tokens"].path)
    write_store(folder, tokens)
    for kind in ("blocks", "best-fit", "document"):
        found[f"read {kind}"] = in_process("read", folder, kind, 1024)
        found[f"resume {kind}"] = in_process("resume", folder, kind, 1024)
    return found


def table(found: dict[str, Any]) -> str:
    lines = []
    for name, row in found.items():
        if name == "waste":
            lines += [f"{'waste ' + kind:<18} {one['empty']:.3%} of {one['rows']:,} rows" for kind, one in row.items()]
        elif name.startswith("encode"):
            lines.append(
                f"{name:<18} {row['stage']:.1f} MB/s (first {row['first']:.1f}, encoder alone {row['encoder']:.1f})"
            )
        elif name.startswith("read"):
            plan = f"plan of {row['documents']:,} documents {row['plan_seconds']:.2f} s"
            lines.append(f"{name:<18} {row['mega_per_s']:.0f} M positions/s, {plan}")
        else:
            lines.append(f"{name:<18} {row['ready_seconds']:.3f} s; whole process {row['process_seconds']:.2f} s")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the texts")
    parser.add_argument("--tokens", type=float, default=2e8, help="of the store that is read; 2 bytes each")
    parser.add_argument("--tokenizer", help="a tokenizer's folder; by default one is learnt")
    parser.add_argument(
        "--folder", type=Path, help="where the store is written and deleted again; by default a temporary one"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(PARTS[given.part[0]](*given.part[1:])))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        found = measure(given.data, int(given.tokens), given.tokenizer, Path(folder))
    print(json.dumps(found, indent=2) if given.json else table(found))


if __name__ == "__main__":
    main()
