from typing import Any

import pytest

from pretune.base.errors import BadFile
from pretune.text.dataset.example import Message
from pretune.text.dataset.shapes.choosing import open_records
from pretune.text.dataset.shapes.converter import Notes


def test_a_turn_that_only_calls_a_tool_is_still_something_to_learn():
    assert Message("assistant", "", '[{"x": 1}]').said == '[{"x": 1}]'
    assert Message("assistant", "Let me see.", "[1]").said == "Let me see.\n[1]"
    assert Message("user", "Hi").said == "Hi"


# ---- what is no text ----------------------------------------------------------------------------


def dialogue_of(content: Any) -> list[Any]:
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "A cat."}]
    opened = open_records([{"messages": turns}], where="a.jsonl", shape="auto", given={}, notes=Notes())
    assert opened is not None
    return [example for record in opened.records for example in opened.convert(record, "a.jsonl#0")]


@pytest.mark.parametrize(
    "picture",
    [
        {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}},
        {"type": "image", "text": None, "image": "a.png"},  # as parquet has it, where each part has all keys
        {"image": "a.png"},
        7,
        None,
    ],
)
def test_a_part_that_is_no_text_is_refused_because_the_reply_answers_it(picture: Any) -> None:
    with pytest.raises(BadFile, match="'messages' has a turn with a part of type") as refused:
        dialogue_of([picture, {"type": "text", "text": "What is this?"}])
    assert "pictures" in str(refused.value.hint)


def test_parts_that_are_text_are_one_text() -> None:
    parts = [{"type": "text", "text": "What is "}, {"value": "this"}, "?", {"type": "text", "text": None}]
    assert dialogue_of(parts)[0].messages[0].content == "What is this?"


def test_a_dialogue_that_is_nothing_is_left_out_and_counted() -> None:
    rows = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, {"messages": None}]
    notes = Notes()
    opened = open_records(rows, where="a.jsonl", shape="auto", given={}, notes=notes)
    assert opened is not None
    assert sum(len(opened.convert(record, "a.jsonl#0")) for record in opened.records) == 1
    assert notes.dropped == {"no turns": 1}
