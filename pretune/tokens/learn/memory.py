"""Raw memory for compiled loops: an address is an integer, so nothing counts references while a loop runs.

numba counts the references to every array that one function hands to another, which costs more than encoding a word.
Numbers are int64; what wraps around does so here, for numba tells the compiler that signed sums never overflow.
Loops that use this are compiled again when their own file changes, not when this one does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

WORD = ir.IntType(64)
GOLDEN = 0x9E3779B97F4A7C15
"""2**64 over the golden ratio, made odd: Knuth's multiplicative hashing (The Art of Computer Programming 3, 6.4)."""
ONES, HIGHEST = 0x0101010101010101, 0x8080808080808080


def _instruction(build: Callable[[Any, Any], Any], arguments: int, nothing: bool = False) -> Any:
    """A function of int64 that is one or a few instructions; it gives an int64, or nothing."""
    answer = types.void if nothing else types.int64
    signature = answer(*[types.int64] * arguments)

    def code(context: Any, builder: Any, _: Any, given: Any) -> Any:
        made = build(builder, given)
        return context.get_dummy_value() if nothing else made

    def one(typing: Any, a: Any) -> Any:
        return signature, code

    def two(typing: Any, a: Any, b: Any) -> Any:
        return signature, code

    return intrinsic(one if arguments == 1 else two)


def _read(bits: int) -> Callable[[int], int]:
    def build(builder: Any, given: Any) -> Any:
        found = builder.load(builder.inttoptr(given[0], ir.IntType(bits).as_pointer()), align=1)
        return found if bits == 64 else builder.zext(found, WORD)

    found: Callable[[int], int] = _instruction(build, 1)
    return found


def _write(bits: int) -> Callable[[int, int], None]:
    def build(builder: Any, given: Any) -> Any:
        kind = ir.IntType(bits)
        value = given[1] if bits == 64 else builder.trunc(given[1], kind)
        builder.store(value, builder.inttoptr(given[0], kind.as_pointer()), align=1)

    found: Callable[[int, int], None] = _instruction(build, 2, nothing=True)
    return found


def _hashed(builder: Any, given: Any) -> Any:
    product = builder.mul(given[0], ir.Constant(WORD, GOLDEN))
    return builder.lshr(product, builder.sub(ir.Constant(WORD, 64), given[1]))


def _letters(builder: Any, given: Any) -> Any:
    """Eight bytes at once: the highest bit of each that is no letter, and how many zeros stand below the first."""

    def every(byte: int) -> Any:
        return ir.Constant(WORD, byte * ONES)

    low = builder.and_(builder.or_(given[0], every(0x20)), every(0x7F))
    from_a, beyond_z = builder.add(low, every(0x80 - ord("a"))), builder.add(low, every(0x80 - ord("z") - 1))
    letter = builder.and_(from_a, builder.not_(builder.or_(beyond_z, given[0])))
    other = builder.and_(builder.not_(letter), ir.Constant(WORD, HIGHEST))
    return builder.lshr(builder.cttz(other, ir.Constant(ir.IntType(1), 0)), ir.Constant(WORD, 3))


read8, read32, read64 = _read(8), _read(32), _read(64)
"""The unsigned byte, the unsigned four bytes, the eight bytes at an address, whatever its alignment."""
write32, write64 = _write(32), _write(64)
"""(address, value): write the lower four bytes, all eight bytes."""
hashed: Callable[[int, int], int] = _instruction(_hashed, 2)
"""(key, bits): a number below 2**bits, 1 to 63 bits."""
letters_in_front: Callable[[int], int] = _instruction(_letters, 1)
"""Of eight bytes, how many letters of ASCII stand in front (in the lower bytes): 0 to 8."""
