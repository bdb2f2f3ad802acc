"""Stage tokens: the documents of a corpus as ids in raw files, in the corpus's order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pretune.base.artifact import Artifact
from pretune.base.config import Input
from pretune.base.errors import EmptyInput
from pretune.base.log import Log
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.base.view import mixture_text
from pretune.text.split import SPLITS
from pretune.text.tables import read_tables, sums_of

BATCH_BYTES = 4 << 20


class TokensStage(Stage):
    """Documents in, ids out."""

    makes: ClassVar[str] = "tokens"
    version: ClassVar[int] = 1
    kind: str = "tokens"
    corpus: Annotated[str, Input("corpus")]
    """The documents."""
    tokenizer: Annotated[str, Input("tokenizer|model")]
    """A tokenizer, or a model whose tokenizer is taken."""

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        size = inputs["corpus"].text_bytes if "corpus" in inputs else 0
        # 60 MB/s on a core and 3.5 bytes per token: English prose, 8,192 words
        tokens = size / 3.5
        seconds = 0.5 + size / 6e7 / max(1, machine.cores)
        return Forecast(seconds=seconds, memory_bytes=5e8, disk_bytes=2 * tokens, tokens=tokens, text_bytes=size)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        from pretune.tokens.encoding import Encoder
        from pretune.tokens.store import StoreWriter, write_manifest
        from pretune.tokens.tokenizer import end_id, special_ids

        folder, corpus = inputs["tokenizer"].path, inputs["corpus"]
        encoder = Encoder.open(folder)
        end, vocab_size = end_id(special_ids(folder, encoder.tokenizer)), encoder.tokenizer.get_vocab_size()
        counts = {split: Counted() for split in SPLITS}
        splits: dict[str, dict[str, int]] = {}
        with context.log.progress("tokenising", total=corpus.card.metrics.get("bytes"), unit="bytes") as bar:
            for split in SPLITS:
                writer = StoreWriter(out, split, vocab_size=vocab_size, end_id=end)
                for table in _batches(corpus.path, split):
                    encoded = encoder.encode(table["text"].to_pylist())
                    writer.add(encoded.ids, encoded.ends, table)
                    counts[split].add(table, np.diff(encoded.ends, prepend=0) + 1)
                    bar.advance(pc.sum(table["bytes"]).as_py())
                splits[split] = writer.close()
        if not splits["train"]["tokens"]:
            raise EmptyInput("the corpus has no documents to train on")
        write_manifest(out, vocab_size=vocab_size, end_id=end, splits=splits)
        return _metrics(splits, counts, vocab_size) | _mixture(corpus, counts["train"], context.log)


class Counted:
    """Tokens and bytes of each source and language."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, str], Counter[str]] = {}

    def add(self, table: pa.Table, tokens: NDArray[np.int64]) -> None:
        """Add documents and how many tokens each has, its end token included."""
        for group, facts in sums_of(
            table, {"tokens": tokens, "bytes": np.asarray(table["bytes"].to_numpy(), np.int64)}
        ):
            self.groups.setdefault(group, Counter()).update(facts)


def _batches(folder: Path, split: str) -> Iterator[pa.Table]:
    """Tables of documents of about 4 MB of text; their `bytes` are counted, whatever the corpus says."""
    waiting: list[pa.Table] = []
    for table in read_tables(folder, split, ["id", "source", "language", "text"]):
        waiting.append(table.append_column("bytes", pc.binary_length(table["text"]).cast(pa.int64())))
        if sum(pc.sum(t["bytes"]).as_py() for t in waiting) >= BATCH_BYTES:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _metrics(splits: Mapping[str, Mapping[str, int]], counts: Mapping[str, Counted], vocab_size: int) -> dict[str, Any]:
    tokens, size = (sum(s[what] for s in splits.values()) for what in ("tokens", "bytes"))
    sources: dict[str, Counter[str]] = {}
    for counted in counts.values():
        for (source, _), facts in counted.groups.items():
            sources.setdefault(source, Counter()).update(facts)
    return {
        "tokens": tokens,
        "documents": sum(s["documents"] for s in splits.values()),
        "bytes": size,
        "bytes_per_token": round(size / tokens, 4),
        "vocab_size": vocab_size,
        "splits": {name: dict(facts) for name, facts in splits.items()},
        "sources": {name: dict(facts) for name, facts in islice(sorted(sources.items()), 1000)},
    }


def _mixture(corpus: Artifact, train: Counted, log: Log) -> dict[str, Any]:
    """The corpus's mixture with the tokens of each group, which is told as well."""
    groups = corpus.card.metrics.get("mixture")
    if not groups:
        return {}
    tokens = {key: facts["tokens"] for key, facts in train.groups.items()}
    counted = [{**g, "tokens": tokens.get((g["source"], g["language"]), 0)} for g in groups]
    log.info(f"the training side:\n{mixture_text(counted)}")
    return {"mixture": counted}
