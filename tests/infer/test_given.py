"""What `predict --input` reads: the same texts as any stage, or an error that says what is wrong."""

from __future__ import annotations

import csv
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from pretune.base.errors import BadFile, EmptyInput, NoSuchColumn, NoSuchFile, NotText, PretuneError
from pretune.infer.given import check_output, given_in


def texts_of(path: Path, column: str | None = None, **heard: Any) -> list[Any]:
    return list(given_in(path, ("text",), column, **heard))


CHINESE = ["这部电影很好看，我们都喜欢。", "不好看，浪费时间。"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".json", ".csv", ".tsv", ""])
def test_texts_come_out_of_every_format_in_every_encoding(tmp_path: Path, encoding: str, suffix: str) -> None:
    rows = [{"text": text, "id": k} for k, text in enumerate(CHINESE)]
    written = {
        ".jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in rows),
        ".json": json.dumps(rows, ensure_ascii=False),
        ".csv": "id,text\n" + "".join(f"{row['id']},{row['text']}\n" for row in rows),
        ".tsv": "id\ttext\r\n" + "".join(f"{row['id']}\t{row['text']}\r\n" for row in rows),
    }
    path = tmp_path / f"a{suffix}"
    path.write_bytes(written.get(suffix, "\r\n".join(CHINESE)).encode(encoding))
    assert texts_of(path) == CHINESE


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_only_an_end_of_line_ends_a_text(tmp_path: Path, sign: str) -> None:
    text = f"one{sign}and the same"
    (tmp_path / "a.txt").write_text(f"{text}\n\n  \nlast", encoding="utf-8", newline="")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}, ensure_ascii=False), encoding="utf-8")
    assert texts_of(tmp_path / "a.txt") == [text, "last"]
    assert texts_of(tmp_path / "a.jsonl") == [text]


def test_latin_1_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("Caf\xe9 cr\xe8me br\xfbl\xe9e".encode("latin-1"))
    with pytest.raises(NotText, match=r"a.txt'.*\n  hint: convert it first"):
        texts_of(path)


def test_records_without_a_text_are_left_out_counted_and_named(tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"text": None}, {"id": 3}, {"text": ""}, {"text": "b"}]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    told: list[str] = []
    assert texts_of(path, warn=told.append) == ["a", "b"]
    name = path.as_posix()
    assert told == [f"3 records without a text in 'text' were left out: {name}:2, {name}:3, {name}:4"]


def test_records_tell_what_was_mended_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"question,context\nWho?,Ann \xff did.\n,Bob did.\n" + "谁？,安。\n".encode() * 40)
    told: list[str] = []
    found = list(given_in(path, ("question", "context"), warn=told.append))
    assert found[0] == {"question": "Who?", "context": "Ann \ufffd did."}
    assert len(found) == 41
    name = path.as_posix()
    assert told == [
        f"{name}: 1 broken sequences of bytes became \ufffd",
        f"1 records without question or context were left out of {name}",
    ]


@pytest.mark.parametrize(
    ("name", "content", "error", "says"),
    [
        ("a.jsonl", '{"txt": "a"}', NoSuchColumn, "no column that could be the text; it has: txt"),
        ("a.jsonl", '{"text": "a"}\n{"text": ["b"]}', BadFile, "a.jsonl:2: column 'text' must be text, not a list"),
        ("a.jsonl", '{"text": "a"}\n{"text": "b"', BadFile, "a.jsonl:2 is not JSON"),
        ("a.jsonl", '{"text": null}', EmptyInput, "holds no text"),
        ("a.json", "[3]", BadFile, "not an object"),
        ("a.csv", "text,label\nx,y,z\n", BadFile, "has 3 cells"),
        ("a.txt", "\n \n", EmptyInput, "holds no text"),
        ("a.txt", "", EmptyInput, "holds no text"),
        ("a.txt", "\x00\x01\x02" * 9, NotText, "binary"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: str, error: type[PretuneError], says: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(error, match=says):
        texts_of(tmp_path / name)


def test_a_folder_and_a_file_that_is_not_there_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="is a folder"):
        texts_of(tmp_path)
    with pytest.raises(NoSuchFile, match=r"there is no file '.*nowhere.txt'"):
        texts_of(tmp_path / "nowhere.txt")


def test_a_column_of_another_name_is_found_or_given(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["review", "notes"], ["good, really", "x"]])
    told: list[str] = []
    assert texts_of(path, tell=told.append) == ["good, really"]
    assert told == [f"{path.as_posix()}: the texts are read from the column 'review' (--column says another)"]
    assert texts_of(path, "Notes") == ["x"]
    with pytest.raises(NoSuchColumn, match=r"no column 'note'.*\n.*'notes'"):
        texts_of(path, "note")


def test_questions_to_a_language_model_are_found_too(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "Why?", "id": "x"}', encoding="utf-8")
    assert texts_of(tmp_path / "a.jsonl") == ["Why?"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=("你好\nworld".encode(),))
    writer.start()
    assert texts_of(path) == ["你好", "world"]
    writer.join()


def test_a_place_where_no_answers_can_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoSuchFile, match=r"there is no folder '.*/new' to write the answers into"):
        check_output(tmp_path / "new" / "a.jsonl")
    with pytest.raises(BadFile, match="is a folder"):
        check_output(tmp_path)
    check_output(tmp_path / "a.jsonl")


@pytest.mark.parametrize("names", [("source", "targets"), ("src", "tgt"), ("de", "en"), ("原文", "译文")])
def test_of_a_source_and_its_target_the_source_is_asked(tmp_path: Path, names: tuple[str, str]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(dict(zip(names, ("the cat", "le chat"), strict=True))), encoding="utf-8")
    told: list[str] = []
    assert texts_of(path, tell=told.append) == ["the cat"]
    assert repr(names[0]) in told[0]
