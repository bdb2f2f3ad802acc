"""`pretune forget`: texts of some people leave everything that a recipe made, and all else stays as it is."""

from __future__ import annotations

import json
import sys
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pretune.base.artifact import Artifact
from pretune.base.config import Input
from pretune.base.errors import BadCommand, BadFile, NoSuchColumn, UserError
from pretune.base.stage import STAGE, Context, Stage
from pretune.cli import cli
from pretune.text.forget import Where, read_digests, record_digest, with_setting
from pretune.text.traces import Traces

PEOPLE = [f"Person{k:02}" for k in range(20)]
RECIPE = """\
# what we train on
work: work
stages:
  corpus: {{kind: corpus, read: {{chats: ["{raw}/chats.jsonl"], notes: ["{raw}/notes"]}}, filters: []}}
  words: {{kind: tokenizer, corpus: $corpus, vocab_size: 300}}
  tokens:   # with the tokenizer above
    kind: tokens
    corpus: $corpus
    tokenizer: $words
  data:
    # labelled ones
    kind: dataset
    read: ["{raw}/labels.jsonl"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty people among two hundred records, one in a note of its own, and a recipe that was run."""
    monkeypatch.chdir(tmp_path)
    raw = tmp_path / "raw"
    (raw / "notes").mkdir(parents=True)
    names = [PEOPLE[k // 10] if k % 10 == 0 else f"other{k}" for k in range(200)]
    chats = [{"text": f"{name} said that number {k} is fine", "user": name} for k, name in enumerate(names)]
    labels = [{"text": f"{name} likes thing {k}", "label": "ab"[k % 2], "user": name} for k, name in enumerate(names)]
    for stem, rows in (("chats", chats), ("labels", labels)):
        (raw / f"{stem}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (raw / "notes" / "a.txt").write_text("Person07 wrote this note.", encoding="utf-8")
    (raw / "notes" / "b.txt").write_text("Nobody wrote this note.", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(raw="raw"), encoding="utf-8")
    assert call("run", "recipe.yaml", "--quiet").exit_code == 0
    return tmp_path


def call(*words: str) -> Any:
    return CliRunner().invoke(cli, list(words), catch_exceptions=False)


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    """split -> id or origin -> text."""
    found = {}
    for split in ("train", "validation", "test"):
        rows = [row for path in sorted(folder.glob(f"{split}*.parquet")) for row in pq.read_table(path).to_pylist()]
        found[split] = {row.get("id") or row["origin"]: row["text"] for row in rows}
    return found


def test_twenty_people_leave_and_the_others_keep_ids_and_splits(folder: Path) -> None:
    before = {name: rows_of(folder / "work" / name) for name in ("corpus", "data")}
    raw = {path: path.read_bytes() for path in (folder / "raw").rglob("*.*")}
    done = call("forget", "recipe.yaml", "--where", r"any~\bPerson\d\d\b", "--yes", "--json")
    facts = json.loads(done.stdout)
    assert done.exit_code == 0 and facts["records"] == 41
    assert facts["files"] == {
        f"raw/{name}": n for name, n in (("chats.jsonl", 20), ("notes/a.txt", 1), ("labels.jsonl", 20))
    }
    assert facts["made_again"] == ["corpus", "words", "tokens", "data"] and all(row["ok"] for row in facts["proof"])
    for name, old in before.items():
        new = rows_of(folder / "work" / name)
        for split, rows in old.items():
            assert new[split] == {key: text for key, text in rows.items() if "Person" not in text}, (name, split)
    assert facts["deleted"] and not [p for p in (folder / "work").iterdir() if "@" in p.name or "scratch" in p.name]
    for path in (folder / "work").rglob("*"):
        assert path.is_dir() or b"Person" not in path.read_bytes(), path
    assert Artifact.open(folder / "work" / "corpus").card.metrics["forgotten"] == 21
    assert {path: path.read_bytes() for path in raw} == raw, "raw files are never edited"
    text = (folder / "recipe.yaml").read_text(encoding="utf-8")
    assert "# what we train on" in text and "# labelled ones" in text and text.count("without: recipe.forgotten") == 2
    assert "Person" not in text + (folder / "recipe.forgotten").read_text(encoding="utf-8")


def test_a_second_person_is_added_to_the_list_and_the_first_stays_out(folder: Path) -> None:
    for name in PEOPLE[:2]:
        facts = json.loads(call("forget", "recipe.yaml", "--where", f"user={name}", "--yes", "--json").stdout)
        assert facts["records"] == 2
    assert len(read_digests(folder / "recipe.forgotten")) == 4
    texts = [text for rows in rows_of(folder / "work" / "corpus").values() for text in rows.values()]
    assert not any(text.startswith(tuple(PEOPLE[:2])) for text in texts) and any(PEOPLE[2] in text for text in texts)
    again = json.loads(call("forget", "recipe.yaml", "--where", f"user={PEOPLE[0]}", "--yes", "--json").stdout)
    assert (again["records"], again["left_out_before"], again["made_again"]) == (0, 2, [])
    assert again["proof"] and all(row["ok"] for row in again["proof"])


def test_nothing_happens_where_nobody_says_yes(folder: Path) -> None:
    done = CliRunner().invoke(cli, ["forget", "recipe.yaml", "--where", "text~Person03"], input="n\n")
    assert done.exit_code == 0 and "raw/chats.jsonl" in done.output and "to be made again: corpus" in done.output
    assert any("Person03" in text for text in rows_of(folder / "work" / "corpus")["train"].values())


def test_conditions_and_lists_that_are_none_are_refused(tmp_path: Path) -> None:
    for text in ("user", "user=", "text~(", "~x"):
        with pytest.raises(BadCommand):
            Where.of(text)
    (tmp_path / "list").write_text("0123\n", encoding="utf-8")
    with pytest.raises(BadFile, match="line 1"):
        read_digests(tmp_path / "list")
    assert Where.of("user=7").holds({"user": 7}) and not Where.of("user=7").holds({"user": 77})
    assert Where.of("text~b+").holds({"text": ["a", {"c": "abb"}]})


def test_a_digest_does_not_depend_on_the_order_of_columns() -> None:
    assert (
        record_digest({"a": 1, "b": "坏"}) == record_digest({"b": "坏", "a": 1}) != record_digest({"a": 1, "b": "好"})
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("stages:\n  a: {kind: corpus}\n", "stages:\n  a: {without: F, kind: corpus}\n"),
        (
            "stages:\n  a:\n\n    # x\n    kind: corpus\n",
            "stages:\n  a:\n    without: F\n\n    # x\n    kind: corpus\n",
        ),
    ],
)
def test_a_setting_is_added_to_a_recipe_as_it_is_written(text: str, wanted: str) -> None:
    assert with_setting(text, 2, "without", "F") == wanted


def test_what_reads_the_files_itself_is_named(folder: Path) -> None:
    text = (folder / "recipe.yaml").read_text(encoding="utf-8")
    desk = "  desk: {kind: support, docs: [raw/notes]}\n"
    (folder / "recipe.yaml").write_text(text + desk, encoding="utf-8")
    assert call("run", "recipe.yaml", "--quiet").exit_code == 0
    done = call("forget", "recipe.yaml", "--where", "text~Person07", "--yes", "--json")
    proof = {row["stage"]: row for row in json.loads(done.stdout)["proof"]}
    assert done.exit_code == 1 and [name for name, row in proof.items() if row["id"] and not row["ok"]] == ["desk"]
    assert proof["desk"]["wrong"] == ["reads it itself: take it out of raw/notes/a.txt"]


def made_of(folder: Path, stages: str, **files: str) -> None:
    """A recipe over raw files, and what it made; `__` in a name is a dot."""
    (folder / "raw").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "raw" / name.replace("__", ".")).write_text(text, encoding="utf-8")
    (folder / "recipe.yaml").write_text(f"work: work\nstages:\n{stages}", encoding="utf-8")
    assert call("run", "recipe.yaml", "--quiet").exit_code == 0


def forgotten(*wheres: str, code: int = 0) -> dict[str, Any]:
    words = [word for where in wheres for word in ("--where", where)]
    done = call("forget", "recipe.yaml", *words, "--yes", "--json")
    assert done.exit_code == code, done.output
    return dict(json.loads(done.stdout))


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_without_a_line_of_names_loses_the_row(empty: Path) -> None:
    rows = [f"Person{k:02},{name} thing {k}" for k in range(20) for name in ("likes", "hates")]
    rows = [f"{row},{'ab'[k % 2]}" for k, row in enumerate(rows)]
    stage = "  data: {kind: dataset, read: [raw/a.csv], names: [user, text, label]}\n"
    made_of(empty, stage, a__csv="\n".join(rows))
    facts = forgotten("user=Person00")  # the first row, which another reader takes for names
    assert facts["records"] == 2 and facts["files"] == {"raw/a.csv": 2}
    assert Artifact.open(empty / "work" / "data").card.metrics["examples"] == 38


def test_words_with_tags_are_read_as_a_text(empty: Path) -> None:
    words = "".join(f"{'Ann' if k == 3 else 'Eva'} B-PER\nSmith{k} I-PER\nslept O\n\n" for k in range(20))
    made_of(empty, "  data: {kind: dataset, read: [raw/a.conll]}\n", a__conll=words)
    assert forgotten("any~Ann Smith3")["records"] == 1
    assert Artifact.open(empty / "work" / "data").card.metrics["examples"] == 19


@pytest.mark.parametrize("written", ["A\u200bnn Smith", "<b>Ann</b>&nbsp;Smith"])
def test_a_text_is_meant_by_what_it_says_without_markup_and_by_what_cleaning_makes_of_it(
    empty: Path, written: str
) -> None:
    rows = [{"body": f"{written if k == 3 else 'Eva'} has number {k} of the day"} for k in range(20)]
    stage = "  corpus: {kind: corpus, read: [raw/a.jsonl], filters: [], clean: [invisible]}\n"
    made_of(empty, stage, a__jsonl="\n".join(map(json.dumps, rows)))
    assert forgotten("text~Ann Smith")["records"] == 1
    assert Artifact.open(empty / "work" / "corpus").card.metrics["forgotten"] == 1


def test_members_of_archives_lose_theirs_in_corpora_and_data_sets(empty: Path) -> None:
    (empty / "raw").mkdir()
    conll = "".join(f"{'Ann' if k == 3 else 'Eva'} B-PER\nSmith{k} I-PER\nslept O\n\n" for k in range(20))
    with zipfile.ZipFile(empty / "raw" / "a.zip", "w") as archive:
        archive.writestr("in/a.conll", conll)
    with zipfile.ZipFile(empty / "raw" / "b.zip", "w") as archive:
        for k in range(5):
            archive.writestr(f"{k}.txt", f"{'Ann' if k == 3 else 'Eva'} Smith{k} wrote a note.")
    data = "  data: {kind: dataset, read: [raw/a.zip]}\n"
    made_of(empty, data + "  corpus: {kind: corpus, read: [raw/b.zip], filters: []}\n")
    assert forgotten("any~Ann Smith3")["files"] == {"raw/b.zip": 1, "raw/a.zip/in/a.conll": 1}


LABELLED = "\n".join(json.dumps({"text": f"thing {k} of Person{k:02}", "label": "ab"[k % 2]}) for k in range(20))
DATA = "  data: {kind: dataset, read: [raw/a.jsonl]}\n"


def test_a_match_outside_of_records_is_refused_and_nothing_is_written(empty: Path) -> None:
    table = "Ann Smith,label\n" + "\n".join(f"thing {k},{'ab'[k % 2]}" for k in range(20))
    made_of(empty, "  data: {kind: dataset, read: [raw/a.csv], text: Ann Smith}\n", a__csv=table)
    with pytest.raises(UserError, match=r"raw/a.csv: the name of column 'Ann Smith' holds it"):
        call("forget", "recipe.yaml", "--where", "any~Ann Smith", "--yes")
    made_of(empty, "  corpus: {kind: corpus, read: [raw/p.html], filters: []}\n", p__html=PAGE)
    with pytest.raises(UserError, match=r"raw/p.html holds it, but in no record"):
        call("forget", "recipe.yaml", "--where", "any~Ann Smith", "--yes")
    assert not (empty / "recipe.forgotten").exists()


WHOLE = json.dumps({"text": 'Ann "Smith" 你好\nof 𠮷野家 wrote', "label": "a"})
OTHERS = "\n".join(json.dumps({"text": f"thing {k}", "label": "ab"[k % 2]}) for k in range(20))


@pytest.mark.parametrize(
    ("suffix", "text", "outside"),
    [
        ("jsonl", f"{WHOLE}\n{OTHERS}", False),
        ("jsonl", f"{WHOLE}\n{OTHERS}\n{WHOLE[:-9]}", True),
        ("jsonl", f'{WHOLE}\n{OTHERS}\n{{"text": "Ann "', True),
        ("jsonl", f"{WHOLE}\n{WHOLE}\n{OTHERS}", False),
        ("json", json.dumps([json.loads(WHOLE), {"text": "x", "by": "Ann"}], indent=1), False),
        ("csv", 'text,label\n"Ann ""Smith"" of\nAnn, and more",a\nx,b\n', False),
        ("txt", "A note\nby Ann.\n", False),
        ("html", f"<html><head><title>Ann</title></head><body><p>Ann {'said so. ' * 40}</p></body></html>", False),
    ],
)
def test_a_record_does_not_hide_a_match_outside_of_records_in_its_file(
    empty: Path, suffix: str, text: str, outside: bool
) -> None:
    (empty / f"a.{suffix}").write_text(text, encoding="utf-8")
    (empty / "recipe.yaml").write_text(
        f"work: work\nstages:\n  corpus: {{kind: corpus, read: [a.{suffix}], filters: []}}\n", "utf-8"
    )
    words = ["forget", "recipe.yaml", "--where", "any~Ann"]
    if outside:
        with pytest.raises(UserError, match=f"a.{suffix} holds it in a record, and outside of records too"):
            call(*words)
    else:
        done = CliRunner().invoke(cli, words, input="n\n", catch_exceptions=False)
        assert "to be made again: corpus" in done.output, done.output
    assert (empty / "recipe.forgotten").exists() is not outside


def test_a_file_without_a_record_that_holds_it_is_named(empty: Path) -> None:
    (empty / "raw").mkdir()
    (empty / "raw" / "a.jsonl").write_text('{"text": "Ann Smi', encoding="utf-8")
    (empty / "raw" / "b.txt").write_text("Of nobody.", encoding="utf-8")
    (empty / "recipe.yaml").write_text("stages:\n  corpus: {kind: corpus, read: [raw], filters: []}\n", "utf-8")
    with pytest.raises(UserError, match=r"raw/a.jsonl holds it, but in no record"):
        call("forget", "recipe.yaml", "--where", "any~Ann")


PAGE = f"<html><head><meta name='author' content='Ann Smith'></head><body><p>{'A long text. ' * 30}</p></body></html>"


SEEDS = """\
work: work
seeds: {seeds}
stages:
  corpus: {{kind: corpus, read: [raw/chats.jsonl], filters: [], test: 0}}
  base: {{kind: learn, corpus: $corpus}}
"""


class Learn(Stage):
    """Stands for training, which takes minutes: what it writes depends on the corpus and the seed."""

    makes: ClassVar[str] = "report"
    trains: ClassVar[bool] = True
    corpus: Annotated[str, Input("corpus")]

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        (out / "weights").write_text(f"{inputs['corpus'].card.id} {context.seed}", encoding="utf-8")
        return {}


def test_the_models_of_all_seeds_are_made_again_and_one_of_a_seed_more_is_named(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("tiny_learn")
    module.Learn = Learn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tiny_learn", module)
    monkeypatch.setitem(STAGE.table, "learn", "tiny_learn:Learn")
    (empty / "raw").mkdir()
    rows = [{"text": f"Person{k % 9} said that number {k} is fine"} for k in range(60)]
    (empty / "raw" / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (empty / "recipe.yaml").write_text(SEEDS.format(seeds=2), encoding="utf-8")
    assert call("run", "recipe.yaml", "--quiet").exit_code == 0
    before = {name: Artifact.open(empty / "work" / name).card.id for name in ("base.s0", "base.s1")}
    (empty / "recipe.yaml").write_text(SEEDS.format(seeds=1), "utf-8")
    facts = forgotten("any~Person3", code=1)
    wrong = {row["stage"]: row["wrong"] for row in facts["proof"] if not row["ok"]}
    assert list(wrong) == ["work/base.s0", "work/base.s1"]
    assert all("was made from what held it" in one for [one] in wrong.values())
    (empty / "recipe.yaml").write_text(SEEDS.format(seeds=2), encoding="utf-8")
    facts = forgotten("any~Person3")
    assert {"base.s0", "base.s1"} <= {row["stage"] for row in facts["proof"]}
    for name, id in before.items():
        one = Artifact.open(empty / "work" / name)
        corpus = next(a for a in one.ancestors() if a.card.kind == "corpus")
        assert one.card.id != id and corpus.card.metrics["forgotten"] == 7
    left = [path.name for path in (empty / "work").iterdir()]
    assert not [name for name in left if "@" in name or "scratch" in name]


def test_what_comes_from_a_hub_is_searched_in_the_cache_and_left_out(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = empty / "hub"
    snapshot = home / "datasets--org--talk" / "snapshots" / ("0" * 40)
    blobs = home / "datasets--org--talk" / "blobs"
    for folder in (snapshot / "data", blobs, blobs.parent / "refs"):
        folder.mkdir(parents=True)
    (blobs / "1").write_text(LABELLED, encoding="utf-8")
    (snapshot / "data" / "train.jsonl").symlink_to(blobs / "1")
    (blobs.parent / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    stages = "  data: {kind: dataset, read: ['hf:org/talk']}\n"
    made_of(empty, stages + "  corpus: {kind: corpus, read: ['hf:org/talk'], filters: []}\n")
    facts = forgotten("any~Person03")
    assert facts["records"] == 2 and list(facts["files"].values()) == [2]
    assert [path.endswith("data/train.jsonl") for path in facts["files"]] == [True]
    assert Artifact.open(empty / "work" / "data").card.metrics["examples"] == 19
    assert Artifact.open(empty / "work" / "corpus").card.metrics["forgotten"] == 1
    assert (blobs / "1").read_text(encoding="utf-8") == LABELLED
    (blobs / "1").write_text(LABELLED + '\n{"text": "of Person04', encoding="utf-8")
    with pytest.raises(UserError, match=r"train\.jsonl"):
        call("forget", "recipe.yaml", "--where", "any~Person04", "--yes")


def test_a_column_that_no_file_has_is_refused(empty: Path) -> None:
    made_of(empty, DATA, a__jsonl=LABELLED)
    with pytest.raises(NoSuchColumn, match="has a column 'usr'"):
        call("forget", "recipe.yaml", "--where", "usr=4711", "--yes")


def test_digests_are_added_to_a_list_in_a_folder(empty: Path) -> None:
    (empty / "lists").mkdir()
    (empty / "lists" / "old.forgotten").write_text(f"{'0' * 32}\n", encoding="utf-8")
    made_of(empty, "  data: {kind: dataset, read: [raw/a.jsonl], without: lists}\n", a__jsonl=LABELLED)
    assert forgotten("any~Person03")["records"] == 1
    assert len(read_digests(empty / "lists" / "old.forgotten")) == 2


def test_what_was_typed_is_in_no_card_and_a_report_of_another_command_is_named(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_of(empty, DATA, a__jsonl=LABELLED)
    monkeypatch.setattr("sys.argv", ["pretune", "forget", "recipe.yaml", "--where", "any~Person03"])
    (empty / "work" / "report").mkdir()
    page = empty / "work" / "report" / "report.html"
    page.write_text("<p>worst: thing 3 of\n &#80;erson03</p>", encoding="utf-8")
    rows = {row["stage"]: row for row in forgotten("any~Person03", code=1)["proof"]}
    assert rows["work/report"]["wrong"] == ["report.html holds it still: make it again, or delete it"]
    assert rows["data"]["ok"] and b"Person03" not in (empty / "work" / "data" / "artifact.json").read_bytes()
    page.unlink()
    assert all(row["ok"] for row in forgotten("any~Person03")["proof"])


def test_the_beginning_of_a_text_is_found_where_its_name_is_not() -> None:
    traces = Traces.of([Where.of("user=7")], ["a text of twenty and more characters", "short"])
    assert traces.are_in('{"x": "a text of\\ntwenty and &#109;ore characters, cut"}')
    assert not traces.are_in("a text of twenty and more letters") and not traces.are_in("short")


def test_no_is_no_end_the_next_call_makes_it_again(empty: Path) -> None:
    made_of(empty, DATA, a__jsonl=LABELLED)
    CliRunner().invoke(cli, ["forget", "recipe.yaml", "--where", "any~Person03"], input="n\n")
    facts = forgotten("any~Person03")
    assert (facts["records"], facts["left_out_before"], facts["made_again"]) == (0, 1, ["data"])
    assert Artifact.open(empty / "work" / "data").card.metrics["examples"] == 19


def test_links_that_the_stage_follows_are_searched(empty: Path) -> None:
    (empty / "raw").mkdir()
    (empty / "elsewhere.jsonl").write_text(LABELLED, encoding="utf-8")
    (empty / "raw" / "a.jsonl").symlink_to(empty / "elsewhere.jsonl")
    made_of(empty, "  data: {kind: dataset, read: [raw], links: follow}\n")
    assert forgotten("any~Person03")["records"] == 1


def test_what_is_in_no_file_is_said_not_to_be_searched(empty: Path) -> None:
    (empty / "recipe.yaml").write_text(
        "work: work\nstages:\n  corpus: {kind: corpus, read: ['swaps:names-en']}\n", encoding="utf-8"
    )
    done = call("forget", "recipe.yaml", "--where", "text~Person03")
    assert "not searched, for it is in no file: swaps:names-en" in done.output
