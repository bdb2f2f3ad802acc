import math

import numpy as np
import pytest

from pretune.evaluate.ngram import discounts_of, join_bytes, ngram_nats, train_ngram, xz_bytes
from pretune.tokens.store.store import Store

END = 0


def store_of(documents, vocab_size=5):
    ids = np.array([t for d in documents for t in [*d, END]], dtype=np.uint16)
    ends = np.cumsum([len(d) + 1 for d in documents]).astype(np.uint64)
    return Store(ids, ends, len(ids), vocab_size, END)


def some_documents(seed, number=20, vocab_size=5):
    rng = np.random.default_rng(seed)
    return [list(rng.integers(1, vocab_size, size=rng.integers(1, 12))) for _ in range(number)]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_chances_of_all_next_tokens_sum_to_one_after_any_text(order):
    model = train_ngram(store_of(some_documents(0)), order=order)
    for before in ([], [1], [2, 2], [1, 2, 3, 4, 1, 2], [4, 4, 4, 4, 4, 4, 4]):
        nats = [ngram_nats(model, store_of([[*before, token]]))[len(before)] for token in range(5)]
        assert sum(math.exp(-n) for n in nats) == pytest.approx(1.0, abs=1e-12)


def test_unigrams_alone_are_interpolated_with_the_uniform_chance_by_hand():
    model = train_ngram(store_of([[1, 1, 1, 2]]), order=1)  # counts: 1 three times, 2 once, end once; discount 0.5
    chances = np.exp(-ngram_nats(model, store_of([[1, 2, 3]])))
    spare = 3 * 0.5 / 5
    assert chances == pytest.approx([2.5 / 5 + spare / 5, 0.5 / 5 + spare / 5, spare / 5, 0.5 / 5 + spare / 5])


def test_lower_orders_count_contexts_not_occurrences():
    # 3 follows only 2, four times; 4 follows 1, 2 and 3 once each: after something unseen 4 is likelier.
    model = train_ngram(store_of([[2, 3], [2, 3], [2, 3], [2, 3], [1, 4], [2, 4], [3, 4]]), order=2)
    nats = {t: ngram_nats(model, store_of([[4, t]]))[1] for t in (3, 4)}
    assert nats[4] < nats[3]


def test_no_gram_crosses_the_border_of_a_document():
    model = train_ngram(store_of(some_documents(1)))
    alone = np.concatenate([ngram_nats(model, store_of([d])) for d in some_documents(2)])
    assert np.array_equal(ngram_nats(model, store_of(some_documents(2))), alone)


def test_more_context_foretells_a_regular_text_better():
    rng = np.random.default_rng(0)
    line = [1, 2, 3, 4, 3, 2]
    store = store_of([(line * 30)[k : k + 100] for k in rng.integers(0, 6, size=20)])
    nats = [ngram_nats(train_ngram(store, order=n), store).mean() for n in (1, 2, 3)]
    assert nats[2] < nats[1] / 2 < nats[0] / 2
    assert nats[2] < 0.15


def test_discounts_are_those_of_chen_and_goodman():
    counts = np.array([1] * 8 + [2] * 4 + [3] * 2 + [4])
    y = 8 / (8 + 2 * 4)
    assert discounts_of(counts) == pytest.approx([0, 1 - 2 * y * 4 / 8, 2 - 3 * y * 2 / 4, 3 - 4 * y * 1 / 2])


def test_only_the_first_tokens_are_counted_when_there_are_too_many():
    documents = some_documents(3, number=30)
    cut = train_ngram(store_of(documents), max_tokens=40)
    alone = store_of(documents)
    first = Store(alone.ids[:40], np.array([*alone.ends[alone.ends < 40], 40], np.uint64), 0, 5, END)
    test = store_of(some_documents(4))
    assert np.array_equal(ngram_nats(cut, test), ngram_nats(train_ngram(first), test))


def test_xz_needs_almost_nothing_for_a_text_that_stands_before_it():
    text = np.random.default_rng(0).bytes(3000).hex()
    assert xz_bytes(join_bytes([text]), join_bytes([text])) < 200
    assert xz_bytes(join_bytes([text]), b"") > 1000
