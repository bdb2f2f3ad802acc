"""Pages are whole, and what they share is written once."""

from __future__ import annotations

from importlib.resources import files

import pytest

from pretune.serve.pages import SHARED, page

PAGES = [
    ("pretune.serve", "page.html"),
    ("pretune.apps.support", "desk.html"),
    ("pretune.apps.support", "inbox.html"),
    ("pretune.apps.monitor", "page.html"),
    ("pretune.apps.recommend", "page.html"),
]


@pytest.mark.parametrize(("room", "name"), PAGES)
def test_a_page_has_all_that_is_shared_once_and_says_none_of_it_itself(room: str, name: str) -> None:
    own, whole = files(room).joinpath(name).read_text("utf-8"), page(room, name)
    assert not any(mark in whole for mark in SHARED)
    for line in ("<!doctype html>", '<meta name="viewport"', "const get = ", 'other: ["中文", "English"]'):
        assert (own.count(line), whole.count(line)) == (0, 1)
    assert whole.startswith("<!doctype html>") and whole.count("<style>") == whole.count("</style>")
