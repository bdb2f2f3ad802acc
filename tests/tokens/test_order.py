import numpy as np
import pytest

from pretune.tokens.store.order import Order


@pytest.mark.parametrize("num_rows", [1, 2, 3, 4, 5, 16, 17, 100, 1000, 4097])
def test_every_epoch_visits_every_row_exactly_once(num_rows):
    order = Order(num_rows, seed=7)
    for epoch in (0, 1, 5, 10**6):
        rows = order.rows(np.arange(epoch * num_rows, (epoch + 1) * num_rows))
        assert sorted(rows.tolist()) == list(range(num_rows))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [Order(500, seed).rows(np.arange(e * 500, (e + 1) * 500)) for seed in (0, 1) for e in (0, 1)]
    for i, one in enumerate(orders):
        for other in orders[:i]:
            assert (one == other).mean() < 0.03  # 1 / 500 is chance


def test_any_cut_into_ranks_and_micro_batches_reads_the_same_rows():
    order, batch = Order(137, seed=3), 8
    whole = order.rows(np.arange(40 * batch))
    by_slot = [order.row(step * batch + slot) for step in range(40) for slot in range(batch)]
    by_rank = np.stack([order.rows(np.arange(r, 40 * batch, 2)) for r in range(2)], axis=1).ravel()
    assert whole.tolist() == by_slot == by_rank.tolist()


def test_a_batch_may_cross_the_end_of_an_epoch():
    rows = Order(10, seed=0).rows(np.arange(8, 12))
    assert rows.tolist() == [Order(10, 0).row(p) for p in (8, 9, 10, 11)]


def test_neighbours_are_scattered():
    rows = Order(10_000, seed=1).rows(np.arange(10_000))
    assert abs(np.corrcoef(np.arange(10_000), rows)[0, 1]) < 0.05
    assert abs(np.corrcoef(rows[:-1], rows[1:])[0, 1]) < 0.05


def test_the_order_never_changes_between_versions():
    """These numbers are what resumed runs rely on."""
    assert Order(10, seed=0).rows(np.arange(10)).tolist() == [1, 9, 2, 6, 5, 3, 8, 0, 7, 4]
