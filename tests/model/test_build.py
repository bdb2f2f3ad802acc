"""How weights begin, and what training may add without changing the shape."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pretune.model.build import build_model
from pretune.model.shape import SHAPE
from pretune.tokens.encode.tokenizer import Specials

SPECIALS = Specials(bos=None, eos=3, pad=0, unk=None, cls=None, sep=None, mask=None)
IDS = torch.arange(1, 25).reshape(2, 12)  # no padding: its embedding is zero
LAST = ("o_proj.weight", "down_proj.weight", "attn.c_proj.weight", "mlp.c_proj.weight")


def build(kind: str, **settings: Any) -> Any:
    sizes = {"layers": 2, "width": 32, "heads": 2}
    sizes |= {"kv_heads": 1, "head_width": 16, "hidden": 48} if kind != "gpt2" else {}
    return build_model(
        SHAPE({"kind": kind, **sizes, **settings}), "next", vocab_size=40, max_length=16, specials=SPECIALS, seed=5
    )


@pytest.mark.parametrize("kind", ["qwen3", "llama", "gpt2"])
def test_with_zero_init_every_block_begins_as_the_identity(kind: str) -> None:
    model = build(kind, zero_init=True).eval()
    embedded, *blocks = model(input_ids=IDS, output_hidden_states=True).hidden_states
    last_norm = model.transformer.ln_f if kind == "gpt2" else model.model.norm
    for after in blocks[:-1]:
        assert torch.equal(after, embedded)
    assert torch.equal(blocks[-1], last_norm(embedded))


@pytest.mark.parametrize("kind", ["qwen3", "llama", "gpt2"])
def test_zero_init_takes_the_last_matrices_alone(kind: str) -> None:
    zero, drawn = (build(kind, zero_init=is_on).state_dict() for is_on in (True, False))
    differing = {name for name in drawn if not torch.equal(zero[name], drawn[name])}
    assert differing == {name for name in drawn if name.endswith(LAST)}
    assert all(not zero[name].any() for name in differing)


def test_a_llama_is_a_qwen3_without_the_norms_of_queries_and_keys() -> None:
    qwen3, llama = set(build("qwen3").state_dict()), set(build("llama").state_dict())
    assert llama < qwen3
    assert {name.rsplit(".", 2)[1] for name in qwen3 - llama} == {"q_norm", "k_norm"}


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_dropout_takes_its_share_of_every_branch_while_training_and_nothing_after(kind: str) -> None:
    model, plain = (build(kind, dropout=share, zero_init=False) for share in (0.5, 0.0))
    found: dict[str, torch.Tensor] = {}
    for name, module in model.named_modules():
        if name.endswith(("embed_tokens", "o_proj", "down_proj")):
            module.register_forward_hook(lambda _m, _i, out, name=name: found.__setitem__(name, out))
    torch.manual_seed(0)
    model.train()(input_ids=IDS.repeat(40, 1))
    shares = {name: float((out == 0).double().mean()) for name, out in found.items()}
    assert len(shares) == 5
    assert shares == pytest.approx(dict.fromkeys(shares, 0.5), abs=0.015)  # 30,720 draws: 5 standard deviations
    kept = found["model.embed_tokens"]
    whole = plain.model.embed_tokens(IDS.repeat(40, 1))
    assert torch.equal(kept[kept != 0], (2 * whole)[kept != 0])
    assert torch.equal(model.eval()(input_ids=IDS).logits, plain.eval()(input_ids=IDS).logits)
    assert model.state_dict().keys() == plain.state_dict().keys()
