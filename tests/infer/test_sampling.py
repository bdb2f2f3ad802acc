import numpy as np
import pytest

from pretune.base.errors import NotFinite
from pretune.infer.sampling import Sampling, choose, distribution, penalised

LOGITS = np.log(np.array([0.1, 0.5, 0.15, 0.25]))


def kept(sampling: Sampling) -> list[int]:
    return np.flatnonzero(distribution(LOGITS, sampling)).tolist()


def test_temperature_one_is_the_models_own_distribution() -> None:
    np.testing.assert_allclose(distribution(LOGITS, Sampling(temperature=1)), [0.1, 0.5, 0.15, 0.25], rtol=1e-12)


def test_temperature_half_squares_the_odds() -> None:
    p = distribution(LOGITS, Sampling(temperature=0.5))
    assert p[1] / p[3] == pytest.approx(4, rel=1e-12)


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    assert kept(Sampling(temperature=1, top_p=0.5)) == [1]
    assert kept(Sampling(temperature=1, top_p=0.51)) == [1, 3]
    assert kept(Sampling(temperature=1, top_p=1e-9)) == [1]


def test_top_k_keeps_that_many_and_ties_go_to_the_smaller_id() -> None:
    assert kept(Sampling(temperature=1, top_k=2)) == [1, 3]
    assert np.flatnonzero(distribution(np.zeros(4), Sampling(temperature=1, top_k=2))).tolist() == [0, 1]


def test_draws_follow_the_distribution() -> None:
    rng = np.random.default_rng(0)
    drawn = [choose(LOGITS, [], Sampling(temperature=1), rng) for _ in range(4000)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 4000, [0.1, 0.5, 0.15, 0.25], atol=0.03)


def test_the_largest_draw_gives_a_token_that_has_a_chance() -> None:
    class Largest(np.random.Generator):
        def random(self, *given: object, **named: object) -> float:  # type: ignore[override]
            return 1.0

    for size in range(50, 1000, 50):
        logits = np.append(np.linspace(0, 3, size), -np.inf)
        assert choose(logits, [], Sampling(temperature=1), Largest(np.random.PCG64(0))) == size - 1


@pytest.mark.parametrize("temperature", [1e-300, 1e-6, 1e-3])
def test_a_tiny_temperature_is_greedy_and_overflows_nothing(temperature: float) -> None:
    assert choose(LOGITS * 1e4, [], Sampling(temperature=temperature), np.random.default_rng(0)) == 1


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    found = penalised(np.array([2.0, -2.0, 1.0]), [0, 1, 0], 2.0)
    assert found.tolist() == [1.0, -4.0, 1.0]


def test_logits_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(NotFinite, match="not finite"):
        choose(np.array([0.0, np.nan]), [], Sampling(), np.random.default_rng(0))


def test_masked_logits_of_minus_infinity_are_never_drawn() -> None:
    logits = np.array([0.0, -np.inf, 0.0])
    rng = np.random.default_rng(0)
    assert 1 not in {choose(logits, [], Sampling(temperature=2.0), rng) for _ in range(200)}
