"""Every shape there is: what our loop, our cache and our folders give is what the plain transformers class gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from pretune.base.errors import SettingsError
from pretune.base.recipe import Recipe
from pretune.evaluate.perplexity import block_nats
from pretune.model.attention import register_attention
from pretune.model.families import family_named
from pretune.model.folder import load_model, save_model
from pretune.model.generate import TorchDecoder
from pretune.model.shape import SHAPE
from pretune.objective.objective import OBJECTIVE
from pretune.objective.packed import packed_batch, packed_states
from pretune.testing.folders import write_tokenizer
from pretune.testing.worlds import SPECIALS, VOCABULARY, head_of, packed_rows, tiny, tiny_baseline, tiny_shape
from pretune.tokens.rows import Row

BASELINES = ["bag", "cnn", "lstm"]
KINDS = [kind for kind in SHAPE.table if kind not in ("auto", *BASELINES)]
ONE_STACK = [kind for kind in KINDS if head_of(kind) in ("next", "masked")]
"""ELECTRA's two models and T5's two stacks have tests of their own (tests/objective)."""
DECODERS = [kind for kind in KINDS if head_of(kind) == "next"]
LENGTH = 24


def class_of(kind: str) -> Any:
    family = SHAPE.find(kind).family
    return family_named(family).class_for(head_of(kind), family)


def plain(model: Any, kind: str) -> Any:
    """The same weights in the class as transformers makes it, with torch's attention: it knows nothing of ours."""
    found = class_of(kind).from_config(model.config, attn_implementation="sdpa").double()
    found.load_state_dict(model.state_dict())
    return found


@pytest.mark.parametrize("kind", ONE_STACK)
def test_training_gives_each_packed_document_the_logits_of_the_plain_class(kind: str) -> None:
    model = tiny(kind, attention=register_attention()).train()
    rows = packed_rows(3, LENGTH)
    batch = packed_batch(rows, np.stack([row["ids"] for row in rows]), VOCABULARY.pad)
    states = packed_states(model, batch, causal=head_of(kind) == "next")
    ours = states.last(states.hidden_ND) if states.last is not None else states.hidden_ND
    there, alone = plain(model, kind).train(), []
    for ids, segments in zip(batch["input_ids"], batch["segments"], strict=True):
        texts = [ids[segments == k][None] for k in range(int(segments.max()) + 1)]
        alone += [there(input_ids=text).logits[0] for text in texts]
    assert (ours[batch["segments"].flatten() >= 0] - torch.cat(alone)).abs().max() < 1e-12
    assert torch.cat(alone).std() > 0.01, "logits that are all alike prove nothing"


@pytest.mark.parametrize("kind", DECODERS)
def test_a_cache_that_is_fed_in_pieces_gives_the_logits_of_the_whole_text(kind: str) -> None:
    """Twenty-four tokens, six times the window of a Gemma."""
    engine = TorchDecoder(plain(tiny(kind), kind).eval())
    ids = np.random.default_rng(2).integers(4, 40, (2, LENGTH))
    whole = engine.model(input_ids=torch.from_numpy(ids), use_cache=False).logits.detach().numpy()
    state, at = engine.start(), 0
    for size in (7, 1, 1, 6, *[1] * (LENGTH - 15)):
        logits_BV, state = engine.feed(state, ids[:, at : at + size])
        at += size
        assert np.abs(logits_BV - whole[:, at - 1]).max() < 1e-6  # the engine gives float32
    assert at == LENGTH
    np.testing.assert_allclose(engine.whole(ids, 5), whole[:, -5:], rtol=0, atol=1e-6)


class Blocks:
    """Two rows of a store."""

    class store:
        vocab_size, end_id = 40, 3

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def __getitem__(self, k: int) -> tuple[Any, Any]:
        return self.rows[k]["ids"], self.rows[k]["segments"]


@pytest.mark.parametrize("kind", ONE_STACK)
def test_a_model_that_was_saved_is_in_plain_transformers_what_it_was_and_is_measured_alike(
    kind: str, tmp_path: Path
) -> None:
    words, folder = tmp_path / "words", tmp_path / "model"
    words.mkdir()
    folder.mkdir()
    write_tokenizer(words)
    model = tiny(kind).float().eval()
    save_model(model, folder, tokenizer=words)
    there = class_of(kind).from_pretrained(folder).eval()
    ids = torch.arange(4, 28).reshape(2, 12)
    assert type(there) is type(model)
    torch.testing.assert_close(there(input_ids=ids).logits, model(input_ids=ids).logits, rtol=1e-5, atol=1e-5)
    again, rows = load_model(folder, head_of(kind)).eval(), packed_rows(2, LENGTH + 1)
    if head_of(kind) == "next":
        found = block_nats(again, Blocks(rows), range(2)).sum()  # type: ignore[arg-type]
        causal = OBJECTIVE("causal")
        asked = causal.sums(model.double(), causal.collate(rows, VOCABULARY))["loss"].item()
        assert found == pytest.approx(asked, rel=1e-5)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("bert heads=3", "heads=3 does not divide width=256"),
        ("gpt2 width=250", "heads=4 does not divide width=250"),
        ("qwen3 kv_heads=3", "kv_heads=3 does not divide heads=4"),
        ("llama head_width=63", "head_width=63 is odd"),
        ("gemma3 width=250", "heads=4 does not divide width=250"),
        ("modernbert width=36", "heads=4 divides width=36 into parts of 9"),
        ("modernbert window=7", "window: must be a multiple of 2"),
        ("qwen33", "did you mean 'qwen3'?"),
        ("modernbrt-mini", "did you mean 'modernbert-mini'?"),
    ],
)
def test_heads_that_do_not_divide_and_unknown_shapes_are_refused_by_name(model: str, told: str) -> None:
    kind, _, setting = model.partition(" ")
    shape = {"kind": kind, **({setting.split("=")[0]: int(setting.split("=")[1])} if setting else {})}
    tree: dict[str, Any] = {"name": "x", "stages": {"base": {"kind": "pretrain", "tokens": "t", "model": shape}}}
    with pytest.raises(SettingsError) as caught:
        Recipe.build(tree)
    assert told in str(caught.value) and "base.model" in str(caught.value)


def test_depth_and_width_are_free() -> None:
    shape = SHAPE({"kind": "qwen3", "layers": 8, "width": 512})
    layout = shape.layout()
    assert (layout.layers, layout.width) == (8, 512)
    config = shape.config(vocab_size=40, max_length=16, specials=SPECIALS)
    with torch.device("meta"):
        model = class_of("qwen3").from_config(transformers.AutoConfig.for_model("qwen3", **config))
    counted = sum(p.numel() for name, p in model.named_parameters() if p.dim() == 2)
    assert counted == layout.parameters(40, 16)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layout_counts_the_matrices_that_there_are(kind: str) -> None:
    """By what forecasts and shares of the machine's speed are reckoned."""
    model = tiny(kind)
    tables = {"wpe", "position_embeddings", "token_type_embeddings", "relative_attention_bias", "dense_prediction"}
    counted = sum(p.numel() for name, p in model.named_parameters() if p.dim() > 1 and not tables & {*name.split(".")})
    layout = tiny_shape(kind).layout().model_copy(update={"learned_positions": False})
    assert counted == layout.parameters(40, 32)


@pytest.mark.parametrize("kind", BASELINES)
def test_padding_counts_nowhere_in_a_baseline(kind: str) -> None:
    model, rows = tiny_baseline(kind).eval(), [[5, 6, 7, 8, 9, 10, 11], [12, 13], [14]]
    ids = torch.tensor([row + [39] * (9 - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (9 - len(row)) for row in rows])
    alone = torch.cat([model(torch.tensor([row])).logits for row in rows])
    assert (model(ids, mask).logits - alone).abs().max() < 1e-12
    assert alone.std() > 1e-3


def test_a_cnn_and_an_lstm_are_what_torch_says_by_hand() -> None:
    """Kim's largest value of each filter; the LSTM that torch runs over both directions by itself."""
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    cnn, lstm = tiny_baseline("cnn").eval(), tiny_baseline("lstm").eval()
    words = cnn.body.embeddings(ids)
    largest = []
    for conv in cnn.body.states.filters:
        size = conv.weight.shape[2]
        wide = torch.nn.functional.pad(words, (0, 0, (size - 1) // 2, size // 2))
        at = [(wide[0, i : i + size].T[None] * conv.weight).sum((1, 2)) + conv.bias for i in range(5)]
        largest.append(torch.stack(at).relu().amax(0))
    expected = cnn.classifier(torch.cat(largest))
    assert (cnn(ids).logits[0] - expected).abs().max() < 1e-12
    both = torch.nn.LSTM(32, 48, batch_first=True, bidirectional=True).double()
    for way, end in (("ahead", ""), ("back", "_reverse")):
        for name, weight in getattr(lstm.body.states, way).named_parameters():
            getattr(both, name + end).data.copy_(weight)
    states = both(lstm.body.embeddings(ids))[0]
    assert (lstm(ids).logits - lstm.classifier(states.amax(1))).abs().max() < 1e-12
