"""The bytes of text that each token stands for, where they do not depend on its neighbours.

    byte-level           Ġhello   ▶  " hello"        every character of a name is one byte
    pieces with bytes    ▁hello   ▶  " hello"        <0xE4> ▶ one byte (what Llama 2 has, and ours of algorithm=unigram)
    WordPiece            ##ing    ▶  unknown         a space comes in front of what does not go on with a word

Bytes, not text: a token may hold half a character.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pretune.base.json import Json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PLAIN_BYTES = [*range(33, 127), *range(161, 173), *range(174, 256)]
"""Bytes that a byte-level name writes as the character of that number; the others are 256 and up, in their order."""
ONE_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
READ = {"ByteFallback", "Replace", "Metaspace", "Fuse", "Strip"}
"""Steps of a decoder that can be followed token by token. Strip takes the space in front of the first one alone."""


def octets_of(tokenizer: Tokenizer) -> list[bytes] | None:
    """The bytes of every token, by its id; b"" of special tokens, which show as nothing, and of ids without a token.

    None where a token's bytes depend on its neighbours.
    """
    read = _reader(tokenizer)
    if read is None:
        return None
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    names = {number: name for name, number in tokenizer.get_vocab().items()}
    size = max(names, default=-1) + 1
    return [b"" if number in special or number not in names else read(names[number]) for number in range(size)]


def _reader(tokenizer: Tokenizer) -> Callable[[str], bytes] | None:
    if tokenizer.decoder is None:
        return None
    tree: Json = json.loads(tokenizer.decoder.__getstate__())
    steps = tree["decoders"] if tree["type"] == "Sequence" else [tree]
    kinds = [step["type"] for step in steps]
    if kinds == ["ByteLevel"]:
        return _byte_level()
    known = set(kinds) <= READ and all("String" in step.get("pattern", {"String": ""}) for step in steps)
    return (lambda name: _followed(name, steps)) if known else None


def _byte_level() -> Callable[[str], bytes]:
    others = [byte for byte in range(256) if byte not in PLAIN_BYTES]
    byte_of = {**{chr(byte): byte for byte in PLAIN_BYTES}, **{chr(256 + k): byte for k, byte in enumerate(others)}}
    # A name with a character that stands for no byte (of an added token) is text, as in the decoder.
    return lambda name: bytes(map(byte_of.__getitem__, name)) if set(name) <= byte_of.keys() else name.encode("utf-8")


def _followed(name: str, steps: Sequence[Json]) -> bytes:
    for step in steps:
        if step["type"] == "ByteFallback" and (found := ONE_BYTE.fullmatch(name)):
            return bytes.fromhex(found[1])
        if step["type"] == "Replace":
            name = name.replace(step["pattern"]["String"], step["content"])
        if step["type"] == "Metaspace":
            name = name.replace(step["replacement"], " ")
    return name.encode("utf-8")
