"""Calls of tools: every form gives the same call, what is broken stays text, templates write what is read back."""

import contextlib
import json
import time
from typing import Any

import pytest
from tokenizers import Tokenizer

from pretune.base.errors import BadMessages
from pretune.infer.answers import Text
from pretune.infer.calls import Call, read_calls, said_with
from pretune.infer.chat import ChatFormat
from pretune.infer.streaming import Held, Piece
from pretune.tokens.encode.tokenizer import Specials

HERMES = (
    "{%- if tools %}{{- '<|im_start|>system\\n' }}{%- for t in tools %}{{- t | tojson }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}"
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content }}{%- for c in m.tool_calls %}"
    '{{- \'<tool_call>\\n{"name": "\' + c.function.name + \'", "arguments": \' }}{{- c.function.arguments | tojson }}'
    "{{- '}\\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
F = Call("f", {"x": 1, "城": "北京"})
PLAIN = '{"name": "f", "arguments": {"x": 1, "城": "北京"}}'
OPENAI = json.dumps(
    [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"城": "北京", "x": 1}'}}]
)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        (f"<tool_call>\n{PLAIN}\n</tool_call>", "", [F]),
        (f"Wait. <tool_call>{PLAIN}</tool_call>", "Wait.", [F]),
        (f"<tool_call>{PLAIN}</tool_call>\n<tool_call>{PLAIN}", "", [F, F]),
        (f"a <tool_call>{PLAIN}</tool_call> b", "a\nb", [F]),
        (PLAIN, "", [F]),
        (f"Wait.\n\n{PLAIN}", "Wait.", [F]),
        (f"{PLAIN}; {PLAIN}", "", [F, F]),
        (PLAIN.replace("arguments", "parameters"), "", [F]),
        (OPENAI, "", [F]),
        (f"Wait.\n{OPENAI}", "Wait.", [F]),
        ('{"type": "function", "name": "f", "arguments": "{}"}', "", [Call("f", {})]),
    ],
)
def test_every_form_gives_the_call_and_what_stands_around_it(text: str, content: str, calls: list[Call]) -> None:
    assert read_calls(text) == (content, tuple(calls))


@pytest.mark.parametrize(
    "text",
    [
        *("", "Hello {x} [y]", "[1, 2]", "{}", '{"name": "f"}', '{"name": "f", "arguments": [1]}', "[]"),
        *('{"name": "", "arguments": {}}', '{"name": "f", "arguments": "no JSON"}', '{"name": 5, "arguments": {}}'),
        *(PLAIN[:-1], f"{PLAIN} is how one calls it", "<tool_call>", "<tool_call>{</tool_call>", f"x {PLAIN}"),
        *('{"name": "f", "arguments": {"x": NaN}}', '{"name": "f", "arguments": {"x": 1e999}}'),
        *('{"name": "\\ud800", "arguments": {}}', '{"name": "f", "arguments": ' + "[" * 99_999, "[" * 99_999),
        '{"name": "f", "arguments": {"x": ' + "[" * 700 + "]" * 700 + "}} {",
    ],
)
def test_what_is_broken_or_no_call_stays_text(text: str) -> None:
    assert read_calls(text) == (text, ())


def test_one_broken_call_leaves_the_others() -> None:
    content, calls = read_calls(f"<tool_call>{{oh</tool_call><tool_call>{PLAIN}</tool_call>")
    assert (content, calls) == ("<tool_call>{oh</tool_call>", (F,))


def test_calls_are_the_same_when_their_json_is_the_order_of_keys_aside() -> None:
    assert Call("f", {"a": 1, "b": [1.0]}).signed == Call("f", {"b": [1], "a": 1}).signed
    different: list[Any] = [{"a": 1}, {"a": "1"}, {"a": True}, {"a": None}, {}, {"a": [1, 2]}, {"a": [2, 1]}]
    assert len({Call("f", arguments).signed for arguments in different}) == len(different)


def test_an_answer_shows_its_calls_and_one_without_looks_as_before() -> None:
    assert Text(PLAIN).to_json() == {"answer": PLAIN, "calls": [{"name": "f", "arguments": F.arguments}]}
    assert Text("hi").to_json() == {"answer": "hi"}
    assert said_with("", (F,)) == PLAIN and said_with("hi", ()) == "hi"


STREAMS = [
    *("Hello world", " a < b\n\n[1] is a link\n", f"Wait. <tool_call>{PLAIN}</tool_call>", f"Wait.\n\n{PLAIN}", OPENAI),
    *("<tool_cal", "x <tool_call>{broken", f"a <tool_call>{PLAIN}</tool_call> b", "\n {\n", f"[1]\n{PLAIN}", ""),
]


@pytest.mark.parametrize("text", STREAMS)
@pytest.mark.parametrize("step", [1, 2, 7, 999])
def test_a_stream_however_it_is_cut_shows_the_content_and_then_gives_the_calls(text: str, step: int) -> None:
    pieces = [Piece(text[k : k + step], k) for k in range(0, len(text), step)]
    held = Held()
    found = [held.piece(piece) for piece in [*pieces, Piece("", len(text), "stop")]]
    assert ("".join(piece.text for piece in found), found[-1].calls) == read_calls(text)
    assert not any(piece.calls for piece in found[:-1])


def test_a_stream_holds_back_only_what_may_be_a_call() -> None:
    held = Held()
    shown = [held.push(text) for text in ("Hi ", "there", " <t", "d> x\n", "y\n", " {", "z")]
    assert shown == ["Hi", " there", "", " <td> x", "\ny", "", ""]


LONG = 6000
SLOW = [
    *(f"a{blank * LONG}x" for blank in (" ", "\n", " \n", "\t")),
    *(f"<tool_call>a{' ' * LONG}x", "{}\n" * LONG, "[]\n" * LONG + "x", f"{PLAIN}\n" * 500 + "x", "[{},\n" * 500),
]


@pytest.mark.parametrize("text", SLOW, ids=range(len(SLOW)))
def test_what_looks_like_calls_is_read_in_time_that_grows_with_its_length(text: str) -> None:
    """The square of it is minutes, in which a server answers nobody."""
    held, before = Held(), time.process_time()
    shown = held.push(text[:-1]) + held.push(text[-1])
    content, calls = held.finish()
    assert (shown + content, calls) == (text, ())
    assert time.process_time() - before < 3


def test_a_call_behind_what_is_none_is_found_on_whatever_line_it_begins() -> None:
    assert read_calls(f"{{}}\n[1]\n[\n{PLAIN};\n[]\n{PLAIN}") == ("{}\n[1]\n[", (F, F))


def hermes(tokenizer: Tokenizer, template: str = HERMES) -> ChatFormat:
    return ChatFormat(template, tokenizer, Specials(eos=tokenizer.token_to_id("<|endoftext|>")))


def turns(arguments: Any) -> list[dict[str, Any]]:
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    said: list[dict[str, Any]] = [{"role": "user", "content": "a"}]
    said += [{"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "content": "b"}]
    return [*said, {"role": "assistant", "content": "c"}]


def test_calls_and_tools_are_written_by_the_template_as_transformers_does(tokenizer: Tokenizer) -> None:
    from transformers import PreTrainedTokenizerFast

    chat = hermes(tokenizer)
    assert chat.knows_calls and chat.knows_tools
    theirs = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", chat_template=HERMES)
    wanted = theirs.apply_chat_template(turns(F.arguments), tools=[TOOL], tokenize=True, return_dict=False)
    ids, targets = chat.dialogue_ids(turns(json.dumps(F.arguments)), [TOOL])
    assert ids == list(wanted)[: len(ids)]
    learnt = tokenizer.decode([k for k, target in zip(ids, targets, strict=True) if target], skip_special_tokens=False)
    assert learnt == f"<tool_call>\n{PLAIN}\n</tool_call><|im_end|>c<|im_end|>"


def test_a_call_that_is_not_in_openais_form_is_brought_into_it(tokenizer: Tokenizer) -> None:
    chat = hermes(tokenizer)
    said = turns({"x": 1})[:2]
    bare = [said[0], {**said[1], "tool_calls": [{"name": "f", "arguments": '{"x": 1}'}]}]
    assert chat.dialogue_ids(bare) == chat.dialogue_ids(said)
    for odd in ({"function": "f"}, {"function": {"name": "f"}}, {}):
        with contextlib.suppress(BadMessages):
            chat.prompt_ids([said[0], {**said[1], "tool_calls": [odd]}])


def test_where_a_template_has_no_calls_they_are_text_that_is_read_back(tokenizer: Tokenizer, chatml: str) -> None:
    chat = hermes(tokenizer, chatml)
    assert not chat.knows_calls and not chat.knows_tools
    text = tokenizer.decode(chat.prompt_ids(turns("{}")[:2]), skip_special_tokens=False)
    said = text.split("assistant\n")[1].partition("<|im_end|>")[0]
    assert said == '[{"type": "function", "function": {"name": "f", "arguments": "{}"}}]'
    assert read_calls(said) == ("", (Call("f", {}),))


def test_a_control_token_in_an_argument_ends_no_turn(tokenizer: Tokenizer) -> None:
    ids = hermes(tokenizer).prompt_ids(turns({"x": "<|im_end|>"})[:2], [{**TOOL, "about": "<|im_end|>"}])
    assert ids.count(tokenizer.token_to_id("<|im_end|>")) == 3
