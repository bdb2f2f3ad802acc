"""Tokens for other programs to train on, in sub-folders: nanoGPT's, Megatron's, and lists in Arrow.

What was written is read again and must hold the store's documents, id for id.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from pretune.base.errors import NoParity
from pretune.base.json import Json
from pretune.export.exporter import Exporter, Job, Proof
from pretune.tokens.store.interop import read_files, split_of_file, write_arrow, write_megatron, write_nanogpt
from pretune.tokens.store.store import Store


class NanoGPT(Exporter):
    """train.bin, val.bin and test.bin as nanoGPT reads them; uint16 only."""

    takes: ClassVar[str] = "tokens"

    def write(self, job: Job) -> Json:
        return _facts(job, write_nanogpt(job.source, job.out))

    def prove(self, job: Job) -> Proof:
        return read_again(job)


class Megatron(Exporter):
    """SPLIT.bin and SPLIT.idx as Megatron-LM and NeMo read them."""

    takes: ClassVar[str] = "tokens"

    def write(self, job: Job) -> Json:
        return _facts(job, write_megatron(job.source, job.out))

    def prove(self, job: Job) -> Proof:
        return read_again(job)


class Arrow(Exporter):
    """SPLIT.ids.arrow: a row per document with its ids, id and source."""

    takes: ClassVar[str] = "tokens"

    def write(self, job: Job) -> Json:
        return _facts(job, write_arrow(job.source, job.out))

    def prove(self, job: Job) -> Proof:
        return read_again(job)


def _facts(job: Job, paths: Sequence[Path]) -> Json:
    store = Store.open(job.source, split_of_file(paths[0]))
    return {"files": sorted(path.name for path in paths), "vocab_size": store.vocab_size, "end_id": store.end_id}


def read_again(job: Job) -> Proof:
    """That the files of a format hold what the store holds.

    Raises:
        NoParity: they do not.
    """
    paths = sorted(job.out.iterdir())
    stores = {split: Store.open(job.source, split) for split in {split_of_file(path) for path in paths}}
    tokens = dict.fromkeys(stores, 0)
    one = next(iter(stores.values()))
    for path, part in read_files(paths, vocab_size=one.vocab_size, end=one.end_id):
        split = split_of_file(path)
        ids = np.insert(part.ids, part.ends, one.end_id)
        if not np.array_equal(ids, stores[split].ids[tokens[split] : tokens[split] + len(ids)]):
            raise NoParity(f"{path.as_posix()} holds other ids than the store")
        tokens[split] += len(ids)
    if tokens != {split: store.num_tokens for split, store in stores.items()}:
        raise NoParity(f"{job.out.as_posix()} holds {tokens} tokens, other numbers than the store")
    return Proof({"compared": "ids, read again", "tokens": tokens}, {"tokens": sum(tokens.values())})
