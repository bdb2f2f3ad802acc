"""How likely the model found what it wrote, in OpenAI's two forms: a list of objects (chat), four lists (completions).

The numbers are the model's own, before temperature, penalties, bias and grammar. What a model never says (-inf,
which is no JSON) has NEVER, as OpenAI writes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pretune.base.json import Json
from pretune.infer.predictor import Streams
from pretune.infer.sampling import Sampling
from pretune.infer.streaming import Chosen

NEVER = -9999.0


class Logprobs:
    """What is told of the tokens of several choices, all at once or piece by piece.

    Args:
        sampling: says whether anything is.
    """

    def __init__(self, model: Streams, sampling: Sampling, *, is_chat: bool):
        self.model, self.is_chat = model, is_chat
        self.is_asked = sampling.top_logprobs is not None
        self.places = Counter[int]()

    def of(self, index: int, chosen: Sequence[Chosen]) -> Json | None:
        """`choices[].logprobs` of the next tokens of a choice; None where it is not asked for."""
        if not self.is_asked:
            return None
        return self._of_chat(chosen) if self.is_chat else self._of_text(index, chosen)

    def _of_chat(self, chosen: Sequence[Chosen]) -> Json:
        tops = [[self._token(*other) for other in one.top] for one in chosen]
        told = [self._token(one.token, one.log_p) for one in chosen]
        whole = [{**one, "top_logprobs": top} for one, top in zip(told, tops, strict=True)]
        return {"content": whole, "refusal": None}

    def _of_text(self, index: int, chosen: Sequence[Chosen]) -> Json:
        texts = [self._bytes(one.token) for one in chosen]
        start, self.places[index] = self.places[index], self.places[index] + len(_text(b"".join(texts)))
        return {
            "tokens": [_name(text) for text in texts],
            "token_logprobs": [max(one.log_p, NEVER) for one in chosen],
            "top_logprobs": [{_name(self._bytes(k)): max(log_p, NEVER) for k, log_p in one.top} for one in chosen],
            "text_offset": [start + place for place in _places(texts)],
        }

    def _token(self, token: int, log_p: float) -> Json:
        octets = self._bytes(token)
        return {"token": octets.decode("utf-8", "replace"), "logprob": max(log_p, NEVER), "bytes": list(octets)}

    def _bytes(self, token: int) -> bytes:
        """What a token shows; of a control token, its name."""
        octets, tokenizer = self.model.guides.octets, self.model.tokenizer
        if octets is not None and token < len(octets) and octets[token]:
            return octets[token]
        shown = tokenizer.decode([token]) if octets is None else ""
        return (shown or tokenizer.id_to_token(token) or "").encode("utf-8")


def _places(texts: Sequence[bytes]) -> Iterator[int]:
    """The character at which each token's text begins; that of half a character is the character's."""
    before = b""
    for text in texts:
        yield len(_text(before))
        before += text


def _text(octets: bytes) -> str:
    """Whole characters."""
    return octets.decode("utf-8", "ignore")


def _name(octets: bytes) -> str:
    """Text, or as OpenAI writes it where it is none: `bytes:\\xe4`."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in octets)
