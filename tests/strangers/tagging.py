"""Odd files of words and tags."""

from __future__ import annotations

from tests.strangers.draft import Draft
from tests.strangers.oddity import Oddity


def tabs(draft: Draft) -> None:
    draft.dialect["blank"] = "\t"


def wide_blanks(draft: Draft) -> None:
    draft.dialect["blank"] = "   "


def remarks(draft: Draft) -> None:
    """`# sent_id = 1` in front of a sentence, as CoNLL-U writes it: no word."""
    sentences = draft.text.split("\n\n")
    draft.text = "\n\n".join(f"# sent_id = {k}\n{s}" if s.strip() else s for k, s in enumerate(sentences))


def starts(draft: Draft) -> None:
    """-DOCSTART- in front of each document."""
    mark = draft.dialect.get("blank", " ")
    draft.text = f"-DOCSTART-{mark}O\n\n{draft.text}"


def hash_as_word(draft: Draft) -> None:
    """`# O` is a word with its tag, not a remark."""
    for row in draft.places():
        row.values["tokens"] = ["#", *row.values["tokens"]]
        row.values["tags"] = ["O", *row.values["tags"]]


def blank_ends(draft: Draft) -> None:
    """The line between two sentences holds a blank."""
    draft.text = draft.text.replace("\n\n", "\n \n")


def word_without_tag(draft: Draft) -> None:
    lines = draft.text.split("\n")
    lines[0] = lines[0].split(draft.dialect.get("blank", " "))[0]
    draft.text = "\n".join(lines)
    draft.rows[0].is_nothing(told=True)
    draft.readable = False


def _written(draft: Draft) -> bool:
    return draft.form == "conll"


TAG_ROWS = (
    Oddity("tabs between", "tags", _written, tabs),
    Oddity("wide blanks", "tags", _written, wide_blanks),
    Oddity("a hash as a word", "tags", lambda d: d.family == "tags", hash_as_word),
)
TAG_LINES = (
    Oddity("remarks", "tags", _written, remarks),
    Oddity("-DOCSTART-", "tags", _written, starts),
    Oddity("blank between", "tags", _written, blank_ends),
    Oddity("a word without a tag", "tags", lambda d: _written(d) and not d.odd, word_without_tag),
)
