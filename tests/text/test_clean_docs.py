"""The pages "What a naive cleaner destroys" cannot lie: every row is computed again from what the page shows."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretune.text.clean.cleaners import CLEAN, Clean, cleaned

ROOT = Path(__file__).parents[2]
PAGES = ["docs/en/naive-cleaner.md", "docs/zh/naive-cleaner.md"]
ORDER = ("mojibake", "nfc", "lines", "controls", "invisible", "blank-lines", "boilerplate", "mask-pii")
OURS: list[Clean] = [CLEAN(kind) for kind in ORDER]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def naive(page: str) -> dict[str, Callable[[str], str]]:
    """The functions that the page shows."""
    (body,) = re.findall(r"^```python\n(.*?)^```$", read(page), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(body, names)
    rules: dict[str, Callable[[str], str]] = names["NAIVE"]
    return rules


def tables(page: str) -> list[list[list[str]]]:
    """The page's tables, without their heads, as rows of cells."""
    blocks = re.findall(r"^\|[-|]+\|\n((?:\|.*\n)+)", read(page), re.MULTILINE)
    return [[line.strip("| ").split(" | ") for line in block.splitlines()] for block in blocks]


def text_of(cell: str) -> str:
    """`a\\nb` is a text with JSON's escapes, - is nothing."""
    if cell == "-":
        return ""
    text: str = json.loads('"' + cell.removeprefix("`").removesuffix("`") + '"')
    return text


def kept(text: str, after: str) -> str:
    before, left = ([c for c in t if unicodedata.category(c)[0] in "LM"] for t in (text, after))
    return f"{100 * len(left) / len(before):.0f} %"


@pytest.mark.parametrize("page", PAGES)
def test_what_the_naive_rules_and_ours_do_to_a_text_is_as_the_page_says(page: str) -> None:
    rules = naive(page)
    rows = tables(page)[0]
    assert {rule for rule, *_ in rows} == set(rules)
    for rule, before, after, ours in rows:
        text = text_of(before)
        assert rules[rule](text) == text_of(after) != text, rule
        assert cleaned(text, OURS) == text_of(ours) == text, rule


@pytest.mark.parametrize("page", PAGES)
def test_the_share_of_each_script_that_is_left_is_as_the_page_says(page: str) -> None:
    rule = naive(page)["letters"]
    for name, cell, left, ours in tables(page)[1]:
        text = text_of(cell)
        assert kept(text, rule(text)) == left, name
        assert kept(text, cleaned(text, OURS)) == ours == "100 %", name


@pytest.mark.parametrize("page", PAGES)
def test_what_each_cleaner_repairs_is_as_the_page_says(page: str) -> None:
    rows = tables(page)[2]
    assert {kind for kind, *_ in rows} == set(CLEAN.table) == set(ORDER)
    for kind, before, after in rows:
        assert CLEAN(kind).clean(text_of(before)) == text_of(after), kind


def test_both_languages_show_the_same_functions_texts_and_commands() -> None:
    english, chinese = PAGES
    fence = re.compile(r"^```\w*\n.*?^```$", re.MULTILINE | re.DOTALL)
    assert fence.findall(read(english)) == fence.findall(read(chinese))
    assert [[row[1:] for row in table] for table in tables(english)] == [
        [row[1:] for row in t] for t in tables(chinese)
    ]
    assert len(re.findall("^#+ ", read(english), re.MULTILINE)) == len(re.findall("^#+ ", read(chinese), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_the_command_of_the_page_names_every_cleaner(page: str) -> None:
    (kinds,) = re.findall(r"^pretune corpus .* clean=(\S+)$", read(page), re.MULTILINE)
    assert tuple(kinds.split(",")) == ORDER
