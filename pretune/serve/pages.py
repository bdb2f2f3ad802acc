"""Pages: one file each, with the first lines, the look and the functions that all share filled in.

A page loads nothing from elsewhere; it holds no data, which comes by requests and becomes text nodes.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

SHARED = {"<!--head-->": "head.html", "/*look*/": "look.css", "/*shared*/": "shared.js"}
"""What stands in a page or in one before it, and the file that takes its place."""


@cache
def page(room: str, name: str) -> str:
    """The whole page in a file of a room (`pretune.serve`)."""
    text = files(room).joinpath(name).read_text("utf-8")
    for mark, file in SHARED.items():
        text = text.replace(mark, files("pretune.serve").joinpath(file).read_text("utf-8"))
    return text
