"""Several stores in proportion: shares exact on every stretch, every row as often as its share says."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.base.errors import EmptyInput
from pretune.text.corpus.proportions import Proportions
from pretune.tokens.store.mixture import MixedRows, mixed
from pretune.tokens.store.packing import RowForm
from tests.tokens.worlds import KINDS, counting_store, rows_by, store_of

COUNTS = st.lists(st.integers(1, 60), min_size=1, max_size=5)


@given(COUNTS, st.integers(0, 5))
def test_an_epoch_takes_each_place_of_each_part_once_and_the_next_goes_on_there(counts, epoch):
    rows = MixedRows({}, np.array(counts))
    part, place = rows.places(np.arange(epoch * len(rows), (epoch + 1) * len(rows)))
    for k, count in enumerate(counts):
        assert place[part == k].tolist() == list(range(epoch * count, (epoch + 1) * count))


@given(COUNTS, st.integers(0, 500))
def test_every_stretch_has_the_shares_to_a_row_for_each_part(counts, until):
    rows = MixedRows({}, np.array(counts))
    part, _ = rows.places(np.arange(until))
    for k, count in enumerate(counts):
        assert abs((part == k).sum() - until * count / len(rows)) < len(counts)


@given(COUNTS, st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_places_do_not_depend_on_which_others_are_asked(counts, positions):
    rows = MixedRows({}, np.array(counts))
    together = np.stack(rows.places(np.array(positions)))
    alone = np.concatenate([np.stack(rows.places(np.array([p]))) for p in positions], axis=1)
    assert together.tolist() == alone.tolist()


def stores(kind="blocks"):
    """Three stores of 1,000, 300 and 100 rows of four tokens, told apart by their ids."""
    sizes = {"en": (1000, 0), "zh": (300, 20_000), "code": (100, 40_000)}
    return {
        name: rows_by(kind, counting_store([4] * rows), RowForm(4))
        if not first
        else rows_by(kind, store_of([4] * rows, first=first), RowForm(4))
        for name, (rows, first) in sizes.items()
    }


def shares(rows, number=10_000):
    ids = rows.at(np.arange(number))["ids"][:, 0]
    return [float((np.digitize(ids, [20_000, 40_000]) == k).mean()) for k in range(3)]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_the_shares_of_ten_thousand_rows_within_one_per_cent(kind):
    weights = {"en": 2.0, "zh": 1.0, "code": 1.0}
    rows = mixed(stores(kind), Proportions(weights=weights, max_repeats=100))
    assert np.allclose(shares(rows), [0.5, 0.25, 0.25], atol=0.01)


def test_without_weights_each_part_has_its_size_and_temperature_lifts_the_small():
    assert np.allclose(shares(mixed(stores(), Proportions())), np.array([1000, 300, 100]) / 1400, atol=0.01)
    lifted = np.sqrt([1000, 300, 100])
    warm = mixed(stores(), Proportions(temperature=2, max_repeats=100))
    assert np.allclose(shares(warm), lifted / lifted.sum(), atol=0.01)


def test_no_row_is_taken_more_often_than_max_repeats_and_none_of_a_part_twice_more_than_another():
    rows = mixed(stores(), Proportions(weights={"en": 1, "zh": 1, "code": 8}, max_repeats=2))
    part, place = rows.places(np.arange(len(rows)))
    often = Counter(zip(part.tolist(), (place % [1000, 300, 100][2]).tolist(), strict=True))
    assert all(often[2, row] == 2 for row in range(100))
    seen = Counter(rows.at(np.arange(3 * len(rows)))["ids"][:, 0].tolist())
    for low, high in ((0, 20_000), (20_000, 40_000), (40_000, 65_000)):
        counts = [n for first, n in seen.items() if low <= first < high]
        assert max(counts) - min(counts) <= 1


def test_ranks_read_the_rows_that_one_process_reads():
    rows = mixed(stores(), Proportions(weights={"en": 1, "zh": 2, "code": 3}))
    whole = rows.at(np.arange(8000, 8064))["ids"]
    for ranks in (1, 2, 4):
        for rank in range(ranks):
            assert rows.at(np.arange(8000 + rank, 8064, ranks))["ids"].tolist() == whole[rank::ranks].tolist()


def test_one_store_is_read_as_if_there_were_no_mixture():
    one = {"en": stores()["en"]}
    assert mixed(one, Proportions()) is one["en"]


def test_a_store_without_rows_is_named():
    with pytest.raises(EmptyInput, match="zh has no rows"):
        mixed({"en": stores()["en"], "zh": rows_by("blocks", store_of([]), RowForm(4))}, Proportions())


def test_messages_name_the_store_and_the_rows():
    rows = mixed(stores(), Proportions(weights={"en": 1, "zh": 1, "code": 1}))
    assert "en: rows " in rows.where(np.arange(6)) and "zh: rows " in rows.where(np.arange(6))
