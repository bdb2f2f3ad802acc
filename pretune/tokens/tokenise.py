"""Stage tokens: the documents of a corpus as ids in raw files, in the corpus's order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pretune.base.artifact import Artifact
from pretune.base.config import Input
from pretune.base.errors import EmptyInput
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.text.split import SPLITS
from pretune.text.tables import read_rows

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
        # 3 MB/s on a core and 3.5 bytes per token: English prose, 8,192 words
        tokens = size / 3.5
        seconds = size / 3e6 / max(1, machine.cores)
        return Forecast(seconds=seconds, memory_bytes=5e8, disk_bytes=2 * tokens, tokens=tokens, text_bytes=size)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        from pretune.tokens.store import StoreWriter, write_manifest
        from pretune.tokens.tokenizer import encode_texts, end_id, load_tokenizer, special_ids

        folder = inputs["tokenizer"].path
        tokenizer = load_tokenizer(folder)
        end, vocab_size = end_id(special_ids(folder, tokenizer)), tokenizer.get_vocab_size()
        sources: dict[str, Counter[str]] = {}
        splits: dict[str, dict[str, int]] = {}
        total = inputs["corpus"].card.metrics.get("bytes")
        with context.log.progress("tokenising", total=total, unit="bytes") as bar:
            for split in SPLITS:
                writer = StoreWriter(out, split, vocab_size=vocab_size, end_id=end)
                for rows in _batches(inputs["corpus"].path, split):
                    encoded = encode_texts(tokenizer, [row["text"] for row in rows])
                    for row, ids in zip(rows, encoded, strict=True):
                        writer.add(ids, id=row["id"], source=row["source"], num_bytes=row["bytes"])
                        facts = {"tokens": len(ids) + 1, "bytes": row["bytes"]}
                        sources.setdefault(row["source"], Counter()).update(facts)
                    bar.advance(sum(row["bytes"] for row in rows))
                splits[split] = writer.close()
        if not splits["train"]["tokens"]:
            raise EmptyInput("the corpus has no documents to train on")
        write_manifest(out, vocab_size=vocab_size, end_id=end, splits=splits)
        return _metrics(splits, sources, vocab_size)


def _batches(folder: Path, split: str) -> Iterator[list[dict[str, Any]]]:
    """Rows in groups of about 4 MB of text; a row's `bytes` is counted where the corpus does not say it."""
    group: list[dict[str, Any]] = []
    size = 0
    for row in read_rows(folder, split):
        row["bytes"] = len(row["text"].encode())
        group.append(row)
        size += row["bytes"]
        if size >= BATCH_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _metrics(
    splits: Mapping[str, Mapping[str, int]], sources: Mapping[str, Mapping[str, int]], vocab_size: int
) -> dict[str, Any]:
    tokens, size = (sum(s[what] for s in splits.values()) for what in ("tokens", "bytes"))
    per_source = {name: dict(facts) for name, facts in islice(sorted(sources.items()), 1000)}
    return {
        "tokens": tokens,
        "documents": sum(s["documents"] for s in splits.values()),
        "bytes": size,
        "bytes_per_token": round(size / tokens, 4),
        "vocab_size": vocab_size,
        "splits": {name: dict(facts) for name, facts in splits.items()},
        "sources": per_source,
    }
