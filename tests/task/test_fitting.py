"""Dialogues that are longer than a row: cut at turns of the user, counted, told; what is not to be learnt is not."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from pretune.base.errors import BadMessages, NoTarget
from pretune.infer.chat import ChatFormat
from pretune.task.chat import last_alone
from pretune.task.fitting import fit_all, fitted
from pretune.text.dataset.example import Dialogue, Message
from pretune.tokens.encode.tokenizer import Specials, encode_text
from tests.infer.conftest import CHATML, train_tokenizer
from tests.infer.test_calls import HERMES

STRICT = (
    "{%- for m in messages %}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{- raise_exception('roles must alternate') }}{%- endif %}"
    "{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
LONG = "the lazy dog jumps over " * 12


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer()


def chat_of(tokenizer: Tokenizer, template: str = CHATML) -> ChatFormat:
    return ChatFormat(template, tokenizer, Specials(eos=tokenizer.token_to_id("<|endoftext|>")))


def dialogue(*turns: str, unlearnt: tuple[int, ...] = ()) -> Dialogue:
    """Of `u:Hello`, `a:Hi`, `s:Be kind`."""
    roles = {"u": "user", "a": "assistant", "s": "system", "t": "tool"}
    messages = [Message(roles[t[0]], t[2:], learnt=k not in unlearnt) for k, t in enumerate(turns)]
    return Dialogue(tuple(messages), "x#0")


def kept(tokenizer: Tokenizer, said: Dialogue, room: int, template: str = CHATML) -> list[str]:
    """What is left, turn by turn as it was written above."""
    found = fitted(chat_of(tokenizer, template), said, room)
    assert found is not None
    text = tokenizer.decode(found.ids, skip_special_tokens=False)
    turns = [part.partition("<|im_end|>")[0].split("\n", 1) for part in text.split("<|im_start|>")[1:]]
    return [f"{role[0]}:{content}" for role, content in turns]


def learnt(tokenizer: Tokenizer, said: Dialogue, room: int = 400) -> str:
    found = fitted(chat_of(tokenizer), said, room)
    assert found is not None
    ids = [token for token, target in zip(found.ids, found.targets, strict=True) if target]
    return tokenizer.decode(ids, skip_special_tokens=False)


def tokens(tokenizer: Tokenizer, *turns: str) -> int:
    messages = [{"role": m.role, "content": m.content} for m in dialogue(*turns).messages]
    return len(chat_of(tokenizer).dialogue_ids(messages)[0])


def test_what_fits_exactly_is_whole_and_one_token_less_loses_the_first_turn_of_the_user(tokenizer: Tokenizer) -> None:
    turns = ["s:Be kind.", "u:Hello", "a:world", "u:one", "a:two"]
    room = tokens(tokenizer, *turns)
    assert kept(tokenizer, dialogue(*turns), room) == turns
    assert kept(tokenizer, dialogue(*turns), room - 1) == [turns[0], *turns[3:]]


@pytest.mark.parametrize(
    ("turns", "wanted"),
    [
        (["u:one", "a:two", "u:three", "u:Hello", "a:world"], ["u:three", "u:Hello", "a:world"]),
        (["u:one", "a:two", "u:three", "u:Hello", "a:world"], ["u:Hello", "a:world"]),
        (["u:one", "u:two", "a:three", "u:Hello", "a:world"], ["u:two", "a:three", "u:Hello", "a:world"]),
        (["u:one", "a:two", "t:three", "a:four", "u:Hello", "a:world"], ["u:Hello", "a:world"]),
    ],
)
def test_two_turns_of_the_user_in_a_row_never_leave_a_reply_without_its_question(
    tokenizer: Tokenizer, turns: list[str], wanted: list[str]
) -> None:
    assert kept(tokenizer, dialogue(*turns), tokens(tokenizer, *wanted)) == wanted


def test_where_the_last_question_fills_the_row_the_turns_before_it_are_learnt(tokenizer: Tokenizer) -> None:
    said = dialogue("u:Hello", "a:world", f"u:{LONG}", "a:two")
    assert kept(tokenizer, said, 40) == ["u:Hello", "a:world"]
    assert learnt(tokenizer, said, 40) == "world<|im_end|>"


def test_a_single_reply_that_is_too_long_loses_its_end(tokenizer: Tokenizer) -> None:
    found = fitted(chat_of(tokenizer), dialogue("u:Hello", f"a:{LONG}"), 40)
    assert found is not None
    assert len(found.ids) == 40 and found.targets[-1]


def test_what_is_cut_and_left_out_is_counted_and_told(tokenizer: Tokenizer) -> None:
    whole = dialogue("u:Hello", "a:world")
    given = [
        *[whole] * 3,
        *[dialogue(f"u:{LONG}", "a:two")] * 2,
        dialogue(f"u:{LONG}", "a:two", *("u:Hello", "a:world")),
        dialogue("u:Hello", "a:world", f"u:{LONG}", "a:two"),
        dialogue("u:Hello", f"a:{LONG}"),
    ]
    told: list[str] = []
    assert len(fit_all(chat_of(tokenizer), given, 41, warn=told.append)) == 6
    assert told == [
        "of 8 dialogues 1 lose their early turns, 1 lose their last turns, 1 lose the end of a long reply: they are"
        " longer than max_length=40",
        "2 of 8 dialogues are left out: no reply fits into max_length=40",
    ]
    told.clear()
    fit_all(chat_of(tokenizer), [whole], 41, warn=told.append)
    assert told == []


def test_what_the_template_refuses_is_left_out_and_told_with_its_words(tokenizer: Tokenizer) -> None:
    odd = dialogue("u:one", "u:two", "a:three")
    told: list[str] = []
    found = fit_all(chat_of(tokenizer, STRICT), [odd, dialogue("u:Hello", "a:world")], 400, warn=told.append)
    assert len(found) == 1
    (line,) = told
    assert line.startswith("1 of 2 dialogues are left out: the chat template cannot write them (")
    assert "roles must alternate" in line
    with pytest.raises(BadMessages, match="roles must alternate"):
        fit_all(chat_of(tokenizer, STRICT), [odd], 400)


def test_a_cut_never_makes_a_template_refuse_what_it_takes_whole(tokenizer: Tokenizer) -> None:
    turns = [f"{who}:{word}" for word in ("one", "two", "three", "Hello", "world") for who in "ua"]
    for room in range(tokens(tokenizer, *turns[-2:]), tokens(tokenizer, *turns)):
        found = kept(tokenizer, dialogue(*turns), room, STRICT)
        assert found[0].startswith("u:") and len(found) % 2 == 0


def test_nothing_that_fits_is_an_error_with_the_way_out(tokenizer: Tokenizer) -> None:
    with pytest.raises(NoTarget, match=r"max_length=4 tokens.*\n.*raise max_length"):
        fit_all(chat_of(tokenizer), [dialogue("u:Hello", "a:world")], 5)


def test_only_replies_that_are_learnt_are_targets(tokenizer: Tokenizer) -> None:
    turns = ["u:one", "a:two", "u:three", "a:Hello", "u:how", "a:you"]
    assert learnt(tokenizer, dialogue(*turns)) == "two<|im_end|>Hello<|im_end|>you<|im_end|>"
    assert learnt(tokenizer, dialogue(*turns, unlearnt=(3,))) == "two<|im_end|>you<|im_end|>"
    assert learnt(tokenizer, dialogue(*turns, unlearnt=(1, 5))) == "Hello<|im_end|>"
    assert kept(tokenizer, dialogue(*turns, unlearnt=(1, 5)), 400) == turns[:4]


def test_the_loss_on_the_last_reply_alone_counts_its_tokens_and_its_end_and_no_others(tokenizer: Tokenizer) -> None:
    turns = ["s:Be kind.", "u:Hello", "a:world", "u:one", "a:two three", "u:late"]
    wanted = {"all": "world<|im_end|>two three<|im_end|>", "last": "two three<|im_end|>"}
    assert learnt(tokenizer, dialogue(*turns)) == wanted["all"]
    assert learnt(tokenizer, last_alone(dialogue(*turns))) == wanted["last"]
    found = fitted(chat_of(tokenizer), last_alone(dialogue(*turns)), 400)
    assert found is not None
    assert sum(found.targets) == len(encode_text(tokenizer, "two three")) + 1
    assert learnt(tokenizer, last_alone(dialogue(*turns, unlearnt=(4,)))) == "world<|im_end|>"


def test_a_last_reply_that_does_not_fit_is_left_out_when_it_alone_is_learnt(tokenizer: Tokenizer) -> None:
    said = dialogue("u:Hello", "a:world", f"u:{LONG}", "a:two")
    assert fitted(chat_of(tokenizer), last_alone(said), 40) is None


def test_the_next_question_of_a_dialogue_with_tools_keeps_them_though_early_turns_go(tokenizer: Tokenizer) -> None:
    call = '[{"type": "function", "function": {"name": "f", "arguments": "{}"}}]'
    messages = (*dialogue(f"u:{LONG}", "a:one", "u:Hello").messages, Message("assistant", "", call))
    found = fitted(chat_of(tokenizer, HERMES), Dialogue(messages, "x#0", tools='[{"name": "g"}]'), 130)
    assert found is not None
    text = tokenizer.decode(found.ids, skip_special_tokens=False)
    assert '{"type": "function", "function": {"name": "g"}}' in text and LONG not in text
    assert '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>' in text
