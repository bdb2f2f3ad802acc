"""How well a model predicts text: nats per token, and bits per byte, which do not depend on the tokenizer.

A store is read in blocks as in training: a position sees its own document only, a document's first token is
no target, its end token is one, and every other token is a target exactly once. A block begins without memory of
the one before, so figures are those of windows of `length` tokens, no better. With a stride windows overlap:

    length 4, stride 2   reads a b c d        scores b c d e      of each window the targets that no window before had
                         reads     c d e f    scores       f g    f sees c d e, g sees c d e f

Bits per byte divide by all bytes of the scored documents, those of the first tokens too (nobody guessed them; in a
document of 1,000 tokens that is 1 in 1,000). Everything is computed in float32.

B rows, L positions, V vocabulary, N targets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pretune.base.log import Log
from pretune.evaluate.likelihood import LOGITS_AT_ONCE, CausalScorer, nats_of
from pretune.tokens.store.packing import Blocks, spread
from pretune.tokens.store.store import Store

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

WINDOWS_AT_ONCE = 256
"""Windows that are asked for together; those of one length are read together."""


@dataclass(frozen=True)
class Score:
    """What was scored, by document.

    Args:
        nats, targets, num_bytes: one number per document, float64.
    """

    nats: NDArray[np.float64]
    targets: NDArray[np.float64]
    num_bytes: NDArray[np.float64]

    @property
    def nats_per_token(self) -> float:
        return float(self.nats.sum() / self.targets.sum())

    @property
    def perplexity(self) -> float:
        """exp(nats per token); infinite beyond what a float holds."""
        return math.exp(self.nats_per_token) if self.nats_per_token < 700 else math.inf

    @property
    def bits_per_byte(self) -> float:
        return float(self.bits.sum() / self.num_bytes.sum())

    @property
    def bits(self) -> NDArray[np.float64]:
        return self.nats / math.log(2)


def score_store(
    model: PreTrainedModel, store: Store, length: int, *, num_bytes: NDArray[np.float64], log: Log | None = None
) -> Score:
    """A causal model's score on every document of a store.

    Args:
        model: a transformers causal model in eval mode.
        length: tokens of a block.
        num_bytes: bytes of each document's text.

    Raises:
        NotFinite: the model's loss is not a number.
    """
    nats = np.zeros(store.num_tokens)
    blocks, batch = Blocks(store, length), max(1, LOGITS_AT_ONCE // (length * store.vocab_size))
    with (log or Log(quiet=True)).progress("scoring", total=len(blocks) * length, unit="tokens") as bar:
        for start in range(0, len(blocks), batch):
            part = range(start, min(start + batch, len(blocks)))
            found = block_nats(model, blocks, part)
            end = min(part.stop * length, store.num_tokens - 1)
            nats[part.start * length + 1 : end + 1] = found.flatten()[: end - part.start * length]
            bar.advance(len(part) * length)
    return by_document(nats, store, num_bytes)


def block_nats(model: PreTrainedModel, blocks: Blocks, numbers: range) -> NDArray[np.float64]:
    """Nats of every target of some blocks, [B, L]; 0 where there is no target."""
    import torch

    from pretune.objective.packed import attention_mask
    from pretune.objective.pretraining.causal import Causal
    from pretune.tokens.rows import Vocabulary

    pairs = [blocks[k] for k in numbers]
    vocabulary = Vocabulary(size=blocks.store.vocab_size, pad=blocks.store.end_id)
    batch = Causal(kind="causal").collate([{"ids": i, "segments": s} for i, s in pairs], vocabulary)
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    mask = attention_mask(model, batch["segments"], causal=True, dtype=torch.float32)
    with torch.inference_mode():
        logits_BLV: torch.Tensor = model(
            input_ids=batch["input_ids"], attention_mask=mask, position_ids=batch["positions"], use_cache=False
        ).logits
        return nats_of(logits_BLV, batch["labels"])


def score_windows(
    scorer: CausalScorer,
    store: Store,
    length: int,
    stride: int,
    *,
    num_bytes: NDArray[np.float64],
    log: Log | None = None,
) -> Score:
    """The same figures from windows that overlap: every target is scored once, by the first window that has it.

    Args:
        scorer: with nothing that stands before a text.
        length: tokens that a window reads.
        stride: tokens from one window to the next. Of what stands that far in its document, a target sees
            more than `length - stride` tokens, and `length` at most.
    """
    nats, ahead = np.zeros(store.num_tokens), windows(store, length, stride)
    with (log or Log(quiet=True)).progress("scoring", total=store.num_tokens, unit="tokens") as bar:
        while part := list(islice(ahead, WINDOWS_AT_ONCE)):
            asked = [(tuple(store.ids[a:b].tolist()), tuple(store.ids[b:c].tolist())) for a, b, c in part]
            for (_, first, stop), said in zip(part, scorer.said(asked), strict=True):
                nats[first:stop] = said.nats
            bar.advance(sum(stop - first for _, first, stop in part))
    return by_document(nats, store, num_bytes)


def windows(store: Store, length: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """(begin, first target, one past the last) of the windows of each document, as places in the store."""
    start = 0
    for end in store.ends.tolist():
        begin, first = start, start + 1
        while first < end:
            stop = min(begin + length + 1, end)
            yield begin, first, stop
            begin, first = begin + stride, stop
        start = end


def by_document(nats: NDArray[np.float64], store: Store, num_bytes: NDArray[np.float64]) -> Score:
    """Nats per token, [num_tokens], summed by document; those of first tokens are left out."""
    ends = store.ends.astype(np.int64)
    starts = np.concatenate([[0], ends[:-1]])
    scored = nats.copy()
    scored[starts] = 0.0
    return Score(np.add.reduceat(scored, starts), (ends - starts - 1).astype(np.float64), num_bytes)


def byte_counts(folder: Path, split: str) -> NDArray[np.float64]:
    """Bytes of each document of a split."""
    import pyarrow.parquet as pq

    column = pq.read_table(folder / f"{split}.documents.parquet", columns=["bytes"]).column("bytes")
    return np.asarray(column.to_pylist(), dtype=np.float64)


def some_documents(store: Store, wanted: int) -> tuple[Store, NDArray[np.int64]]:
    """`wanted` documents of a store, evenly spread, as a store in memory; and their numbers."""
    chosen = spread(store.num_documents, wanted)
    parts = [store.document(int(k)) for k in chosen]
    ends = np.cumsum([len(p) for p in parts]).astype(np.uint64)
    return Store(np.concatenate(parts), ends, 0, store.vocab_size, store.end_id), chosen
