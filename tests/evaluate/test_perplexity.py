import math

import numpy as np
import pytest
import torch

from pretune.base.errors import NotFinite
from pretune.evaluate.likelihood import CausalScorer
from pretune.evaluate.perplexity import by_document, score_store, score_windows, some_documents, windows
from pretune.model.generate import TorchDecoder
from pretune.tokens.store.store import Store

END, VOCABULARY = 0, 23


def store_of(documents):
    ids = np.array([t for d in documents for t in [*d, END]], dtype=np.uint16)
    ends = np.cumsum([len(d) + 1 for d in documents]).astype(np.uint64)
    return Store(ids, ends, len(ids), VOCABULARY, END)


@pytest.fixture(scope="module")
def model():
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    config = Qwen3Config(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, **sizes)
    return Qwen3ForCausalLM(config).eval()


def documents(seed=0, number=7, most=11):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, VOCABULARY, size=rng.integers(0, most)).tolist() for _ in range(number)]


def nats_alone(model, document):
    """One document in one forward pass, written out: log-probability of each token after the first."""
    ids = torch.tensor([[*document, END]])
    with torch.inference_mode():
        chances = torch.log_softmax(model(ids).logits[0].double(), dim=-1)
    return -sum(float(chances[t, ids[0, t + 1]]) for t in range(ids.shape[1] - 1))


def test_documents_packed_into_one_block_score_as_each_alone(model):
    texts = documents()
    store = store_of(texts)
    score = score_store(model, store, 256, num_bytes=np.ones(len(texts)))
    assert score.nats == pytest.approx([nats_alone(model, d) for d in texts], rel=1e-5)
    assert score.targets.tolist() == [len(d) for d in texts]  # not the first token, but the end


def test_every_token_but_a_documents_first_is_scored_once_however_blocks_are_cut(model):
    class Even(torch.nn.Module):
        device = torch.device("cpu")
        config = model.config

        def forward(self, input_ids, **_):
            return torch.nn.Identity(), torch.zeros(*input_ids.shape, VOCABULARY)

        def __call__(self, **inputs):
            return type("Output", (), {"logits": torch.zeros(*inputs["input_ids"].shape, VOCABULARY)})

    texts = documents(1)
    for length in (1, 2, 3, 5, 8, 64):
        score = score_store(Even(), store_of(texts), length, num_bytes=np.ones(len(texts)))
        assert score.nats == pytest.approx([len(d) * math.log(VOCABULARY) for d in texts], rel=1e-6)


def test_a_block_does_not_see_the_block_before_it(model):
    score = score_store(model, store_of([[1, 2, 3, 4, 5, 6]]), 3, num_bytes=np.ones(1))
    with torch.inference_mode():
        parts = [([1, 2, 3], [2, 3, 4]), ([4, 5, 6], [5, 6, END])]
        nats = sum(
            float(
                torch.nn.functional.cross_entropy(model(torch.tensor([i])).logits[0], torch.tensor(t), reduction="sum")
            )
            for i, t in parts
        )
    assert score.nats[0] == pytest.approx(nats, rel=1e-5)


def test_bits_per_byte_and_perplexity_by_hand():
    nats = np.array([9.0, math.log(2), math.log(4), 7.0, math.log(2)])  # 9 and 7 belong to first tokens
    score = by_document(nats, store_of([[1, 1], [1]]), np.array([3.0, 2.0]))
    assert score.bits.tolist() == pytest.approx([3.0, 1.0])
    assert score.bits_per_byte == pytest.approx(4 / 5)
    assert score.perplexity == pytest.approx(16 ** (1 / 3))


def test_damaged_weights_are_told_and_not_averaged_away(model):
    import copy

    broken = copy.deepcopy(model)
    broken.lm_head.weight.data[3] = float("nan")
    with pytest.raises(NotFinite, match="not a number"):
        score_store(broken, store_of([[1, 2, 3]]), 4, num_bytes=np.ones(1))


def test_some_documents_are_spread_over_the_whole_split():
    store, chosen = some_documents(store_of([[k] for k in range(1, 11)]), 5)
    assert chosen.tolist() == [0, 2, 4, 6, 8]
    assert [store.document(k).tolist() for k in range(5)] == [[1, END], [3, END], [5, END], [7, END], [9, END]]


def scored_in_windows(model, store, length, stride):
    scorer = CausalScorer(TorchDecoder(model), None, (), ())
    return score_windows(scorer, store, length, stride, num_bytes=np.ones(store.num_documents))


def sliding_loop(model, ids, length, stride):
    """Perplexity as the guide of transformers computes it: windows of length + 1 tokens, known ones not scored again."""
    nats, number, known = 0.0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + length + 1, len(ids))
        row = torch.tensor([ids[begin:end]])
        labels = row.clone()
        labels[:, : known - begin] = -100
        with torch.inference_mode():
            loss = model(row, labels=labels).loss
        scored = int((labels[:, 1:] != -100).sum())
        nats, number, known = nats + float(loss) * scored, number + scored, end
        if end == len(ids):
            return math.exp(nats / number)
    raise AssertionError


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_perplexity_with_a_stride_is_that_of_the_loop_of_transformers(model, stride):
    (text,) = documents(2, number=1, most=60)
    while len(text) < 30:
        text = [*text, 5, 6, 7]
    score = scored_in_windows(model, store_of([text]), 8, stride)
    assert score.perplexity == pytest.approx(sliding_loop(model, [*text, END], 8, stride), rel=1e-5)


def test_every_target_is_in_one_window_and_sees_enough_of_its_document():
    store = store_of(documents(3, number=9, most=40))
    starts = np.concatenate([[0], store.ends[:-1].astype(int)]).tolist()
    for length, stride in ((8, 3), (8, 8), (5, 1), (64, 7)):
        scored = [k for _, first, stop in windows(store, length, stride) for k in range(first, stop)]
        assert scored == [k for k in range(store.num_tokens) if k not in starts]
        for begin, first, stop in windows(store, length, stride):
            start = max(s for s in starts if s <= begin)
            assert stop - 1 - begin <= length
            assert first - begin >= min(first - start, length - stride + 1)


def test_windows_that_do_not_overlap_are_the_blocks_of_one_document(model):
    store = store_of([[1, 2, 3, 4, 5, 6, 7]])
    blocks = score_store(model, store, 3, num_bytes=np.ones(1))
    assert scored_in_windows(model, store, 3, 3).nats == pytest.approx(blocks.nats, rel=1e-5)
