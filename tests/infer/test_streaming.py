"""Trap 35: no half characters, no half stop texts, and the pieces joined are the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pretune.infer.streaming import Characters, StopText, behind
from pretune.tokens.encode.tokenizer import encode_text, encode_with_controls
from tests.spaced import llama2, metaspace

TEXTS = ["你好，世界 🙂 naïve", "👩‍👩‍👧", " leading and trailing ", "a\n\n  b"]


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_joined_are_the_text_and_no_piece_holds_half_a_character(tokenizer: Tokenizer, text: str) -> None:
    characters = Characters(tokenizer)
    pieces = [characters.push(token) for token in encode_text(tokenizer, text)]
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) + characters.finish() == text


def test_bytes_that_never_become_a_character_are_shown_at_the_end(tokenizer: Tokenizer) -> None:
    ids = encode_text(tokenizer, "\U0001f6f8")
    assert len(ids) > 1, "the character must not be one token for this test"
    characters = Characters(tokenizer)
    assert [characters.push(token) for token in ids[:-1]] == [""] * (len(ids) - 1)
    assert characters.finish() == tokenizer.decode(ids[:-1]) != ""


def test_control_tokens_show_as_nothing(tokenizer: Tokenizer) -> None:
    characters = Characters(tokenizer)
    ids = [*encode_text(tokenizer, "a"), tokenizer.token_to_id("<|im_start|>"), *encode_text(tokenizer, " b")]
    assert "".join(characters.push(token) for token in ids) == "a b"


@given(st.lists(st.text("ab你", max_size=3), max_size=8), st.lists(st.text("ab你", min_size=1, max_size=3), max_size=2))
def test_what_was_shown_is_the_text_up_to_the_first_stop(pieces: list[str], stops: list[str]) -> None:
    stop, shown = StopText(tuple(stops)), ""
    for piece in pieces:
        for character in piece:
            if not stop.stopped:
                shown += stop.push(character)
            assert not any(s in shown for s in stops)
    shown += stop.finish()
    whole = "".join(pieces)
    ends = [(p + len(s), p) for s in stops if (p := whole.find(s)) >= 0]
    first_end = min((end for end, _ in ends), default=None)
    assert shown == (whole if first_end is None else whole[: min(p for end, p in ends if end == first_end)])


def test_the_beginning_of_a_stop_text_is_held_until_it_is_known() -> None:
    stop = StopText(("END",))
    assert [stop.push("x E"), stop.push("N"), stop.push("T"), stop.push(" END y")] == ["x ", "", "ENT", " "]
    assert stop.stopped and stop.finish() == ""


def text_behind(tokenizer: Tokenizer, prompt: list[int], answer: list[int]) -> str:
    characters = behind(tokenizer, prompt)
    return "".join([*map(characters.push, answer), characters.finish()])


WHOLE = ["the cat sat", "the  cat", "the cat, 你好 the", "Hello!\n the", "zzz 你 好"]
SPACED = {"llama2": llama2, "always": lambda: metaspace("always"), "first": lambda: metaspace("first")}


@pytest.mark.parametrize("name", SPACED)
@pytest.mark.parametrize("text", WHOLE)
def test_an_answer_cut_anywhere_from_a_text_keeps_its_first_space(name: str, text: str) -> None:
    tokenizer = SPACED[name]()
    ids = encode_text(tokenizer, text)
    for at in range(1, len(ids)):
        prompt, answer = ids[:at], ids[at:]
        asked = text_behind(tokenizer, [], prompt)
        if not asked.endswith("\ufffd"):  # else the cut is inside of a character
            assert asked + text_behind(tokenizer, prompt, answer) == text, at


@pytest.mark.parametrize("name", SPACED)
def test_a_text_of_its_own_behind_a_control_token_has_no_space_in_front(name: str) -> None:
    tokenizer = SPACED[name]()
    for control in ("<s>", "</s>"):
        prompt = [*encode_text(tokenizer, "the cat"), tokenizer.token_to_id(control)]
        answer = encode_with_controls(tokenizer, f"the cat{control}Hello world")[len(prompt) :]
        assert text_behind(tokenizer, prompt, answer) == "Hello world"
        assert text_behind(tokenizer, prompt[-1:], encode_text(tokenizer, "Hello world")) == "Hello world"


def test_a_character_whose_first_bytes_stand_in_the_prompt_is_shown_whole(tokenizer: Tokenizer) -> None:
    for words in (tokenizer, llama2()):
        ids = encode_text(words, "a \U0001f6f8 b")
        held = next(k for k in range(1, len(ids)) if words.decode(ids[:k]).endswith("\ufffd"))
        assert text_behind(words, ids[:held], ids[held:]) == "\U0001f6f8 b"


def test_a_prompt_that_ends_in_a_replacement_character_is_not_repeated(tokenizer: Tokenizer) -> None:
    prompt, answer = encode_text(tokenizer, "a \ufffd"), encode_text(tokenizer, " b")
    assert text_behind(tokenizer, prompt, answer) == " b"


@pytest.mark.parametrize(
    ("lead", "wanted"),
    [("", "  the cat"), (" ", " the cat"), ("  ", "the cat"), ("   ", "the cat"), ("\n", "  the cat")],
)
def test_a_lead_is_taken_off_as_far_as_it_stands_there(tokenizer: Tokenizer, lead: str, wanted: str) -> None:
    characters = behind(tokenizer, [], lead=lead)
    pieces = [characters.push(token) for token in encode_text(tokenizer, "  the cat")]
    assert "".join(pieces) + characters.finish() == wanted
