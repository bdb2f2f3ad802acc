"""Filters read columns: one row, and a table of rows."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pretune.text.clean.filters import FILTER, Filter, Short, reject_table
from pretune.text.clean.quality.rules import C4, DEFAULT_FILTERS, Debris, FineWeb, Gopher, GopherRepetition, Language
from pretune.text.clean.quality.statistics import COLUMNS, measure_all
from tests.text.measured import measure, rejected

ALL = [
    Short(),
    Debris(),
    Gopher(),
    GopherRepetition(),
    C4(),
    FineWeb(),
    Language(keep=["en", "zh"], min_confidence=0.5),
]
ADDED = [("language", pa.string()), ("language_confidence", pa.float32()), ("quality", pa.float32())]
SCHEMA = pa.schema([*COLUMNS.items(), *ADDED])


class Loud(Filter):
    """A stranger's filter, which reads the text."""

    kind: str = "loud"
    needs: ClassVar[tuple[str, ...]] = ("text",)

    def reject(self, row: Any) -> str | None:
        return "loud: capitals" if row["text"].isupper() else None


def test_a_short_text_is_rejected_with_its_size_in_any_script():
    assert Short(min_characters=5).reject(measure("你 好\n")) == "short: 2 characters < 5"
    assert Short(min_characters=2).reject(measure("你好")) is None


def test_every_kind_of_the_table_is_found_and_says_what_it_needs():
    for kind in FILTER.table:
        rule = FILTER(kind)
        assert rule.kind == kind
        assert rule.needs
        assert set(rule.needs) <= set(SCHEMA.names)


def test_a_rule_reads_nothing_but_the_columns_it_needs():
    row = {**measure("A text about the sea. " * 9), "language": "en", "language_confidence": 0.9}
    for rule in ALL:
        assert rule.reject({name: row[name] for name in rule.needs}) == rule.reject(row)


def test_a_threshold_given_for_one_script_group_leaves_the_other_and_its_own_defaults():
    rule = FILTER({"kind": "gopher", "unspaced": {"min_words": 5}})
    assert rule.spaced == Gopher().spaced
    assert rule.unspaced.min_words == 5
    assert rule.unspaced.min_distinct_stop_words is None


def test_a_threshold_that_does_not_exist_is_refused():
    with pytest.raises(ValidationError, match="min_wrods"):
        FILTER({"kind": "gopher", "spaced": {"min_wrods": 5}})


def test_a_value_at_the_threshold_is_kept_although_shares_are_stored_in_float32():
    row = {
        **measure("x"),
        "script": "Latn",
        "lines_under_30_share": float(np.float32(0.67)),
        "terminal_line_share": 1.0,
    }
    row["duplicate_line_character_share"] = float(np.float32(0.1))
    table = pa.Table.from_pylist([row], schema=pa.schema(list(COLUMNS.items())))
    assert FineWeb().reject(row) is None
    assert reject_table([FineWeb()], table) == [None]
    row["duplicate_line_character_share"] = float(np.nextafter(np.float32(0.1), np.float32(1)))
    assert FineWeb().reject(row) == "fineweb: duplicate line character share 0.1 > 0.1"


WORDS = st.sampled_from(
    ["the", "and", "a", "你", "好", "。", ".", "\n", "#", "{", "...", "•", "123", "\ufffd", "ab" * 30]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(WORDS, max_size=90).map(" ".join), min_size=1, max_size=6))
def test_a_table_is_judged_like_its_rows_one_by_one(texts):
    rows = [
        {**m, "language": "en", "language_confidence": 0.4 + 0.1 * (k % 3)} for k, m in enumerate(measure_all(texts))
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    stored = table.to_pylist()
    assert reject_table(ALL, table) == [rejected(ALL, row) for row in stored]


def test_the_first_filter_that_rejects_gives_the_reason():
    row = measure("UP")
    assert rejected([Short(), Gopher()], row) == "short: 2 characters < 20"
    assert rejected([Gopher(), Short()], row) == "gopher: words 1 < 50"
    assert rejected([], row) is None


def test_a_filter_of_a_strangers_may_read_the_text():
    table = pa.table({"text": ["LOUD", "soft"], "visible_characters": [4, 4]})
    assert reject_table([Loud(), Short(min_characters=1)], table) == ["loud: capitals", None]


def test_an_empty_table_and_no_filters_give_no_reasons():
    table = pa.Table.from_pylist([], schema=SCHEMA)
    assert reject_table(ALL, table) == []
    assert reject_table([], table.select(["words"])) == []
    assert reject_table([], pa.table({"words": [1, 2]})) == [None, None]


def test_a_language_that_is_not_kept_or_not_sure_is_named():
    rule = Language(keep=["zh"], min_confidence=0.5)
    assert rule.reject({"language": "fr", "language_confidence": 0.9}) == "language: fr is not kept"
    unsure = "language: confidence 0.31 of zh < 0.5"
    assert rule.reject({"language": "zh", "language_confidence": 0.31}) == unsure
    assert rule.reject({"language": "zh", "language_confidence": 0.5}) is None
    assert Language().reject({"language": "und", "language_confidence": 0.0}) is None


def test_two_hundred_thousand_rows_are_judged_by_the_default_filters_and_print_their_speed(capsys):
    texts = ["The dog and the cat sat on the mat. " * 3, "床前明月光，疑是地上霜。", "\ufffd" * 30, "a b c"]
    table = pa.Table.from_pylist(measure_all(texts), schema=pa.schema(list(COLUMNS.items())))
    many = pa.concat_tables([table] * 50_000).combine_chunks()
    start = time.perf_counter()
    reasons = reject_table(DEFAULT_FILTERS, many)
    with capsys.disabled():
        print(f"\n{many.num_rows / (time.perf_counter() - start) / 1e6:.2f} M rows/s", end="")
    assert reasons == ["debris: replacement share 1 > 0.1" if k % 4 == 2 else None for k in range(200_000)]
