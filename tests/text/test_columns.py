"""Which column is the text and which the label, in a corpus and in a data set; and that the log says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pretune.base.errors import NoSuchColumn
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.text.corpus.raw_shards import LARGE_FILE, RAW_SHARD_BYTES
from pretune.text.dataset.example import Pair, read_split
from pretune.text.read.columns import FIRST, Table

LONG = "A text of many words 你好 🙂, number "


def rows(**texts: str) -> list[dict[str, str]]:
    return [{name: f"{text}{k}" for name, text in texts.items()} for k in range(4)]


def write(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in records) + "\n", encoding="utf-8")
    return str(path)


def texts_of(artifact: Any) -> set[str]:
    return {t for p in artifact.path.glob("[tv]*.parquet") for t in pq.read_table(p)["text"].to_pylist()}


# ---- the text -----------------------------------------------------------------------------------


@pytest.mark.parametrize("short", ["title", "question", "headline", "query", "Title", "标题"])
@pytest.mark.parametrize("long", ["body", "document", "description", "abstract", "article", "selftext"])
def test_the_long_text_wins_over_what_stands_above_it(short: str, long: str) -> None:
    for order in ({short: "Short ", long: LONG}, {long: LONG, short: "Short "}):
        assert Table("a", rows(**order), {}).column("text") == long
        assert Table("a", rows(**order), {}, stage="corpus").column("text") == long


def test_a_sure_name_is_the_text_however_long_another_is_unless_it_is_empty() -> None:
    assert Table("a", rows(description=LONG, review="Good "), {}).column("text") == "review"
    assert Table("a", rows(document=LONG, sentence="Good "), {}).column("text") == "sentence"
    assert Table("a", rows(content="x", text="y"), {}).column("text") == "text"
    empty = [{"text": None, "content": "", "title": "One", "body": "Two words"}]
    assert Table("a", empty, {}).column("text") == "body"


def test_a_column_of_empty_texts_is_not_the_text_where_another_is_filled() -> None:
    posts = [{"title": "What is the best film?", "selftext": ""}] * 40 + [{"title": "Hm", "selftext": LONG}]
    assert Table("a", posts, {}).column("text") == "title"


def test_a_corpus_takes_the_long_text_of_every_record_and_its_log_names_the_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "in"
    folder.mkdir()
    odd = {"title": "A long title above very little, as it happens", "body": "Few words."}
    write(folder / "a.jsonl", [odd, *({"title": f"T{k}", "body": f"{LONG}{k}"} for k in range(60))])
    write(folder / "b.jsonl", rows(headline="H", article=f"{LONG} b "))
    (folder / "c.csv").write_text("headline,body\nH,Some words of c\n", encoding="utf-8")
    (folder / "d.txt").write_text("plain words of a file", encoding="utf-8")
    tree = {"work": str(tmp_path / "out"), "stages": {"it": {"kind": "corpus", "read": str(folder), "validation": 0}}}
    made = Recipe.build(tree | {"stages": {"it": tree["stages"]["it"] | {"test": 0, "filters": []}}}).run(log=Log())
    wanted = {"Few words.", *(f"{LONG}{k}" for k in range(60)), *(f"{LONG} b {k}" for k in range(4))}
    assert texts_of(made["it"]) == wanted | {"Some words of c", "plain words of a file"}
    assert "the text is column 'body' of 2 tables, 'article' of 1 table" in capsys.readouterr().err


def test_a_line_without_the_column_does_not_change_what_the_next_ones_are_read_as(
    tmp_path: Path, run_stage: Any
) -> None:
    records = [{"body": f"{LONG}{k}", "title": f"T{k}"} for k in range(60)]
    records[55] = {"title": "only a title"}
    made = run_stage("corpus", read=write(tmp_path / "a.jsonl", records), filters=[], test=0, validation=0)
    wanted = {f"{LONG}{k}" for k in range(60) if k != 55}
    assert texts_of(made) == wanted | {"only a title"}


def test_a_large_file_is_read_by_the_column_of_its_first_records(tmp_path: Path, run_stage: Any) -> None:
    num_lines = LARGE_FILE // 1000 + 100
    odd = {"title": "A long title above very little", "body": "Few words."}
    with (tmp_path / "a.jsonl").open("w", encoding="utf-8") as file:
        file.write(json.dumps(odd) + "\n")
        for k in range(num_lines):
            file.write(json.dumps({"title": "T" * (900 if k > 100 else 1), "body": f"{k} " * 200}) + "\n")
    assert (tmp_path / "a.jsonl").stat().st_size > LARGE_FILE > RAW_SHARD_BYTES
    made = run_stage("corpus", read=str(tmp_path / "a.jsonl"), filters=[], dedup="none", validation=0, test=0)
    texts = texts_of(made)
    assert len(texts) == num_lines + 1
    assert not any(text.startswith(("T", "A long")) for text in texts)


def test_records_before_a_damaged_place_are_kept_although_the_columns_are_told_by_more(
    tmp_path: Path, run_stage: Any
) -> None:
    import gzip

    lines = "".join(json.dumps({"body": f"{LONG}{k * k} {k}", "title": "t"}) + "\n" for k in range(4000))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode())[:240])
    made = run_stage("corpus", read=str(tmp_path / "a.jsonl.gz"), filters=[], validation=0, test=0)
    assert 0 < made.card.metrics["documents"] < FIRST
    assert made.card.metrics["quarantined"] == 1


def test_a_data_set_tells_in_its_log_and_on_its_card_what_was_read_as_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path / "cache"))
    records = [{**r, "label": "ab"[k % 2]} for k, r in enumerate(rows(title="Short ", selftext=LONG))]
    data = {"kind": "dataset", "read": write(tmp_path / "train.jsonl", records)}
    made = Recipe.build({"work": str(tmp_path / "out"), "stages": {"it": data}}).run(log=Log())["it"]
    assert made.card.metrics["read_as"] == {"train.jsonl": "label (text: selftext, label: label)"}
    assert "train.jsonl: train, read as label (text: selftext, label: label)" in capsys.readouterr().err


# ---- names that are not known as they stand -----------------------------------------------------


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("my_text", "my_label"),
        ("reviewText", "airline_sentiment"),
        ("Post Body", "Post-Class"),
        ("FULL_TEXT", "TopicLabel"),
        ("用户评论", "情感标签"),
    ],
)
def test_a_last_word_says_what_a_column_is_for(tmp_path: Path, run_stage: Any, text: str, label: str) -> None:
    records = [{"my_id": k, label: "ab"[k % 2], text: f"words {k}"} for k in range(4)]
    made = run_stage("dataset", read=write(tmp_path / "train.jsonl", records), validation=0, test=0)
    assert [(e.text, e.label) for e in read_split(made.path, "train")] == [
        (f"words {k}", "ab"[k % 2]) for k in range(4)
    ]


def test_of_two_columns_that_could_be_the_label_none_is_taken(tmp_path: Path, run_stage: Any) -> None:
    records = [{"text": f"t{k}", "first_label": k, "second_label": k} for k in range(2)]
    with pytest.raises(NoSuchColumn, match="no column that could be the label; it has: text, first_label"):
        run_stage("dataset", read=write(tmp_path / "train.jsonl", records))


# ---- languages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ["2024-01-01,linux", "1700000000,windows", "yes,no"])
def test_when_and_on_which_system_are_no_languages(tmp_path: Path, run_stage: Any, row: str) -> None:
    (tmp_path / "train.csv").write_text(f"ts,os\n{row}\n", encoding="utf-8")
    with pytest.raises(NoSuchColumn, match="no column that could be the label; it has: ts, os"):
        run_stage("dataset", read=str(tmp_path / "train.csv"))


def test_a_word_behind_what_could_be_a_code_makes_it_no_language(tmp_path: Path, run_stage: Any) -> None:
    (tmp_path / "train.csv").write_text(
        "it_ticket,it_category\nMy screen is black,screen\nNo mail,mail\n", encoding="utf-8"
    )
    with pytest.raises(NoSuchColumn, match=r"could be the text(.|\n)*dataset\.columns\.text=it_ticket"):
        run_stage("dataset", read=str(tmp_path / "train.csv"))
    made = run_stage("dataset", read=str(tmp_path / "train.csv"), text="it_ticket", validation=0, test=0)
    assert [e.label for e in read_split(made.path, "train")] == ["screen", "mail"]


@pytest.mark.parametrize(
    ("source", "target"), [("en", "ts"), ("de", "en"), ("pt_br", "zh-Hant"), ("eng_Latn", "kk"), ("my", "zh")]
)
def test_two_languages_are_a_pair_with_their_regions_and_scripts(
    tmp_path: Path, run_stage: Any, source: str, target: str
) -> None:
    records = [{target: "你好 1", source: "Hello 1"}, {target: "3", source: "3"}]
    made = run_stage("dataset", read=write(tmp_path / "train.jsonl", records), validation=0, test=0)
    assert read_split(made.path, "train")[0] == Pair("Hello 1", ("你好 1",), "train.jsonl#0")


def test_numbers_under_the_names_of_languages_are_no_pair(tmp_path: Path, run_stage: Any) -> None:
    with pytest.raises(NoSuchColumn, match="it has: en, de"):
        run_stage("dataset", read=write(tmp_path / "train.jsonl", [{"en": 1, "de": 0}, {"en": 0, "de": 1}]))
