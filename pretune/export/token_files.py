"""Tokens for other programs to train on, in sub-folders: nanoGPT's, Megatron's, and lists in Arrow.

What was written is read again and must hold the store's documents, id for id.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np

from pretune.base.errors import NoParity
from pretune.export.exporter import Exported, Exporter, Job
from pretune.tokens.store.interop import read_files, split_of_file, write_arrow, write_megatron, write_nanogpt
from pretune.tokens.store.store import Store

Write = Callable[[Path, Path], list[Path]]


class NanoGPT(Exporter):
    """train.bin, val.bin and test.bin as nanoGPT reads them; uint16 only."""

    takes: ClassVar[str] = "tokens"

    def export(self, job: Job) -> Exported:
        return written(self.kind, job, write_nanogpt)


class Megatron(Exporter):
    """SPLIT.bin and SPLIT.idx as Megatron-LM and NeMo read them."""

    takes: ClassVar[str] = "tokens"

    def export(self, job: Job) -> Exported:
        return written(self.kind, job, write_megatron)


class Arrow(Exporter):
    """SPLIT.ids.arrow: a row per document with its ids, id and source."""

    takes: ClassVar[str] = "tokens"

    def export(self, job: Job) -> Exported:
        return written(self.kind, job, write_arrow)


def written(kind: str, job: Job, write: Write) -> Exported:
    """The files of a format, read again.

    Raises:
        NoParity: what is read is not what the store holds; NotSupported: the format cannot hold it.
    """
    out = job.out / kind
    out.mkdir()
    paths = write(job.model, out)
    stores = {split: Store.open(job.model, split) for split in {split_of_file(path) for path in paths}}
    tokens = dict.fromkeys(stores, 0)
    one = next(iter(stores.values()))
    for path, part in read_files(paths, vocab_size=one.vocab_size, end=one.end_id):
        split = split_of_file(path)
        ids = np.insert(part.ids, part.ends, one.end_id)
        if not np.array_equal(ids, stores[split].ids[tokens[split] : tokens[split] + len(ids)]):
            raise NoParity(f"{path.as_posix()} holds other ids than the store")
        tokens[split] += len(ids)
    if tokens != {split: store.num_tokens for split, store in stores.items()}:
        raise NoParity(f"{out.as_posix()} holds {tokens} tokens, other numbers than the store")
    files = sorted(path.name for path in paths)
    facts = {"files": files, "vocab_size": one.vocab_size, "end_id": one.end_id}
    return Exported({kind: facts}, {"compared": "ids, read again", "tokens": tokens}, {"tokens": sum(tokens.values())})
