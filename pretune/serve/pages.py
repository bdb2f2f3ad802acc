"""Pages: one file each, with the look and the few functions that all of them share filled in (look.css, shared.js).

A page loads nothing from elsewhere; it holds no data, which comes by requests and becomes text nodes.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

SHARED = {"/*look*/": "look.css", "/*shared*/": "shared.js"}
"""What stands in a page, and the file that takes its place."""


@cache
def page(room: str, name: str) -> str:
    """The whole page in a file of a room (`pretune.serve`)."""
    text = files(room).joinpath(name).read_text("utf-8")
    for mark, file in SHARED.items():
        text = text.replace(mark, files("pretune.serve").joinpath(file).read_text("utf-8"))
    return text
