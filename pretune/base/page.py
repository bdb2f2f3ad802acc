"""Pages for people: one self-contained file, in light and dark. Every text from data is escaped.

The page loads nothing: no script, no font, no picture from outside; its own policy forbids it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.drawing import number

SHOWN_CHARACTERS = 400


def page(title: str, sections: Iterable[str], lineage: str, command: str, *, text: str = "") -> str:
    """A whole page; `sections` and `lineage` are HTML, the rest is text."""
    parts = "".join(f"<p>{escape(line)}</p>" for line in text.splitlines() if line.strip())
    made = f"<section><h2>Made from</h2>{lineage}<h3>Made by</h3><pre>{escape(command)}</pre></section>"
    shell = files("pretune.base").joinpath("page.html").read_text(encoding="utf-8")
    # The title last: a title that holds @BODY@ must stay a title.
    head, tail = shell.split("@BODY@")
    return head.replace("@TITLE@", escape(title)) + parts + "".join(sections) + made + tail


def table(head: Sequence[str], body: Iterable[Sequence[Any]], *, numeric: Iterable[int] = ()) -> str:
    """An HTML table of texts; columns in `numeric` stand to the right."""
    right = dict.fromkeys(numeric, " class=n")
    top = "".join(f"<th{right.get(i, '')}>{escape(text)}</th>" for i, text in enumerate(head))
    rows = ("".join(f"<td{right.get(i, '')}>{escape(str(t))}</td>" for i, t in enumerate(row)) for row in body)
    return f"<div class=wide><table><tr>{top}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table></div>"


def shown(value: Any) -> str:
    """A figure with four digits, anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    return number(value)


def shortened(value: Any) -> str:
    """A text of a table, cut where it becomes long."""
    text = shown(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " …"


def lineage_list(roots: Sequence[tuple[str, Artifact]]) -> str:
    """The tree of what went in, with kinds and ids; what was told once is not told again below."""
    seen: set[str] = set()
    return f"<ul class=tree>{''.join(_branch(place, root, seen) for place, root in roots)}</ul>"


def _branch(place: str, one: Artifact, seen: set[str]) -> str:
    card = one.card
    line = f"{escape(place)}: <b>{escape(card.kind)}</b> <code>{escape(card.id[:8])}</code> {escape(one.path.name)}"
    if one.card.id in seen:
        return f"<li>{line} <span class=soft>(as above)</span></li>"
    seen.add(one.card.id)
    inner = []
    for below, said in one.card.inputs.items():
        source = one.source(below)
        gone = (
            f"<li>{escape(below)}: {escape(said['kind'])} <code>{escape(said['id'][:8])}</code> (not to be found)</li>"
        )
        inner.append(_branch(below, source, seen) if source else gone)
    return f"<li>{line}{'<ul>' + ''.join(inner) + '</ul>' if inner else ''}</li>"
