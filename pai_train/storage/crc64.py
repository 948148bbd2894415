"""The CRC-64 of bytes in a row from the CRC-64 of their stretches, as OSS tells them: no byte is read again."""

from __future__ import annotations

from functools import lru_cache

# ECMA-182. Polynomials over GF(2) stand with their lowest power in the highest bit, as this CRC is defined.
_MODULUS = 0xC96C5795D7870F42
_ONE, _X = 1 << 63, 1 << 62


def joined(first: int, second: int, size: int) -> int:
    """Returns the CRC-64 of two stretches.

    Args:
        first: The CRC-64 of the one in front; 0 for none.
        second: That of the one behind it.
        size: How long the second is, in bytes.
    """
    return _product(first, _power(8 * size)) ^ second


@lru_cache(maxsize=64)
def _power(exponent: int) -> int:
    """Returns x to a power; by it a stretch's CRC moves when so many bits follow."""
    power, square = _ONE, _X
    while exponent:
        if exponent & 1:
            power = _product(power, square)
        square = _product(square, square)
        exponent >>= 1
    return power


def _product(left: int, right: int) -> int:
    product, bit = 0, _ONE
    while bit:
        if left & bit:
            product ^= right
        right = (right >> 1) ^ (_MODULUS if right & 1 else 0)
        bit >>= 1
    return product
