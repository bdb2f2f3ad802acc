"""The stream joined is the answer; alone or together, the same tokens."""

import numpy as np
import pytest
from tokenizers import Tokenizer

from pretune.base.errors import NotSupported, TooLong
from pretune.infer.chat import ChatFormat
from pretune.infer.language import LanguageModel
from pretune.infer.sampling import Sampling
from pretune.tokens.encode.tokenizer import Specials, encode_text
from tests.spaced import llama2


def model_of(tokenizer: Tokenizer, decoder: object, chatml: str | None = None) -> LanguageModel:
    eos = tokenizer.token_to_id("<|endoftext|>")
    chat = ChatFormat(chatml, tokenizer, Specials(eos=eos)) if chatml else None
    return LanguageModel(decoder, tokenizer, tuple(chat.ends) if chat else (eos,), chat)  # type: ignore[arg-type]


def test_an_answer_ends_at_the_end_token_which_is_neither_shown_nor_counted(tokenizer: Tokenizer, script: type) -> None:
    says = encode_text(tokenizer, "你好 🙂")
    model = model_of(tokenizer, script(400, (*says, tokenizer.token_to_id("<|endoftext|>"))))
    reply = model.complete("x")
    assert (reply.text, reply.finish, reply.num_tokens) == ("你好 🙂", "stop", len(says))


def test_an_answer_ends_at_max_tokens_with_the_reason_length(tokenizer: Tokenizer, script: type) -> None:
    says = encode_text(tokenizer, "one two three")
    reply = model_of(tokenizer, script(400, tuple(says))).complete("x", Sampling(max_tokens=2))
    assert (reply.finish, reply.num_tokens) == ("length", 2)
    assert reply.text == tokenizer.decode(says[:2])


def test_an_answer_ends_before_a_stop_text_that_several_tokens_make(tokenizer: Tokenizer, script: type) -> None:
    says = tuple(encode_text(tokenizer, "Hello world, how are you?"))
    reply = model_of(tokenizer, script(400, says)).complete("x", Sampling(stop=("ld, h", "are")))
    assert (reply.text, reply.finish) == ("Hello wor", "stop")


def test_an_answer_ends_where_the_window_ends(tokenizer: Tokenizer, table: type) -> None:
    model = model_of(tokenizer, table(300, max_length=10))
    reply = model.write([5] * 7, Sampling(max_tokens=100))
    assert reply.num_tokens == 3 and reply.finish == "window"
    with pytest.raises(TooLong, match="10 tokens, and this model reads 10"):
        model.write([5] * 10, Sampling())


@pytest.mark.parametrize("seed", range(5))
def test_the_stream_joined_is_the_plain_answer(tokenizer: Tokenizer, table: type, seed: int) -> None:
    model = model_of(tokenizer, table(300))
    sampling = Sampling(temperature=1.5, seed=seed, max_tokens=40, stop=("e",))
    prompt = encode_text(tokenizer, "Hello")
    pieces = list(model.stream(prompt, sampling))
    assert "".join(piece.text for piece in pieces) == model.write(prompt, sampling).text
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)


def test_a_seed_draws_the_same_answer_and_another_seed_another(tokenizer: Tokenizer, table: type) -> None:
    model = model_of(tokenizer, table(300))
    first, again, other = (model.complete("a", Sampling(temperature=2, seed=s, max_tokens=20)).text for s in (1, 1, 2))
    assert first == again != other


def test_prompts_of_several_lengths_answer_together_as_each_alone(tokenizer: Tokenizer, table: type) -> None:
    model = model_of(tokenizer, table(300, max_length=20))
    prompts = [list(row) for row in ([7], [8, 9], [3], [4, 5, 6], [8, 1], [7])]
    together = model.generate_many(prompts, 12)
    assert together == [model.generate_many([prompt], 12)[0] for prompt in prompts]
    assert model.text_of(prompts[3], together[3]) == model.write(prompts[3], Sampling(max_tokens=12)).text


def test_a_reply_ends_at_the_templates_end_of_turn(tokenizer: Tokenizer, script: type, chatml: str) -> None:
    says = (*encode_text(tokenizer, "Hello"), tokenizer.token_to_id("<|im_end|>"))
    reply = model_of(tokenizer, script(400, says), chatml).reply([{"role": "user", "content": "hi"}])
    assert (reply.text, reply.finish) == ("Hello", "stop")


def test_a_model_without_a_template_says_how_to_get_one(tokenizer: Tokenizer, table: type) -> None:
    with pytest.raises(NotSupported, match="task=chat"):
        model_of(tokenizer, table(300)).reply([{"role": "user", "content": "hi"}])


def test_a_text_prompt_holds_control_tokens_as_text(tokenizer: Tokenizer, table: type) -> None:
    ids = model_of(tokenizer, table(300)).text_prompt("a<|endoftext|>b")
    assert tokenizer.token_to_id("<|endoftext|>") not in ids
    assert tokenizer.decode(ids) == "a<|endoftext|>b"


def test_an_empty_prompt_begins_behind_the_end_of_another_text(tokenizer: Tokenizer, table: type) -> None:
    assert model_of(tokenizer, table(300)).text_prompt("") == [tokenizer.token_to_id("<|endoftext|>")]


def test_closing_a_stream_stops_the_decoder(tokenizer: Tokenizer) -> None:
    class Counting:
        vocab_size, max_length, fed = 300, 100, 0

        def start(self) -> None: ...

        def feed(self, state: None, ids_BL: np.ndarray) -> tuple[np.ndarray, None]:
            Counting.fed += 1
            return np.eye(300, dtype=np.float32)[[70]], None

    stream = model_of(tokenizer, Counting()).stream([5], Sampling())
    next(stream)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert Counting.fed == 2


def test_a_completion_keeps_its_first_space_streamed_and_at_once_and_together(script: type) -> None:
    tokenizer = llama2()
    says = (*encode_text(tokenizer, "the cat sat")[1:], tokenizer.token_to_id("</s>"))
    model = LanguageModel(script(len(tokenizer.get_vocab()), says), tokenizer, (says[-1],))
    prompt = model.text_prompt("the")
    assert model.complete("the").text == " cat sat"
    assert [piece.text for piece in model.stream(prompt, Sampling())] == [" cat", " sat", ""]
    assert model.text_of(prompt, model.generate_many([prompt], 9)[0]) == " cat sat"


INST = (
    "{%- for m in messages %}{%- if m.role == 'user' %}{{- '[INST] ' + m.content + ' [/INST]' }}"
    "{%- else %}{{- ' ' + m.content | trim + eos_token }}{%- endif %}{%- endfor %}"
)


@pytest.mark.parametrize("spaced", [False, True])
def test_the_space_that_a_template_writes_before_a_reply_is_no_part_of_it(
    tokenizer: Tokenizer, script: type, spaced: bool
) -> None:
    words = llama2() if spaced else tokenizer
    end = words.token_to_id("</s>" if spaced else "<|endoftext|>")
    chat = ChatFormat(INST, words, Specials(eos=end))
    messages = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "Hello world"}]
    ids, targets = chat.dialogue_ids(messages)
    says = tuple(token for token, target in zip(ids, targets, strict=True) if target)
    model = LanguageModel(script(len(words.get_vocab()), says), words, (end,), chat)
    assert model.reply(messages[:1]).text == "Hello world"
    assert model.write(model.text_prompt("the cat"), Sampling()).text == " Hello world"
