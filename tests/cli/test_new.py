"""`pretune new`: the recipe for what stage dataset would read, whatever the file, its columns and the name are like."""

from __future__ import annotations

import bz2
import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretune.base.recipe import Recipe
from pretune.base.yaml import read_yaml

Run = Callable[..., tuple[int, str, str]]
LABELLED = "text,label\nA lovely film,good\n很好看 🙂,good\nA bad one,bad\nTwo lost hours,bad\n"
TEXT = "A page of text, with no label at all, about nothing in particular.\n" * 20


def rows(**columns: str) -> str:
    return "".join(json.dumps({c: f"{text} {k}" for c, text in columns.items()}) + "\n" for k in range(4))


FILES: list[tuple[str, bytes, str]] = [
    ("semicolons.csv", LABELLED.replace(",", ";").encode(), "classify"),
    ("mark.csv", b"\xef\xbb\xbf" + LABELLED.encode(), "classify"),
    ("wide.csv", LABELLED.encode("utf-16"), "classify"),
    ("gbk.csv", LABELLED.replace("🙂", "推荐").replace("A lovely film", "很好的一部电影，我喜欢").encode("gbk"), "classify"),
    ("tabs.tsv", LABELLED.replace(",", "\t").encode(), "classify"),
    ("stars.csv", LABELLED.replace("label", "stars").encode(), "classify"),
    ("packed.csv.gz", gzip.compress(LABELLED.encode()), "classify"),
    ("packed.jsonl.bz2", bz2.compress(rows(review="r", sentiment="s").encode()), "classify"),
    ("marks.txt", b"__label__good A lovely film\n__label__bad A bad one\n", "classify"),
    ("lines.txt", b"A lovely film\tgood\nA bad one\tbad\nfine\tgood\nno\tbad\n", "classify"),
    ("named.csv", b"my_text,my_label\nA lovely film,good\nA bad one,bad\n", "classify"),
    ("splits.json", json.dumps({"train": [["a film", "x"], ["a book", "y"]], "val": [["a ship", "y"]]}).encode(), "classify"),
    ("completions.jsonl", rows(prompt="What?", completion="That.").encode(), "chat"),
    ("questions.jsonl", rows(question="What?", answer="That.").encode(), "chat"),
    ("array.json", json.dumps([{"instruction": "Say it", "input": "", "output": "It"}] * 3).encode(), "chat"),
    ("turns.jsonl", json.dumps({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}).encode(), "chat"),
]  # fmt: skip


def recipe_of(name: str) -> dict[str, Any]:
    tree: dict[str, Any] = read_yaml(Path(name))[0]
    return tree


@pytest.mark.parametrize(("name", "data", "task"), FILES, ids=[case[0] for case in FILES])
def test_the_recipe_is_for_the_task_of_what_stage_dataset_reads(
    pretune: Run, name: str, data: bytes, task: str
) -> None:
    Path(name).write_bytes(data)
    code, out, _ = pretune("new", "it", "--from", name, "--json")
    stages = recipe_of("it.yaml")["stages"]
    assert (code, stages["tuned"]["task"], stages["data"]["read"]) == (0, task, [name])
    data_alone = {"work": "runs", "stages": {"data": stages["data"] | {"validation": 0, "test": 0}}}
    read = Recipe.build(data_alone).run()["data"].card.metrics
    assert read["read_as"] == {name: f"{json.loads(out)['shape']} ({json.loads(out)['read_as']})"}


def test_an_archive_is_looked_into(pretune: Run) -> None:
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("data/train.csv", LABELLED)
    assert pretune("new", "it", "--from", "a.zip")[0] == 0
    assert recipe_of("it.yaml")["stages"]["tuned"]["task"] == "classify"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.txt", TEXT),
        ("page.md", f"# Title\n\n{TEXT}"),
        ("articles.jsonl", rows(title="On it", body=TEXT, url="http://localhost")),
        ("web.jsonl", "".join(json.dumps({"text": TEXT, "score": k / 2}) + "\n" for k in range(4))),
        ("one.csv", "id,content\n1,words of a page\n"),
    ],
)
def test_text_without_labels_is_pretrained_on(pretune: Run, name: str, text: str) -> None:
    Path(name).write_text(text, encoding="utf-8")
    code, out, _ = pretune("new", "it", "--from", name)
    assert (code, "read as: text" in out) == (0, True)
    assert [stage["kind"] for stage in recipe_of("it.yaml")["stages"].values()] == [
        *("corpus", "tokenizer", "tokens", "pretrain", "evaluate"),
    ]


def test_a_small_table_in_a_folder_of_pages_makes_no_data_set_of_it(pretune: Run) -> None:
    Path("docs/en").mkdir(parents=True)
    Path("docs/zh").mkdir()
    for k in range(9):
        Path(f"docs/{('en', 'zh')[k % 2]}/{k}.md").write_text(TEXT, encoding="utf-8")
    Path("docs/list.csv").write_text(LABELLED, encoding="utf-8")
    assert pretune("new", "it", "--from", "docs")[0] == 0
    assert "corpus" in recipe_of("it.yaml")["stages"]
    Path("docs/list.csv").unlink()
    assert pretune("new", "it2", "--from", "docs")[0] == 0
    assert "corpus" in recipe_of("it2.yaml")["stages"], "folders may be just folders"
    for k in range(4):
        path = Path(f"films/{('train', 'test')[k // 2]}/{('pos', 'neg')[k % 2]}/{k}.txt")
        path.parent.mkdir(parents=True)
        path.write_text(TEXT, encoding="utf-8")
    assert pretune("new", "it3", "--from", "films")[0] == 0
    assert recipe_of("it3.yaml")["stages"]["tuned"]["task"] == "classify"


def test_folders_of_short_texts_are_classes_and_folders_of_books_are_folders(pretune: Run) -> None:
    for name, text in (("reviews", TEXT), ("books", TEXT * 20)):
        for k in range(4):
            path = Path(f"{name}/{('good', 'bad')[k % 2]}/{k}.txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert pretune("new", name, "--from", name)[0] == 0
    assert recipe_of("reviews.yaml")["stages"]["tuned"]["task"] == "classify"
    assert "corpus" in recipe_of("books.yaml")["stages"]
    Path("reviews/about.txt").write_text(TEXT, encoding="utf-8")
    assert pretune("new", "mixed", "--from", "reviews")[0] == 0
    assert "corpus" in recipe_of("mixed.yaml")["stages"]


# ---- names --------------------------------------------------------------------------------------

NAMES = [
    "2024",
    "1e3",
    "null",
    "it's",
    'a"b',
    "a\\b",
    "two words",
    "a: b",
    "#x",
    "$x",
    "{x}",
    "é 🙂",
    "v1.2",
    "a\u2028b",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_file_is_a_name_of_a_recipe(pretune: Run, name: str) -> None:
    Path("t.txt").write_text(TEXT, encoding="utf-8")
    assert pretune("new", name, "--from", "t.txt")[0] == 0
    recipe = Recipe.read(f"{name}.yaml")
    assert (recipe.head.name, recipe.out("base").as_posix()) == (name, f"runs/{name}/base")
    assert list(recipe.stages) == ["corpus", "tokenizer", "tokens", "base", "report"]


def test_a_name_with_a_slash_is_the_place_of_the_recipe(pretune: Run) -> None:
    Path("t.txt").write_text(TEXT, encoding="utf-8")
    code, out, _ = pretune("new", "bots/my bot", "--from", "t.txt")
    assert (code, "next:    pretune plan 'bots/my bot.yaml'" in out) == (0, True)
    assert recipe_of("bots/my bot.yaml")["name"] == "my bot"
    code, _, err = pretune("new", "t.txt/x", "--from", "t.txt")
    assert (code, "'t.txt/x.yaml' cannot be written" in err) == (2, True), "a file is no folder"


@pytest.mark.parametrize("name", ["", ".", "..", "bots/..", "x.", " "])
def test_a_name_that_no_file_can_have_is_refused(pretune: Run, name: str) -> None:
    Path("t.txt").write_text(TEXT, encoding="utf-8")
    code, _, err = pretune("new", name, "--from", "t.txt")
    assert (code, "is no name for a recipe" in err) == (2, True)


@pytest.mark.parametrize(
    "source", ['a"b.csv', "it's.csv", "$x.csv", "a: b.csv", "{x}.csv", "a\\b.csv", "a, b].csv", "é 🙂.csv"]
)
def test_the_files_may_be_called_anything(pretune: Run, source: str) -> None:
    Path(source).write_text(LABELLED, encoding="utf-8")
    assert pretune("new", "it", "--from", source)[0] == 0
    tree = recipe_of("it.yaml")
    made = Recipe.build({"work": "runs", "stages": {"data": tree["stages"]["data"]}}).run()["data"]
    assert made.card.metrics["examples"] == 4


# ---- what is refused ----------------------------------------------------------------------------


def test_words_with_tags_are_learnt_from_by_task_tag(pretune: Run) -> None:
    Path("a.conll").write_text("Ann B-PER\nlives O\n", encoding="utf-8")
    assert pretune("new", "it", "--from", "a.conll")[0] == 0
    assert [stage["task"] for stage in recipe_of("it.yaml")["stages"].values() if "task" in stage] == ["tag"]


def test_a_table_without_a_text_and_one_that_cannot_be_read_are_told(pretune: Run) -> None:
    Path("a.csv").write_text("inhalt,art\nWorte,x\n", encoding="utf-8")
    code, _, err = pretune("new", "it", "--from", "a.csv")
    assert (code, "no column that could be the text; it has: inhalt, art" in err) == (2, True)
    assert "`pretune dataset FILE text=COLUMN label=COLUMN`" in err
    Path("b.csv").write_bytes(b"text,label\n\x00\x01\x02\x03,a\n" * 9)
    assert pretune("new", "it", "--from", "b.csv")[0] == 2
    Path("c.csv").write_text("# exported on Monday\ntext,label\na,x\n", encoding="utf-8")
    code, _, err = pretune("new", "it", "--from", "c.csv")
    assert (code, "has 2 cells, the first line has 1" in err) == (2, True), "as stage dataset says"
    Path("d.txt.gz").write_bytes(b"a lovely film\tgood\n" * 9)
    code, _, err = pretune("new", "it", "--from", "d.txt.gz")
    assert (code, "'d.txt.gz' is a damaged archive" in err) == (2, True), "as the corpus would say"
    Path("e").mkdir()
    Path("e/Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0\0\0\0\1" * 99)
    Path("e/a.json").write_text('[{"text": "a", "label": "x"}, {"text', encoding="utf-8")
    assert pretune("new", "it", "--from", "e")[0] == 2, "a picture next to it makes no text of a damaged table"
    assert not list(Path().glob("*.yaml"))
