"""Is my loss normal? Small real runs with a trouble planted are told by its name, healthy ones are left alone."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pretune.cli import cli
from pretune.train.watch.diagnosis import reference
from pretune.train.watch.diagnosis.reading import Run
from pretune.train.watch.diagnosis.report import compared, differing
from pretune.train.watch.diagnosis.rules import GAP, STEEP, diagnosed, times_usual
from tests.train.normal_worlds import chinese, english, trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("normal")


def found(model: Path) -> list[str]:
    return [one.name for one in diagnosed(Run.open(model))[1]]


COPIES = {"corpus": {"dedup": "none", "max_overlap": None, "validation": 0.15}}


def test_a_healthy_run_is_left_alone(folder: Path, shared: Path) -> None:
    model = trained(folder / "healthy", english(shared, number=200, size=1500), steps=60)
    assert found(model) == []
    told = compared(str(model), "", as_json=False)
    assert "nothing is wrong with it" in told
    assert "bits per byte after" in told and "references (" in told


def test_a_healthy_run_on_chinese_is_left_alone(folder: Path, shared: Path) -> None:
    words = {"tokenizer": {"vocab_size": 2000}}
    assert found(trained(folder / "poems", chinese(shared, number=1500), stages=words, steps=60)) == []


def test_a_rate_of_a_hundred_times_the_usual_is_told(folder: Path, shared: Path) -> None:
    optim = {"kind": "muon", "matrix_rate": 2.0, "learning_rate": 0.3}
    model = trained(folder / "rate", english(shared, number=200, size=1500), steps=60, optim=optim)
    assert found(model) == ["rate-too-high"]
    assert "100 times the optimizer's usual" in compared(str(model), "", as_json=False)


def test_a_run_of_a_few_steps_is_under_fit(folder: Path, shared: Path) -> None:
    assert found(trained(folder / "few", english(shared, number=200, size=1500), steps=6)) == ["under-fit"]


def test_held_out_text_that_stands_in_the_training_text_is_a_leak(folder: Path, shared: Path) -> None:
    texts = english(shared, number=300, size=1500)[:24]
    anthologies = ["\n".join(texts[k::3]) for k in range(3)]
    model = trained(folder / "leak", texts + anthologies, stages=COPIES, steps=220)
    assert found(model) == ["leak"]
    assert "(corpus: dedup=none, max_overlap=None)" in compared(str(model), "", as_json=False)


def test_little_text_read_many_times_is_over_fit(folder: Path, shared: Path) -> None:
    texts = english(shared, number=300, size=1500)
    model = trained(folder / "over", texts[:24] + texts[100:124], steps=220, stages={"corpus": {"validation": 0.15}})
    assert found(model) == ["over-fit"]


def test_a_text_of_many_copies_is_told_though_it_is_read_once(folder: Path, shared: Path) -> None:
    copies = [f"{text}\n{k}" for k in range(30) for text in english(shared, number=300, size=1500)[:8]]
    assert found(trained(folder / "copies", copies, stages=COPIES, steps=110)) == ["duplicates"]


def test_a_tokenizer_of_300_words_on_chinese_is_told(folder: Path, shared: Path) -> None:
    small = {"tokenizer": {"vocab_size": 300}}
    model = trained(folder / "small", chinese(shared, number=400), stages=small, steps=40)
    assert found(model) == ["tokenizer-trouble"]
    assert "its vocabulary is small" in compared(str(model), "", as_json=False)


def test_a_tokenizer_that_learnt_another_language_is_told(folder: Path, shared: Path) -> None:
    source = folder / "foreign" / "english.txt"
    source.parent.mkdir()
    source.write_text("\n".join(english(shared, number=100, size=1500)), encoding="utf-8")
    other = {"other": {"kind": "corpus", "read": [str(source)]}, "tokenizer": {"corpus": "$other"}}
    model = trained(folder / "foreign", chinese(shared, number=400), stages=other, steps=40)
    assert found(model) == ["tokenizer-trouble"]
    assert "was it learnt from other text?" in compared(str(model), "", as_json=False)


def test_a_tokenizer_of_characters_is_meant_to_have_short_tokens(folder: Path, shared: Path) -> None:
    letters = {"tokenizer": {"algorithm": "character"}}
    texts = english(shared, number=200, size=600)
    assert "tokenizer-trouble" not in found(trained(folder / "letters", texts, stages=letters, steps=20))


# ---- the references ------------------------------------------------------------------------------


@pytest.mark.parametrize("place", range(len(reference.curves())))
def test_a_reference_lies_in_its_own_band_and_seeds_differ_less_than_texts(place: int) -> None:
    one = reference.curves()[place]
    band = reference.band(reference.LANGUAGE[one.text], one.matrices, one.num_bytes)
    assert band is not None
    assert band.low < one.bits_per_byte < band.high
    alike = [c for c in reference.curves() if (c.text, c.matrices, c.steps) == (one.text, one.matrices, one.steps)]
    ends = [c.bits_per_byte for c in alike]
    assert max(ends) / min(ends) < 1.01
    half = [bits for read, bits in one.validation if read <= one.num_bytes / 2]
    assert 1.015 < half[-1] / one.validation[-1][1] < STEEP
    assert one.bits_per_byte / one.train[-1][1] < GAP


def test_more_text_and_a_larger_model_lower_the_band() -> None:
    bands = [reference.band("en", m, b) for m, b in ((50_000, 300_000), (50_000, 900_000), (300_000, 900_000))]
    lows = [band.low for band in bands if band]
    assert len(lows) == 3 and lows == sorted(lows, reverse=True)


def test_far_from_what_we_ran_there_is_no_band() -> None:
    assert reference.band("en", 50_000, 2e4) is None
    assert reference.band("en", 7_000_000_000, 1e6) is None


def test_rates_are_told_as_multiples_of_the_optimizers_own() -> None:
    assert times_usual({"kind": "muon"}) == 1
    assert times_usual({"kind": "muon", "learning_rate": 3e-3, "matrix_rate": 0.2}) == pytest.approx(10)


# ---- two runs, and bad input ---------------------------------------------------------------------


def run_in(folder: Path, *, steps: int = 2, **settings: Any) -> Path:
    """The smallest run that has a curve."""
    texts = [f"The {k} foxes jump over {k * k} lazy dogs, and the {k + 1} geese look at them." for k in range(40)]
    return trained(folder, texts, steps=steps, stages={"tokenizer": {"vocab_size": 300}}, **settings)


def test_two_runs_are_laid_beside_each_other_with_the_settings_that_differ(tmp_path: Path) -> None:
    one, other = run_in(tmp_path / "one"), run_in(tmp_path / "other", steps=3, batch=8)
    done = CliRunner().invoke(cli, ["show", str(one), "--compare", str(other), "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.output)
    assert facts["runs"] == ["base", "base (other)"]
    assert {"steps": [2, 3], "batch": [16, 8]}.items() <= facts["settings"].items()
    assert facts["metrics"]["steps"] == [2, 3]
    assert [len(points) > 0 for points in facts["curves"].values()] == [True, True]
    alone = CliRunner().invoke(cli, ["show", str(one), "--compare", "--json"])
    assert alone.exit_code == 0
    assert json.loads(alone.output)["findings"][0]["name"] == "under-fit"


def test_what_is_no_run_is_refused_with_what_it_is(tmp_path: Path) -> None:
    run = run_in(tmp_path / "one")
    for path, code in ((run.parent / "tokens", "wrong-kind"), (run.parent / "gone", "no-such-file")):
        result = CliRunner().invoke(cli, ["show", str(path), "--compare"])
        assert getattr(result.exception, "code", None) == code
    metrics = run / "metrics.jsonl"
    metrics.write_text('{"step": 1}\n{"st', encoding="utf-8")
    result = CliRunner().invoke(cli, ["show", str(run), "--compare"])
    assert "line 2" in str(result.exception)
    metrics.unlink()
    assert (
        getattr(CliRunner().invoke(cli, ["show", str(run), "--compare"]).exception, "code", None) == "not-an-artifact"
    )


def test_a_run_whose_tokens_are_gone_is_judged_by_its_curve_alone(tmp_path: Path) -> None:
    run = replace(Run.open(run_in(tmp_path / "one")), text=None)
    case, _ = diagnosed(run)
    assert case.band is None and math.isnan(case.train)


def test_settings_that_are_alike_are_left_out() -> None:
    assert differing({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}}) == {"a.c": [2, 4], "d": [3, None]}
