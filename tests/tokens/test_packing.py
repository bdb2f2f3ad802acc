import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.tokens.store.packing import Blocks, pack_rows
from pretune.tokens.store.store import Store

END = 9


def store_of(lengths):
    """Documents of these lengths, end token included; ids count up so that every token is known."""
    ends = np.cumsum(lengths).astype(np.uint64)
    ids = np.arange(1000, 1000 + int(sum(lengths)), dtype=np.uint16)
    return Store(ids, ends, num_bytes=0, vocab_size=60_000, end_id=END)


def test_blocks_by_hand():
    blocks = Blocks(store_of([4, 3, 6]), 4)
    assert [(ids.tolist(), segments.tolist()) for ids, segments in blocks] == [
        ([1000, 1001, 1002, 1003, 1004], [0, 0, 0, 0, 1]),
        ([1004, 1005, 1006, 1007, 1008], [0, 0, 0, 1, 1]),
        ([1008, 1009, 1010, 1011, 1012], [0, 0, 0, 0, 0]),
    ]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(1, 9))
def test_every_token_but_the_first_of_a_document_is_a_target_exactly_once(lengths, length):
    store = store_of(lengths)
    targets = [
        int(ids[t])
        for ids, segments in Blocks(store, length)
        for t in range(1, length + 1)
        if segments[t] >= 0 and segments[t] == segments[t - 1]
    ]
    starts = {0, *(int(e) for e in store.ends[:-1])}
    assert targets == [int(i) for k, i in enumerate(store.ids) if k not in starts]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(1, 9))
def test_tokens_of_one_block_share_a_segment_if_and_only_if_they_share_a_document(lengths, length):
    store = store_of(lengths)
    for k, (ids, segments) in enumerate(Blocks(store, length)):
        there = segments >= 0
        assert ids[there].tolist() == store.ids[k * length : k * length + length + 1].tolist()
        documents = np.searchsorted(store.ends, np.flatnonzero(there) + k * length, side="right")
        assert segments[there].tolist() == (documents - documents[0]).tolist()


def test_a_store_without_a_target_has_no_blocks():
    assert len(Blocks(store_of([1]), 4)) == 0
    with pytest.raises(IndexError):
        Blocks(store_of([1]), 4)[0]


@given(st.lists(st.integers(0, 16), max_size=40))
def test_packed_rows_fit_and_hold_every_index_once(lengths):
    rows = pack_rows(lengths, 16)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= 16 for row in rows)
    assert rows == pack_rows(lengths, 16)


def test_packing_wastes_little():
    lengths = np.random.default_rng(0).integers(5, 120, 2000).tolist()
    assert len(pack_rows(lengths, 256)) <= 1.02 * sum(lengths) / 256 + 1
