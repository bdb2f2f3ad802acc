"""Pages for people: one self-contained file from a template, in light and dark; what data says is escaped.

A page loads nothing: no script, no font, no picture from outside; its own policy forbids it.
"""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pretune.base.stage import Context
from pretune.report import drawing, numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jinja2 import Environment
    from markupsafe import Markup

    from pretune.base.json import JsonMap

SHOWN_CHARACTERS = 400


@cache
def environment(*folders: Path) -> Environment:
    """Where templates come from: these folders, then this one, whose parts and style all pages share."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent], encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (numbers.count, numbers.figure, numbers.metric, numbers.named, short):
        found.filters[function.__name__] = function
    found.filters["quoted"] = shlex.quote  # for commands that are shown to be typed
    found.globals |= {"colour": drawing.colour, "ticks": drawing.ticks, "drawing": drawing}
    return found


def page(kind: str, title: str, **data: object) -> str:
    """The page of a template `KIND.jinja`.

    Args:
        data: `verdict` (the first sentence), `mood` ("good", "bad" or ""), `text` (words below), `command` and
            `lineage`, which any page may have; the rest is the template's own.
    """
    usual = {"verdict": "", "mood": "", "text": "", "lineage": (), "command": ""}
    return str(environment().get_template(f"{kind}.jinja").render(title=title, **{**usual, **data}))


def write_page(file: Path, context: Context, kind: str, title: str, **data: object) -> None:
    """Write the page into an artifact, as a note; `command` is what was typed unless it is given."""
    html = page(kind, title, **{"command": context.command, **data})
    file.write_text(html, encoding="utf-8", newline="\n")
    context.notes.add(file.name)


def marked(text: str, places: Iterable[JsonMap]) -> Markup:
    """A text, cut where it becomes long, with what is at these places (start, end, label) marked, as HTML."""
    from markupsafe import Markup

    at, parts, shown = 0, Markup(), short(text)
    mark = Markup("{}<mark>{} <small>{}</small></mark>")
    for place in places:
        if place["end"] > SHOWN_CHARACTERS:
            break
        parts += mark.format(shown[at : place["start"]], shown[place["start"] : place["end"]], place["label"])
        at = place["end"]
    return parts + shown[at:]


def weighed(pieces: Iterable[tuple[str, float | None]]) -> Markup:
    """Pieces of a text as HTML: the more a piece's weight, the deeper the colour of what it speaks for or against."""
    from markupsafe import Markup

    shown, room = [], SHOWN_CHARACTERS
    for text, weight in pieces:
        shown.append((text[:room], weight))
        room -= len(text)
        if room <= 0:
            shown.append((" …", None))
            break
    largest = max((abs(weight) for _, weight in shown if weight), default=1.0)
    mark = Markup('<mark class="{}" style="--depth:{:.2f}" title="{:+.2g}">{}</mark>')
    return Markup().join(
        text if weight is None else mark.format("against" if weight < 0 else "for", abs(weight) / largest, weight, text)
        for text, weight in shown
    )


def short(value: object) -> str:
    """A text of a table, cut where it becomes long."""
    text = str(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " …"
