"""`pretune forget`: texts of some people leave everything that a recipe made, and all else stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pretune.base.artifact import Artifact
from pretune.base.errors import BadCommand, BadFile
from pretune.cli import cli
from pretune.text.forget import Where, read_digests, record_digest, with_setting

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
    assert json.loads(call("forget", "recipe.yaml", "--where", f"user={PEOPLE[0]}", "--yes", "--json").stdout) == {
        "records": 0
    }


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
    assert done.exit_code == 1 and [name for name, row in proof.items() if not row["ok"]] == ["desk"]
    assert proof["desk"]["wrong"] == ["reads 1 of the records itself: take them out of raw/notes/a.txt"]
