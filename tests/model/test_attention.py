"""Our attention against transformers' own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pretune.base.errors import NotSupported
from pretune.model import attention
from pretune.objective.objective import OBJECTIVE
from pretune.objective.packed import block_mask, sparse_mask
from pretune.testing.worlds import LENGTH, VOCABULARY, packed_rows, tiny

KINDS = [
    *(("qwen3", "causal"), ("gpt2", "causal"), ("bert", "masked")),
    *(("gemma3", "causal"), ("modernbert", "masked")),  # windows of four tokens
]


def loss_and_gradient(model: Any, kind: str) -> tuple[float, list[torch.Tensor]]:
    objective = OBJECTIVE(kind)
    rows = packed_rows(4, LENGTH + (kind == "causal"))
    if kind == "masked":
        rows = [row | {"labels": row["ids"]} for row in rows]
    loss = objective.sums(model, objective.collate(rows, VOCABULARY))["loss"]
    return float(loss.detach()), list(torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad]))


@pytest.mark.parametrize(("shape", "kind"), KINDS)
@pytest.mark.parametrize("block", [4, 5, 64])
def test_blocks_of_queries_give_the_loss_and_gradient_of_sdpa(
    shape: str, kind: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "BLOCK", block)
    name = attention.register_attention()
    ours, theirs = (loss_and_gradient(tiny(shape, attention=a), kind) for a in (name, "sdpa"))
    assert abs(ours[0] - theirs[0]) < 1e-12 * abs(theirs[0])
    for a, b in zip(ours[1], theirs[1], strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_model_with_our_attention_generates_what_it_generates_with_sdpa() -> None:
    name = attention.register_attention()
    start = torch.tensor([[5, 7, 11]])
    settings: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    texts = [tiny("qwen3", attention=a).eval().generate(start, **settings) for a in (name, "sdpa")]
    assert torch.equal(*texts)


def test_what_t5_adds_to_its_scores_is_added_by_ours_too_and_what_is_unknown_is_refused() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0}
    ids, labels = torch.arange(4, 20).reshape(2, 8), torch.arange(4, 16).reshape(2, 6)
    found = []
    for name in (attention.register_attention(), "eager"):
        torch.manual_seed(0)
        model: Any = T5ForConditionalGeneration._from_config(
            T5Config(vocab_size=40, decoder_start_token_id=0, **sizes), attn_implementation=name
        ).double()
        found.append(model(input_ids=ids, labels=labels).logits)
    assert torch.allclose(*found, rtol=1e-12, atol=1e-12)
    parts = torch.randn(3, 1, 2, 4, 8)
    with pytest.raises(NotSupported, match="has softcap"):
        attention.block_attention(model, *parts, None, softcap=30.0)


@pytest.mark.parametrize("causal", [True, False])
def test_the_mask_of_flex_attention_shows_what_the_block_mask_shows(causal: bool) -> None:
    from torch.nn.attention.flex_attention import create_mask

    segments = torch.tensor([[0, 0, 1, 1, 1, 2, -1, -1], [0] * 8])
    sparse = sparse_mask(segments, causal=causal)
    shown = create_mask(sparse.mask_mod, 2, 1, 8, 8, device="cpu")
    assert torch.equal(shown, block_mask(segments, causal=causal, dtype=torch.float64) == 0)
