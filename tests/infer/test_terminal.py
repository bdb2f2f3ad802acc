from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

from pretune.infer.chat import ChatFormat
from pretune.infer.language import LanguageModel
from pretune.infer.sampling import Sampling
from pretune.infer.terminal import chat
from pretune.model.generate import from_objects
from pretune.tokens.encode.tokenizer import Specials, encode_text
from tests.infer.test_torch_engine import causal


def speaker(tokenizer: Tokenizer, chatml: str, decoder: object) -> LanguageModel:
    form = ChatFormat(chatml, tokenizer, Specials())
    return LanguageModel(decoder, tokenizer, tuple(form.ends), form)  # type: ignore[arg-type]


def typed(*lines: str) -> Callable[[str], str]:
    left = iter(lines)

    def read(prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return read


def test_answers_are_written_until_the_input_ends(tokenizer: Tokenizer, chatml: str, script: type) -> None:
    says = (*encode_text(tokenizer, "你好 🙂"), tokenizer.token_to_id("<|im_end|>"))
    written: list[str] = []
    chat(speaker(tokenizer, chatml, script(400, says)), typed("hi", "", "again", "/quit", "never"), written.append)
    assert "".join(written).count("你好 🙂\n") == 2


def test_the_oldest_turn_is_forgotten_when_the_window_is_full(tokenizer: Tokenizer, chatml: str, script: type) -> None:
    says = (*encode_text(tokenizer, "ok"), tokenizer.token_to_id("<|im_end|>"))
    model = speaker(tokenizer, chatml, script(400, says, max_length=60))
    written: list[str] = []
    chat(model, typed(*["one two three"] * 6), written.append, sampling=Sampling(), system="s")
    text = "".join(written)
    assert text.count("ok\n") == 6 and "oldest turn no longer fits" in text


def test_a_message_that_never_fits_is_told_and_left_out(tokenizer: Tokenizer, chatml: str, script: type) -> None:
    says = (*encode_text(tokenizer, "ok"), tokenizer.token_to_id("<|im_end|>"))
    written: list[str] = []
    chat(speaker(tokenizer, chatml, script(400, says, max_length=60)), typed("xyz " * 99, "hi"), written.append)
    assert "too-long" in "".join(written) and written[-2:] == ["", "\n"]


def test_a_conversation_may_fill_the_window_whatever_memory_that_takes(folder: Path) -> None:
    model = from_objects(causal("qwen3"), folder)
    assert isinstance(model, LanguageModel)
    vars(model.decoder)["position_bytes"] = 1 << 26  # as of a large model: 64 positions are four times the default
    written: list[str] = []
    chat(model, typed("hi"), written.append, sampling=Sampling(max_tokens=99))
    assert "too-long" not in "".join(written) and len(written) > 3
