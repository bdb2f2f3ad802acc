"""Odd columns: what they are called, and what stands next to the ones that are needed."""

from __future__ import annotations

from tests.strangers.draft import Draft
from tests.strangers.oddity import Oddity
from tests.strangers.words import sentences

TEXTS = (
    *("text", "sentence", "content", "review", "comment", "message", "tweet", "body", "document", "description"),
    *("utterance", "文本", "内容", "评论", "abstract", "article", "selftext", "headline", "title", "query"),
)
LABELS = (
    *("label", "class", "category", "sentiment", "intent", "topic", "标签", "类别", "target", "stars", "polarity"),
    *("rating", "type", "tag", "情感"),
)
SHORT = ("title", "headline", "subject", "question", "name")
LONG = ("body", "document", "description", "abstract", "article", "selftext", "content", "text", "review")


def known(draft: Draft) -> None:
    """Other well-known names."""
    draft.names |= {"text": draft.rng.choice(TEXTS), "label": draft.rng.choice(LABELS)}


def cased(draft: Draft) -> None:
    case = draft.rng.choice((str.upper, str.title))
    draft.names |= {"text": case("text"), "label": case("label")}


def blanks(draft: Draft) -> None:
    draft.names |= {"text": " text", "label": " label "}


def prefixed(draft: Draft) -> None:
    """`my_text,my_label`: names that say what they are with a word in front; no languages."""
    front = draft.rng.choice(("my", "it", "the", "en", "user"))
    draft.names |= {"text": f"{front}_text", "label": f"{front}_label"}


def unknown(draft: Draft) -> None:
    """Names that say nothing: to be asked for."""
    a, b = draft.rng.choice(
        (("foo", "bar"), ("ts", "os"), ("a", "b"), ("v1", "v2"), ("col1", "col2"), ("0", "1"), ("x", "y"))
    )
    draft.names |= {"text": a, "label": b}
    draft.readable = False


def title_beside(draft: Draft) -> None:
    """A title next to the long text: the long text is the text."""
    title, body = draft.rng.choice(SHORT), draft.rng.choice(LONG)
    longer = sentences(draft.rng, draft.script, len(draft.rows))
    for number, row in enumerate(draft.rows):
        row.values["text"] = f"{row.values['text']} {longer[number]} {longer[number - 1]}"
        row.values = {title: f"Title {number}", **row.values}
    draft.names["text"] = body


def more_columns(draft: Draft) -> None:
    """An id, a date, an address in front or behind."""
    more = {
        "id": lambda k: k + 1,
        "date": lambda k: f"2024-01-{k % 28 + 1:02d}",
        "url": lambda k: f"https://a.example/{k}",
    }
    more |= {
        "author": lambda k: f"user{k}",
        "source": lambda k: "web",
        "lang": lambda k: "en",
        "length": lambda k: 7 * k,
    }
    for name in draft.rng.sample(sorted(more), 2):
        for number, row in enumerate(draft.rows):
            value = {name: more[name](number)}
            row.values = {**value, **row.values} if name in ("id", "date", "source") else {**row.values, **value}


def label_first(draft: Draft) -> None:
    for row in draft.rows:
        row.values = dict(reversed(row.values.items()))


def empty_columns(draft: Draft) -> None:
    """Empty columns behind the last one, as spreadsheets write them: `text,label,,`."""
    draft.dialect["behind"] = draft.rng.randint(1, 3)


def numbered(draft: Draft) -> None:
    """The index of a data frame: a column without a name, or `Unnamed: 0`."""
    name = draft.rng.choice(("", "Unnamed: 0", "index"))
    for number, row in enumerate(draft.rows):
        row.values = {name: number, **row.values}


def doubled(draft: Draft) -> None:
    """Two columns of one name: which one is meant?"""
    draft.dialect["doubled"] = True
    draft.readable = False


def headless(draft: Draft) -> None:
    """No names in the first line: nobody knows that it is not one."""
    draft.dialect["headless"] = True
    draft.readable = False


def split_column(draft: Draft) -> None:
    """A column `split`: each row says its split."""
    for number, row in enumerate(draft.rows):
        row.split = ("train", "train", "train", "train", "validation", "test")[number % 6]
        row.values["split"] = {"validation": draft.rng.choice(("dev", "validation", "VAL"))}.get(row.split, row.split)


def _named(draft: Draft) -> bool:
    return draft.is_table and draft.family in ("label", "texts") and draft.form != "json-lists"


def _untouched(draft: Draft) -> bool:
    return all(isinstance(row.values.get("text"), str) and row.readings is None for row in draft.rows)


def _sheet(draft: Draft) -> bool:
    return (draft.is_csv or draft.form == "tsv") and draft.family in ("label", "texts")


NAMES = (
    Oddity("another known name", "names", _named, known),
    Oddity("upper case", "names", _named, cased),
    Oddity("blanks around names", "names", _sheet, blanks),
    Oddity("a word in front of names", "names", _named, prefixed),
    Oddity("names that say nothing", "names", _named, unknown),
    Oddity("a title next to", "names", lambda d: _named(d) and _untouched(d), title_beside),
    Oddity("more columns", "names", _named, more_columns),
    Oddity("label first", "names", lambda d: _named(d) and d.family == "label", label_first),
    Oddity("empty columns behind", "names", _sheet, empty_columns),
    Oddity("an index in front", "names", _named, numbered),
    Oddity("two columns of one name", "names", _sheet, doubled),
    Oddity("no names", "names", _sheet, headless),
    Oddity("a column split", "names", lambda d: _named(d) and d.family == "label" and d.form not in ("json-splits", "json-ids") and d.verb == "dataset", split_column),
)  # fmt: skip
