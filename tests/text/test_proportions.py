"""How often each part of a mixture is taken: arithmetic by hand, and the limits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.text.corpus.proportions import Proportions, filled, shared_out, times

SIZES = {("logs", "en"): 800, ("logs", "zh"): 200, ("manual", "en"): 900, ("manual", "zh"): 100}


def test_as_it_stands_every_document_is_taken_once():
    assert times(Proportions(), SIZES) == dict.fromkeys(SIZES, 1.0)


def test_weights_share_the_bytes_by_hand():
    found = times(Proportions(weights={"logs": 3, "manual": 1}), SIZES)  # 2000 bytes: 1500 and 500
    assert found == {("logs", "en"): 1.5, ("logs", "zh"): 1.5, ("manual", "en"): 0.5, ("manual", "zh"): 0.5}


def test_a_temperature_lifts_small_languages_by_hand():
    found = times(Proportions(temperature=2), {("a", "en"): 900, ("b", "en"): 700, ("b", "zh"): 100})
    # English 1600, Chinese 100: the roots are 40 and 10, so 1360 and 340 of 1700 bytes
    assert found == {("a", "en"): 0.85, ("b", "en"): 0.85, ("b", "zh"): 3.4}
    inside = times(Proportions(temperature=2, weights={"logs": 1, "manual": 1}), SIZES)
    assert inside["logs", "en"] == pytest.approx(1000 * 2 / 3 / 800)  # roots of 4 and 1 to one another: 2 and 1
    assert inside["manual", "zh"] == pytest.approx(1000 / 4 / 100)


def test_a_very_high_temperature_makes_languages_equal_and_repeats_are_limited():
    found = times(Proportions(temperature=1e9, max_repeats=4), {("a", "en"): 1900, ("a", "zh"): 100})
    assert found == {("a", "en"): round(1600 / 1900, 9), ("a", "zh"): 4.0}


@settings(max_examples=200, deadline=None)
@given(
    st.floats(1, 1e9),
    st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(0, 1e6)), min_size=1, max_size=8),
)
def test_what_is_shared_out_is_all_of_it_and_never_over_a_cap(total, parts):
    weights, caps = zip(*parts, strict=True)
    got = filled(total, weights, caps)
    assert sum(got) == pytest.approx(min(total, sum(caps)), rel=1e-9, abs=1e-6)
    assert all(g <= c * (1 + 1e-12) for g, c in zip(got, caps, strict=True))
    level = [g / w for g, c, w in zip(got, caps, weights, strict=True) if g < c * (1 - 1e-9)]
    assert max(level, default=0) == pytest.approx(min(level, default=0), rel=1e-6)  # the open ones by weight
    full = [g / w for g, c, w in zip(got, caps, weights, strict=True) if g >= c * (1 - 1e-9)]
    assert not level or max(full, default=0) <= max(level) * (1 + 1e-6)  # nobody was cut who could take more


def test_a_small_language_is_read_whole_and_the_others_share_what_is_left():
    sizes = {("web", "en"): 900, ("web", "zh"): 90, ("web", "de"): 10}
    plain, fair = shared_out(100, sizes, 1.0), shared_out(100, sizes, 2.0)
    assert plain == dict.fromkeys(sizes, 0.1)
    # roots 30, 9.49, 3.16 of 42.65: de would have 7.41 of 10, zh 22.24, en 70.34
    assert {g[1]: round(s * sizes[g], 2) for g, s in fair.items()} == {"en": 70.34, "zh": 22.24, "de": 7.41}
    assert shared_out(300, sizes, 100.0)["web", "de"] == 1.0
    assert shared_out(1000, sizes, 2.0) == dict.fromkeys(sizes, 1.0)
    assert shared_out(1000, {**sizes, ("web", ""): 0}, 2.0) == dict.fromkeys([*sizes, ("web", "")], 1.0)
