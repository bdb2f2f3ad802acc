"""Odd text of a file: ends of lines, blank lines, quoting, what is cut off or in front."""

from __future__ import annotations

import csv

from tests.strangers.draft import LINES, Draft, Row
from tests.strangers.oddity import Oddity


def windows(draft: Draft) -> None:
    draft.text = draft.text.replace("\n", "\r\n")


def old_mac(draft: Draft) -> None:
    draft.text = draft.text.replace("\n", "\r")


def mixed_ends(draft: Draft) -> None:
    """One half of the file was edited elsewhere."""
    half = draft.text.find("\n", len(draft.text) // 2) + 1
    draft.text = draft.text[:half].replace("\n", "\r\n") + draft.text[half:]


def no_last_end(draft: Draft) -> None:
    draft.text = draft.text.rstrip("\n")


def blank_lines_behind(draft: Draft) -> None:
    draft.text += "\n" * draft.rng.randint(1, 4)


def blank_lines_in_front(draft: Draft) -> None:
    draft.text = "\n" * draft.rng.randint(1, 2) + draft.text


def blank_lines_between(draft: Draft) -> None:
    draft.text = draft.text.replace("\n", "\n\n")


def blanks_behind(draft: Draft) -> None:
    draft.text = draft.text.replace("\n", "  \n")


def sep_line(draft: Draft) -> None:
    """Excel's own first line, which says the delimiter."""
    draft.text = {"csv": "sep=,", "csv-semicolon": "sep=;", "csv-tab": "sep=\t"}[draft.form] + "\n" + draft.text


def remark_in_front(draft: Draft) -> None:
    """A line of words before the names: which line is the table's first?"""
    draft.text = "# exported on Monday\n" + draft.text
    draft.readable = False


def quote_all(draft: Draft) -> None:
    draft.dialect |= {"quoting": csv.QUOTE_ALL, "excel": True}


def quote_nothing(draft: Draft) -> None:
    """Backslashes in front of delimiters and quotes, as databases export."""
    draft.dialect |= {"quoting": csv.QUOTE_NONE, "escapechar": "\\"}
    if "\\" in serialised_by(draft):
        draft.readable = False
        for row in draft.rows:
            row.may_go()


def backslash_quotes(draft: Draft) -> None:
    """`\\"` within quotes, as JSON writes it; a csv doubles them. Read as meant, or refused."""
    for row in draft.places():
        row.values["text"] = f'She said "yes", and {row.values["text"]}'
        row.may_go()
    draft.dialect |= {"quoting": csv.QUOTE_ALL, "doublequote": False, "escapechar": "\\"}
    draft.readable = False


def blank_before_quotes(draft: Draft) -> None:
    """`good, "a, b"`: the blank is no part of the cell, and the quotes are quotes. Read so, or refused."""
    for row in draft.places():
        row.values["text"] = f"Well, {row.values['text']}"
    draft.dialect |= {"blank before": True}
    for row in draft.rows:
        row.values = dict(sorted(row.values.items(), key=lambda kv: kv[0] == "text"))
        row.may_go()
    draft.readable = False


def serialised_by(draft: Draft) -> str:
    from tests.strangers.forms import serialised

    return serialised(draft)


def open_quote(draft: Draft) -> None:
    """A quote that is opened and never closed: its row is damaged, not those behind it."""
    lines = draft.text.split("\n")
    at = {"first": 1, "middle": len(draft.rows) // 2 + 1}.get(draft.position, len(draft.rows))
    lines[at] = '"' + lines[at]
    row = draft.rows[at - 1]
    row.told, row.optional, row.readings = True, True, []
    draft.text = "\n".join(lines)
    draft.readable = False


def header_again(draft: Draft) -> None:
    """Two exports in one file: the names stand in the middle once more. They are no example."""
    names, *rows = draft.text.split("\n")
    half = len(rows) // 2
    draft.text = "\n".join([names, *rows[:half], names, *rows[half:]])
    draft.rows.insert(half, Row({}, readings=[], told=True))


def cell_too_many(draft: Draft) -> None:
    """A row with a delimiter that nobody quoted: damaged; what belongs where is a guess."""
    lines = draft.text.split("\n")
    at = {"first": 1, "middle": len(draft.rows) // 2 + 1}.get(draft.position, len(draft.rows))
    lines[at] = f"Well{',' if draft.form == 'csv' else ';'}{lines[at]}"
    row = draft.rows[at - 1]
    row.readings, row.told, row.optional = [], True, True
    draft.text = "\n".join(lines)
    draft.readable = False


def cell_too_few(draft: Draft) -> None:
    """A row that ends before its last column: damaged, as nobody knows which cell is missing."""
    lines = draft.text.split("\n")
    at = {"first": 1, "middle": len(draft.rows) // 2 + 1}.get(draft.position, len(draft.rows))
    lines[at] = "A row of one cell"
    draft.rows[at - 1].readings, draft.rows[at - 1].told = [], True
    draft.text = "\n".join(lines)
    draft.readable = False


def names_in_front(draft: Draft) -> None:
    """`sentence<tab>label` in the first line of text, tab, label: no example."""
    draft.text = (
        f"{draft.rng.choice(('text', 'sentence', 'review'))}\t{draft.rng.choice(('label', 'category'))}\n{draft.text}"
    )


def empty_cell_behind(draft: Draft) -> None:
    """Every row but the first line ends with a delimiter: an empty cell that belongs to no column."""
    mark = {"csv": ",", "csv-semicolon": ";", "csv-tab": "\t", "tsv": "\t"}[draft.form]
    names, *rows = draft.text.split("\n")
    draft.text = "\n".join([names, *(f"{row}{mark}" if row else row for row in rows)])
    draft.readable = False


def cut_off(draft: Draft) -> None:
    """The file ends in the middle of its last record."""
    body = draft.text.rstrip("\n")
    draft.text = body[:-6]
    row = draft.rows[-1]
    row.readings, row.told, row.optional = [], True, True
    for row in draft.rows if draft.form not in LINES else ():
        row.may_go()
    draft.readable = False


def bad_line(draft: Draft) -> None:
    """A line that is no JSON among those that are."""
    lines = draft.text.split("\n")
    at = {"first": 0, "middle": len(draft.rows) // 2}.get(draft.position, len(draft.rows) - 1)
    lines.insert(at, draft.rng.choice(("{broken", "...", "{'text': 'a'}", '{"text": "a" "label": 1}', "null", "7")))
    draft.rows.insert(at, Row({}, readings=[], told=True))
    draft.text = "\n".join(lines)
    draft.readable = False


def commas_behind_lines(draft: Draft) -> None:
    """Lines of an array without its brackets."""
    draft.text = draft.text.replace("}\n", "},\n")
    draft.readable = False


def array_in_lines(draft: Draft) -> None:
    """A whole array under a name that promises lines."""
    for row in draft.rows:
        row.may_go()
    draft.text = "[\n" + draft.text.rstrip("\n").replace("}\n", "},\n") + "\n]\n"
    draft.readable = False


def lines_in_json(draft: Draft) -> None:
    """Lines of JSON under the name .json."""
    draft.name = draft.name.replace(".jsonl", ".json").replace(".ndjson", ".json")


def _sheet(draft: Draft) -> bool:
    return (draft.is_csv or draft.form == "tsv") and draft.family in ("label", "texts") and not draft.odd


def _columns(draft: Draft) -> bool:
    """Two columns or more, so that the first line says what is between them."""
    return _sheet(draft) and len(draft.rows[0].values) > 1


def _lined(draft: Draft) -> bool:
    """One record a line, none of them blank on purpose."""
    return draft.form in (*LINES, "marked", "tabs", "lines", "conll", "tsv") or (
        draft.is_csv and not any("\n" in str(v) for row in draft.rows for v in row.values.values())
    )


def _any(draft: Draft) -> bool:
    return draft.is_text and draft.form != "folder"


BEFORE = (
    Oddity("all quoted", "quoting", lambda d: (d.is_csv or d.form == "tsv") and not any("\t" in str(v) or "\n" in str(v) for r in d.rows for v in r.values.values()), quote_all),
    Oddity("backslash in front", "quoting", lambda d: d.is_csv and len(d.rows[0].values) > 1 and not any("\n" in str(v) or "\\" in str(v) for r in d.rows for v in r.values.values()), quote_nothing),
    Oddity("backslash and quote", "quoting", lambda d: d.is_csv and d.family in ("label", "texts") and not d.odd, backslash_quotes),
    Oddity("blank before quotes", "quoting", lambda d: d.form == "csv" and d.family in ("label", "texts") and not d.odd, blank_before_quotes),
)  # fmt: skip
"""Quoting, decided before the text is written."""
ENDS = (
    Oddity("Windows", "line ends", _any, windows),
    Oddity("old Mac", "line ends", _any, old_mac),
    Oddity("mixed", "line ends", _any, mixed_ends),
    Oddity("none behind the last", "line ends", _any, no_last_end),
    Oddity("blank lines behind", "line ends", _any, blank_lines_behind),
    Oddity("blank lines in front", "line ends", _any, blank_lines_in_front),
    Oddity("blank lines between", "line ends", lambda d: _lined(d) and d.form != "conll", blank_lines_between),
    Oddity("blanks behind lines", "line ends", lambda d: d.form in (*LINES, "marked", "conll", "lines"), blanks_behind),
)  # fmt: skip
"""Ends of lines, once the text is written."""
AFTER = (
    Oddity("sep= in front", "quoting", lambda d: d.is_csv, sep_line),
    Oddity("a remark in front", "quoting", _sheet, remark_in_front),
    Oddity("open quote", "quoting", lambda d: d.form in ("csv", "csv-semicolon") and _sheet(d), open_quote),
    Oddity("names again", "quoting", lambda d: _columns(d) and d.verb != "predict", header_again),
    Oddity("a cell too many", "quoting", lambda d: _columns(d) and d.form in ("csv", "csv-semicolon"), cell_too_many),
    Oddity("a cell too few", "quoting", _columns, cell_too_few),
    Oddity("names in front", "names", lambda d: d.form == "tabs" and not d.odd, names_in_front),
    Oddity("an empty cell behind", "quoting", _columns, empty_cell_behind),
    Oddity("cut off", "nesting", lambda d: d.is_json and d.family in ("label", "texts") and not d.odd, cut_off),
    Oddity("a line that is no JSON", "nesting", lambda d: d.form in LINES and d.family in ("label", "texts") and not d.odd, bad_line),
    Oddity("commas behind lines", "nesting", lambda d: d.form in LINES and not d.odd, commas_behind_lines),
    Oddity("an array in lines", "nesting", lambda d: d.form in LINES and not d.odd, array_in_lines),
    Oddity("lines in .json", "nesting", lambda d: d.form in LINES, lines_in_json),
)  # fmt: skip
