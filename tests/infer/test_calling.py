"""An answer that must call a tool does, in the form that the model's template writes and that is read back."""

from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from tokenizers import AddedToken, Tokenizer

from pretune.base.errors import BadGrammar
from pretune.infer.calling import PLAIN, form_of_calls, one_call
from pretune.infer.calls import read_calls
from pretune.infer.chat import ChatFormat
from pretune.infer.language import LanguageModel
from pretune.infer.sampling import Sampling
from pretune.infer.streaming import Piece
from pretune.tokens.encode.tokenizer import Specials
from tests.infer.conftest import CHATML, Table, train_tokenizer
from tests.infer.test_calls import HERMES

CITY = {"type": "object", "properties": {"city": {"enum": ["北京", "Oslo"]}}, "required": ["city"]}
CLOSED: dict[str, Any] = {"additionalProperties": False}
NUMBER = {"properties": {"n": {"type": "integer", "maximum": 99}}, **CLOSED}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "weather", "parameters": {**CITY, **CLOSED}}},
    {"type": "function", "function": {"name": 'say_"it"', "parameters": NUMBER}},
]
LLAMA = HERMES.replace("<tool_call>\\n", "").replace("\\n</tool_call>", "").replace('arguments":', 'parameters":')
OTHER = HERMES.replace("<tool_call>\\n", "call ").replace("\\n</tool_call>", " now")


def talker(template: str, tokenizer: Tokenizer | None = None) -> LanguageModel:
    tokenizer = tokenizer or train_tokenizer()
    chat = ChatFormat(template, tokenizer, Specials(eos=0))
    return LanguageModel(Table(tokenizer.get_vocab_size(), max_length=900), tokenizer, tuple(chat.ends), chat)


def wrote(model: LanguageModel, tools: list[dict[str, Any]], seed: int) -> tuple[str, str]:
    assert model.chat is not None
    sampling = Sampling(temperature=1.0, seed=seed, max_tokens=600, grammar=one_call(model.chat, tools))
    text = model.write(model.chat_prompt([{"role": "user", "content": "Hi"}], tools), sampling)
    return text.text, text.finish


@pytest.mark.parametrize(
    ("template", "begins"),
    [(HERMES, '<tool_call>\n{"name": "'), (LLAMA, '{"name": "'), (OTHER, PLAIN[0]), (CHATML, PLAIN[0])],
)
def test_a_call_has_the_form_of_the_template_and_is_read_back(template: str, begins: str) -> None:
    model, names = talker(template), set()
    for seed in range(12):
        text, finish = wrote(model, TOOLS if seed % 2 else TOOLS[1:], seed)
        if finish == "stop":
            content, (call,) = read_calls(text)
            assert content == "" and text.startswith(begins)
            schema = next(t["function"]["parameters"] for t in TOOLS if t["function"]["name"] == call.name)
            Draft202012Validator(schema).validate(call.arguments)
            names.add(call.name)
    assert names == {"weather", 'say_"it"'}


def test_a_named_tool_is_the_only_one_and_its_argument_one_of_the_two() -> None:
    found = [read_calls(wrote(talker(HERMES), TOOLS[:1], seed)[0])[1] for seed in range(3)]
    assert {call.name for (call,) in found} == {"weather"}
    assert {call.arguments["city"] for (call,) in found} <= {"北京", "Oslo"}


def test_tags_that_are_control_tokens_are_written_as_such() -> None:
    tokenizer = train_tokenizer()
    tokenizer.add_special_tokens(
        [AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>", normalized=False)]
    )
    model = talker(HERMES, tokenizer)
    assert model.chat is not None
    sampling = Sampling(temperature=1.0, max_tokens=300, grammar=one_call(model.chat, TOOLS[:1]))
    draft, rng, piece = model.draft([5], sampling), np.random.default_rng(0), Piece("", 0)
    while not piece.finish:
        piece = draft.take(rng.normal(size=tokenizer.get_vocab_size()))
    tags = [tokenizer.token_to_id(tag) for tag in ("<tool_call>", "</tool_call>")]
    assert piece.finish == "stop" and [draft.written[1], draft.written[-1]] == tags


def test_a_thought_in_front_of_a_call_is_not_forced() -> None:
    thinking = HERMES.replace(
        "'\\n' + m.content", "'\\n' + ('<think></think>' if m.role == 'assistant' else '') + m.content"
    )
    assert form_of_calls(talker(thinking).chat)[0] == '<tool_call>\n{"name": "'  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "tools", [[], [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]]
)
def test_what_cannot_be_called_is_refused(tools: list[dict[str, Any]]) -> None:
    with pytest.raises(BadGrammar):
        one_call(talker(HERMES).chat, tools)  # type: ignore[arg-type]
