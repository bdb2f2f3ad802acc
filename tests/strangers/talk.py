"""Odd dialogues: roles, turns out of order, contents that are no text, keys that nobody expects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.strangers.draft import Draft, Row
from tests.strangers.oddity import Oddity

Turns = list[dict[str, Any]]


def _turns(draft: Draft, change: Callable[[Row, Turns], Turns | None]) -> None:
    """Write the turns of the odd rows otherwise, in the style of the file."""
    for row in draft.places():
        made = change(row, [dict(m) for m in row.values["messages"]])
        if draft.dialect["style"] == "sharegpt":
            row.values["written"] = {"conversations": made and [_as_sharegpt(turn) for turn in made]}
        else:
            row.values["written"] = {"messages": made}


def _as_sharegpt(turn: dict[str, Any]) -> dict[str, Any]:
    names = {"user": "human", "assistant": "gpt"}
    rest = {key: value for key, value in turn.items() if key not in ("role", "content")}
    return {"from": names.get(turn["role"], turn["role"]), "value": turn["content"], **rest}


def _said(turns: Turns) -> tuple[tuple[str, str], ...]:
    return tuple((turn["role"], turn["content"]) for turn in turns)


def other_roles(draft: Draft) -> None:
    """`Human`, `bot`, `model`: other words for the two who talk."""
    words = draft.rng.choice(
        (
            {"user": "Human", "assistant": "Bot"},
            {"user": "USER", "assistant": "ASSISTANT"},
            {"user": "prompter", "assistant": "model"},
        )
    )
    _turns(draft, lambda row, turns: [{**t, "role": words.get(t["role"], t["role"])} for t in turns])


def parts(draft: Draft) -> None:
    """A content in parts of kind text."""
    _turns(draft, lambda row, turns: [{**t, "content": [{"type": "text", "text": t["content"]}]} for t in turns])


def picture(draft: Draft) -> None:
    """A part that is a picture: text alone would be another dialogue; refused, or told."""

    def change(row: Row, turns: Turns) -> Turns | None:
        row.told, row.optional = True, True
        part = {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}
        return [{**turns[0], "content": [part, {"type": "text", "text": turns[0]["content"]}]}, *turns[1:]]

    _turns(draft, change)
    draft.readable = False


def more_keys(draft: Draft) -> None:
    """Keys beside, that change nothing."""
    _turns(draft, lambda row, turns: [{**t, "id": k, "timestamp": 17, "name": None} for k, t in enumerate(turns)])


def weights(draft: Draft) -> None:
    """`weight`, `train`, `loss` of a message say what is not to be learnt: obeyed or told, not dropped without a word."""
    key, value = draft.rng.choice((("weight", 0), ("train", False), ("loss", False)))

    def change(row: Row, turns: Turns) -> Turns | None:
        obeyed = tuple((*one, "not learnt") if one[0] == "assistant" else one for one in _said(turns))
        row.readings, row.optional = [obeyed, _said(turns)], True
        return [{**t, key: value} if t["role"] == "assistant" else t for t in turns]

    draft.readable = draft.position != "all"

    _turns(draft, change)


def greeting(draft: Draft) -> None:
    """The assistant begins: the greeting goes, which is told."""

    def change(row: Row, turns: Turns) -> Turns | None:
        row.told = True
        return [{"role": "assistant", "content": "Welcome!"}, *turns]

    _turns(draft, change)


def two_questions(draft: Draft) -> None:
    """Two turns of the user in a row: as they stand, or joined."""

    def change(row: Row, turns: Turns) -> Turns | None:
        more = [{"role": "user", "content": "Are you there?"}, *turns]
        told = _said(more)
        joined = [("user", f"Are you there?{between}{told[1][1]}") for between in ("\n", "\n\n", " ")]
        row.readings = [told, *((one, *told[2:]) for one in joined)]
        return more

    _turns(draft, change)


def question_behind(draft: Draft) -> None:
    """A last question without an answer: nothing is learnt from it."""

    def change(row: Row, turns: Turns) -> Turns | None:
        more = [*turns, {"role": "user", "content": "And then?"}]
        row.readings = [_said(more), _said(turns)]
        return more

    _turns(draft, change)


def unknown_role(draft: Draft) -> None:
    def change(row: Row, turns: Turns) -> Turns | None:
        row.is_nothing(told=True)
        return [{"role": "narrator", "content": "Once upon a time."}, *turns]

    _turns(draft, change)
    draft.readable = False


def null_content(draft: Draft) -> None:
    """A reply that is nothing is no reply: left out, which is told."""

    def change(row: Row, turns: Turns) -> Turns | None:
        row.is_nothing(told=True)
        return [
            t if t["role"] == "user" else {**t, "content": draft.rng.choice((None, "", "  "))}
            for t in turns
            if t["role"] != "system"
        ]

    draft.readable = draft.position != "all"
    _turns(draft, change)


def number_content(draft: Draft) -> None:
    """A number is said as it is written, or refused."""

    def change(row: Row, turns: Turns) -> Turns | None:
        row.readings = [(*_said(turns[:-1]), ("assistant", "42"))]
        row.may_go()
        return [*turns[:-1], {**turns[-1], "content": 42}]

    _turns(draft, change)
    draft.readable = False


def null_turns(draft: Draft) -> None:
    def change(row: Row, turns: Turns) -> Turns | None:
        row.is_nothing(told=True)
        return [] if draft.rng.random() < 0.5 else None

    draft.readable = draft.position != "all"
    _turns(draft, change)


def null_reply(draft: Draft) -> None:
    """A question whose answer is missing: left out, which is told."""
    names = {"prompt": ("prompt", "completion"), "alpaca": ("instruction", "output"), "qa": ("question", "answer")}
    prompt, reply = names[draft.dialect["style"]]
    draft.readable = draft.position != "all"
    for row in draft.places():
        row.values["written"] = {prompt: row.values["messages"][0]["content"], reply: None}
        row.is_nothing(told=True)


def input_beside(draft: Draft) -> None:
    """The input of an instruction belongs to the question, on a line of its own."""
    for row in draft.places():
        asked, said = (m["content"] for m in row.values["messages"])
        row.values["written"] = {"instruction": asked, "input": "a, b and c", "output": said}
        row.readings = [(("user", f"{asked}{between}a, b and c"), ("assistant", said)) for between in ("\n", "\n\n")]


def _listed(draft: Draft) -> bool:
    return draft.family == "dialogue" and draft.dialect["style"] in ("messages", "sharegpt") and not draft.odd


def _paired(draft: Draft) -> bool:
    return draft.family == "dialogue" and draft.dialect["style"] in ("prompt", "qa", "alpaca") and not draft.odd


def _json(draft: Draft) -> bool:
    """Contents of several kinds in one column, which parquet has not."""
    return _listed(draft) and draft.is_json


TALK = (
    Oddity("other roles", "chat", _listed, other_roles),
    Oddity("content in parts", "chat", _json, parts),
    Oddity("a picture", "chat", _json, picture),
    Oddity("keys next to", "chat", _listed, more_keys),
    Oddity("weights of messages", "chat", _listed, weights),
    Oddity("a greeting", "chat", _listed, greeting),
    Oddity("two questions", "chat", _listed, two_questions),
    Oddity("a question behind", "chat", _listed, question_behind),
    Oddity("an unknown role", "chat", _listed, unknown_role),
    Oddity("no content", "chat", _listed, null_content),
    Oddity("a number said", "chat", _json, number_content),
    Oddity("no turns", "chat", _listed, null_turns),
    Oddity("no reply", "chat", _paired, null_reply),
    Oddity("an input next to", "chat", lambda d: _paired(d) and d.dialect["style"] == "alpaca", input_beside),
)
