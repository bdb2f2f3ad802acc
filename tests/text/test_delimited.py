"""Tables with delimiters: what a quote means among tabs, columns without a name, and the line of every row."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from pretune.base.errors import BadFile
from pretune.text.dataset.example import Labelled, read_split
from pretune.text.read.formats.delimited import AGAIN, SPILLED
from pretune.text.read.readers import Repairs, line_of, read_records


def read(place: Path, text: str, suffix: str = ".tsv", repairs: Repairs | None = None) -> list[Any]:
    path = place / f"a{suffix}"
    path.write_text(text, encoding="utf-8", newline="")
    return [tuple(record.values()) for record in read_records(path, repairs)]


def written(rows: list[tuple[str, str]], **options: Any) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter="\t", **options).writerows([("text", "label"), *rows])
    return out.getvalue()


# ---- a quote among tabs -------------------------------------------------------------------------

BARE = [
    ('"Bring me the lamp', "calm"),
    ("你好 🙂", "glad"),
    ('He said "no', "sad"),
    ('"Quoted from end to end"', "calm"),
    ('"', "sad"),
    ('6" of "snow"', "glad"),
    ('She left"', "sad"),
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quote_that_nobody_closes_is_a_letter_and_costs_no_row(tmp_path: Path, end: str) -> None:
    text = end.join("\t".join(row) for row in [("text", "label"), *BARE]) + end
    assert read(tmp_path, text) == BARE
    assert [line_of(tmp_path / "a.tsv", k) for k in range(7)] == [2, 3, 4, 5, 6, 7, 8]


def test_the_quotes_of_a_table_that_quotes_are_no_letters(tmp_path: Path) -> None:
    rows = [('He said "no"', "sad"), ("a\tb", "calm"), ("plain", "glad"), ('"', "sad")]
    assert read(tmp_path, written(rows)) == rows
    assert read(tmp_path, written(rows, quoting=csv.QUOTE_ALL)) == rows


def test_a_text_of_several_lines_is_one_row_where_no_line_of_it_is_one(tmp_path: Path) -> None:
    rows = [("one\ntwo", "calm"), ('He said "no"', "sad"), ("a\n\nb\tc", "glad"), ("plain", "sad")]
    assert read(tmp_path, written(rows)) == rows
    assert [line_of(tmp_path / "a.tsv", k) for k in range(4)] == [2, 4, 5, 8]


def test_beside_a_damaged_line_a_quote_that_nobody_closes_still_costs_no_row(tmp_path: Path) -> None:
    text = 'text\tlabel\n"Bring me the lamp\tcalm\na\tb\tc\n"lovely"\tglad\nlast\tsad\n'
    repairs = Repairs(quarantine=[])
    assert read(tmp_path, text, repairs=repairs) == [
        ('"Bring me the lamp', "calm"),
        ("lovely", "glad"),
        ("last", "sad"),
    ]
    assert [where.rpartition(":")[2] for where, _ in repairs.quarantine or ()] == ["3"]
    with pytest.raises(BadFile, match=r"a\.tsv:3 has 3 cells, the first line has 2(.|\n)*hold no tab"):
        read(tmp_path, text)


def test_where_even_the_names_are_quoted_a_row_of_other_quotes_is_damaged(tmp_path: Path) -> None:
    text = written([("good", "a"), ("fine", "b")], quoting=csv.QUOTE_ALL) + '"She said \\"no\\""\t"a"\n"last"\t"b"\n'
    repairs = Repairs(quarantine=[])
    assert read(tmp_path, text, repairs=repairs) == [("good", "a"), ("fine", "b"), ("last", "b")]
    assert [where.rpartition(":")[2] for where, _ in repairs.quarantine or ()] == ["4"]


def test_tabs_in_a_file_called_csv_are_read_alike(tmp_path: Path) -> None:
    text = "text\tlabel\n" + "".join("\t".join(row) + "\n" for row in BARE)
    assert read(tmp_path, text, ".csv") == BARE


def test_a_data_set_of_such_a_table_has_every_row_with_its_own_label(tmp_path: Path, run_stage: Any) -> None:
    (tmp_path / "train.tsv").write_text("text\tlabel\n" + "\n".join(map("\t".join, BARE)), encoding="utf-8")
    made = run_stage("dataset", read=str(tmp_path / "train.tsv"), validation=0, test=0)
    assert [(e.text, e.label) for e in read_split(made.path, "train")] == BARE


# ---- columns without a name ---------------------------------------------------------------------


def test_empty_columns_behind_the_named_ones_are_none(tmp_path: Path, run_stage: Any) -> None:
    (tmp_path / "spam.csv").write_text('v1,v2,,,\nham,"Go, now",,,\nspam,Win 你好,,,\nham,ok\n', encoding="utf-8")
    assert [list(r) for r in read_records(tmp_path / "spam.csv")] == [["v1", "v2"]] * 3
    columns = {"label": "v1", "text": "v2"}
    made = run_stage("dataset", read=str(tmp_path / "spam.csv"), columns=columns, validation=0, test=0)
    assert read_split(made.path, "train") == [
        Labelled("Go, now", "ham", "spam.csv#0"),
        Labelled("Win 你好", "spam", "spam.csv#1"),
        Labelled("ok", "ham", "spam.csv#2"),
    ]


def test_empty_cells_behind_a_row_are_none(tmp_path: Path) -> None:
    assert read(tmp_path, "text,label\na,x,,\nb,y\n", ".csv") == [("a", "x"), ("b", "y")]
    with pytest.raises(BadFile, match=r"a\.csv:2 has 3 cells"):
        read(tmp_path, "text,label\na,x,z\n", ".csv")


def test_what_stands_in_a_column_without_a_name_is_called_by_its_place_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",v1,v2,,\n0,ham,a,,\n1,spam,b,c,\n", encoding="utf-8")
    repairs = Repairs()
    assert list(read_records(tmp_path / "a.csv", repairs)) == [
        {"column 1": "0", "v1": "ham", "v2": "a"},
        {"column 1": "1", "v1": "spam", "v2": "b", "column 4": "c"},
    ]
    assert repairs.mended == {SPILLED: 1}


# ---- what is no row -----------------------------------------------------------------------------


def test_blank_lines_in_front_and_the_word_of_excel_for_the_delimiter_are_no_names(tmp_path: Path) -> None:
    assert read(tmp_path, "\n  \r\ntext,label\na,x\n", ".csv") == [("a", "x")]
    assert line_of(tmp_path / "a.csv", 0) == 4
    assert read(tmp_path, "sep=;\r\ntext;label\r\na,b,c;x\r\n", ".csv") == [("a,b,c", "x")]
    assert read(tmp_path, 'sep=\t\ntext\tlabel\n"Bring\tx\n', ".csv") == [('"Bring', "x")]
    assert read(tmp_path, 'SEP=|\ntext|label\n"a|b"|x\n', ".csv") == [("a|b", "x")]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_the_names_once_more_are_no_row_and_counted(tmp_path: Path, suffix: str) -> None:
    text = "text, label\na,x\ntext,good\nb,y\ntext, label\nc,z\n".replace(",", "\t" if suffix == ".tsv" else ",")
    repairs = Repairs()
    assert read(tmp_path, text, suffix, repairs) == [("a", "x"), ("text", "good"), ("b", "y"), ("c", "z")]
    assert repairs.mended == {AGAIN: 1}
    assert [line_of(tmp_path / f"a{suffix}", k) for k in range(5)] == [2, 3, 4, 6, None]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('text,label\n"a,x\nb,y\n', "must be closed"),
        ("text,label,text\na,x,b\n", "a name of its own"),
        ("text,label\na,b,c\n", "texts with commas"),
    ],
)
def test_a_table_that_is_refused_says_what_to_do(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(BadFile) as error:
        read(tmp_path, text, ".csv")
    assert hint in str(error.value.hint)


def test_the_word_of_excel_may_stand_in_quotes(tmp_path: Path) -> None:
    assert read(tmp_path, '"sep=;"\r\n\r\ntext;label\r\na;x\r\n', ".csv") == [("a", "x")]


def test_names_once_more_behind_a_mark_of_bytes_are_names(tmp_path: Path) -> None:
    assert read(tmp_path, "text,label\na,x\n\ufefftext,label\nb,y\n", ".csv") == [("a", "x"), ("b", "y")]


def test_a_text_that_is_called_like_its_only_column_is_a_row(tmp_path: Path) -> None:
    assert read(tmp_path, "text\nword\ntext\n", ".csv") == [("word",), ("text",)]
