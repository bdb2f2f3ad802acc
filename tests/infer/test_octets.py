"""Bytes of tokens joined are the text that the decoder shows."""

import pytest
from tokenizers import AddedToken, Tokenizer

from pretune.tokens.encode.octets import octets_of
from pretune.tokens.encode.tokenizer import encode_text
from pretune.tokens.learn.fallback import with_scores
from tests.infer.conftest import TEXTS, train_tokenizer
from tests.spaced import llama2, metaspace


def unigram() -> Tokenizer:
    return with_scores([("好", -1.0), (" is", -2.0), ("the", -2.0), ("▁", -3.0)])


@pytest.mark.parametrize("make", [train_tokenizer, unigram, llama2, lambda: metaspace("always")])
def test_bytes_of_tokens_joined_are_the_text(make) -> None:  # type: ignore[no-untyped-def]
    tokenizer = make()
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("好é", normalized=False)])
    octets = octets_of(tokenizer)
    assert octets is not None
    for text in [*TEXTS, "a▁b", "<tool_call>{}", "x好é", "👩‍👩‍👧 \t\n  z"]:
        ids = encode_text(tokenizer, text)
        shown = b"".join(octets[k] for k in ids).decode()
        assert shown.removeprefix(" ") == tokenizer.decode(ids, skip_special_tokens=True).removeprefix(" ")


def test_special_tokens_have_no_bytes_and_every_id_has_a_place() -> None:
    tokenizer = train_tokenizer()
    octets = octets_of(tokenizer)
    assert octets is not None and len(octets) == tokenizer.get_vocab_size()
    assert octets[tokenizer.token_to_id("<|im_end|>")] == b""
