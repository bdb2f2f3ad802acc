"""Odd values: what is missing, what is of another kind, what would be cut at the wrong place."""

from __future__ import annotations

import json
import math
from typing import Any

from tests.strangers.draft import ABSENT, CSV_FORMS, LONE, Draft, Row
from tests.strangers.oddity import Oddity
from tests.strangers.reading import written

SEPARATORS = ("\u2028", "\u2029", "\u0085", "\x0c", "\x0b", "\x1c", "\x1e")
"""Ends of lines for Python's splitlines, and for nobody who writes a file."""


def _without(draft: Draft, role: str, value: Any) -> None:
    draft.readable &= draft.position != "all"
    for row in list(draft.places()):
        row.values[role] = value
        row.is_nothing(told=draft.family == "label")
        if draft.verb == "predict" and len(row.values) > 1:  # may be answered as an empty text; a blank line is none
            row.readings, row.optional = [""], True


def no_text(draft: Draft) -> None:
    """An empty text: nothing to learn from. Of a labelled row that is told, of raw text not."""
    _without(draft, "text", "")


def no_label(draft: Draft) -> None:
    _without(draft, "label", "" if isinstance(draft.rows[0].values["label"], str) else None)


def blank_text(draft: Draft) -> None:
    _without(draft, "text", "  ")


def null_text(draft: Draft) -> None:
    _without(draft, "text", None)


def null_label(draft: Draft) -> None:
    _without(draft, "label", None)


def no_key(draft: Draft) -> None:
    """A record without the key of its text; a reader of raw text says so, as its column is not there."""
    draft.readable &= draft.position != "all"
    for row in list(draft.places()):
        row.values["text"] = ABSENT
        row.is_nothing(told=draft.verb != "predict")
        if draft.verb == "predict":
            row.readings, row.optional = [""], True


def nan_label(draft: Draft) -> None:
    """NaN and Infinity are what programs write for nothing."""
    _without(draft, "label", draft.rng.choice((math.nan, math.inf, -math.inf)))


def nan_text(draft: Draft) -> None:
    _without(draft, "text", draft.rng.choice((math.nan, math.inf)))


def number_text(draft: Draft) -> None:
    """A number where a text belongs is that number written out."""
    for row in draft.places():
        row.values["text"] = draft.rng.choice((2024.5, draft.rng.randrange(10**6)))
        _is_hardly_text(draft, row)


def _is_hardly_text(draft: Draft, row: Row) -> None:
    """The corpus's filter `debris` may leave it out."""
    row.optional = draft.verb == "corpus"
    draft.readable &= draft.verb != "corpus" or draft.position != "all"


def word_for_nothing(draft: Draft) -> None:
    """A text `NA`, `None`, `null` in a cell is a word: whoever wants nothing leaves the cell empty."""
    for row in draft.places():
        number = draft.rng.randrange(10**6) if draft.position == "all" else ""
        row.values["text"] = f"{draft.rng.choice(('NA', 'None', 'null', 'N/A', 'nan'))}{number}"
        _is_hardly_text(draft, row)


def blanks_around_label(draft: Draft) -> None:
    for row in draft.places():
        row.values["label"] = f" {written(row.values['label'], draft.form)}  "


def mixed_case_label(draft: Draft) -> None:
    """`Good` next to `good` is another label; the doctor may ask about it."""
    for row in draft.places():
        row.values["label"] = written(row.values["label"], draft.form).title()


def end_of_line_within(draft: Draft) -> None:
    _inside(draft, "\n")


def tab_within(draft: Draft) -> None:
    _inside(draft, "\t")


def quotes_within(draft: Draft) -> None:
    _inside(draft, draft.rng.choice((' "quoted" ', '"', ' 12" ', " 'x' ", "''")))


def delimiters_within(draft: Draft) -> None:
    _inside(draft, draft.rng.choice((",", ";", " | ", ", ; ,", ",,")))


def separator_within(draft: Draft) -> None:
    _inside(draft, draft.rng.choice(SEPARATORS))


def markup_within(draft: Draft) -> None:
    _inside(
        draft, draft.rng.choice((" <b>bold</b> ", " &amp; ", " [x](y) ", " {a: 1} ", " \\n ", " \\ ", " # ", " %s "))
    )


def emoji_within(draft: Draft) -> None:
    _inside(draft, draft.rng.choice((" 👩‍👩‍👧 ", "e\u0301", "\u200f", " 🇩🇪", "\u200b", "\ufeff", "\u00ad", "\u3000")))


def lone_surrogate(draft: Draft) -> None:
    """Half of a surrogate pair in JSON is no letter: U+FFFD."""
    _inside(draft, LONE)


def _inside(draft: Draft, piece: str) -> None:
    for row in draft.places():
        for role in ("text", "source"):
            if isinstance(row.values.get(role), str):
                row.values[role] = row.values[role][:3] + piece + row.values[role][3:]
        for message in row.values.get("messages", ()) if "written" not in row.values else ():
            message["content"] = message["content"][:3] + piece + message["content"][3:]


def quote_in_front(draft: Draft) -> None:
    """A quote that is opened and not closed, in a format without quoting: a sign like others."""
    for row in draft.places():
        row.values["text"] = '"' + written(row.values["text"], draft.form)


def hash_in_front(draft: Draft) -> None:
    for row in draft.places():
        row.values["text"] = "# " + written(row.values["text"], draft.form)


def long_text(draft: Draft) -> None:
    for row in draft.places():
        row.values["text"] = " ".join([written(row.values["text"], draft.form)] * 3 + [f"word{k}" for k in range(9000)])


def twice(draft: Draft) -> None:
    """The same row again: both count as examples; of raw text one is kept, which is told."""
    first = draft.rows[0]
    again = Row(dict(first.values), split=first.split)
    if draft.verb == "corpus":
        again.is_nothing(told=True)
    draft.rows.append(again)


def list_text(draft: Draft) -> None:
    """A text in pieces: joined, or set aside with a word; never as JSON."""
    for row in draft.places():
        one, other = written(row.values["text"], draft.form), "And so it ends."
        label = (written(row.values.get("label"), draft.form),) if draft.family == "label" else ()
        row.values["text"] = [one, other]
        joined = [f"{one}{between}{other}" for between in ("\n", " ", "\n\n", "")]
        row.readings = [(text, *label) for text in joined] if label else list(joined)
        row.may_go()
    draft.readable = False


def object_text(draft: Draft) -> None:
    """A text that is an object: nobody knows which part is meant."""
    for row in draft.places():
        row.values["text"] = {"id": 7, "lang": "en"}
        row.is_nothing(told=True)
    draft.readable = False


def object_label(draft: Draft) -> None:
    for row in draft.places():
        row.values["label"] = {"stars": 5}
        row.is_nothing(told=True)
    draft.readable = False


def lists_written(draft: Draft) -> None:
    """Labels as Python, JSON and numpy print a list of them: several labels, no brackets."""
    write = draft.rng.choice((str, json.dumps, lambda many: str(many).replace(",", "")))
    for number, row in enumerate(draft.rows):
        many = ["joy", "love", "你好"][: 1 + number % 3]
        row.readings = [(written(row.values["text"], draft.form), tuple(sorted(many)))]
        row.values["label"] = write(many)


def short_text(draft: Draft) -> None:
    """A text of one sign is a text; the corpus's filter `debris` may say otherwise."""
    for number, row in enumerate(draft.places()):
        row.values["text"] = draft.rng.choice(("👍", "!", "ok", "好", "5")) + "!" * number
        _is_hardly_text(draft, row)


def huge_number(draft: Draft) -> None:
    """A column nobody needs, with a number beyond 64 bits."""
    for row in draft.rows:
        row.values["id"] = 10**30 + draft.rng.randrange(100)


def _labelled(draft: Draft) -> bool:
    return draft.family == "label"


def _word_labels(draft: Draft) -> bool:
    return _labelled(draft) and isinstance(draft.rows[0].values["label"], str)


def _cells(draft: Draft) -> bool:
    """Texts in cells or values, one a record."""
    return draft.family in ("label", "texts", "pair", "score") and "text" in draft.rows[0].values


def _table(draft: Draft) -> bool:
    return _cells(draft) and draft.is_table


def _json(draft: Draft) -> bool:
    return _cells(draft) and draft.is_json


def _plain_object(draft: Draft) -> bool:
    return _json(draft) and draft.form not in ("json-lists", "json-columns", "json-index")


ROWS = (
    Oddity("no text", "missing", lambda d: _table(d) and d.family != "score", no_text),
    Oddity("blank text", "missing", lambda d: _table(d) and d.family != "score", blank_text),
    Oddity("no label", "missing", lambda d: _labelled(d) and d.is_table, no_label),
    Oddity("null for text", "missing", lambda d: (_json(d) or d.form == "parquet") and d.family in ("label", "texts"), null_text),
    Oddity("null for label", "missing", lambda d: _labelled(d) and (d.is_json or d.form == "parquet"), null_label),
    Oddity("no key", "missing", lambda d: _plain_object(d) and d.family in ("label", "texts"), no_key),
    Oddity("NaN for label", "missing", lambda d: _labelled(d) and d.is_json, nan_label),
    Oddity("NaN for text", "missing", lambda d: _json(d) and d.family in ("label", "texts"), nan_text),
    Oddity("a word for nothing", "missing", lambda d: _table(d) and d.family in ("label", "texts"), word_for_nothing),
    Oddity("number for text", "values", lambda d: _json(d) and d.form != "json-lists" and d.family in ("label", "texts"), number_text),
    Oddity("blanks around label", "values", lambda d: _word_labels(d) and d.is_table, blanks_around_label),
    Oddity("label in another case", "values", _word_labels, mixed_case_label),
    Oddity("end of line in a text", "values", lambda d: _cells(d) and (d.is_csv or d.is_json or d.form == "parquet") and d.form != "csv-tab", end_of_line_within),
    Oddity("tab in a text", "values", lambda d: _cells(d) and (d.is_csv or d.is_json or d.form == "parquet"), tab_within),
    Oddity("quotes in a text", "values", lambda d: d.family != "tags", quotes_within),
    Oddity("delimiters in a text", "values", lambda d: d.family != "tags", delimiters_within),
    Oddity("U+2028 and its like", "values", lambda d: d.family != "tags", separator_within),
    Oddity("markup in a text", "values", lambda d: d.family != "tags", markup_within),
    Oddity("signs nobody sees", "values", lambda d: d.family != "tags", emoji_within),
    Oddity("half a surrogate", "values", _json, lone_surrogate),
    Oddity("open quote without quoting", "quoting", lambda d: _cells(d) and d.form in ("tsv", "tabs", "marked", "lines"), quote_in_front),
    Oddity("hash in front", "values", lambda d: _cells(d) and d.form in ("csv", "tsv", "tabs", "jsonl", "lines"), hash_in_front),
    Oddity("long text", "values", lambda d: _cells(d) and d.verb != "predict" and d.form not in ("tabs", "marked"), long_text),
    Oddity("a row twice", "values", lambda d: d.family in ("label", "texts") and d.form not in ("folder", "json-ids") and d.verb != "predict", twice),
    Oddity("list for text", "nesting", lambda d: _plain_object(d) and d.family in ("label", "texts"), list_text),
    Oddity("object for text", "nesting", lambda d: _plain_object(d) and d.family in ("label", "texts"), object_text),
    Oddity("object for label", "nesting", lambda d: _plain_object(d) and _labelled(d), object_label),
    Oddity("lists written out", "nesting", lambda d: _labelled(d) and d.form in (*CSV_FORMS, "tsv"), lists_written),
    Oddity("short text", "values", lambda d: _table(d) and d.family in ("label", "texts"), short_text),
    Oddity("huge number next to", "values", _plain_object, huge_number),
)  # fmt: skip
