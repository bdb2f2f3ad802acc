"""`pretune tune` as it is typed: mistakes that are told before anything runs, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tune.toys import RECIPE

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tune(pretune: Run) -> Callable[..., tuple[int, str, str]]:
    Path("r.yaml").write_text(RECIPE, encoding="utf-8")
    return lambda *words: pretune("tune", "r.yaml", *words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("hill.x=5..1",), "hill.x=5..1 is an empty range"),
        (("hill.x=1..1",), "is an empty range"),
        (("hill.x=0..5:log",), "only a range above 0 has a logarithmic scale"),
        (("hill.y=0..5",), "hill.y (line 5): no such setting; choose one of: corpus, gate, k, steps, way, x"),
        (("hil.x=0..5",), "hil.x: no such stage; did you mean 'hill'?"),
        (("hill.k=1.5..4",), "hill.k (line 5): must be a whole number (got 1.5)"),
        (("hill.x=slow,fast",), "hill.x (line 5): must be a number (got 'slow')"),
        (("hill.x=1",), "there is nothing to search"),
        ((), "there is nothing to search"),
        (("hill.z=1..2", "hill.k=a,b", "hill.x=1,2"), "2 settings are wrong"),
        (("seed=1..5",), "seed is no setting of a stage"),
        (("hill.x=0..5", "--by", "validation_skore"), "did you mean 'validation_score'?"),
        (("hill.x=0..5", "--by", "words.score"), "no stage 'words' that trains"),
        (("hill.x=0..5", "--from", "nowhere"), "'nowhere' holds no study"),
        (("hill.x=0..5", "--sampler", "grid"), "a grid needs choices, and hill.x has a range"),
        (("hill.x=0..5", "--trials", "0"), "0 is not in the range"),
        (("hill.x=0..5", "seeds=2", "--halving"), "--halving follows one run"),
        (("hill.x=0..5", "nproc=2"), "a search runs in one process"),
        (("hill.x=0..5", "ray=ray://here:10001"), "the process here must be one of the cluster"),
        (("hill.x=0..5", "ray=auto", "nproc=2"), "a search runs in one process"),
    ],
)
def test_what_cannot_be_searched_is_told_in_a_sentence(tune: Run, words: tuple[str, ...], told: str) -> None:
    code, _, err = tune(*words)
    assert code == 2
    assert told in err
    assert not Path("work/hill").exists() or "--by" in words


def test_a_search_that_nothing_trains_on_is_refused(pretune: Run) -> None:
    Path("r.yaml").write_text(RECIPE.split("  hill:", maxsplit=1)[0], encoding="utf-8")
    code, _, err = pretune("tune", "r.yaml", "words.upper=true,false")
    assert code == 2
    assert "nothing that trains depends on words.upper" in err


def test_a_damaged_study_is_named_and_not_overwritten(tune: Run) -> None:
    assert tune("hill.k=1,2", "--sampler", "grid", "--quiet")[0] == 0
    path = Path("work.tune/trials.jsonl")
    path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    before = path.read_bytes()
    code, _, err = tune("hill.k=1,2", "--sampler", "grid")
    assert code == 2
    assert "the study in 'work.tune' cannot be read" in err
    assert path.read_bytes() == before


def test_progress_goes_to_stderr_and_json_is_one_object(tune: Run) -> None:
    code, out, err = tune("hill.k=1,2,3", "--sampler", "grid")
    assert code == 0
    for told in (
        "3 trials, sampler grid",
        "hill.k  one of 1, 2, 3",
        "scored by validation_score of hill, higher is better",
    ):
        assert told in err
    assert "once: words; in every trial: hill; at the end: exam" in err
    assert "trial 3 of 3: hill.k=" in err
    assert "next: pretune run work.tune/best.yaml" in out
    code, out, err = tune("hill.k=1,2,3", "--sampler", "grid", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["best"]["values"] == {"hill.k": 1}
    assert len(found["trials"]) == 3


def test_a_range_over_more_than_a_factor_of_ten_is_logarithmic_unless_it_says_otherwise(tune: Run) -> None:
    _, _, err = tune("hill.x=0.1..1", "hill.k=1..11", "hill.steps=1..20:lin", "--trials", "1")
    assert "hill.x      0.1 ... 1\n" in err
    assert "hill.k      1 ... 11, whole, on a logarithmic scale\n" in err
    assert "hill.steps  1 ... 20, whole\n" in err
