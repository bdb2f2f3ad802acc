"""datatrove's side of benchmarks/corpus.py; runs in an environment of its own that has datatrove, not pretune.

Its rules turn away every Chinese document of the benchmark. So that the steps behind them have work to do, the step
`whole` applies all rules and passes on what they refuse; `clean + filter` tells how many it would have kept.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import resource
import time
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LambdaFilter,
)
from datatrove.pipeline.formatters import FTFYFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.typeshelper import Languages


def pipeline(*steps: Any, folder: Path, name: str) -> None:
    executor = LocalPipelineExecutor(pipeline=list(steps), tasks=1, workers=1, logging_dir=str(folder / "logs" / name))
    executor.run()


def tells_language(path: Path) -> Any:
    import fasttext

    model = fasttext.load_model(str(path))
    return lambda document: model.predict(document.text.replace("\n", " "))[0][0] != "__label__xx"


def refusing_nothing(rule: Any) -> Any:
    """The rule, at its full price; what it refuses goes on."""
    judge = rule.filter
    rule.filter = lambda document: judge(document) is not None
    return rule


def run(step: str, jsonl: Path, lid: Path, tokenizer: Path, folder: Path) -> None:
    language = Languages.chinese if jsonl.stem == "zh" else Languages.english
    reader = JsonlReader(str(jsonl.parent), glob_pattern=jsonl.name)
    rules = [
        GopherRepetitionFilter(language=language),
        GopherQualityFilter(language=language),
        C4QualityFilter(language=language, filter_no_terminal_punct=False),
        FineWebQualityFilter(language=language),
    ]
    if step == "whole":
        rules = [refusing_nothing(rule) for rule in rules]
    clean = [FTFYFormatter(), LambdaFilter(tells_language(lid)), *rules]
    if step != "dedup":
        pipeline(reader, *clean, JsonlWriter(str(folder / "clean")), folder=folder, name="clean")
    if step == "clean + filter":
        return
    read = reader if step == "dedup" else JsonlReader(str(folder / "clean"))
    dedup(read, language, folder)
    if step == "whole":
        tokens = DocumentTokenizer(str(folder / "tokens"), str(tokenizer / "tokenizer.json"), shuffle_documents=False)
        pipeline(JsonlReader(str(folder / "kept")), tokens, folder=folder, name="tokens")


def dedup(read: JsonlReader, language: str, folder: Path) -> None:
    at = {name: str(folder / name) for name in ("signatures", "buckets", "remove", "kept")}
    pipeline(read, MinhashDedupSignature(at["signatures"], language=language), folder=folder, name="sign")
    buckets = MinhashDedupBuckets(at["signatures"], at["buckets"])
    executor = LocalPipelineExecutor(
        pipeline=[buckets], tasks=buckets.config.num_buckets, workers=1, logging_dir=str(folder / "logs" / "buckets")
    )
    executor.run()
    pipeline(MinhashDedupCluster(at["buckets"], at["remove"]), folder=folder, name="cluster")
    pipeline(read, MinhashDedupFilter(at["remove"]), JsonlWriter(at["kept"]), folder=folder, name="filter")


def kept(folder: Path) -> int:
    """Documents that it wrote."""
    return sum(1 for path in folder.glob("*.jsonl.gz") for _ in gzip.open(path, "rb"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", required=True)
    parser.add_argument("--paths", nargs=4, type=Path, required=True)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    started = time.perf_counter()
    run(given.step, *given.paths)
    told = {"seconds": time.perf_counter() - started, "kept": kept(given.paths[3] / "clean")}
    print(json.dumps({**told, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
