"""Stage tokens: the documents of a corpus as ids in raw files, in the corpus's order.

Or the ids of another program's files (nanoGPT, Megatron, Arrow: interop.py), in the order of the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pretune.base.artifact import Artifact
from pretune.base.config import Input
from pretune.base.errors import EmptyInput, WrongValue
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.report.view import mixture_text
from pretune.text.read.document import document_id
from pretune.text.read.shards import read_tables, sums_of
from pretune.text.read.split import SPLITS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pretune.tokens.encode.encoding import Encoder
    from pretune.tokens.rows import Ids

BATCH_BYTES = 4 << 20


class TokensStage(Stage):
    """Documents in, ids out."""

    makes: ClassVar[str] = "tokens"
    version: ClassVar[int] = 2
    kind: str = "tokens"
    corpus: Annotated[str | None, Input("corpus")] = None
    """The documents."""
    ids: list[Annotated[str, Input("ids")]] = []
    """Instead of a corpus: nanoGPT's .bin, Megatron's .bin and .idx, or .ids.arrow, made with this tokenizer."""
    tokenizer: Annotated[str, Input("tokenizer|model")]
    """A tokenizer, or a model whose tokenizer is taken."""
    end: int | None = Field(default=None, ge=0)
    """The id that ends a document in `ids`; by default the tokenizer's eos or sep."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.corpus is None) == (not self.ids):
            raise ValueError("give a corpus, or token files as `ids`" + ("; not both" if self.ids else ""))
        if self.end is not None and not self.ids:
            raise ValueError("`end` is about `ids`; the documents of a corpus end with the tokenizer's own token")
        return self

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        size = inputs["corpus"].text_bytes if "corpus" in inputs else 0
        if self.ids:
            tokens = sum(one.disk_bytes for place, one in inputs.items() if place.startswith("ids")) / 2
            return Forecast(seconds=0.5 + tokens / 3e7, memory_bytes=5e8, disk_bytes=2 * tokens, tokens=tokens)
        # 60 MB/s on a core and 3.5 bytes per token: English prose, 8,192 words
        tokens = size / 3.5
        seconds = 0.5 + size / 6e7 / max(1, machine.cores)
        vocab = inputs["tokenizer"].vocab_size if "tokenizer" in inputs else 0
        return Forecast(seconds, 5e8, 2 * tokens, tokens=tokens, text_bytes=size, vocab_size=vocab)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        from pretune.tokens.encode.encoding import Encoder
        from pretune.tokens.encode.tokenizer import end_id, load_tokenizer, special_ids
        from pretune.tokens.store.store import StoreWriter, write_manifest

        folder, corpus = inputs["tokenizer"].path, inputs.get("corpus")
        tokenizer = load_tokenizer(folder)
        end = self.end if self.end is not None else end_id(special_ids(folder, tokenizer))
        vocab_size = tokenizer.get_vocab_size()
        if end >= vocab_size:
            raise WrongValue(f"end is {end}, but the vocabulary has {vocab_size:,} words")
        counts = {split: Counted() for split in SPLITS}
        writers = {split: StoreWriter(out, split, vocab_size=vocab_size, end_id=end) for split in SPLITS}
        files = [path for place, one in inputs.items() if place.startswith("ids") for path in one.files()]
        if corpus:
            made = encoded(corpus.path, Encoder.open(folder))
        else:
            made = imported(files, tokenizer, vocab_size, end)
        total = corpus.card.metrics.get("bytes") if corpus else None
        with context.log.progress("tokenising", total=total, unit="bytes") as bar:
            for split, ids, ends, table in made:
                writers[split].add(ids, ends, table)
                counts[split].add(table, np.diff(ends, prepend=0) + 1)
                bar.advance(pc.sum(table["bytes"]).as_py())
        splits = {split: writer.close() for split, writer in writers.items()}
        if not splits["train"]["tokens"]:
            raise EmptyInput("there are no documents to train on")
        write_manifest(out, vocab_size=vocab_size, end_id=end, splits=splits)
        metrics = _metrics(splits, counts, vocab_size)
        return metrics | (_mixture(corpus, counts["train"], context.log) if corpus else {})


Coded = tuple[str, "Ids", NDArray[np.int64], pa.Table]
"""Split, ids of some documents without end tokens, one past the last of each; id, source, language, bytes of each."""


def encoded(corpus: Path, encoder: Encoder) -> Iterator[Coded]:
    """The documents of a corpus, split by split."""
    for split in SPLITS:
        for table in _batches(corpus, split):
            found = encoder.encode(table["text"].to_pylist())
            yield split, found.ids, found.ends, table


def imported(files: list[Path], tokenizer: Tokenizer, vocab_size: int, end: int) -> Iterator[Coded]:
    """The documents of token files; a file is of the split that its name says, of train if it says none."""
    from pretune.tokens.store.interop import read_files, split_of_file
    from pretune.tokens.store.lineage import document_bytes

    numbers: Counter[Path] = Counter()
    for path, part in read_files(files, vocab_size=vocab_size, end=end):
        there = range(numbers[path], numbers[path] + len(part.ends))
        columns = {
            "id": [document_id("", path.name, k) for k in there],
            "source": [path.name] * len(there),
            "language": [""] * len(there),
        }
        said = part.table.to_pydict() if part.table is not None else {}
        told = {name: said.get(name) or column for name, column in columns.items()}
        size = document_bytes(tokenizer, part.ids, part.ends)
        numbers[path] += len(there)
        yield split_of_file(path), part.ids, part.ends, pa.table({**told, "bytes": size})


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
    size = 0
    for table in read_tables(folder, split, ["id", "source", "language", "text"]):
        waiting.append(table.append_column("bytes", pc.binary_length(table["text"]).cast(pa.int64())))
        size += pc.sum(waiting[-1]["bytes"]).as_py()
        if size >= BATCH_BYTES:
            yield pa.concat_tables(waiting)
            waiting, size = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def _metrics(splits: Mapping[str, Mapping[str, int]], counts: Mapping[str, Counted], vocab_size: int) -> Json:
    tokens, size = (sum(s[what] for s in splits.values()) for what in ("tokens", "bytes"))
    sources: dict[str, Counter[str]] = {}
    for counted in counts.values():
        for (source, _), facts in counted.groups.items():
            sources.setdefault(source, Counter()).update(facts)
    return {
        "tokens": tokens,
        "documents": sum(s["documents"] for s in splits.values()),
        "bytes": size,
        "bytes_per_token": round(size / tokens, 4) if tokens else 0.0,
        "vocab_size": vocab_size,
        "splits": {name: dict(facts) for name, facts in splits.items()},
        "sources": {name: dict(facts) for name, facts in islice(sorted(sources.items()), 1000)},
    }


def _mixture(corpus: Artifact, train: Counted, log: Log) -> Json:
    """The corpus's mixture with the tokens of each group, which is told as well."""
    groups = corpus.card.metrics.get("mixture")
    if not groups:
        return {}
    tokens = {key: facts["tokens"] for key, facts in train.groups.items()}
    counted = [{**g, "tokens": tokens.get((g["source"], g["language"]), 0)} for g in groups]
    log.info(f"the training split:\n{mixture_text(counted)}")
    return {"mixture": counted}
