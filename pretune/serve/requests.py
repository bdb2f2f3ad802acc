"""What a client may ask of models that do not write, checked before any work (generating.py: of those that do).

A setting that is unknown is refused, not ignored (reading.py).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from pretune.base.errors import UserError, did_you_mean
from pretune.base.json import Json
from pretune.base.limits import memory
from pretune.serve.errors import ApiError


@dataclass(frozen=True)
class Limits:
    """What one client may ask of the server.

    Args:
        max_body_bytes: size of a request.
        max_n: answers per request.
        max_tokens: tokens of an answer.
        default_tokens: tokens of an answer when the client does not say.
        max_inputs: texts per request (classify, tag, answer, embeddings, rerank, completions).
        max_explained: texts per request whose words are weighed, each of which takes as long as a hundred.
        max_adapters: adapters of one base in memory at a time.
        max_waiting: requests in the queue of a model; the next is told to come back.
        max_cache_bytes: keys and values of each model that writes; 0: a GiB, or a quarter of the free memory if that is
            less.
        max_messages: messages of a dialogue.
        max_seconds: from the first byte of a request to the last of its answer, the queue counted (504).
        max_body_seconds: in which a request must have come (408).
    """

    max_body_bytes: int = 1 << 20
    max_n: int = 8
    max_tokens: int = 4096
    default_tokens: int = 512
    max_inputs: int = 256
    max_explained: int = 16
    max_adapters: int = 8
    max_waiting: int = 64
    max_cache_bytes: int = 0
    max_messages: int = 1024
    max_seconds: int = 600
    max_body_seconds: int = 30

    @property
    def cache_bytes(self) -> int:
        """Keys and values of each model that writes."""
        return self.max_cache_bytes or min(1 << 30, memory().free // 4)

    @classmethod
    def of(cls, given: Sequence[str]) -> Limits:
        """From `name=number`. Raises UserError."""
        found: dict[str, int] = {}
        for name, _, number in (one.partition("=") for one in given):
            if name not in cls.__dataclass_fields__:
                raise UserError(f"there is no limit {name!r}", hint=did_you_mean(name, cls.__dataclass_fields__))
            if not number.isdecimal():
                raise UserError(f"the limit {name} is {number!r}, no number", hint=f"write {name}=100")
            found[name] = int(number)
        return cls(**found)


class Strict(BaseModel):
    """A part of a request: every value of its own type, no other settings, no infinite numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def within(value: int, most: int, name: str) -> None:
    """Raise ApiError when a number is beyond a limit."""
    if value > most:
        raise ApiError(400, f"{name} is {value}, this server allows {most}", code="invalid_value", param=name)


@with_config(ConfigDict(strict=True, extra="forbid"))
class Compared(TypedDict):
    """Two texts that are compared."""

    text: str
    second: str


class Texts(Strict):
    model: str | None = None
    input: str | Compared | list[str | Compared]
    explain: bool = False

    def inputs(self, limits: Limits) -> list[str | tuple[str, str]]:
        """Texts, or pairs of texts."""
        found = self.input if isinstance(self.input, list) else [self.input]
        within(len(found), limits.max_explained if self.explain else limits.max_inputs, "input")
        return [one if isinstance(one, str) else (one["text"], one["second"]) for one in found]


@with_config(ConfigDict(strict=True, extra="forbid"))
class Asked(TypedDict):
    """A question and its context."""

    question: Annotated[str, Field(min_length=1)]
    context: str


class AnswerIn(Strict):
    model: str | None = None
    input: Asked | list[Asked]

    def inputs(self, limits: Limits) -> list[Asked]:
        found = self.input if isinstance(self.input, list) else [self.input]
        within(len(found), limits.max_inputs, "input")
        return found


class Embed(Strict):
    """As OpenAI's: texts, not tokens."""

    model: str | None = None
    input: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)]
    encoding_format: Literal["float", "base64"] = "float"

    def texts(self, limits: Limits) -> list[str]:
        found = [self.input] if isinstance(self.input, str) else self.input
        within(len(found), limits.max_inputs, "input")
        return found

    def one(self, index: int, values: Sequence[float]) -> Json:
        """A vector as the client asks for it: numbers, or the base64 of their float32, little end first."""
        packed = struct.pack(f"<{len(values)}f", *values)
        vector = list(values) if self.encoding_format == "float" else base64.b64encode(packed).decode("ascii")
        return {"object": "embedding", "index": index, "embedding": vector}


class Document(Strict):
    text: str


class Rerank(Strict):
    """As Cohere's and Jina's."""

    model: str | None = None
    query: Annotated[str, Field(min_length=1)]
    documents: Annotated[list[str | Document], Field(min_length=1)]
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False

    def queried(self, limits: Limits) -> Json:
        within(len(self.documents), limits.max_inputs, "documents")
        return {"query": self.query, "candidates": self._texts(), "top": self.top_n}

    def results(self, order: Sequence[int], scores: Sequence[float]) -> list[Json]:
        """Places in `documents`, the best first."""
        texts = self._texts()
        return [
            {
                "index": k,
                "relevance_score": score,
                **({"document": {"text": texts[k]}} if self.return_documents else {}),
            }
            for k, score in zip(order, scores, strict=True)
        ]

    def _texts(self) -> list[str]:
        return [one if isinstance(one, str) else one.text for one in self.documents]
