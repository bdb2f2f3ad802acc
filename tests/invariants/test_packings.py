"""Masks of packed rows: a document in a best-fit row gives the logits it gives alone (TRAPS 3)."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import torch

from pretune.objective.packed import attention_mask, document_positions
from pretune.testing.worlds import head_of, tiny
from pretune.tokens.store.packing import PACKING, RowForm
from pretune.tokens.store.store import Store

LENGTH = 15


def best_fit_rows(*, causal: bool) -> dict[str, np.ndarray[Any, Any]]:
    """Sixteen documents of random ids in rows of fifteen: several in each row, one that is cut."""
    rng = np.random.default_rng(4)
    lengths = [22, 9, 5, 6, 4, 3, 7, 2, 5, 4, 8, 3, 2, 6, 10, 4]
    ids = rng.integers(4, 40, sum(lengths)).astype(np.uint16)
    store = Store(ids, np.cumsum(lengths).astype(np.uint64), num_bytes=0, vocab_size=40, end_id=3)
    form = RowForm(LENGTH) if causal else RowForm(LENGTH, causal=False, cls=2)
    rows = PACKING("best-fit").rows(store, form, 0)
    return dict(rows.at(np.arange(len(rows))))


def logits(model: Any, ids_BL: torch.Tensor, segments_BL: torch.Tensor, *, causal: bool) -> torch.Tensor:
    mask = attention_mask(model, segments_BL, causal=causal, dtype=torch.float64)
    positions = torch.from_numpy(document_positions(segments_BL.numpy()))
    cached = {"use_cache": False} if causal else {}
    found = model(input_ids=ids_BL, attention_mask=mask, position_ids=positions, **cached)
    return found["logits"] if "logits" in found else found["prediction_logits"]


def several_and_alone(kind: str, attention: str, *, compiled: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of every token in packed rows, and of the same tokens with each document in a row of its own."""
    causal = head_of(kind) == "next"
    model = tiny(kind, attention=attention).eval()
    rows = best_fit_rows(causal=causal)
    ids = torch.from_numpy(rows["ids"].astype(np.int64))
    segments = torch.from_numpy(rows["segments"].astype(np.int64))
    assert (segments.max(dim=1).values > 0).any(), "rows must hold several documents"
    called = torch.compile(model) if compiled else model
    with torch.no_grad():
        packed, alone = logits(called, ids, segments, causal=causal), []
        for row in range(len(ids)):
            for k in range(int(segments[row].max()) + 1):
                at = segments[row] == k
                alone.append(
                    logits(model, ids[row][at][None], torch.zeros(1, int(at.sum()), dtype=torch.long), causal=causal)[0]
                )
    return packed[segments >= 0], torch.cat(alone)


@pytest.mark.parametrize("kind", ["qwen3", "gemma3", "gpt2", "bert", "modernbert"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_document_in_a_best_fit_row_has_the_logits_it_has_alone(kind: str, attention: str) -> None:
    several, alone = several_and_alone(kind, attention)
    # transformers' eager attention takes its softmax in float32 here, whatever the weights are.
    bar = 1e-6 if attention == "eager" and kind in ("qwen3", "gemma3", "modernbert") else 1e-10
    assert several.shape == alone.shape and (several - alone).abs().max() < bar
    assert several.std() > 0.01, "logits that are all alike prove nothing"


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # of torch's own compiler
@pytest.mark.skipif(not shutil.which("g++"), reason="compiling needs a C++ compiler")
def test_a_compiled_decoder_keeps_documents_apart_too() -> None:
    several, alone = several_and_alone("gpt2", "sdpa", compiled=True)
    assert (several - alone).abs().max() < 1e-10
