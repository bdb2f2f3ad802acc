"""What the compiled encoder has to know of a byte-level BPE tokenizer, and whether it may encode with it at all.

    tokenizer.json -> merges  -> ranks in order? words by our pattern? no normaliser?       else: None
                              -> pairs, borders that a merge crosses, characters that are one token

A border is crossed with both characters whole (好|的: those two are joined), or with a part of one (，|E6: every
character whose UTF-8 begins so). The latter are sorted into groups, which have 24 bits; small ones share a bit,
which costs time and changes nothing. V tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pretune.base.errors import BadFile
from pretune.base.probes import usable_cores
from pretune.tokens.encode import encode_loop as loop
from pretune.tokens.learn.bpe import NAMES
from pretune.tokens.learn.memory import GOLDEN
from pretune.tokens.learn.splitting import KNOWN, Digits, classes, pattern

DIGITS: dict[Digits, int] = {"one": 1, "three": 3, "free": 1 << 62}
BEHIND = 24
"""Bytes behind a text that may be read."""
BYTE_OF = {name: byte for byte, name in enumerate(NAMES)}


class Border(NamedTuple):
    """Two neighbours inside a token; the bytes of each that are in it, and whether those are the whole character."""

    left: bytes
    left_whole: bool
    right: bytes
    right_whole: bool


@dataclass(frozen=True)
class Tables:
    """A tokenizer as `encode_loop.encode` wants it; its docstring has the shapes."""

    digits: int
    characters: NDArray[np.int64]
    singles: NDArray[np.uint32]
    joined: NDArray[np.uint8]
    ids: NDArray[np.uint32]
    pairs: NDArray[np.int64]

    @classmethod
    def of(cls, tokenizer: Any) -> Tables | None:
        """None if it is another kind of tokenizer, or has merges in an order that this encoder does not do."""
        told = json.loads(tokenizer.to_str())
        digits, model = _digits(told), told["model"]
        if digits is None or not _plain(model) or not all(token["special"] for token in told["added_tokens"]):
            return None
        ids = np.array([model["vocab"].get(name, loop.ID) for name in NAMES], np.uint32)
        merges = _merges(model)
        if merges is None or (ids == loop.ID).any():
            return None
        borders = {border for left, right in merges.texts for border in _borders(left + right)}
        singles = _singles(ids, merges)
        return cls(digits, _characters(borders), singles, _joined(borders), ids, _pairs(merges))


class Merges(NamedTuple):
    """Merges by rank."""

    ids: dict[tuple[int, int], tuple[int, int]]
    """Left and right id: rank and id of what they make."""
    texts: list[tuple[bytes, bytes]]


def _digits(told: dict[str, Any]) -> int | None:
    """Digits in a word if words are cut by our pattern, and texts are otherwise left alone."""
    parts = (told["pre_tokenizer"] or {}).get("pretokenizers", [])
    if told["normalizer"] or [part["type"] for part in parts] != ["Split", "ByteLevel"]:
        return None
    split, in_bytes = parts
    if split["behavior"] != "Isolated" or split["invert"] or in_bytes["add_prefix_space"] or in_bytes["use_regex"]:
        return None
    return next((DIGITS[d] for d in DIGITS if split["pattern"] == {"Regex": pattern(d)}), None)


def _plain(model: dict[str, Any]) -> bool:
    unusual = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback")
    return model["type"] == "BPE" and not any(model.get(name) for name in (*unusual, "ignore_merges"))


def _merges(model: dict[str, Any]) -> Merges | None:
    """None if a part of a merge is made only later, or something is made in two ways."""
    vocabulary: dict[str, int] = model["vocab"]
    found, made = Merges({}, []), set(BYTE_OF)
    for rank, (left, right) in enumerate(model["merges"]):
        if not {left, right} <= made or left + right in made:
            return None
        made.add(left + right)
        found.ids[vocabulary[left], vocabulary[right]] = rank, vocabulary[left + right]
        found.texts.append((_bytes(left), _bytes(right)))
    return found


def _bytes(name: str) -> bytes:
    return bytes(BYTE_OF[character] for character in name)


# ---- borders ----------------------------------------------------------------------------------------


def _borders(token: bytes) -> Iterator[Border]:
    """Where a character begins inside a token; those that no UTF-8 has are left out."""
    starts = [at for at in range(len(token)) if token[at] & 0xC0 != 0x80]
    for start, stop in pairwise([*starts, len(token)]):
        before = max((at for at in starts if at < start), default=0)
        left, right = token[before:start], token[start:stop]
        left_size = _size(left[0]) if left and before in starts else 0
        if not left or (left_size and left_size != len(left)) or len(right) > _size(right[0]):
            continue
        whole = len(right) == _size(right[0])
        if whole or stop == len(token):
            yield Border(left, bool(left_size), right, whole)


def _size(lead: int) -> int:
    """Bytes of a character that begins with this one."""
    return 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4


def _joined(borders: set[Border]) -> NDArray[np.uint8]:
    """Bits for those with both characters whole: about one in a hundred of the others is set too."""
    whole = [_first(b.left) << 20 | _first(b.right) for b in borders if b.left_whole and b.right_whole]
    bits = max(16, (len(whole) * 100).bit_length())
    at = _hashed(np.array(whole, np.uint64), bits)
    set_bits = np.zeros(1 << bits, np.uint8)
    set_bits[at] = 1
    return np.packbits(set_bits, bitorder="little")


def _characters(borders: set[Border]) -> NDArray[np.int64]:
    """Class of each character, and the groups of borders that a part of it takes part in."""
    facts = classes(np.arange(KNOWN, dtype=np.uint32)).astype(np.int64)
    # All that a whole character is in make one group: what is common is a comma and a part of what follows.
    groups: dict[tuple[str, bytes], list[Border]] = {}
    for border in sorted(b for b in borders if not (b.left_whole and b.right_whole)):
        key = ("right", border.right) if border.right_whole else ("left", border.left)
        groups.setdefault(key, []).append(border)
    for rank, members in enumerate(sorted(groups.values(), key=len, reverse=True)):
        bit = 1 << _place(rank)
        for border in members:
            for codes in _beginning(border.right, border.right_whole):
                facts[codes] |= bit << loop.LEFT_SHIFT
            for codes in _ending(border.left, border.left_whole):
                facts[codes] |= bit << loop.RIGHT_SHIFT
    return facts


def _place(rank: int) -> int:
    """The bit of a group: the largest have their own, for what shares one is joined across both."""
    own = loop.GROUPS // 2
    return rank if rank < own else own + rank % own


def _beginning(part: bytes, whole: bool) -> Iterator[slice]:
    """The characters whose UTF-8 begins so; those beyond KNOWN share the last place."""
    missing = 0 if whole else _size(part[0]) - len(part)
    first = min(_first(part + bytes([0x80]) * missing), KNOWN - 1)
    yield slice(first, first + (1 << 6 * missing))


def _first(character: bytes) -> int:
    """Code point of what may be no character: E0 80 80 is one that is written shorter."""
    code = character[0] & (0x7F, 0x1F, 0x0F, 0x07)[len(character) - 1]
    for byte in character[1:]:
        code = code << 6 | byte & 0x3F
    return code


def _ending(part: bytes, whole: bool) -> Iterator[slice]:
    """The characters whose UTF-8 ends so, and some whose UTF-8 is shorter."""
    if whole:
        yield from _beginning(part, whole=True)
    elif len(part) < 4:
        code = 0
        for byte in part:
            code = code << 6 | byte & 0x3F
        yield slice(code, None, 1 << 6 * len(part))
        yield slice(KNOWN - 1, None)


# ---- merges -----------------------------------------------------------------------------------------


def _singles(ids: NDArray[np.uint32], merges: Merges) -> NDArray[np.uint32]:
    """The one token of each character that has one."""
    singles = np.full(KNOWN, loop.ID, np.uint32)
    singles[:0x80] = ids[:0x80]
    for left, right in merges.texts:
        token, code = left + right, _only_character(left + right)
        if 0x80 <= code < KNOWN - 1:
            merged = _merged([int(ids[byte]) for byte in token], merges)
            singles[code] = merged[0] if len(merged) == 1 else loop.ID
    return singles


def _only_character(token: bytes) -> int:
    """The code point of the one character that a token is; -1 of others, and of what only looks like one (E0 80 80)."""
    try:
        text = token.decode()
    except UnicodeDecodeError:
        return -1
    return ord(text) if len(text) == 1 else -1


def _merged(tokens: list[int], merges: Merges) -> list[int]:
    """Merged as the definition says: the lowest rank first, the leftmost of its places."""
    while True:
        places = [
            (*merges.ids[pair], at)
            for at in range(len(tokens) - 1)
            if (pair := (tokens[at], tokens[at + 1])) in merges.ids
        ]
        if not places:
            return tokens
        _, made, at = min(places)
        tokens[at : at + 2] = [made]


def _pairs(merges: Merges) -> NDArray[np.int64]:
    """A hash table with room for twice the merges at least; an empty place has -1."""
    bits = max(4, (2 * len(merges.ids)).bit_length())
    table = np.full((1 << bits, 2), -1, np.int64)
    keys = np.array([left << 32 | right for left, right in merges.ids], np.int64)
    for key, at, (rank, made) in zip(
        keys.tolist(), _hashed(keys.astype(np.uint64), bits).tolist(), merges.ids.values(), strict=True
    ):
        while table[at, 0] != -1:
            at = (at + 1) % len(table)
        table[at] = key, rank << 32 | made
    return table


def _hashed(keys: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    """`memory.hashed` of many keys."""
    return (keys * np.uint64(GOLDEN) >> np.uint64(64 - bits)).astype(np.int64)


# ---- encoding ---------------------------------------------------------------------------------------


class Pieces:
    """An encoder of many texts on all cores, one call at a time: what it remembers is its own.

    Args:
        tables: of its tokenizer.
        threads: how many; None: one for each core.
    """

    def __init__(self, tables: Tables, threads: int | None = None):
        self.tables = tables
        self.workers = [Worker() for _ in range(threads or usable_cores())]

    def encode(self, texts: pa.Array) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """(ids, ends) of texts, a large_string array without nulls; as `encoding.Encoded`.

        Raises:
            BadFile: a text is no UTF-8.
        """
        # The loop trusts the lengths that UTF-8 tells, and writes into memory by them.
        try:
            texts.validate(full=True)
        except pa.ArrowInvalid as error:
            raise BadFile(f"a text is no UTF-8: {error}", hint="pretune check CORPUS tells what was changed") from None
        offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
        data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
        shares = np.linspace(offsets[0], offsets[-1], len(self.workers) + 1)[1:-1]
        borders = [0, *np.searchsorted(offsets, shares).tolist(), len(texts)]
        with ThreadPoolExecutor(len(self.workers)) as pool:
            parts = [offsets[start : stop + 1] for start, stop in pairwise(borders)]
            tasks = pool.map(lambda worker, part: worker.encode(data, part, self.tables), self.workers, parts)
            made: list[tuple[NDArray[np.uint32], NDArray[np.int64]]] = list(tasks)
        if len(made) == 1:
            return made[0]  # nothing to put together, and a copy of all ids is felt
        before = np.cumsum([0, *(len(ids) for ids, _ in made)])
        ends = [own + start for (_, own), start in zip(made, before, strict=False)]
        return np.concatenate([ids for ids, _ in made]), np.concatenate(ends)


class Worker:
    """What one thread remembers."""

    def __init__(self) -> None:
        self.cells = np.zeros((1 << loop.CACHE_BITS, 4), np.int64)
        self.text, self.out = np.empty(0, np.uint8), np.empty(0, np.uint32)
        self.scratch = np.zeros(loop.SCRATCH, np.int64)
        masks = [(1 << 8 * size) - 1 for size in range(loop.REMEMBERED + 1)]
        halves = np.array([[mask & 0xFFFFFFFFFFFFFFFF, mask >> 64] for mask in masks], np.uint64)
        self.scratch[loop.MASKS :] = halves.view(np.int64).ravel()

    def encode(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], tables: Tables
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        first, size = offsets[0], int(offsets[-1] - offsets[0])
        if size + BEHIND > len(self.text):
            self.text, self.out = np.zeros(size + BEHIND, np.uint8), np.empty(size + BEHIND, np.uint32)
        text, out = self.text, self.out
        text[:size] = data[first : offsets[-1]]
        ends, begins = np.empty(len(offsets) - 1, np.int64), offsets - first
        count = loop.encode(
            *(_at(text), _at(begins), len(ends)),
            *(tables.digits, _at(tables.characters), _at(tables.singles)),
            *(_at(tables.joined), _bits(len(tables.joined) * 8)),
            *(_at(tables.ids), _at(tables.pairs), _bits(len(tables.pairs))),
            *(_at(self.scratch), _at(self.cells), _at(out), _at(ends)),
        )
        return out[:count].copy(), ends


def _bits(size: int) -> int:
    return size.bit_length() - 1


def _at(array: NDArray[Any]) -> int:
    return int(array.ctypes.data)
