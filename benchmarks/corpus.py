"""Raw text to tokens, ours next to datatrove's: the same text, comparable rules, one core each, in turn.

    python benchmarks/corpus.py --data ../shared/data                            ours alone
    python benchmarks/corpus.py --data ../shared/data --datatrove DIR/bin/python next to datatrove, installed there
    (pip install "datatrove[io,processing]" fasttext-predict spacy)

Text: whole books (English) and a manual with poems (Chinese), cut at blank lines into documents of about 4,000
characters, `--megabytes` of each. Both sides read jsonl, tell languages with the same lid.176 model, apply the rules
of Gopher, C4 and FineWeb, find near copies by MinHash and write tokens of the same tokenizer. Seconds are the work's
own, without the start of the process; each side runs on one core (`taskset`), `--rounds` times in turn, medians.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PEER = Path(__file__).with_name("corpus_datatrove.py")
DOCUMENT_CHARACTERS = 4000
STEPS = ("clean + filter", "dedup", "whole")


# ---- the text -----------------------------------------------------------------------------------


def texts(data: Path, language: str) -> Iterator[str]:
    if language == "en":
        for book in sorted((data / "gutenberg-en").glob("*.md")):
            yield book.read_text(encoding="utf-8")
        return
    for page in sorted((data / "d2l-zh").glob("*.md")):
        yield page.read_text(encoding="utf-8")
    with gzip.open(data / "chinese-poetry" / "tang.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["text"]


def documents(data: Path, language: str, most: int) -> Iterator[str]:
    """Documents of about DOCUMENT_CHARACTERS, cut at blank lines; at most `most` bytes."""
    held: list[str] = []
    size = written = 0
    for text in texts(data, language):
        for paragraph in text.split("\n\n"):
            held.append(paragraph)
            size += len(paragraph)
            if size >= DOCUMENT_CHARACTERS:
                made = "\n\n".join(held)
                written += len(made.encode())
                if written > most:
                    return
                yield made
                held, size = [], 0


def write_text(data: Path, language: str, most: int, path: Path) -> int:
    """Write jsonl; returns the bytes of text in it."""
    size = 0
    with path.open("w", encoding="utf-8") as file:
        for text in documents(data, language, most):
            size += len(text.encode())
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    return size


# ---- our side -----------------------------------------------------------------------------------


def ours(step: str, jsonl: Path, lid: Path, tokenizer: Path, folder: Path) -> dict[str, float]:
    if step == "dedup":
        return {"seconds": _dedup(jsonl, folder)}
    # Modules are imported before the clock runs, as the other side's are; tables are made on the work's time.
    import fasttext  # noqa: F401
    from fastokens import _native  # noqa: F401

    import pretune.text.corpus.stage
    import pretune.text.dedup.near
    import pretune.tokens.encode.encoding
    import pretune.tokens.store.stage  # noqa: F401
    from pretune.base.log import Log
    from pretune.base.recipe import Recipe

    dedup = "minhash" if step == "whole" else "none"
    corpus = {
        "kind": "corpus",
        "read": [str(jsonl)],
        "language_file": str(lid),
        "filters": ["gopher-repetition", "gopher", "c4", "fineweb"],
        "dedup": dedup,
        "max_overlap": None,  # the other side has no such check
        "workers": 1,
    }
    stages: dict[str, Any] = {"corpus": corpus}
    if step == "whole":
        stages["tokens"] = {"kind": "tokens", "corpus": "$corpus", "tokenizer": str(tokenizer)}
    recipe = Recipe.build({"name": "bench", "work": str(folder / "ours"), "stages": stages})
    started = time.perf_counter()
    made = recipe.run(log=Log(quiet=True))
    return {"seconds": time.perf_counter() - started, "kept": made["corpus"].card.metrics["documents"]}


def _dedup(jsonl: Path, folder: Path) -> float:
    """Signing, finding and verifying alone, the texts already in memory."""
    import numpy as np

    from pretune.text.dedup import near

    with jsonl.open(encoding="utf-8") as file:
        held = [json.loads(line)["text"] for line in file]
    started = time.perf_counter()
    signatures = np.asarray(near.sign(held))
    near.clusters(
        signatures, lambda wanted: [held[k] for k in wanted], threshold=0.8, memory_bytes=256 << 20, scratch=folder
    )
    return time.perf_counter() - started


# ---- both sides, in turn ------------------------------------------------------------------------


def in_process(side: str, step: str, paths: list[str], peer: str | None) -> dict[str, float]:
    """One step of one side in a process of its own, on one core."""
    script = [peer, str(PEER)] if side == "datatrove" else [sys.executable, __file__, "--side", side]
    assert script[0] is not None
    with tempfile.TemporaryDirectory() as folder:
        command = ["taskset", "-c", "0", *script, "--step", step, "--paths", *paths, folder]
        one_core = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
        env = {**os.environ, **one_core, "PRETUNE_CACHE": folder, "HF_HUB_OFFLINE": "1"}
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # each module would be compiled again, on the work's own time
        done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout.decode().strip().splitlines()[-1])  # type: ignore[no-any-return]


def measure(data: Path, megabytes: float, rounds: int, peer: str | None) -> dict[str, Any]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = _tokenizer(data, Path(folder))
        for language in ("en", "zh"):
            # A folder of its own: datatrove's pattern en.jsonl would match some-en.jsonl as well.
            jsonl = Path(folder) / language / f"{language}.jsonl"
            jsonl.parent.mkdir()
            size = write_text(data, language, int(megabytes * 1e6), jsonl)
            paths = [str(jsonl), str(data / "lid.176" / "lid.176.ftz"), str(tokenizer)]
            for step in STEPS:
                rows.append(_row(language, step, size, paths, rounds, peer))
    return {"megabytes": megabytes, "rows": rows}


def _tokenizer(data: Path, folder: Path) -> Path:
    """One tokenizer for both sides, learnt from some of the text."""
    from pretune.base.log import Log
    from pretune.base.recipe import Recipe

    for language in ("en", "zh"):
        write_text(data, language, 3_000_000, folder / f"some-{language}.jsonl")
    stages = {
        "corpus": {"kind": "corpus", "read": [str(folder / "some-*.jsonl")]},
        "tokenizer": {"kind": "tokenizer", "corpus": "$corpus", "vocab_size": 16000},
    }
    return (
        Recipe.build({"name": "words", "work": str(folder), "stages": stages})
        .run(log=Log(quiet=True))["tokenizer"]
        .path
    )


def _row(language: str, step: str, size: int, paths: list[str], rounds: int, peer: str | None) -> dict[str, Any]:
    sides = ["ours", *(["datatrove"] if peer else [])]
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            runs[side].append(in_process(side, step, paths, peer))
    row: dict[str, Any] = {"language": language, "step": step, "bytes": size}
    for side in sides:
        seconds = statistics.median(run["seconds"] for run in runs[side])
        row |= {f"{side}_mb_per_s": round(size / seconds / 1e6, 2), f"{side}_kept": runs[side][0].get("kept")}
        row[f"{side}_peak_mib"] = round(max(run["peak_mib"] for run in runs[side]))
    if peer:
        row["times"] = round(row["ours_mb_per_s"] / row["datatrove_mb_per_s"], 1)
    return row


def table(found: dict[str, Any]) -> str:
    names = ("ours MB/s", "datatrove", "times", "peak MiB", "kept", "kept by it")
    lines = [f"{'':<4}{'step':<16}" + "".join(f"{name:>11}" for name in names)]
    for r in found["rows"]:
        theirs, times = r.get("datatrove_mb_per_s", ""), r.get("times", "")
        lines.append(
            f"{r['language']:<4}{r['step']:<16}{r['ours_mb_per_s']:>11}{theirs:>11}{times:>11}"
            f"{r['ours_peak_mib']:>11}{r['ours_kept'] or '':>11}{r.get('datatrove_kept') or '':>11}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the texts")
    parser.add_argument("--megabytes", type=float, default=16, help="of text, per language")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--datatrove", help="the Python that has datatrove")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--paths", nargs=4, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        told = ours(given.step, *given.paths)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**told, "peak_mib": peak}))
        return
    found = measure(given.data, given.megabytes, given.rounds, given.datatrove)
    print(json.dumps(found, indent=2) if given.json else table(found))


if __name__ == "__main__":
    main()
