"""A recipe that is changed by a form holds what the form holds, and keeps its comments where they stood."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from ruamel.yaml import YAML

from pretune.base.errors import BadYaml
from pretune.base.yaml import edited

TEXT = """\
# what it is for
name:   tiny   # its name

stages:
  # Read.
  corpus:    {kind: corpus, read: [texts.txt]}   # mend

  # Cut.
  tokenizer:
    kind: tokenizer
    # how many
    vocab_size: 8000   # 8k
  # Learn.
  base:
    kind: pretrain
    prompts:
      # first
      - "one"   # eins
      # second
      - two
    # how fast
    optim:
      # peak
      learning_rate: 1e-3
  # Tell.
  report: {kind: evaluate, model: $base}
# for a test
sizes: {smoke: {base.steps: 3}}
# end
"""


def parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def changed(change: Callable[[Any], object]) -> str:
    """The text after a change of its tree, which it then holds."""
    tree = parsed(TEXT)
    change(tree)
    text = edited(TEXT, tree)
    assert parsed(text) == tree
    return text


def comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


def test_what_is_not_changed_stays_to_the_byte() -> None:
    assert changed(lambda tree: None) == TEXT


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("corpus", {" mend"}),
        ("tokenizer", {" how many", " 8k"}),
        ("base", {" first", " eins", " second", " how fast", " peak"}),
        ("report", set()),
    ],
)
def test_a_stage_that_goes_takes_its_own_comments_alone(name: str, lost: set[str]) -> None:
    """The reader hangs `# Tell.` on the learning rate."""
    text = changed(lambda tree: tree["stages"].pop(name))
    assert comments(text) == [one for one in comments(TEXT) if one not in lost]


def test_a_setting_that_comes_stands_in_its_stage_and_not_below_the_next_ones_comment() -> None:
    text = changed(lambda tree: tree["stages"]["tokenizer"].update(min_count=2))
    assert "vocab_size: 8000   # 8k\n    min_count: 2\n  # Learn.\n" in text
    text = changed(lambda tree: tree["stages"].update(more={"kind": "report"}))
    assert text.index("report: {kind: evaluate") < text.index("  more:") < text.index("# for a test")


def test_items_of_a_list_keep_their_comments() -> None:
    text = changed(lambda tree: tree["stages"]["base"]["prompts"].__setitem__(1, "zwei"))
    assert comments(text) == comments(TEXT)
    text = changed(lambda tree: tree["stages"]["base"]["prompts"].append("drei"))
    assert comments(text) == comments(TEXT)
    text = changed(lambda tree: tree["stages"]["base"]["prompts"].pop())
    assert comments(text) == comments(TEXT)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_changes_the_text_holds_the_tree(seed: int) -> None:
    """Things go, come and change at any depth; the comments of what stands at the top stay."""
    rng, tree = random.Random(seed), parsed(TEXT)
    blocks = [tree, tree["stages"], *tree["stages"].values(), tree["stages"]["base"]["optim"]]
    for _ in range(rng.randint(1, 6)):
        block = rng.choice(blocks)
        name = rng.choice([*block, "new", "more", "with space", "null"])
        values = [None, "", "x: y", 3, [1, {"a": "#"}], {"kind": "b", "deep": {"c": [2]}}, [], {}]
        if name in block and rng.random() < 0.5 and len(block) > 1:
            del block[name]
        else:
            block[name] = deepcopy(rng.choice(values))
    assert parsed(edited(TEXT, tree)) == tree
    assert parsed(edited(edited(TEXT, tree), tree)) == tree


@pytest.mark.parametrize(
    "text", ["a: &x {b: 1}\nc: *x\n", "- a\n", "a: |\n  # no comment\n  b\nc: 1\n", "{a: 1, c: 2}"]
)
def test_texts_of_every_form_can_be_changed(text: str) -> None:
    for tree in ({"c": 3}, {"a": 1, "c": 3, "new": {"d": "#"}}, {}):
        assert (parsed(edited(text, tree)) or {}) == tree


SHARED = """\
common: &x
  steps: 3
stages:
  a: &a {kind: f, optim: &o {lr: 1}, read: &r [x]}   # one
  b: *a
  c:
    <<: *x
    optim: *o
    read: *r
  d: {kind: z}  # two
"""


@pytest.mark.parametrize(
    "place",
    ["a.kind", "b.kind", "b.new", "a.optim.lr", "c.optim.lr", "c.read", "-c.steps", "-b.kind"],
)
def test_what_is_shared_is_never_changed_in_two_places_for_one(place: str) -> None:
    tree = parsed(SHARED)
    *above, last = place.removeprefix("-").split(".")
    block = tree["stages"]
    for name in above:
        block[name] = dict(block[name])
        block = block[name]
    if place.startswith("-"):
        del block[last]
    else:
        block[last] = ["x", "y"]
    with pytest.raises(BadYaml, match="shared by & and"):
        edited(SHARED, tree)


def test_what_is_not_shared_is_changed_next_to_what_is() -> None:
    tree = parsed(SHARED)
    tree["stages"]["d"]["kind"], tree["stages"]["c"]["steps"] = "y", 4
    again = edited(SHARED, tree)
    assert parsed(again) == tree and "b: *a" in again and "# one" in again and "# two" in again


def test_a_file_whose_comments_would_go_is_not_written() -> None:
    text = "stages:\n  a: {kind: f,   # why\n      lr: 1}\n  b: {kind: g}\n"
    with pytest.raises(BadYaml, match="# why"):
        edited(text, {"stages": {"a": {"kind": "f", "lr": 1}, "b": {"kind": "h"}}})


def test_names_that_are_no_words_are_not_written_twice() -> None:
    again = edited("a:\n  1: 2.0  # one\n  0: 3.0\n", {"a": {"1": 2.0, "0": 4.0}})
    assert again == "a:\n  1: 2.0  # one\n  0: 4.0\n"
