"""How likely the model found what it wrote, in OpenAI's two forms: a list of objects (chat), four lists (completions).

The numbers are the model's own, before temperature, penalties, bias and grammar.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pretune.base.json import Json
from pretune.infer.predictor import Streams
from pretune.infer.streaming import Chosen


def of_chat(model: Streams, chosen: Sequence[Chosen]) -> Json:
    """`choices[].logprobs` of chat: a token, its bytes, log p, and the likeliest in its place."""
    told = [
        {**_token(model, one.token, one.log_p), "top_logprobs": [_token(model, *other) for other in one.top]}
        for one in chosen
    ]
    return {"content": told, "refusal": None}


def of_text(model: Streams, chosen: Sequence[Chosen], start: int = 0) -> Json:
    """`choices[].logprobs` of completions, the first of these tokens at the character `start` of the answer."""
    return {
        "tokens": [_name(_bytes(model, one.token)) for one in chosen],
        "token_logprobs": [one.log_p for one in chosen],
        "top_logprobs": [{_name(_bytes(model, k)): log_p for k, log_p in one.top} for one in chosen],
        "text_offset": list(_places(model, chosen, start)),
    }


def _token(model: Streams, token: int, log_p: float) -> Json:
    octets = _bytes(model, token)
    return {"token": octets.decode("utf-8", "replace"), "logprob": log_p, "bytes": list(octets)}


def _places(model: Streams, chosen: Sequence[Chosen], start: int) -> Iterator[int]:
    """The character at which each token's text begins; that of half a character is the character's."""
    before = b""
    for one in chosen:
        yield start + len(before.decode("utf-8", "ignore"))
        before += _bytes(model, one.token)


def _bytes(model: Streams, token: int) -> bytes:
    """What a token shows; of a control token, its name."""
    octets = model.guides.octets
    if octets is not None and token < len(octets) and octets[token]:
        return octets[token]
    named = model.tokenizer.id_to_token(token)
    shown = model.tokenizer.decode([token]) if octets is None else ""
    return (shown or named or "").encode("utf-8")


def _name(octets: bytes) -> str:
    """Text, or as OpenAI writes it where it is none: `bytes:\\xe4`."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in octets)
