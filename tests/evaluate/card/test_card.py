"""The model card: what it says against the artifacts it was made from; whose README it leaves alone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from pretune.base.artifact import Artifact, Card
from pretune.base.errors import UserError
from pretune.cli import main
from pretune.evaluate.card import write_cards
from pretune.evaluate.card.facts import facts_of, open_reports, reports_next_to
from pretune.evaluate.card.words import CHINESE, ENGLISH
from pretune.evaluate.card.writing import _compared, card_text, table, write_card
from pretune.report.numbers import metric

FIELDS = re.compile(r"{(\w+)}")


@pytest.fixture(scope="module")
def made(world: Any) -> dict[str, Artifact]:
    """A classifier of a few steps and its report, in a folder of their own; its data says its licence."""
    from pretune.base.log import Log
    from pretune.base.recipe import Recipe

    raw = world.root / "licensed"
    raw.mkdir()
    rows = [{"text": f"{('a lovely', 'a dull')[k % 2]} film number {k}", "label": "gb"[k % 2]} for k in range(30)]
    for name, some in (("train", rows[:20]), ("test", rows[20:])):
        text = "".join(json.dumps(row) + "\n" for row in some)
        (raw / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (raw / "README").write_text("SOURCE: by hand\nLICENSE: CC BY 4.0 | ours\n", encoding="utf-8")
    stages = {
        "data": {"kind": "dataset", "read": [str(raw)]},
        "tuned": {"kind": "finetune", "model": str(world.classifier), "data": "$data", "task": "classify", "steps": 2},
        "report": {"kind": "evaluate", "model": "$tuned", "data": "$data", "swaps": "swaps:gender-en"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRETUNE_CACHE", str(world.root / "cache"))
        work = str(world.root / "licensed-work")
        found = Recipe.build({"work": work, "stages": stages}).run(log=Log(quiet=True), command="pretune run it.yaml")
    return dict(found)


def test_both_languages_have_the_same_words_with_the_same_places() -> None:
    assert ENGLISH.keys() == CHINESE.keys()
    for key, said in ENGLISH.items():
        other = CHINESE[key]
        if isinstance(said, tuple):
            assert len(said) == len(other), key
        else:
            assert isinstance(other, str) and {*FIELDS.findall(said)} == {*FIELDS.findall(other)}, key


def test_the_card_has_the_figures_of_the_report_the_data_the_licence_and_the_commands(
    made: dict[str, Artifact],
) -> None:
    text = card_text(made["tuned"])
    report = json.loads((made["report"].path / "report.json").read_text(encoding="utf-8"))
    group = report["groups"]["all"]
    assert f"| accuracy | {metric(group['metrics']['accuracy'], 'accuracy')} |" in text
    assert metric(group["baselines"][-1]["metrics"]["accuracy"], "accuracy") in text
    assert ("**Does not beat" in text) is not group["beaten"]
    swaps = report["groups"]["swaps_gender-en"]["metrics"]
    assert f"| gender-en | {metric(swaps['flip_rate'], 'flip_rate')} |" in text
    assert (
        f"train {made['data'].card.metrics['splits']['train']}" in text
        and "CC BY 4.0 \\| ours" in text
        and "pretune run it.yaml" in text
    )
    assert made["tuned"].card.key[:8] in text and str(made["tuned"].path.parent) not in text
    assert f"{made['tuned'].card.metrics['parameters']:,} parameters" in text


def test_the_chinese_card_has_the_same_figures(made: dict[str, Artifact]) -> None:
    english, chinese = (card_text(made["tuned"], language=name) for name in ("en", "zh"))
    figures = re.compile(r"\d[\d,.]* ?%|\b[0-9a-f]{8}\b")
    assert figures.findall(english) == figures.findall(chinese)
    assert "## 效果如何" in chinese and "## How good" not in chinese


def test_a_card_is_written_again_in_its_language_and_a_readme_of_somebodys_stays(made: dict[str, Artifact]) -> None:
    model = made["tuned"]
    (path,) = write_cards(made.values())
    assert path == model.path / "README.md" and model.verify().card.files.get("README.md") is None
    path.write_text(card_text(model, [], language="zh"), encoding="utf-8")
    assert write_card(model) == path and "`report`" in path.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8").startswith("<!-- pretune card zh -->")
    path.write_text("# Mine\n", encoding="utf-8")
    assert write_card(model) is None and path.read_text(encoding="utf-8") == "# Mine\n"
    path.unlink()


def test_a_report_of_another_model_and_a_damaged_one_are_not_taken(
    made: dict[str, Artifact], world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = world.run("evaluate", model=str(world.classifier), data=str(world.reviews))
    with pytest.raises(UserError, match="is no report of"):
        open_reports([str(other.path)], made["tuned"])
    assert [one.path.name for one in reports_next_to(made["tuned"])] == ["report"]
    with pytest.raises(SystemExit):
        main(["card", str(made["tuned"].path), "--language", "zh", "--out", str(tmp_path / "card.md")])
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == card_text(made["tuned"], language="zh")
    assert capsys.readouterr().out.strip().endswith("card.md")


def test_a_model_without_lineage_has_a_card_that_says_what_is_not_known(world: Any) -> None:
    model = Artifact.open(world.classifier)
    text = card_text(model, [])
    assert facts_of(model, []).steps == [] and "No report is here" in text and "Qwen3ForSequenceClassification" in text


def test_a_cell_never_breaks_its_table() -> None:
    assert table(["a"], [["x | y\nz"]]) == "| a |\n| --- |\n| x \\| y z |"


def test_a_sibling_with_the_same_weights_has_its_own_report(made: dict[str, Artifact], tmp_path: Path) -> None:
    for name, other in (("tuned.s0", "report.s0"), ("tuned.s1", "report.s1")):
        shutil.copytree(made["tuned"].path, tmp_path / name)
        shutil.copytree(made["report"].path, tmp_path / other)
        tree = json.loads((tmp_path / other / "artifact.json").read_text(encoding="utf-8"))
        tree["inputs"]["model"]["path"] = f"../{name}"
        (tmp_path / other / "artifact.json").write_text(Card(**tree).to_json(), encoding="utf-8")
    siblings = [Artifact.open(tmp_path / f"tuned.s{k}") for k in range(2)]
    assert [[one.path.name for one in reports_next_to(model)] for model in siblings] == [["report.s0"], ["report.s1"]]
    reports = [Artifact.open(tmp_path / f"report.s{k}") for k in range(2)]
    assert len(write_cards([*siblings, *reports])) == 2, "each has a card, though their ids are the same"


def test_only_an_interval_above_the_baseline_says_more_than_chance() -> None:
    def said(beaten: bool | None, *intervals: list[float] | None) -> str:
        rivals = [{"name": "svm", "interval": one, "is_ceiling": False} for one in intervals]
        return _compared({"beaten": beaten, "baselines": rivals})

    assert said(True, [0.1, 0.3]) == "beats" and said(True, None) == "few" and said(True, [0.1, 0.3], None) == "few"
    assert said(False, [-0.1, 0.3]) == "behind" and said(None) == "no_baseline"
