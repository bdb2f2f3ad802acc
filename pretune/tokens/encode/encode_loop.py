"""Byte-level BPE of UTF-8 text in one pass, exactly: words by Qwen2's pattern, words cut where no token crosses.

    ，我们在江南            no merge makes anything with 们在 or 在江 in it, so the cuts change nothing:
    ，我们 | 在 | 江南      each piece merges by itself, a single character is looked up, two of them are one look-up
    ^ remembered: a merge makes ， with a part of 我 (bytes E6 88), so these begin as bytes, not as characters

Merges take the neighbours with the lowest rank first. What two pieces do is independent if no merge can join them; a
character may begin as one token if nothing that a merge makes takes only a part of it together with its neighbour, and
if ranks are in order (a merge comes after those that made its parts). `pieces.Tables` checks both and makes the tables.

Addresses are integers; a text's bytes are followed by 24 that may be read. Classes are those of `splitting`.
"""

from __future__ import annotations

import heapq

import numpy as np

from pretune.tokens.learn.compiled import compiled, inlined
from pretune.tokens.learn.memory import hashed, letters_in_front, read8, read32, read64, write32, write64
from pretune.tokens.learn.splitting import BORDER, KNOWN, LETTER, LINE_END, NUMBER, OTHER, SPACE

NONE = 1 << 62
"""No merge: comes after every rank."""
ID = 0xFFFFFFFF
"""The lower half of a merge as `_merge_of` gives it, whose upper half is the rank; as an id: no single token."""
MOST_SYMBOLS = 64
"""Symbols that are merged by looking through all of them for the lowest rank; more: by a heap."""
MOST_CHARACTERS = 8
"""Characters of a piece that are merged as characters; more: as bytes."""
REMEMBERED = 15
"""Bytes of a piece that is remembered: with its length they fill two words."""
CACHE_BITS = 16
"""2**16 pieces are remembered, 32 bytes each: 2 MB, about what a core has for itself."""
SIZE, COUNT = 56, 60
"""Where length and number of tokens stand in the second word of what is remembered."""
MASKS = 2 * MOST_SYMBOLS
"""Where the masks of lengths begin in the scratch, behind symbols and ranks."""
SCRATCH = MASKS + 2 * (REMEMBERED + 1)
KIND, RIGHT_SHIFT, LEFT_SHIFT, GROUPS = 7, 8, 32, 24
"""Of a character's facts: its class; the groups of borders to its right, to its left, that a part of it crosses."""


# ---- merging ----------------------------------------------------------------------------------------


@inlined
def _merge_of(pairs: int, pair_bits: int, left: int, right: int) -> int:
    """rank << 32 | id of what two tokens make; NONE if nothing."""
    key = left << 32 | right
    at = hashed(key, pair_bits)
    while True:
        found = read64(pairs + 16 * at)
        if found == key:
            return read64(pairs + 16 * at + 8)
        if found == -1:
            return NONE
        at = (at + 1) & ((1 << pair_bits) - 1)


@compiled
def _merge_all(symbols: int, count: int, pairs: int, pair_bits: int, out: int) -> int:
    """Merge `count` symbols, MOST_SYMBOLS at most, which lie at `symbols` as int64; where the ids end."""
    ranks = symbols + 8 * MOST_SYMBOLS
    for k in range(count - 1):
        write64(ranks + 8 * k, _merge_of(pairs, pair_bits, read64(symbols + 8 * k), read64(symbols + 8 * k + 8)))
    while count > 1:
        best, at = NONE, 0
        for k in range(count - 1):
            rank = read64(ranks + 8 * k)
            if rank < best:
                best, at = rank, k
        if best == NONE:
            break
        count -= 1
        write64(symbols + 8 * at, best & ID)
        for k in range(at + 1, count):
            write64(symbols + 8 * k, read64(symbols + 8 * k + 8))
            write64(ranks + 8 * k, read64(ranks + 8 * k + 8))
        if at > 0:
            write64(ranks + 8 * at - 8, _merge_of(pairs, pair_bits, read64(symbols + 8 * at - 8), best & ID))
        if at < count - 1:
            write64(ranks + 8 * at, _merge_of(pairs, pair_bits, best & ID, read64(symbols + 8 * at + 8)))
    for k in range(count):
        write32(out + 4 * k, read64(symbols + 8 * k))
    return out + 4 * count


@compiled
def _merge_many(start: int, stop: int, ids: int, pairs: int, pair_bits: int, out: int) -> int:
    """The same for bytes of any number: the pairs that may merge wait in a heap."""
    size = stop - start
    symbol, after, before = np.empty(size, np.int64), np.arange(1, size + 1), np.arange(-1, size - 1)
    for k in range(size):
        symbol[k] = read32(ids + 4 * read8(start + k))
    waiting = [(0, 0, 0, 0) for _ in range(0)]
    for k in range(size - 1):
        found = _merge_of(pairs, pair_bits, symbol[k], symbol[k + 1])
        if found != NONE:
            waiting.append((found, k, symbol[k], symbol[k + 1]))
    heapq.heapify(waiting)
    while len(waiting) > 0:
        found, at, left, right = heapq.heappop(waiting)
        other = after[at]
        if symbol[at] != left or other == size or symbol[other] != right:
            continue  # one of them has been merged with another since
        symbol[at], symbol[other], after[at] = found & ID, -1, after[other]
        if after[at] < size:
            before[after[at]] = at
        for one in (before[at], at):
            if one >= 0 and after[one] < size:
                new = _merge_of(pairs, pair_bits, symbol[one], symbol[after[one]])
                if new != NONE:
                    heapq.heappush(waiting, (new, one, symbol[one], symbol[after[one]]))
    at = 0
    while at < size:
        write32(out, symbol[at])
        out += 4
        at = after[at]
    return out


@compiled
def _merge_bytes(start: int, stop: int, ids: int, symbols: int, pairs: int, pair_bits: int, out: int) -> int:
    if stop - start > MOST_SYMBOLS:
        return _merge_many(start, stop, ids, pairs, pair_bits, out)
    for k in range(stop - start):
        write64(symbols + 8 * k, read32(ids + 4 * read8(start + k)))
    return _merge_all(symbols, stop - start, pairs, pair_bits, out)


@inlined
def _remembered(start: int, stop: int, ids: int, symbols: int, pairs: int, pair_bits: int, cells: int, out: int) -> int:
    """The ids of a piece that is likely to come again, in one of two cells; the older one gives way."""
    size = stop - start
    if size > REMEMBERED:
        return _merge_bytes(start, stop, ids, symbols, pairs, pair_bits, out)
    mask = symbols + 8 * MASKS + 16 * size
    one = read64(start) & read64(mask)
    two = read64(start + 8) & read64(mask + 8) | size << SIZE
    place = hashed(one ^ one >> 32 ^ hashed(two, 63), CACHE_BITS)
    for way in range(2):
        cell = cells + 32 * (place ^ way)
        told = read64(cell + 8)
        if read64(cell) == one and told & ((1 << COUNT) - 1) == two:
            write64(out, read64(cell + 16))  # four at once, however many they are
            write64(out + 8, read64(cell + 24))
            return out + 4 * (told >> COUNT)
    end = _merge_bytes(start, stop, ids, symbols, pairs, pair_bits, out)
    if end - out <= 16:
        cell, older = cells + 32 * place, cells + 32 * (place ^ 1)
        for k in range(4):
            write64(older + 8 * k, read64(cell + 8 * k))
        write64(cell, one)
        write64(cell + 8, two | (end - out) // 4 << COUNT)
        write64(cell + 16, read64(out))
        write64(cell + 24, read64(out + 8))
    return end


@inlined
def _piece(
    start: int,
    stop: int,
    count: int,
    plain: bool,
    ids: int,
    symbols: int,
    pairs: int,
    pair_bits: int,
    cells: int,
    out: int,
) -> int:
    """The ids of `count` characters; plain: each of them begins as one token, and those lie at `symbols`."""
    if not plain or count > MOST_CHARACTERS:
        return _remembered(start, stop, ids, symbols, pairs, pair_bits, cells, out)
    if count == 1:
        write32(out, read64(symbols))
        return out + 4
    if count > 2:
        return _merge_all(symbols, count, pairs, pair_bits, out)
    left, right = read64(symbols), read64(symbols + 8)
    found = _merge_of(pairs, pair_bits, left, right)
    if found != NONE:
        write32(out, found)
        return out + 4
    write64(out, left | right << 32)
    return out + 8


# ---- characters and words ---------------------------------------------------------------------------


@compiled
def _character(at: int) -> tuple[int, int]:
    """(code point, bytes)."""
    first = read8(at)
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return (first & 31) << 6 | read8(at + 1) & 63, 2
    code = (first & 15) << 12 | (read8(at + 1) & 63) << 6 | read8(at + 2) & 63
    if first < 0xF0:
        return code, 3
    return (code & 0x7FFF) << 6 | read8(at + 3) & 63, 4


@compiled
def _facts(characters: int, code: int) -> int:
    return read64(characters + 8 * min(code, KNOWN - 1))


@compiled
def _kind(characters: int, at: int, end: int) -> int:
    """The class of the character here."""
    if at >= end:
        return BORDER
    return _facts(characters, _character(at)[0]) & KIND


@compiled
def _letters(at: int, end: int) -> int:
    """Where the letters of ASCII that begin here end."""
    while at < end:
        count = letters_in_front(read64(at))
        at += count
        if count < 8:
            break
    return min(at, end)


@compiled
def _contraction(at: int, end: int) -> int:
    """Bytes behind an apostrophe that belong to it: 's, 't, 're, 've, 'm, 'll, 'd in either case; 0: none."""
    if at >= end:
        return 0
    code, size = _character(at)
    low = code | 0x20
    if low == ord("s") or low == ord("t") or low == ord("m") or low == ord("d") or code == 0x17F:
        return size  # the long s is an s to a pattern that ignores case
    other = read8(at + 1) | 0x20 if at + 1 < end else 0
    return 2 if low << 8 | other in (0x7265, 0x7665, 0x6C6C) else 0  # re, ve, ll


@compiled
def _numbers(at: int, end: int, most: int, characters: int) -> int:
    """Where a number that has begun ends."""
    count = 1
    while count < most and _kind(characters, at, end) == NUMBER:
        at += _character(at)[1]
        count += 1
    return at


@compiled
def _signs(at: int, end: int, characters: int) -> int:
    """Where signs and the line ends behind them end."""
    while _kind(characters, at, end) == OTHER:
        at += _character(at)[1]
    while at < end and (read8(at) == 10 or read8(at) == 13):
        at += 1
    return at


@compiled
def _blank(start: int, end: int, characters: int) -> int:
    """Where a word of white space ends: behind its last line end, else before its last character if text follows."""
    at = last = start
    line = 0
    while True:
        kind = _kind(characters, at, end)
        if kind not in (SPACE, LINE_END):
            break
        last = at
        at += _character(at)[1]
        if kind == LINE_END:
            line = at
    if line:
        return line
    return last if at < end and last > start else at


@compiled
def _other_word(start: int, end: int, digits: int, characters: int) -> int:
    """Where a word that begins with no letter ends; 0 if letters follow, which belong to it."""
    code, size = _character(start)
    kind, at = _facts(characters, code) & KIND, start + size
    if kind == NUMBER:
        return _numbers(at, end, digits, characters)
    if code == ord("'"):
        size = _contraction(at, end)
        if size:
            return at + size
    follows = _kind(characters, at, end)
    if follows == LETTER and kind != LINE_END:
        return 0
    if kind == OTHER or (code == ord(" ") and follows == OTHER):
        return _signs(at, end, characters)
    return _blank(start, end, characters)


# ---- texts ------------------------------------------------------------------------------------------


@compiled
def encode(
    data: int,
    offsets: int,
    texts: int,
    digits: int,
    characters: int,
    singles: int,
    joined: int,
    joined_bits: int,
    ids: int,
    pairs: int,
    pair_bits: int,
    scratch: int,
    cells: int,
    out: int,
    ends: int,
) -> int:
    """Encode texts; how many ids there are.

    Args:
        data: UTF-8; offsets: int64 [texts + 1], where each text begins.
        digits: digits that make one word, at most.
        characters: int64 [KNOWN], facts of each character; singles: uint32 [KNOWN], its token, ID if it has none.
        joined: bits [2 ** joined_bits], at the hash of two characters: whether a merge may make anything with both.
        ids: uint32 [256], the token of each byte; pairs: int64 [2 ** pair_bits, 2], merges by the hash of their parts.
        scratch: int64 [SCRATCH], with its masks; cells: int64 [2 ** CACHE_BITS, 4], what is remembered.
        out: uint32, as many as bytes and four more; ends: int64 [texts], one past the last id of each text.
    """
    first = out
    for text in range(texts):
        at, end = data + read64(offsets + 8 * text), data + read64(offsets + 8 * text + 8)
        while at < end:
            start = at
            at = _word_without_cuts(start, end, digits, characters)
            if at == 0:
                at, out = _word_in_pieces(
                    *(start, end, characters, singles, joined, joined_bits),
                    *(ids, scratch, pairs, pair_bits, cells, out),
                )
            elif at == start + 1:
                write32(out, read32(ids + 4 * read8(start)))
                out += 4
            else:
                out = _remembered(start, at, ids, scratch, pairs, pair_bits, cells, out)
        write64(ends + 8 * text, (out - first) // 4)
    return (out - first) // 4


@inlined
def _word_without_cuts(start: int, end: int, digits: int, characters: int) -> int:
    """Where a word of ASCII, or without letters, ends; 0 if it is another."""
    first = start + 1 if read8(start) == ord(" ") else start
    stop = _letters(first, end)
    if stop > first and (stop == end or read8(stop) < 0x80):
        return stop
    if _kind(characters, start, end) == LETTER:
        return 0
    return _other_word(start, end, digits, characters)


@inlined
def _word_in_pieces(
    start: int,
    end: int,
    characters: int,
    singles: int,
    joined: int,
    joined_bits: int,
    ids: int,
    symbols: int,
    pairs: int,
    pair_bits: int,
    cells: int,
    out: int,
) -> tuple[int, int]:
    """(where the word ends, where its ids end): one character of any class, then letters."""
    before, size = _character(start)
    at, facts = start + size, _facts(characters, before)
    token = read32(singles + 4 * min(before, KNOWN - 1))
    write64(symbols, token)
    plain, count = token != ID, 1
    while at < end:
        if before < 0x80 and read8(at) < 0x80:
            stop = _letters(at, end)
            if stop == at:
                break
            at, before, count = stop, read8(stop - 1), MOST_CHARACTERS + 1
            facts = _facts(characters, before)
            continue
        code, size = _character(at)
        other = _facts(characters, code)
        if other & KIND != LETTER:
            break
        partial = (facts >> RIGHT_SHIFT & other >> LEFT_SHIFT & ((1 << GROUPS) - 1)) != 0
        bit = hashed(before << 20 | code, joined_bits)
        if not partial and not read8(joined + (bit >> 3)) >> (bit & 7) & 1:
            out = _piece(start, at, count, plain, ids, symbols, pairs, pair_bits, cells, out)
            start, count, plain = at, 0, True
        token = read32(singles + 4 * min(code, KNOWN - 1))
        write64(symbols + 8 * min(count, MOST_CHARACTERS), token)
        plain = plain and token != ID and not partial
        count += 1
        before, facts, at = code, other, at + size
    return at, _piece(start, at, count, plain, ids, symbols, pairs, pair_bits, cells, out)
