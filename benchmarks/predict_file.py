"""`pretune predict --input --output` next to transformers' pipeline, and its memory by the number of rows.

    python benchmarks/predict_file.py speed --model ../shared/models/all-MiniLM-L6-v2 --data ../shared/data/sst2
    python benchmarks/predict_file.py memory
    python benchmarks/predict_file.py kills --rows 100000

speed: a classifier of two labels on MiniLM's body (a new head: what is measured does not depend on it), sentences of
sst2 over and over, in turn: ours with the reading and writing of files; the pipeline as most write it, a text at a
time; and the pipeline with batches of 32. Every side writes the same columns. Ratios
are of seconds of CPU, which other programs on the machine disturb least.
memory: peak of a process that answers 20,000 and 400,000 rows; the network is left out, the rest is as it is.
kills: a process that answers is killed (SIGKILL) within a drawn window, twenty times, then left to end; its bytes next
to those of a run that nothing stopped.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from pretune.base.log import Log
from pretune.infer.bulk import WINDOW, Journal, answer_file
from pretune.infer.given import given_in
from pretune.infer.load import open_model

TURN, KILLS = 1000, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "memory", "kills", "answer"])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if asked.what == "speed":
            speed(asked.model, asked.data, asked.rows, asked.threads)
        elif asked.what == "memory":
            memory(Path(scratch))
        elif asked.what == "kills":
            kills(Path(scratch), asked.rows)
        else:
            answer(asked.data, asked.output)


# ---- speed --------------------------------------------------------------------------------------


def speed(body: Path, data: Path, rows: int, threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    files = [data / f"{name}.jsonl" for name in ("train", "dev", "test")]
    texts = [str(text) for text in islice(cycle(text for file in files for text in given_in(file)), rows)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = classifier(body, Path(scratch) / "model")
        sides = {"ours": ours(folder, Path(scratch)), **pipelines(folder, Path(scratch))}
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        wall = dict.fromkeys(sides, 0.0)
        for start in range(0, rows, TURN):
            for name, run in sides.items():
                began, clock = time.process_time(), time.perf_counter()
                run(texts[start : start + TURN])
                seconds[name].append(time.process_time() - began)
                wall[name] += time.perf_counter() - clock
                print(f"{start:>6} {name:<16} {TURN / seconds[name][-1]:8.0f} rows per second of CPU", flush=True)
    for name, took in seconds.items():
        ratios = [other / own for other, own in zip(took, seconds["ours"], strict=True)]
        ratio = f"ours is {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) times as fast"
        speeds = f"{rows / sum(took):6.0f} rows per second of CPU, {rows / wall[name]:6.0f} by the clock"
        print(f"{name:<16} {speeds}  {ratio}")


def classifier(body: Path, folder: Path) -> Path:
    import torch
    from transformers import AutoModelForSequenceClassification

    from pretune.model.folder import save_model

    folder.mkdir()
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(body, num_labels=2, dtype=torch.float32)
    save_model(model, folder, tokenizer=body)
    return folder


def ours(folder: Path, scratch: Path) -> Callable[[Sequence[str]], None]:
    model, turns = open_model(folder), iter(range(10**9))

    def run(texts: Sequence[str]) -> None:
        source, output = scratch / "a.jsonl", scratch / f"ours-{next(turns)}.jsonl"
        source.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
        answer_file(model, "0", source, output, log=Log(silent=True))

    return run


def pipelines(folder: Path, scratch: Path) -> dict[str, Callable[[Sequence[str]], None]]:
    from transformers import pipeline

    pipe: Any = pipeline("text-classification", model=str(folder), tokenizer=str(folder), device="cpu", top_k=None)

    def write(texts: Sequence[str], answers: Any) -> None:
        with (scratch / "theirs.jsonl").open("w", encoding="utf-8") as file:
            for text, answer in zip(texts, answers, strict=True):
                scores = {one["label"]: one["score"] for one in answer}
                best = max(scores, key=scores.__getitem__)
                row = {"text": text, "label": best, "score": scores[best], "scores": scores}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

    return {
        "a text at a time": lambda texts: write(texts, (pipe([text], truncation=True)[0] for text in texts)),
        "batches of 32": lambda texts: write(texts, pipe(list(texts), truncation=True, batch_size=32)),
    }


# ---- memory and kills ---------------------------------------------------------------------------


class Zeros:
    """An encoder that has no network."""

    max_length = 128

    def logits(self, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
        return list(np.zeros((len(rows), 2), dtype=np.float32))


def memory(scratch: Path) -> None:
    few, many = (peak_of(written(scratch, rows), scratch / f"{rows}.jsonl") for rows in (20_000, 400_000))
    print(f"20,000 rows {few:.1f} MiB, 400,000 rows {many:.1f} MiB: {many - few:.1f} MiB more")


def kills(scratch: Path, rows: int) -> None:
    source, rng, safe = written(scratch, rows), random.Random(0), [0]
    whole, output = scratch / "whole.jsonl", scratch / "killed.jsonl"
    peak_of(source, whole)
    while len(safe) <= KILLS and not output.exists():
        child = subprocess.Popen(command(source, output), stdout=subprocess.DEVNULL)
        while child.poll() is None and rows_safe(output) < safe[-1] + WINDOW * rng.randint(1, 2):
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05))
        child.kill()
        child.wait()
        safe.append(rows_safe(output))
    peak_of(source, output)
    same = "the same" if output.read_bytes() == whole.read_bytes() else "OTHERS"
    print(f"{rows:,} rows, killed when these were safe: {safe[1:]}; the bytes are {same}")


def rows_safe(output: Path) -> int:
    journal = Journal.read(output.with_name(f"{output.name}.scratch") / "journal")
    return 0 if journal is None else journal.rows


def written(scratch: Path, rows: int) -> Path:
    source = scratch / f"{rows}-rows.jsonl"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": f"the film {k} " * (k % 9 + 1)}) + "\n" for k in range(rows))
    return source


def command(source: Path, output: Path) -> list[str]:
    return [sys.executable, __file__, "answer", "--data", str(source), "--output", str(output)]


def peak_of(source: Path, output: Path) -> float:
    """MiB that a process holds at most which answers a file."""
    return float(subprocess.check_output(command(source, output), text=True))


def answer(source: Path, output: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    from pretune.infer.classify import TextClassifier
    from pretune.infer.predictor import Facts

    words = Tokenizer(models.WordLevel({"the": 0, "film": 1, "?": 2}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    model = TextClassifier(Zeros(), words, Facts("classify", "label", 128, ("good", "bad")))
    answer_file(model, "0", source, output, log=Log(silent=True))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
