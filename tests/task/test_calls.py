"""A model that learnt two calls makes them: the same from its folder, the server and the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import pretune
from pretune.infer.calls import Call
from pretune.serve.app import create_app
from pretune.task.chat import Chat
from pretune.testing.folders import write_model
from pretune.text.dataset.example import Dialogue, Message

TEMPLATE = (
    "{% for t in tools or [] %}{{ t.function.name }} {% endfor %}{% for m in messages %}"
    "{{ '<bot>' if m.role == 'assistant' else '<user>' }}{{ m.content }}{% for c in m.tool_calls %}"
    "<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}{% if m.role == 'assistant' %}<eos>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
)
PLAIN = "{% for m in messages %}<user>{{ m.content }}<eos>{% endfor %}{% if add_generation_prompt %}<user>{% endif %}"
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("sun", "rain")]
CALLS = {"the cat": Call("sun", {"x": 1}), "the hat": Call("rain", {"y": [2]})}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose template knows tools, and two calls to learn."""
    pytest.importorskip("sklearn", reason="the extra `evaluate` is not installed")
    folder = tmp_path_factory.mktemp("calls")
    base = write_model(folder / "base", folder / "words", "qwen3", chat=True)
    (base / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    (folder / "data").mkdir()
    for split in ("train", "dev", "test"):
        lines = [json.dumps(row(question, call)) for question, call in CALLS.items()]
        (folder / "data" / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def row(question: str, call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    said = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": function}]}
    return {"messages": [{"role": "user", "content": question}, said], "tools": TOOLS}


def tuned(world: Path, name: str, **settings: Any) -> Any:
    settings = {"task": "chat", "max_length": 96, "batch": 2, "precision": "float32", "quiet": True, **settings}
    return pretune.fine_tune(world / "base", world / "data", out=world / name, **settings)


def test_two_calls_are_the_same_from_the_folder_the_server_and_the_report(world: Path) -> None:
    found = tuned(world, "learnt", steps=80, evaluate_every=80, optim={"kind": "adamw", "learning_rate": 1e-2})
    assert found.metrics["unfinished"] == 0
    talks = [{"messages": [{"role": "user", "content": question}], "tools": TOOLS} for question in CALLS]
    assert [answer.calls for answer in found.predict(talks)] == [(call,) for call in CALLS.values()]
    with TestClient(create_app({"tools": found.model}), base_url="http://localhost") as client:
        for talk, call in zip(talks, CALLS.values(), strict=True):
            (choice,) = client.post("/v1/chat/completions", json=talk).json()["choices"]
            (function,) = [one["function"] for one in choice["message"]["tool_calls"]]
            assert Call(function["name"], json.loads(function["arguments"])) == call
            assert choice["finish_reason"] == "tool_calls"
    report = found.evaluate(world / "data", out=world / "report").metrics
    assert (report["call_name"], report["call_arguments"], report["word_for_word"]) == (1, 1, 1)
    assert report["unfinished"] == 0


def test_a_model_that_does_not_stop_is_reported_on_the_card_and_with_a_warning(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = tuned(world, "unlearnt", steps=1, quiet=False)
    assert found.metrics["unfinished"] == 1
    assert "warning: 2 of 2 answers (100 %) did not end by themselves within" in capsys.readouterr().err


def rows(world: Path, template: str, said: list[Any], **settings: Any) -> tuple[list[Any], list[str]]:
    """Rows of the dialogues, and what is warned of."""
    (world / "words" / "chat_template.jinja").write_text(template, encoding="utf-8")
    warned: list[str] = []
    task = Chat(kind="chat", **settings)
    return task.rows(said, world / "words", None, max_length=95, warn=warned.append), warned


def test_calls_and_tools_that_the_template_does_not_write_are_warned_of(world: Path) -> None:
    call = Message("assistant", "", '[{"function": {"name": "f", "arguments": "{}"}}]')
    said = [Dialogue((Message("user", "a"), call), "x#0", tools=tools) for tools in ('[{"name": "f"}]', "f(x)")]
    broken = "the tools of 1 dialogues are no JSON list of objects, so the model does not see them"
    assert rows(world, TEMPLATE, said)[1] == [broken]
    assert rows(world, PLAIN, said)[1] == [
        "the chat template does not write calls, which are learnt as text",
        "the chat template does not write tools, so the model does not see them",
        broken,
    ]


@pytest.mark.parametrize(("loss_on", "targets"), [("all", 2 + 1 + 3 + 1), ("last", 3 + 1)])
def test_as_many_targets_as_the_replies_that_are_learnt_have_tokens_and_ends(
    world: Path, loss_on: str, targets: int
) -> None:
    turns = [("user", "q"), ("assistant", "xy"), ("user", "q"), ("assistant", "zzz")]
    found, _ = rows(world, TEMPLATE, [Dialogue(tuple(Message(*turn) for turn in turns), "x#0")], loss_on=loss_on)
    assert sum(row["targets"].sum() for row in found) == targets
