"""Plan and run: skip, early cut-off, set aside and taken back, interrupted, locked, refused."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest

from pretune.base import stage as stages_module
from pretune.base.artifact import Artifact
from pretune.base.config import Free, Input
from pretune.base.errors import (
    BadCommand,
    Changed,
    DiskFull,
    NotAnArtifact,
    NotWritable,
    SettingsError,
    UserError,
    WrongKind,
)
from pretune.base.recipe import Recipe
from pretune.base.stage import Context, Stage
from pretune.base.staging import Workspace
from pretune.base.tidy import leftovers

RUNS: list[str] = []
PARTS: list[tuple[str, int]] = []


def note_part(context: Context) -> None:
    if whole := context.log.screen.whole:
        PARTS.append((whole.part, round(whole.seconds_left)))


class Read(Stage):
    makes: ClassVar[str] = "corpus"
    read: Annotated[list[str], Input("files")]
    upper: bool = False
    workers: Annotated[int, Free] = 1

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        RUNS.append("read")
        note_part(context)
        text = "".join(f.read_text(encoding="utf-8") for a in inputs.values() for f in a.files())
        (out / "text").write_text((text.upper() if self.upper else text).strip(), encoding="utf-8")
        context.notes.add("log")
        (out / "log").write_text(os.urandom(8).hex(), encoding="utf-8")
        return {"characters": len(text)}


class Count(Stage):
    makes: ClassVar[str] = "report"
    corpus: Annotated[str, Input("corpus")]
    fail: Annotated[str, Free] = ""
    letters: str = "a"

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        RUNS.append("count")
        note_part(context)
        (out / "half").write_text("half", encoding="utf-8")
        if self.fail == "disk":
            raise OSError(28, "No space left on device")
        if self.fail:
            raise RuntimeError(self.fail)
        text = (inputs["corpus"].path / "text").read_text(encoding="utf-8")
        (out / "n").write_text(str(text.count(self.letters)), encoding="utf-8")
        return {"n": text.count(self.letters)}


class Sum(Stage):
    makes: ClassVar[str] = "report"
    of: Annotated[list[str], Input("corpus|report")]

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        (out / "sum").write_text(" ".join(artifact.card.id for artifact in inputs.values()), encoding="utf-8")
        return {}


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import types

    module = types.ModuleType("tiny_stages")
    module.Read, module.Count, module.Sum = Read, Count, Sum  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "tiny_stages", module)
    table = {"read": "tiny_stages:Read", "count": "tiny_stages:Count", "sum": "tiny_stages:Sum"}
    monkeypatch.setattr(stages_module.STAGE, "table", table)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("banana 你好 🙂\n", encoding="utf-8")
    RUNS.clear()
    return tmp_path


def recipe_tree() -> dict[str, Any]:
    return {"c": {"kind": "read", "read": ["in"]}, "n": {"kind": "count", "corpus": "$c"}}


def recipe(*overrides: str, size: str | None = None) -> Recipe:
    tree = {
        "work": "w",
        "stages": recipe_tree(),
        "sizes": {"loud": {"c.upper": True}},
    }
    return Recipe.build(tree, overrides=overrides, size=size)


def test_the_second_run_does_nothing() -> None:
    recipe().run()
    assert RUNS == ["read", "count"]
    assert [p.status for p in recipe().plan()] == ["current", "current"]
    recipe().run()
    assert RUNS == ["read", "count"]


def test_each_stage_is_a_part_of_the_line_over_all_and_what_is_current_is_over_at_once() -> None:
    PARTS.clear()
    recipe().run()
    assert PARTS == [], "nobody reckoned with anything"
    recipe("n.letters=b").run(seconds={"c": 1000, "n": 2000})
    recipe("c.upper=true").run(seconds={"c": 1000, "n": 2000})
    assert PARTS == [("n", 2000), ("c", 3000), ("n", 2000)]


def test_one_changed_setting_reruns_that_stage_and_plan_said_so_and_why() -> None:
    recipe().run()
    plans = recipe("n.letters=b").plan()
    assert [p.status for p in plans] == ["current", "will run"]
    assert "letters 'a' -> 'b'" in plans[1].reasons
    assert recipe("n.letters=b").run()["n"].card.metrics == {"n": 1}
    assert RUNS == ["read", "count", "count"]


def test_a_changed_input_reruns_descendants() -> None:
    recipe().run()
    Path("in/a.txt").write_text("aaaa", encoding="utf-8")
    plans = recipe().plan()
    assert [p.status for p in plans] == ["will run", "may run"]
    assert any("read.0 changed" in r for r in plans[0].reasons)
    assert recipe().run()["n"].card.metrics == {"n": 4}


def test_a_corpus_rebuilt_to_the_same_bytes_reruns_nothing_behind_it() -> None:
    recipe().run()
    Path("in/a.txt").write_text("banana 你好 🙂\n\n\n", encoding="utf-8")  # stripped by the stage
    recipe().run()
    assert RUNS == ["read", "count", "read"]


def test_where_and_how_fast_change_no_key() -> None:
    recipe().run()
    recipe("c.workers=8").run()
    assert RUNS == ["read", "count"]


def test_a_finished_artifact_is_set_aside_and_taken_back_never_overwritten() -> None:
    first = recipe().run()["n"].card
    recipe("n.letters=b").run()
    assert (Path("w") / f"n@{first.key[:8]}").is_dir()
    assert [p.status for p in recipe().plan()] == ["current", "current"]
    assert recipe().run()["n"].card.id == first.id
    assert RUNS == ["read", "count", "count"]
    assert [p.name[:2] for p in leftovers(Path("w"))] == ["n@"]


def test_a_failing_stage_leaves_nothing_that_looks_done() -> None:
    with pytest.raises(RuntimeError):
        recipe("n.fail=boom").run()
    assert not Path("w/n").exists()
    with pytest.raises(NotAnArtifact, match="unfinished"):
        Artifact.open("w/n")
    recipe().run()
    assert sorted(p.name for p in Path("w/n").iterdir()) == ["artifact.json", "half", "n"]


def test_a_full_disk_is_told_as_such_and_loses_nothing_finished() -> None:
    before = recipe().run()["n"].card.id
    with pytest.raises(DiskFull) as caught:
        recipe("n.letters=b", "n.fail=disk").run()
    assert "[disk-full]" in str(caught.value)
    assert Artifact.open("w/n").verify().card.id == before


def test_an_interrupted_run_is_kept_when_it_becomes_another_and_what_differs_is_told_with_both_values() -> None:
    with pytest.raises(RuntimeError):
        recipe("n.fail=boom").run()
    assert recipe("n.fail=boom").plan()[1].reasons[0] == "was interrupted; continues"
    told = recipe("n.letters=b").plan()[1].reasons[0]
    assert told.startswith("an interrupted run is kept as n.scratch@")
    assert told.endswith("since letters was 'a' and is 'b'")
    Path("in/a.txt").write_text("other\n", encoding="utf-8")
    recipe().only(["c"]).run()
    (told,) = [one for one in recipe().plan()[1].reasons if "interrupted" in one]
    assert "corpus was 'w/c (id " in told and "and is 'w/c (id " in told, "the data"
    recipe("n.letters=b").run()
    assert [path.name for path in leftovers(Path("w")) if ".scratch@" in path.name], "nothing is lost"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_folder_that_cannot_be_written_is_named(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.mkdir

    def refused(self: Path, *args: Any, **kwargs: Any) -> None:
        if self.name.endswith(".scratch"):
            raise OSError(number, os.strerror(number), str(self))
        real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(NotWritable, match=r"w/c\.scratch") as told:
        recipe().run()
    assert told.value.exit_code == 2


def test_a_sealed_payload_is_finished_after_a_crash_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "publish", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            recipe().run()
    recipe().run()
    assert RUNS == ["read", "count"]


def test_what_another_process_finishes_before_the_lock_is_taken_is_not_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both look at the same moment; the other one begins, ends and goes before this one opens its scratch folder."""
    real, looks = Workspace.opened, []

    def late(self: Workspace) -> Any:
        looks.append(self.out)
        if len(looks) == 1:
            recipe().run()
        return real(self)

    monkeypatch.setattr(Workspace, "opened", late)
    made = recipe().run()
    assert RUNS == ["read", "count"]
    assert sorted(path.name for path in Path("w").iterdir()) == ["c", "n"]
    assert {name: one.path for name, one in made.items()} == {"c": Path("w/c"), "n": Path("w/n")}


def test_a_changed_byte_is_named_and_the_artifact_not_used() -> None:
    recipe().run()
    Path("w/c/text").write_text("other", encoding="utf-8")
    with pytest.raises(Changed, match="text"):
        recipe("n.letters=b").run()


def test_a_missing_file_and_a_changed_card_are_named() -> None:
    recipe().run()
    Path("w/c/text").unlink()
    with pytest.raises(Changed, match=r"text \(missing\)"):
        Artifact.open("w/c").verify()
    card = Path("w/n/artifact.json")
    card.write_text(card.read_text(encoding="utf-8").replace('"n": 3', '"n": 4'), encoding="utf-8")
    with pytest.raises(Changed, match=r"artifact\.json was changed"):
        Artifact.open("w/n")


def test_a_changed_note_changes_no_id() -> None:
    first = recipe().run()["c"].card
    Path("in/a.txt").write_text("banana 你好 🙂", encoding="utf-8")
    second = recipe().run()["c"].card
    assert first.notes != second.notes
    assert first.id == second.id


def test_inputs_of_another_kind_are_refused() -> None:
    recipe().run()
    with pytest.raises(WrongKind, match=r"is a report, but a corpus is needed"):
        recipe("n.corpus=w/n").run()
    with pytest.raises(SettingsError, match="makes a report, but a corpus is needed"):
        Recipe.build({"stages": {"n": {"kind": "count", "corpus": "$m"}, "m": {"kind": "count", "corpus": "x"}}})


def test_unknown_stages_references_and_circles_are_told() -> None:
    with pytest.raises(SettingsError, match=r"x\.letters: no such stage"):
        recipe("x.letters=b")
    with pytest.raises(SettingsError, match="did you mean 'c'"):
        recipe("n.corpus=$cc")
    ring = {"a": {"kind": "count", "corpus": "$b"}, "b": {"kind": "count", "corpus": "$a"}}
    with pytest.raises(SettingsError):
        Recipe.build({"stages": ring})


def test_a_part_of_a_recipe_lies_where_the_whole_lies() -> None:
    whole = Recipe.build({"work": "w/x.", "stages": recipe_tree()})
    part = whole.only(["c"])
    assert [part.out("c"), whole.out("n")] == [whole.out("c"), Path("w/x")]
    assert list(part.run()) == ["c"]
    assert [plan.status for plan in whole.plan()] == ["current", "will run"]


def test_a_size_takes_its_overrides() -> None:
    assert recipe(size="loud").run()["n"].card.metrics == {"n": 0}
    with pytest.raises(SettingsError, match="no such size"):
        recipe(size="quiet")


def test_an_artifact_that_moved_with_its_inputs_still_finds_them() -> None:
    recipe().run()
    Path("w").rename("v")
    chain = [a.card.kind for a in Artifact.open("v/n").ancestors()]
    assert chain[:2] == ["report", "corpus"]


def test_a_folder_of_the_users_is_never_overwritten() -> None:
    Path("w/c").mkdir(parents=True)
    Path("w/c/mine").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="no artifact of pretune"):
        recipe().run()
    assert Path("w/c/mine").read_text(encoding="utf-8") == "mine"


def test_with_seeds_what_trains_and_what_is_made_of_it_runs_once_for_each_and_a_summary_takes_all(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Count, "trains", True)
    monkeypatch.setattr(Sum, "gathers_seeds", True)
    tree = {
        **{"work": "runs", "seed": 5, "seeds": 3},
        "stages": {
            "corpus": {"kind": "read", "read": ["in"]},
            "counted": {"kind": "count", "corpus": "$corpus"},
            "again": {"kind": "sum", "of": ["$counted"]},
            "page": {"kind": "sum", "of": ["$corpus", "$counted"]},
        },
    }
    recipe = Recipe.build(tree)
    assert list(recipe.stages) == ["corpus", "counted.s0", "counted.s1", "counted.s2", "again", "page"]
    made = recipe.run()
    assert [made[f"counted.s{k}"].card.settings["seed"] for k in range(3)] == [5, 6, 7]
    assert RUNS.count("read") == 1 and made["corpus"].card.settings["seed"] == 5
    assert list(made["page"].card.inputs) == ["of.0", "of.1", "of.2", "of.3"]
    assert {p.status for p in recipe.plan()} == {"current"}
    monkeypatch.setattr(Sum, "gathers_seeds", False)
    assert list(Recipe.build(tree).stages)[4:] == [f"{name}.s{k}" for name in ("again", "page") for k in range(3)]
    with pytest.raises(BadCommand, match="seeds is for recipes"):
        Recipe.build({**tree, "stages": {"corpus": tree["stages"]["corpus"]}}, main="corpus")  # type: ignore[index]
