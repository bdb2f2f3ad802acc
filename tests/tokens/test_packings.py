"""For each kind of packing: every token once per epoch, whole documents, one order for all ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.base.errors import NotSupported, WrongValue
from pretune.tokens.store.best_fit import BestFit, best_fit
from pretune.tokens.store.packing import PACKING, Blocks, RowForm, pack_rows
from tests.tokens.worlds import (
    CLS,
    KINDS,
    SEP,
    counting_store,
    epoch,
    frame_for,
    pair_frame,
    rows_by,
    store_of,
)

LENGTHS = st.lists(st.integers(1, 14), min_size=2, max_size=14)
ALL = [*KINDS, "pairs"]


def targets(ids, segments):
    """Ids that are scored in causal rows."""
    scored = (segments[:, 1:] >= 0) & (segments[:, 1:] == segments[:, :-1])
    return ids[:, 1:][scored].tolist()


# ---- every token once per epoch -----------------------------------------------------------------


@given(LENGTHS, st.integers(1, 9), st.integers(0, 3), st.sampled_from(KINDS))
def test_every_token_but_the_first_of_a_document_is_a_target_once_an_epoch(lengths, length, number, kind):
    store = counting_store([*lengths, 2])
    found = epoch(rows_by(kind, store, RowForm(length), seed=5), number)
    begins = {0, *store.ends.astype(int).tolist()}
    wanted = [int(i) for k, i in enumerate(store.ids) if k not in begins]
    assert sorted(targets(found["ids"], found["segments"])) == wanted


@given(LENGTHS, st.integers(2, 9), st.integers(0, 3), st.sampled_from(KINDS[1:]))
def test_an_encoder_reads_every_token_of_a_document_with_text_once_an_epoch(lengths, length, number, kind):
    store = counting_store([*lengths, 2])
    found = epoch(rows_by(kind, store, frame_for(kind, length, causal=False)), number)
    assert (found["ids"][:, 0] == CLS).all() and (found["segments"][:, 0] == 0).all()
    read = found["ids"][:, 1:][found["segments"][:, 1:] >= 0]
    wanted = [i for k in range(store.num_documents) if len(d := store.document(k)) > 1 for i in d.tolist()]
    assert sorted(read.tolist()) == wanted


@given(LENGTHS, st.integers(9, 24), st.integers(0, 3), st.integers(0, 2**63))
def test_pairs_read_every_token_of_a_document_of_two_words_once_an_epoch(lengths, length, number, draw):
    stops = np.random.default_rng(draw).random(60_000) < 0.3
    store = store_of([*lengths, 4])
    found = epoch(rows_by("pairs", store, pair_frame(length, stops), seed=draw), number)
    text = (found["segments"] == 0) & ~np.isin(found["ids"], [CLS, SEP])
    wanted = [i for k in range(store.num_documents) if len(d := store.document(k)) > 2 for i in d[:-1].tolist()]
    assert sorted(found["ids"][text].tolist()) == wanted


@given(LENGTHS, st.integers(2, 9), st.sampled_from(["best-fit", "document"]), st.booleans())
def test_no_document_shorter_than_a_row_is_cut_and_longer_ones_fill_rows_but_their_last(lengths, length, kind, causal):
    store, form = counting_store([*lengths, 2]), frame_for(kind, length, causal=causal)
    found = epoch(rows_by(kind, store, form))
    pieces = [
        ids[segments == k].tolist()
        for ids, segments in zip(found["ids"], found["segments"], strict=True)
        for k in set(segments.tolist()) - {-1}
    ]
    pieces = sorted([p for p in ([i for i in piece if i != CLS] for piece in pieces) if p])
    wanted = []
    for k in range(store.num_documents):
        rest = store.document(k).tolist()
        while len(rest) > form.room:
            wanted.append(rest[: form.room])
            rest = rest[form.room - causal :]
        if len(store.document(k)) > 1:
            wanted.append(rest)
    assert pieces == sorted(wanted)


# ---- one order, whoever asks --------------------------------------------------------------------


@settings(max_examples=60)
@given(LENGTHS, st.sampled_from(ALL), st.integers(1, 7), st.sampled_from([1, 2, 4]), st.integers(0, 2**40))
def test_a_row_is_a_function_of_seed_and_position_for_any_batch_and_ranks(lengths, kind, batch, ranks, start):
    rows = rows_by(kind, store_of([*lengths, 6, 7]), frame_for(kind, 9), seed=3)
    positions = np.arange(start, start + 3 * batch)
    whole = rows.at(positions)
    for rank in range(ranks):
        mine = rows.at(positions[rank::ranks])
        for name, array in whole.items():
            assert array[rank::ranks].tolist() == mine[name].tolist()
    for slot, position in enumerate(positions):
        alone = rows.at(np.array([position]))
        assert all(array[slot].tolist() == alone[name][0].tolist() for name, array in whole.items())


@pytest.mark.parametrize("kind", ALL)
def test_each_epoch_and_each_seed_has_an_order_of_its_own(kind):
    store = counting_store([7, 9, 12, 8, 10] * 20)
    seen = [epoch(rows_by(kind, store, frame_for(kind, 9), seed), e)["ids"] for seed in (0, 1) for e in (0, 1)]
    for i, one in enumerate(seen):
        for other in seen[:i]:
            assert (one == other).all(axis=1).mean() < 0.1


@pytest.mark.parametrize("kind", ALL)
def test_the_sample_is_the_same_each_time_and_at_most_as_many_as_asked(kind):
    rows = rows_by(kind, counting_store([7, 9, 12, 8, 10] * 20), frame_for(kind, 9))
    one, other = rows.sample(10), rows.sample(10)
    assert all(one[name].tolist() == other[name].tolist() and len(one[name]) == 10 for name in one)
    assert len(rows.sample(10**6)["ids"]) == len(rows)


# ---- blocks -------------------------------------------------------------------------------------


@given(LENGTHS, st.integers(1, 9))
def test_blocks_in_batches_are_the_blocks_one_by_one_by_plain_counting(lengths, length):
    store = counting_store(lengths)
    blocks = Blocks(store, length)
    found = blocks.take(np.arange(len(blocks)))
    documents = np.searchsorted(store.ends, np.arange(store.num_tokens, dtype=np.uint64), side="right")
    for k in range(len(blocks)):
        part = slice(k * length, k * length + length + 1)
        empty = length + 1 - len(store.ids[part])
        assert found["ids"][k].tolist() == store.ids[part].tolist() + [0] * empty
        assert found["segments"][k].tolist() == (documents[part] - documents[part][0]).tolist() + [-1] * empty


def test_an_encoders_block_is_cls_and_one_token_less():
    found = epoch(rows_by("blocks", counting_store([4, 3, 2]), RowForm(5, causal=False, cls=CLS)))
    assert sorted(found["ids"].tolist()) == [[CLS, 10, 11, 12, 13], [CLS, 14, 15, 16, 17]]
    assert sorted(found["segments"].tolist()) == [[0, 0, 0, 0, 0], [0, 0, 0, 0, 1]]


# ---- best fit -----------------------------------------------------------------------------------


def test_best_fit_by_hand():
    """Room 6: 5 4 3 2 2 1 -> [5 1] [4 2] [3 2]."""
    assert best_fit(np.array([2, 5, 3, 1, 4, 2]), 6).tolist() == [1, 0, 2, 0, 1, 2]


@given(st.lists(st.integers(1, 16), max_size=60))
def test_best_fit_by_size_uses_as_many_rows_as_best_fit_one_by_one(sizes):
    rows = best_fit(np.array(sizes, np.int32), 16)
    filled = np.bincount(rows, np.array(sizes), 0)
    assert (filled <= 16).all()
    assert len(filled) == len(pack_rows(sizes, 16))


def test_best_fit_leaves_less_than_one_per_cent_empty_of_prose_and_poems():
    rng = np.random.default_rng(0)
    lengths = [*rng.lognormal(5.5, 1.2, 2000).astype(int) + 2, *rng.integers(20, 90, 20_000)]
    assert BestFit.plan(store_of(rng.permutation(lengths).tolist()), RowForm(512)).waste < 0.01


# ---- one document a row -------------------------------------------------------------------------


def test_a_longer_document_goes_on_in_the_next_row_or_is_cut():
    store = counting_store([3, 6])
    split, cut = (epoch(rows_by({"kind": "document", "longer": how}, store, RowForm(3))) for how in ("split", "cut"))
    assert sorted(split["ids"].tolist()) == [[10, 11, 12, 0], [13, 14, 15, 16], [16, 17, 18, 0]]
    assert sorted(split["segments"].tolist()) == [[0, 0, 0, -1], [0, 0, 0, -1], [0, 0, 0, 0]]
    assert sorted(cut["ids"].tolist()) == [[10, 11, 12, 0], [13, 14, 15, 16]]


# ---- pairs --------------------------------------------------------------------------------------


def pair_of(ids, segments, parts):
    """(A, B) of one row, checked to be [cls] A [sep] B [sep]."""
    there = ids[segments == 0].tolist()
    seps = [i for i, token in enumerate(there) if token == SEP]
    assert there[0] == CLS and len(seps) == 2 and seps[1] == len(there) - 1
    assert parts.tolist() == [0] * (seps[0] + 1) + [1] * (seps[1] - seps[0]) + [0] * (len(ids) - len(there))
    return there[1 : seps[0]], there[seps[0] + 1 : seps[1]]


@given(st.lists(st.integers(1, 40), min_size=3, max_size=20), st.integers(9, 24), st.integers(0, 9))
def test_b_follows_a_in_its_document_where_is_next_says_so_and_is_of_another_where_not(lengths, length, number):
    store = store_of([*lengths, 9, 9])
    found = epoch(rows_by("pairs", store, pair_frame(length), seed=1), number)
    for ids, segments, parts, is_next in zip(*(found[n] for n in ("ids", "segments", "parts", "is_next")), strict=True):
        a, b = pair_of(ids, segments, parts)
        assert a and b and max(len(a), len(b)) <= (length - 3) // 2
        same = store.number_of(a[0] - 10) == store.number_of(b[0] - 10)
        assert same == is_next and (not is_next or b[0] == a[-1] + 1)


@pytest.mark.parametrize("number", [0, 1, 7])
def test_half_of_the_pairs_are_of_two_documents_every_epoch(number):
    found = epoch(rows_by("pairs", store_of([30, 41, 17, 22] * 56), pair_frame(16), seed=2), number)
    assert len(found["is_next"]) % 4 == 0
    assert (found["is_next"].reshape(-1, 4).sum(axis=1) == 2).all()


def test_parts_end_with_sentences_where_one_ends_near():
    """Sixteen words; the sentences end behind the 3rd, the 7th and the 12th: parts may be of six."""
    stops = np.zeros(60_000, bool)
    stops[[12, 16, 21]] = True
    found = epoch(rows_by("pairs", store_of([17]), pair_frame(15, stops)))
    pairs = sorted(pair_of(*row) for row in zip(*(found[n] for n in ("ids", "segments", "parts")), strict=True))
    assert [len(part) for pair in pairs for part in pair] == [3, 4, 5, 4]
    assert found["is_next"].all(), "one document has no other to take a part from"


def test_pairs_need_an_encoder_with_cls_and_sep_and_room_for_both():
    with pytest.raises(NotSupported, match="objective=masked"):
        PACKING("pairs").rows(store_of([9]), RowForm(16), 0)
    with pytest.raises(WrongValue, match="length is 8"):
        PACKING("pairs").rows(store_of([9]), pair_frame(8), 0)


def test_sentences_end_in_english_and_chinese():
    from tokenizers import AddedToken, Tokenizer, models

    from pretune.tokens.store.pairs import sentence_stops

    words = [".", "。", "a", ".”", "3.1", "\n", "！", "."]
    tokenizer = Tokenizer(models.WordLevel({w: k for k, w in enumerate([*words[:-1], "[SEP]."])}, unk_token="a"))
    tokenizer.add_special_tokens([AddedToken("[SEP].", special=True)])
    assert sentence_stops(tokenizer).tolist() == [True, True, False, True, False, True, True, False]


# ---- nothing to read ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("lengths", [[], [1]])
def test_a_store_without_a_target_has_no_rows(kind, lengths):
    assert len(rows_by(kind, store_of(lengths), frame_for(kind, 9))) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_may_be_longer_than_the_store(kind):
    found = epoch(rows_by(kind, counting_store([2, 3]), RowForm(64)))
    assert sorted(targets(found["ids"], found["segments"])) == [11, 13, 14]
