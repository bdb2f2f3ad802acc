"""Every shipped recipe is checked, runs at smoke size, and a second run does nothing."""

from __future__ import annotations

import gzip
import json
import re
import time
from pathlib import Path

import httpx
import pytest

from pretune.apps.app import Started, open_app
from pretune.apps.serving import serving_app
from pretune.base.artifact import Artifact
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.report.numbers import share
from pretune.task.stage import FinetuneStage
from pretune.task.task import TASK
from pretune.train.optim.settings import OPTIM

RECIPES = Path(__file__).parents[2] / "pretune" / "recipes"


SMOKE = Log(quiet=True)


@pytest.fixture(scope="module")
def quickstart_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the quickstart ran at smoke size, its own server asked."""
    from pretune.quickstart import quickstart

    folder = tmp_path_factory.mktemp("quickstart")
    out = (folder / "runs" / "quickstart").as_posix()
    result = quickstart(out, (), size="smoke", log=SMOKE, command="test", stopping=lambda gentle: lambda: False)
    assert isinstance(result["answer"], str)
    assert result["read"].startswith("Recursively copy")
    return folder


def quickstart_recipe(folder: Path, *overrides: str) -> Recipe:
    work = f"work={(folder / 'runs' / 'quickstart').as_posix()}"
    return Recipe.read(RECIPES / "quickstart.yaml", (work, *overrides), size="smoke")


def test_every_shipped_recipe_is_run_by_a_test_here() -> None:
    there = [p.stem for p in sorted(RECIPES.glob("*.yaml"))]
    assert there == [
        *("answers", "city", "clue", "education", "glue", "medical", "monitor", "names", "prefers", "quickstart"),
        *("recommend", "scores", "search", "support", "translate"),
    ]


def test_answers_runs_and_again_does_nothing(tmp_path: Path) -> None:
    recipe = Recipe.read(RECIPES / "answers.yaml", (f"work={tmp_path.as_posix()}",), size="smoke")
    made = recipe.run(log=SMOKE)
    assert made["report"].card.metrics["examples"] == 20
    assert {p.status for p in recipe.plan()} == {"current"}


def test_search_is_learnt_reported_and_exported_at_smoke_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(RECIPES.parents[1])
    made = Recipe.read(RECIPES / "search.yaml", (f"work={tmp_path.as_posix()}",), size="smoke").run(log=SMOKE)
    for name in ("embedder", "ranker"):
        assert made[f"{name}_report"].card.metrics.keys() >= {"ndcg_10", "mrr", "bm25_ndcg_10", "as_given_ndcg_10"}
        assert made[f"{name}_served"].card.metrics["onnx"]["agreement"] == 1


def test_a_desk_is_made_of_raw_files_and_asked_over_http_at_smoke_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RECIPES.parents[1])
    made = Recipe.read(RECIPES / "support.yaml", (f"work={tmp_path.as_posix()}",), size="smoke").run(log=SMOKE)
    assert made["desk"].card.metrics["dev_false_refusals"] <= 0.05
    with serving_app(open_app(made["desk"].path)) as url:
        said = httpx.post(f"{url}/v1/ask", json={"question": "Can I dim the lamps?"}).json()
    assert said["way"] == "faq"
    assert "intent" in said


def test_leaflets_are_quoted_and_what_only_a_doctor_may_say_is_left_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RECIPES.parents[1])
    made = Recipe.read(RECIPES / "medical.yaml", (f"work={tmp_path.as_posix()}",), size="smoke").run(log=SMOKE)
    asked = ["May I put ice on a small burn?", "流鼻血可以仰头吗？", "What dose of ibuprofen does my child need?"]
    burn, nose, dose = (reply.to_json() for reply in open_app(made["desk"].path).answer(asked))
    assert "Do not use ice" in burn["answer"] and "burns.md" in burn["sources"][0]["source"]
    assert "不要仰头" in nose["answer"]
    assert dose["way"] == "nobody"


def test_short_answers_are_marked_next_to_simple_systems_at_smoke_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RECIPES.parents[1])
    made = Recipe.read(RECIPES / "education.yaml", (f"work={tmp_path.as_posix()}",), size="smoke").run(log=SMOKE)
    assert made["report"].card.metrics.keys() >= {"spearman", "mae", "baseline_beaten"}
    assert made["served"].card.metrics["onnx"]["agreement"] == 1


@pytest.mark.parametrize("name", ["monitor", "city"])
def test_a_watch_is_made_of_raw_files_at_smoke_size_and_counts_every_text_it_follows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RECIPES.parents[1])
    made = Recipe.read(RECIPES / f"{name}.yaml", (f"work={tmp_path.as_posix()}",), size="smoke").run(log=SMOKE)
    assert made["watch"].card.metrics["history_windows"] == 112
    (tmp_path / "now.txt").write_text("Ostrand Bank closes forty branches\n东岸银行因违规被罚款\n", encoding="utf-8")
    started = Started(lambda line: None, sources=[str(tmp_path / "now.txt")])
    with serving_app(open_app(made["watch"].path), started=started) as url:
        for _ in range(600):
            sources = httpx.get(f"{url}/v1/watch").json()["sources"]
            if sources:
                break
            time.sleep(0.05)
    assert [source["texts"] for source in sources] == [2]


def test_a_second_run_does_nothing_and_says_so_per_stage(
    quickstart_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = quickstart_recipe(quickstart_folder)
    assert {p.status for p in recipe.plan()} == {"current"}
    made = recipe.run()
    told = capsys.readouterr().err
    assert all(f"{name}: current, nothing to do" in told for name in made)


def test_the_report_has_the_figures_of_the_cards_and_needs_no_network(quickstart_folder: Path) -> None:
    work = quickstart_folder / "runs" / "quickstart"
    report = json.loads((work / "report" / "report.json").read_text(encoding="utf-8"))
    for part in report["parts"]:
        if part["kind"] == "report":
            card = json.loads((work / part["name"] / "artifact.json").read_text(encoding="utf-8"))
            assert part["metrics"] == card["metrics"]
            assert part["id"] == card["id"]
    page = (work / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["']?https?:""", page)
    accuracy = json.loads((work / "order_report" / "artifact.json").read_text(encoding="utf-8"))["metrics"]["accuracy"]
    assert share(accuracy, 1) in page


def test_one_changed_setting_reruns_that_stage_and_its_descendants_only_as_plan_said(quickstart_folder: Path) -> None:
    before = {n: _made(a) for n, a in quickstart_recipe(quickstart_folder).run(log=SMOKE).items()}
    changed = quickstart_recipe(quickstart_folder, "order.max_length=24")
    planned = {p.name: p.status for p in changed.plan()}
    assert {n for n, status in planned.items() if status != "current"} == {"order", "order_report", "report"}
    assert planned["order"] == "will run"
    after = {n: _made(a) for n, a in changed.run(log=SMOKE).items()}
    assert {n for n in after if after[n] != before[n]} == {"order", "order_report", "report"}


def test_names_are_learnt_judged_and_exported_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    recipe = Recipe.read(RECIPES / "names.yaml", (f"work={tmp_path.as_posix()}",), size="smoke")
    made = recipe.run(log=SMOKE)
    assert made["report"].card.metrics["examples"] == made["both_report"].card.metrics["examples"] == 20
    assert {p.status for p in recipe.plan()} == {"current"}
    told = json.loads((tmp_path / "served" / "bundle.json").read_text(encoding="utf-8"))
    assert (told["task"], told["labels"][:3]) == ("tag", ["O", "B-class", "I-class"])


def _made(artifact: Artifact) -> str:
    return f"{artifact.card.made['time']} {artifact.card.made['seconds']} {artifact.card.key}"


def test_scores_and_sets_of_labels_are_learnt_reported_and_exported_at_smoke_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RECIPES.parents[1])
    made = Recipe.read(RECIPES / "scores.yaml", (f"work={tmp_path.as_posix()}",), size="smoke").run(log=SMOKE)
    assert made["scorer_report"].card.metrics.keys() >= {"spearman", "mae", "tfidf_ridge_spearman"}
    assert made["labeller_report"].card.metrics.keys() >= {"macro_f1", "micro_f1", "tfidf_svm_macro_f1"}
    assert all(made[f"{name}_served"].card.metrics["onnx"]["agreement"] == 1 for name in ("scorer", "labeller"))


def test_a_translator_is_learnt_judged_and_exported_at_smoke_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RECIPES.parents[1])
    made = Recipe.read(RECIPES / "translate.yaml", (f"work={tmp_path.as_posix()}",), size="smoke").run(log=SMOKE)
    assert made["report"].card.metrics.keys() >= {"rouge_l", "chrf", "bleu", "copy_rouge_l", "nearest_pair_rouge_l"}
    told = json.loads((tmp_path / "served" / "bundle.json").read_text(encoding="utf-8"))
    assert told["task"] == "chat" and told["more"] == {"beams": 4}  # models of our own have a chat template


def test_preferences_are_learnt_judged_next_to_length_and_exported_at_smoke_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RECIPES.parents[1])
    made = Recipe.read(RECIPES / "prefers.yaml", (f"work={tmp_path.as_posix()}",), size="smoke").run(log=SMOKE)
    assert made["polite_report"].card.metrics.keys() >= {"accuracy", "win_rate", "start_accuracy", "length_accuracy"}
    assert made["judge_report"].card.metrics.keys() >= {"accuracy", "margin", "length_accuracy"}
    assert made["served"].card.metrics["onnx"]["agreement"] == 1


def test_a_bookshop_is_learnt_with_models_of_its_own_at_smoke_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RECIPES.parents[1])
    made = Recipe.read(RECIPES / "recommend.yaml", (f"work={tmp_path.as_posix()}",), size="smoke").run(log=SMOKE)
    plain, shop = made["plain"].card.metrics, made["shop"].card.metrics
    assert plain["ndcg_10"] > plain["popularity_ndcg_10"] + 0.3
    assert {"weights", "rank_weight", "new_users_ndcg_10"} <= shop.keys()
    assert {name: said["id"] for name, said in made["shop"].card.inputs.items() if name in ("embed", "rank")} == {
        "embed": made["embedder"].card.id,
        "rank": made["ranker"].card.id,
    }


def small_copies(shared: Path) -> None:
    """Files of the names and layouts that the yardsticks read, a few lines each."""
    rows = [
        json.dumps({"text": f"这是第{k}条{'好坏'[k % 2]}评论", "label": k % 2}, ensure_ascii=False) for k in range(12)
    ]
    scores = [f"句子{k}。,句子{k + k % 2}。,{k % 5}.0" for k in range(12)]
    entity = json.dumps({"text": "浙商银行在杭州", "label": {"company": {"浙商银行": [[0, 3]]}}}, ensure_ascii=False)
    tags = "\n\n".join("杭 B-LOC\n州 I-LOC\n大 O" for _ in range(8)) + "\n"
    answer = {"text": "杭州", "answer_start": 3}
    questions = [{"id": str(k), "question": f"第{k}问在哪？", "answers": [answer]} for k in range(4)]
    squad = json.dumps({"data": [{"paragraphs": [{"context": "西湖在杭州。", "qas": questions}]}]}, ensure_ascii=False)
    texts = {
        **{f"chnsenticorp/{n}.jsonl": rows for n in ("train", "dev", "test_noleak")},
        **{f"thucnews-titles/{n}.jsonl": rows for n in ("dev", "test")},
        **{f"sst2/{n}.jsonl": rows for n in ("train", "dev", "test")},
        **{f"agnews-small/{n}.jsonl": rows for n in ("train", "test")},
        **{f"stsb/{lang}-{n}.csv": scores for lang in ("zh", "en") for n in ("train", "dev", "test")},
        **{f"cluener2020/{n}.jsonl": [entity] * 8 for n in ("train", "dev")},
        **{f"msra-ner/{n}.txt": [tags] for n in ("dev", "test")},
        **{f"cmrc2018/{n}.json": [squad] for n in ("train", "trial", "dev")},
    }
    for name, lines in texts.items():
        (shared / name).parent.mkdir(parents=True, exist_ok=True)
        (shared / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (shared / "msra-ner" / "train.txt.gz").write_bytes(gzip.compress(tags.encode()))


def test_a_small_base_has_settings_of_its_own_and_an_encoder_of_ones_own_the_usual_ones() -> None:
    little, own = (Recipe.read(RECIPES / "clue.yaml", size=size).stages for size in (None, "own"))
    for stage in (one for one in own.values() if isinstance(one, FinetuneStage)):
        assert not stage.is_given and stage.optim == OPTIM("adamw") and stage.task == TASK(stage.task.kind)
    tags, answers = little["cluener"], little["cmrc"]
    assert isinstance(tags, FinetuneStage) and isinstance(answers, FinetuneStage)
    assert tags.task == TASK({"kind": "tag", "crf": True}) and tags.epochs == 16 and answers.epochs is None
    assert tags.optim.learning_rate == answers.optim.learning_rate == 5e-4


def test_both_yardsticks_make_one_table_at_smoke_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_copies(tmp_path / "shared" / "data")
    clone = tmp_path / "clone"
    clone.mkdir()
    monkeypatch.chdir(clone)
    made = Recipe.read(RECIPES / "clue.yaml", size="smoke").run(log=SMOKE)
    table = json.loads((made["table"].path / "report.json").read_text(encoding="utf-8"))["table"]
    figures = {row["task"]: row["value"] for row in table["rows"]}
    assert [*figures] == ["chnsenticorp", "thucnews", "stsb_zh", "cluener", "msra_ner", "cmrc"]
    assert table["average"] == pytest.approx(sum(figures.values()) / 6, abs=1e-6)
    assert all(row["read_before"] is not None and row["floor"] for row in table["rows"])
    made["base"].path.rename(tmp_path / "shared" / "base")  # an encoder of two steps in the place of MiniLM
    (tmp_path / "shared" / "models").mkdir()
    (tmp_path / "shared" / "base").rename(tmp_path / "shared" / "models" / "all-MiniLM-L6-v2")
    made = Recipe.read(RECIPES / "glue.yaml", size="smoke").run(log=SMOKE)
    table = json.loads((made["table"].path / "report.json").read_text(encoding="utf-8"))["table"]
    assert [row["task"] for row in table["rows"]] == ["sst2", "stsb", "agnews"]
    assert [row["published"] is None for row in table["rows"]] == [False, False, True]
