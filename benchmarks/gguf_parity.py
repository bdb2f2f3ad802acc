"""GGUF in llama.cpp next to the folder on torch: bytes, ids, greedy tokens, logits, for each type of weights.

    python benchmarks/gguf_parity.py ../shared/models/minimind2-small --types f32,q8_0,q4_0,q4_k
    python benchmarks/gguf_parity.py MODEL --prompts 50 --data DATASET          its test texts or dialogues as prompts

A line for each type: what is written is read again, the ids of about 950 texts are compared, then 64 greedy tokens of
each prompt and one prompt as long as the model reads, next to the logits of the model in float32. Nothing is refused
for how much it differs but ids and, of f32, tokens and logits. One thread. Needs pretune[llamacpp].
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from pretune.base.errors import PretuneError
from pretune.base.extras import need
from pretune.base.log import Log
from pretune.export.bundle import write_bundle
from pretune.export.exporter import Job
from pretune.export.gguf_bundle import Gguf
from pretune.model.generate import open_folder

TYPES = "f32,f16,bf16,q8_0,q6_k,q5_k,q5_0,q4_k,q4_0"


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("model", type=Path)
    given.add_argument("--types", default=TYPES)
    given.add_argument("--data", type=Path)
    given.add_argument("--prompts", type=int, default=20)
    asked = given.parse_args()
    need(["llamacpp"])
    ready = open_folder(asked.model)
    print(f"{asked.model.name}: {ready.facts.max_length} positions")
    print(f"{'type':6}{'MB':>8}{'agreement':>11}{'logits':>9}{'seconds':>9}")
    for type in asked.types.split(","):
        start = time.perf_counter()
        exporter = Gguf(kind="gguf", type=type, prompts=asked.prompts, min_agreement=1e-9)
        try:
            with tempfile.TemporaryDirectory() as out:
                found = write_bundle([exporter], Job(asked.model, ready, asked.data, Path(out)), Log(quiet=True))[
                    "gguf"
                ]
        except PretuneError as error:
            print(f"{type:6}  {error.problem}")
            continue
        seconds = time.perf_counter() - start
        figures = f"{found['agreement']:11.4f}{found['max_logit_difference']:9.1e}{seconds:9.1f}"
        print(f"{type:6}{found['bytes'] / 1e6:8.1f}{figures}", flush=True)


if __name__ == "__main__":
    main()
