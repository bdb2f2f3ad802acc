"""A search over a toy recipe: what is made how often, what goes on after a stop, what comes out."""

from __future__ import annotations

import json
import math
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pretune.base.errors import OtherStudy, UserError
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.tune.command import Outcome, Wanted, opened, tuned
from pretune.tune.halving import falls_behind
from pretune.tune.outcome import best_so_far, parallel
from pretune.tune.space import read_space
from pretune.tune.study import Study, Trial
from pretune.tune.trials import Search, expected, run_trial
from tests.tune.toys import ACCIDENTS, RECIPE, RUNS

SEARCHED = ("hill.x=0..5", "hill.k=1..9")


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(f"{RECIPE}sizes:\n  low: {{hill.steps: 2}}\n", encoding="utf-8")
    RUNS.clear()
    ACCIDENTS.clear()


def prepared(*searched: str, **wanted: Any) -> tuple[Search, Study]:
    return opened(Wanted("r.yaml", searched or SEARCHED, **wanted))


def run(*searched: str, **wanted: Any) -> Outcome:
    job, study = prepared(*searched, **wanted)
    return tuned(job, study, log=Log(quiet=True), command="test", stopping=lambda gentle: lambda: False)


def outcomes(found: Outcome) -> list[tuple[Any, ...]]:
    return [(one["values"], one["score"], one["state"]) for one in found.facts["trials"]]


def hills() -> list[str]:
    return [one for one in RUNS if one.startswith("hill")]


def test_a_second_winner_is_judged_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    first = run(trials=1)
    assert "warning" not in capsys.readouterr().err
    second = run(trials=8)
    assert second.facts["best"]["values"] != first.facts["best"]["values"]
    assert "exam ran before, for another winner" in capsys.readouterr().err
    run(trials=8)
    assert "warning" not in capsys.readouterr().err


def test_what_is_not_searched_is_made_once_and_the_exam_is_written_by_the_winner_alone() -> None:
    found = run(trials=6)
    assert RUNS.count("words") == 1
    assert RUNS[0] == "words"
    assert len(hills()) == 6
    assert RUNS.count("exam") == 1
    assert RUNS[-1] == "exam"
    best = found.facts["best"]
    assert best["score"] == max(one["score"] for one in found.facts["trials"])
    assert "5 models of other trials" in found.text
    assert found.facts["made"]["hill"]["metrics"]["validation_score"] == best["score"]


def test_trials_share_the_stages_whose_settings_they_share() -> None:
    run("words.upper=true,false", "hill.k=1,2,3", sampler="grid")
    assert RUNS.count("words") == 2
    assert len(hills()) == 6


def test_the_best_recipe_is_a_file_and_all_of_it_is_current() -> None:
    found = run(*SEARCHED, "hill.steps=3", size="low", trials=4)
    recipe = Recipe.read(found.facts["recipe"])
    assert {plan.status for plan in recipe.plan()} == {"current"}
    text = Path(found.facts["recipe"]).read_text(encoding="utf-8")
    assert "steps: 3" in text, "what was typed goes before what the size says"
    assert "sizes" not in text
    assert len(hills()) == 4


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """Eight trials that nothing interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("quiet"))
        Path("r.yaml").write_text(RECIPE, encoding="utf-8")
        return outcomes(run(trials=8))


@pytest.mark.parametrize("stopped", [1, 4, 7])
def test_the_same_seed_gives_the_same_study_stopped_after_any_trial(stopped: int, quiet: list[tuple[Any, ...]]) -> None:
    assert outcomes(run(trials=stopped)) == quiet[:stopped]
    assert outcomes(run(trials=8)) == quiet
    assert len(hills()) == 8


def test_a_trial_that_ctrl_c_hits_is_tried_again_and_no_other(quiet: list[tuple[Any, ...]]) -> None:
    ACCIDENTS.append(4)
    with pytest.raises(KeyboardInterrupt):
        run(trials=8)
    assert len(prepared()[1].trials) == 3
    assert outcomes(run(trials=8)) == quiet
    assert len(hills()) == 8


def test_another_seed_gives_another_study(quiet: list[tuple[Any, ...]]) -> None:
    assert outcomes(run(trials=3, seed=1)) != quiet[:3]


def test_a_crash_between_the_artifact_and_its_line_makes_nothing_twice() -> None:
    found = run(trials=5)
    lines = Path("work.tune/trials.jsonl").read_text(encoding="utf-8").splitlines()
    Path("work.tune/trials.jsonl").write_text("\n".join(lines[:4]) + "\n", encoding="utf-8")
    assert outcomes(run(trials=5)) == outcomes(found)
    assert len(hills()) == 5


def test_a_trial_that_fails_is_told_and_the_others_go_on() -> None:
    found = run("hill.way=plain,steep", "hill.k=1,2", sampler="grid")
    failed = [one for one in found.facts["trials"] if one["state"] == "failed"]
    assert [one["values"]["hill.way"] for one in failed] == ["steep", "steep"]
    assert "failed: the loss is nan" in found.text
    with pytest.raises(UserError, match="none of 2 trials has a score: the loss is nan"):
        run("hill.way=steep", "hill.k=1,2", sampler="grid", out="other")


def test_values_that_do_not_go_together_are_a_trial_that_failed() -> None:
    found = run("hill.k=1,2", "hill.way=plain,narrow", sampler="grid")
    failed = [one for one in found.facts["trials"] if one["state"] == "failed"]
    assert [one["values"] for one in failed] == [{"hill.k": 2, "hill.way": "narrow"}]
    assert "way=narrow takes k=1, not 2" in failed[0]["problem"]
    assert len(found.facts["trials"]) == 4


def test_halving_stops_what_is_behind_at_its_rung_and_finds_what_the_whole_runs_find() -> None:
    choices = "hill.k=" + ",".join(map(str, range(12)))
    found = run(choices, sampler="grid", halving=True)
    states = [one["state"] for one in found.facts["trials"]]
    assert found.facts["best"]["values"] == {"hill.k": 0}
    steps = [int(one.split()[1]) for one in hills()]
    assert [step == 9 for step in steps] == [state == "finished" for state in states]
    assert {*steps} <= {1, 3, 9}
    assert [one["curve"][-1][0] for one in found.facts["trials"]] == steps, "what was stopped is compared with, too"
    assert sum(steps) < 9 * 12 / 2
    assert not list(Path("work").glob("hill.scratch*")), "the starts of those are cleared away"


def test_a_study_with_halving_that_was_stopped_goes_on_as_if_it_had_not_been() -> None:
    choices = "hill.k=" + ",".join(map(str, range(12)))
    whole = run(choices, sampler="grid", halving=True, out="whole")
    ACCIDENTS.append(len(hills()) + 7)
    for trials in (3, 12, 12):
        with suppress(KeyboardInterrupt):
            again = run(choices, "work=other", sampler="grid", halving=True, out="again", trials=trials)
    assert not ACCIDENTS
    assert outcomes(again) == outcomes(whole)


def test_of_those_at_a_rung_a_third_goes_on() -> None:
    others = [[(1, 0.5), (2, 0.9)], [(1, 0.7)], [(1, 0.6), (3, 0.1)]]
    assert falls_behind([(1, 0.65)], others, lower=False) is False  # second of four: two go on
    assert falls_behind([(1, 0.55)], others, lower=False) is True
    assert falls_behind([(1, 0.55)], others, lower=True) is False
    assert falls_behind([(1, 0.9), (2, 0.1)], others, lower=False) is False  # two is no rung
    assert falls_behind([(3, 0.0)], others, lower=False) is True
    assert falls_behind([(9, 0.0)], others, lower=False) is False, "the first one there"


def test_the_score_is_the_mean_over_seeds() -> None:
    found = run("hill.k=1,2", "seeds=3", sampler="grid")
    assert len(hills()) == 6
    cards = [one["metrics"]["validation_score"] for name, one in found.facts["made"].items() if name.startswith("hill")]
    assert len(cards) == 3
    assert found.facts["best"]["score"] == pytest.approx(sum(cards) / 3)


def test_an_earlier_study_is_gone_on_with_and_another_recipes_or_ranges_are_refused() -> None:
    first = run(trials=6)
    second = run(trials=3, start="work.tune", out="second")
    assert outcomes(second)[:6] == outcomes(first)
    assert [one["taken_from"] for one in second.facts["trials"]] == ["work.tune"] * 6 + [""] * 3
    assert outcomes(second)[6:] == outcomes(run(trials=9))[6:], "as the first one would have gone on"
    with pytest.raises(OtherStudy, match=r"another recipe: hill\.steps 'unset' -> 5"):
        run(*SEARCHED, "hill.steps=5")
    with pytest.raises(OtherStudy, match=r"another range: hill\.k '1 \.\.\. 9, whole' -> '1 \.\.\. 8, whole'"):
        run("hill.x=0..5", "hill.k=1..8", start="work.tune", out="third")


def test_trials_on_other_data_are_another_study() -> None:
    def made(**settings: Any) -> None:
        tree = {"work": "made", "stages": {"words": {"kind": "tests.tune.toys:Words", **settings}}}
        Recipe.build(tree).run(log=Log(quiet=True))

    Path("r.yaml").write_text(RECIPE.replace("corpus: $words", "corpus: made/words"), encoding="utf-8")
    made()
    first = run("hill.k=1,2", sampler="grid")
    assert outcomes(run("hill.k=1,2", sampler="grid")) == outcomes(first)
    made(upper=True)
    with pytest.raises(OtherStudy, match=r"another recipe: hill\.inputs"):
        run("hill.k=1,2", sampler="grid")


def test_no_trial_is_begun_that_would_not_fit() -> None:
    job, study = prepared(minutes=1.0)
    assert job.trials is None
    assert expected(job, study, 100.0, 30.0) == {"trial 1": 30.0, "trial 2": 30.0, "trial 3": 30.0}
    assert expected(replace(job, trials=None), study, math.inf, 30.0) == {"trial 1": 30.0}, "nobody knows how many"
    assert expected(replace(job, trials=2), study, math.inf, 30.0).keys() == {"trial 1 of 2", "trial 2 of 2"}
    assert expected(replace(job, trials=2), study, 100.0, 30.0) == {"trial 1 of 2": 30.0, "trial 2 of 2": 30.0}
    run(trials=2)
    slow = [Trial({"hill.x": 1.0, "hill.k": 1}, 1.0, seconds=50), Trial({"hill.x": 2.0, "hill.k": 1}, 2.0, seconds=30)]
    study = study.added(*slow)
    RUNS.clear()
    job, study = prepared(minutes=0.5)
    tuned(job, study, log=Log(quiet=True), command="test", stopping=lambda gentle: lambda: False)
    assert hills() == ["hill 9"], "no trial of 40 s fits into 30; the winner was never made here"


def test_another_metric_and_its_direction() -> None:
    found = run("hill.k=1,2,3", sampler="grid", by="validation_loss")
    assert found.facts["best"]["values"] == {"hill.k": 1}
    assert found.facts["best"]["score"] == min(one["score"] for one in found.facts["trials"])
    with pytest.raises(UserError, match="did you mean 'validation_score'"):
        run("hill.k=1,2,3", sampler="grid", by="validation_skore", out="other")
    assert run("hill.k=1,2,3", sampler="grid", out="other").facts["best"]["values"] == {"hill.k": 1}


def test_scores_of_two_metrics_are_never_mixed() -> None:
    run("hill.k=1,2", sampler="grid")
    with pytest.raises(OtherStudy, match="another metric: --by 'validation_score' -> 'validation_loss'"):
        run("hill.k=1,2", sampler="grid", by="validation_loss")
    with pytest.raises(OtherStudy, match="another metric"):
        run("hill.k=1,2", sampler="grid", by="validation_loss", start="work.tune", out="second")
    assert run("hill.k=1,2", sampler="grid", by="hill.validation_score").facts["best"]["trial"] == 1


def test_the_page_tells_importance_values_and_progress_and_loads_nothing() -> None:
    found = run(trials=8)
    page = Path(found.facts["page"]).read_text(encoding="utf-8")
    for told in ("What mattered", "hill.x", "hill.k", "Score by trial", "best so far", "trial 8"):
        assert told in page
    assert not re.search(r"""(src|href)=|<script""", page)


def test_choices_may_be_blocks_and_lists() -> None:
    Path("real.yaml").write_text(
        "stages:\n  tuned: {kind: finetune, model: m, data: d, task: classify}\n", encoding="utf-8"
    )
    blocks = "tuned.method={kind: lora, rank: 4},{kind: lora, rank: 8},full"
    space = read_space("real.yaml", (blocks, "tuned.prompts=[a],[a, b]", "tuned.optim.warmup=0..0.3"))
    assert space.axes[0].choices == ({"kind": "lora", "rank": 4}, {"kind": "lora", "rank": 8}, "full")
    assert (space.axes[1].choices, space.axes[2].is_whole) == ((["a"], ["a", "b"]), False)
    written = space.settings({axis.path: axis.ends[-1] for axis in space.axes})["stages"]["tuned"]
    assert (written["method"], written["prompts"], written["optim"]) == ("full", ["a", "b"], {"warmup": 0.3})
    lora = space.recipe({"tuned.method": space.axes[0].choices[1]}).stages["tuned"].model_dump()
    assert (lora["method"]["kind"], lora["method"]["rank"]) == ("lora", 8)


def test_lines_of_the_picture_stand_where_their_values_are() -> None:
    job, study = prepared("hill.x=0..4", "hill.k=1,2,3")
    trials = (Trial({"hill.x": 1.0, "hill.k": 3}, 0.5), Trial({"hill.x": 4.0, "hill.k": 2}, 0.75))
    drawn = parallel(job, Study(study.folder, {}, trials))
    assert drawn is not None
    heights = {title: [float(p.split(",")[1]) for p in points.split()] for title, points, _ in drawn.trials}
    top, bottom = 18.0, 220.0 - 36.0
    assert heights["trial 2: 0.75"] == [top, (top + bottom) / 2, top]
    assert heights["trial 1: 0.5"] == [bottom - (bottom - top) / 4, top, bottom]
    assert drawn.trials[-1][0] == "trial 2: 0.75", "the best is drawn last"


def test_the_best_so_far_never_falls() -> None:
    assert best_so_far([None, 2.0, 1.0, None, 3.0], lower=False) == [(2, 2.0), (3, 2.0), (4, 2.0), (5, 3.0)]
    assert best_so_far([2.0, 1.0, None], lower=True) == [(1, 2.0), (2, 1.0), (3, 1.0)]


@dataclass
class Two:
    """Two places at a time, of which the later one ends first."""

    job: Search
    number: int = 2
    running: list[tuple[Study, Any]] = field(default_factory=list)

    def begin(self, study: Study, values: Any) -> None:
        self.running.append((study, values))

    def first(self, stopping: Any) -> Trial:
        return run_trial(self.job, *self.running.pop(), command="test", stopping=stopping, aside=True)


def run_two(*searched: str, **wanted: Any) -> Outcome:
    job, study = prepared(*searched, **wanted)
    flags: Any = lambda gentle: lambda: False  # noqa: E731
    return tuned(job, study, log=Log(quiet=True), command="test", stopping=flags, places=Two(job))


@pytest.mark.parametrize("stopped_at", [[], [1], [2], [3], [4, 6]])
def test_of_two_at_a_time_every_combination_is_tried_once_wherever_it_is_killed(stopped_at: list[int]) -> None:
    searched = ("words.upper=true,false", "hill.k=1,2,3")
    ACCIDENTS.extend(stopped_at)
    while True:
        with suppress(KeyboardInterrupt):
            found = run_two(*searched, sampler="grid")
            break
    wanted = [{"words.upper": upper, "hill.k": k} for upper in (True, False) for k in (1, 2, 3)]
    tried = [one["values"] for one in found.facts["trials"]]
    assert sorted(map(str, tried)) == sorted(map(str, wanted))
    assert len(hills()) == 6
    assert RUNS.count("words") == 2, "made once for all trials that share it"
    assert {plan.status for plan in Recipe.read(found.facts["recipe"]).plan()} == {"current"}
    assert not Path("work.tune/begun.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_what_runs_already_is_proposed_no_second_time(sampler: str) -> None:
    tried = [one["values"] for one in run_two(trials=8, sampler=sampler).facts["trials"]]
    assert len({str(values) for values in tried}) == 8


def test_models_of_trials_beside_each_other_are_those_of_trials_one_by_one(tmp_path: Path) -> None:
    run("hill.k=1,2,3", sampler="grid")
    alone = {card["key"]: card["id"] for card in cards(tmp_path / "work")}
    shutil.move(tmp_path / "work", tmp_path / "before")
    shutil.rmtree(tmp_path / "work.tune")
    run_two("hill.k=1,2,3", sampler="grid")
    assert {card["key"]: card["id"] for card in cards(tmp_path / "work")} == alone
    assert {path.name for path in (tmp_path / "work").iterdir()} == {
        path.name for path in (tmp_path / "before").iterdir()
    }


def cards(work: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(work.glob("*/artifact.json"))]


def test_a_trial_beside_others_that_is_behind_is_stopped_and_leaves_no_scratch() -> None:
    found = run_two("hill.x=3,4,5,6,7,8", "hill.steps=27", sampler="grid", halving=True)
    assert {state for _, _, state in outcomes(found)} == {"finished", "behind"}
    assert not list(Path("work").glob("*.scratch"))


def test_what_was_begun_before_any_trial_ended_is_begun_again() -> None:
    ACCIDENTS.append(1)
    with suppress(KeyboardInterrupt):
        run_two(trials=2, sampler="random")
    _, study = prepared(trials=2, sampler="random")
    assert not study.trials
    assert len(study.begun) == 2
