"""Whatever stands in a record, it gives examples, a count, or an error that can be understood; never a traceback."""

from __future__ import annotations

import copy
import random
from typing import Any

from pretune.base.errors import UserError
from pretune.text.dataset.example import SHAPES, said_by
from pretune.text.dataset.shapes.choosing import open_records
from pretune.text.dataset.shapes.converter import Notes
from pretune.text.dataset.shapes.tagged import normalised
from pretune.text.dataset.shapes.trees import unfolded
from tests.text.test_shapes import FORMS

ODD: list[Any] = [
    *(None, "", " ", "text", 0, -1, 7, 2.5, True, [], {}, [[]], [{}], [None], ["a", 1], {"a": None}, [[0, 1]], "\ud800"),
    *([["q"]], [["q", "a"]], {"text": None}, {"text": ["a"], "answer_start": []}, {"PER": {"x": [[0]]}}, {"PER": {"x": 3}}),
    *([{"role": "user"}], [{"from": None, "value": 3}], [[0, 1, "X"], [5, 2, "Y"]], "[1", float("nan"), 10**400),
]  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a tree, itself left out."""
    steps = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = []
    for step, inner in steps:
        found += [(*path, step), *places(inner, (*path, step))]
    return found


def changed(record: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The record with something odd at one or two of its places, or without them."""
    made = copy.deepcopy(record)
    for _ in range(rng.randint(1, 2)):
        path = rng.choice(places(made) or [("text",)])
        inner: Any = made
        for step in path[:-1]:
            inner = inner[step]
        if isinstance(inner, dict) and rng.random() < 0.2:
            inner.pop(path[-1], None)
        else:
            inner[path[-1]] = copy.deepcopy(rng.choice(ODD))
    return made


def read(records: list[dict[str, Any]], shape: str) -> int:
    notes = Notes()
    opened = open_records(unfolded(records, "a.jsonl"), where="a.jsonl", shape=shape, given={}, notes=notes)
    if opened is None:
        return 0
    made: list[Any] = []
    for number, record in enumerate(opened.records):
        try:
            made += opened.convert(record, f"a.jsonl#{number}")
        except UserError:
            notes.drop("wrong")
    if opened.shape == "tags":
        made = normalised({"train": made}, notes)[0]["train"]
    SHAPES[opened.shape].to_table(made)
    assert all(isinstance(said_by(e), str) for e in made)
    return len(made) + notes.dropped.total()


def test_odd_values_at_any_place_of_any_record_are_no_traceback() -> None:
    rng = random.Random(4)
    extra = [
        {"instruction": "a", "output": "b", "history": [["q", "a"]], "system": "s", "keywords": ["k"], "tools": [{}]},
        {"messages": [{"role": "user", "content": [{"text": "a"}]}, {"role": "assistant", "tool_calls": [{}]}]},
        {"data": [{"paragraphs": [{"context": "a b", "qas": [{"question": "q", "answers": [{"text": "a"}]}]}]}]},
        {"text": "在北京", "label": {"LOC": {"北京": [[1, 2]]}}},
    ]
    records = [record for record, _ in FORMS] + extra
    refused = 0
    for record in records:
        for _ in range(60):
            bad = changed(record, rng)
            for rows, shape in (([record, bad], "auto"), ([bad], "auto"), ([bad], rng.choice(list(SHAPES)))):
                try:
                    read(rows, shape)
                except UserError:
                    refused += 1
    assert refused > 100
