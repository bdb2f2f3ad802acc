"""Strangers' files: a drawn sample of the grammar, and whether its judge can tell right from wrong.

Two thousand of them: benchmarks/strangers.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from pretune.testing.folders import write_model
from tests.strangers.draft import Row
from tests.strangers.drawing import ODDITIES, Case, draw
from tests.strangers.judging import judge

SEED = 60
SAMPLE = sorted(random.Random(SEED).sample(range(10 * len(ODDITIES)), 60))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return write_model(folder / "bert-labels", folder / "words", "bert-labels")


def drawn(verb: str, *odd: str) -> Case:
    """The first case of a verb that is odd in this way alone, or not at all."""
    names = [one.name for one in ODDITIES]
    turns = count(names.index(odd[0]) + 1 if odd else 0, len(names) + 1)
    found: Iterator[Case] = (draw(SEED, number) for number in turns)
    return next(case for case in found if case.verb == verb and case.odd == odd and len(case.rows) > 1)


@pytest.mark.parametrize("number", SAMPLE)
def test_a_strange_file_is_read_right_or_refused_with_what_to_do(number: int, model: Path) -> None:
    case = draw(SEED, number)
    verdict = judge(case, model=model)
    assert verdict.name == "right" or (verdict.name == "refused" and not case.readable), (case.odd, verdict.why)


def test_a_case_is_the_same_each_time_and_every_oddity_has_its_turn() -> None:
    assert draw(3, 17).files == draw(3, 17).files != draw(4, 17).files
    names = [one.name for one in ODDITIES]
    assert len(set(names)) == len(names)
    assert {name for number in range(len(names) + 1) for name in draw(3, number).odd} == set(names)


@pytest.mark.parametrize("verb", ["dataset", "corpus"])
def test_a_row_that_is_lost_changed_or_made_up_is_wrong(verb: str) -> None:
    case = drawn(verb)
    rows = list(case.rows)
    changed = [replace(rows[0], readings=[("another", "reading")]), *rows[1:]]
    for wrong in (changed, rows[1:], [*rows, rows[0]]):
        assert judge(replace(case, rows=wrong)).name == "wrong"


def test_what_is_left_out_without_a_word_is_wrong() -> None:
    case = drawn("dataset")
    assert judge(replace(case, rows=[*case.rows, Row({}, readings=[], told=True)])).name == "wrong"
    assert judge(drawn("dataset", "no label")).name == "right", "here it is told"


def test_an_error_of_ours_needs_a_hint_and_any_other_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    case = drawn("dataset")
    assert judge(replace(case, files={case.given: b"\0\1\2"})).name == "refused"
    from pretune.base.errors import NotText

    for error, verdict in ((NotText("no text"), "unclear"), (ValueError("what?"), "crashed")):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("pretune.text.dataset.stage.read_all", fail)
        assert judge(case).name == verdict
