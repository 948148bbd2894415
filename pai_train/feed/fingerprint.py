"""Fingerprint64 of many strings at once: FarmHash's stable 64 bits, as `tf.strings.to_hash_bucket_fast` takes them.

Written for numpy: every step of the hash is done for all strings of one length class together. Knows no TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable

Words: TypeAlias = "np.ndarray[Any, np.dtype[np.uint64]]"
Int64s: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

_K0, _K1, _K2 = np.uint64(0xC3A5C85C97CB3127), np.uint64(0xB492B66FBE98F273), np.uint64(0x9AE16A3B2F90404F)
_SEED = 81
_BLOCK = 64


def fingerprints(values: pa.Array) -> Words:
    """Returns the Fingerprint64 of each value, uint64 of shape [rows].

    Args:
        values: Strings or binaries; what stands for a null is not defined.
    """
    wide = pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type)
    _, offsets, data = values.buffers()
    hashes = np.empty(len(values), np.uint64)
    if not len(values):
        return hashes
    edges = np.frombuffer(offsets, np.int64 if wide else np.int32)[values.offset : values.offset + len(values) + 1]
    first, last = int(edges[0]), int(edges[-1])
    text = _Text(np.frombuffer(data, np.uint8)[first:last] if data is not None else np.zeros(0, np.uint8))
    starts = edges[:-1].astype(np.int64) - first
    lengths = np.diff(edges).astype(np.int64)
    low, high = int(lengths.min()), int(lengths.max())
    for least, most, hashed in _CLASSES:
        if high < least or low > most:
            continue
        if low >= least and high <= most:
            return hashed(text, starts, lengths)
        rows = np.flatnonzero((lengths >= least) & (lengths <= most))
        if len(rows):
            hashes[rows] = hashed(text, starts[rows], lengths[rows])
    return hashes


class _Text:
    """Bytes of which little-endian numbers are taken at any place."""

    def __init__(self, data: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        padded = np.zeros(len(data) // 8 * 8 + 16, np.uint8)
        padded[: len(data)] = data
        self._bytes = padded
        self._words = padded.view("<u8")

    def byte(self, at: Int64s) -> Words:
        found: Words = self._bytes[at].astype(np.uint64)
        return found

    def word(self, at: Int64s) -> Words:
        """Returns the 8 bytes at each place: two aligned words, shifted together."""
        place, shift = at >> 3, ((at & 7) << 3).astype(np.uint64)
        low: Words = self._words[place] >> shift
        # A shift by 64 is not defined, so that it is done in two.
        high: Words = (self._words[place + 1] << np.uint64(1)) << (np.uint64(63) - shift)
        return low | high

    def half(self, at: Int64s) -> Words:
        """Returns the 4 bytes at each place."""
        return self.word(at) & np.uint64(0xFFFFFFFF)


def _rotated(value: Words, bits: int) -> Words:
    return (value >> np.uint64(bits)) | (value << np.uint64(64 - bits))


def _mixed(value: Words) -> Words:
    return value ^ (value >> np.uint64(47))


def _of_two(u: Words, v: Words, mul: Words) -> Words:
    b = (v ^ _mixed((u ^ v) * mul)) * mul
    return _mixed(b) * mul


def _multiplier(lengths: Int64s) -> Words:
    return _K2 + (lengths.astype(np.uint64) << np.uint64(1))


def _empty(text: _Text, starts: Int64s, lengths: Int64s) -> Words:
    return np.full(len(starts), _K2)


def _to_3(text: _Text, starts: Int64s, lengths: Int64s) -> Words:
    y = text.byte(starts) + (text.byte(starts + (lengths >> 1)) << np.uint64(8))
    z = lengths.astype(np.uint64) + (text.byte(starts + lengths - 1) << np.uint64(2))
    return _mixed(y * _K2 ^ z * _K0) * _K2


def _to_7(text: _Text, starts: Int64s, lengths: Int64s) -> Words:
    u = lengths.astype(np.uint64) + (text.half(starts) << np.uint64(3))
    return _of_two(u, text.half(starts + lengths - 4), _multiplier(lengths))


def _to_16(text: _Text, starts: Int64s, lengths: Int64s) -> Words:
    mul = _multiplier(lengths)
    a, b = text.word(starts) + _K2, text.word(starts + lengths - 8)
    return _of_two(_rotated(b, 37) * mul + a, (_rotated(a, 25) + b) * mul, mul)


def _halves(text: _Text, starts: Int64s, lengths: Int64s, first: np.uint64, mul: Words) -> tuple[Words, Words, Words]:
    a, b = text.word(starts) * first, text.word(starts + 8)
    c, d = text.word(starts + lengths - 8) * mul, text.word(starts + lengths - 16) * _K2
    return a, _rotated(a + b, 43) + _rotated(c, 30) + d, a + _rotated(b + _K2, 18) + c


def _to_32(text: _Text, starts: Int64s, lengths: Int64s) -> Words:
    mul = _multiplier(lengths)
    _, y, z = _halves(text, starts, lengths, _K1, mul)
    return _of_two(y, z, mul)


def _to_64(text: _Text, starts: Int64s, lengths: Int64s) -> Words:
    mul = _multiplier(lengths)
    a, y, z = _halves(text, starts, lengths, _K2, mul)
    z = _of_two(y, z, mul)
    e, f = text.word(starts + 16) * mul, text.word(starts + 24)
    g, h = (y + text.word(starts + lengths - 32)) * mul, (z + text.word(starts + lengths - 24)) * mul
    return _of_two(_rotated(e + f, 43) + _rotated(g, 30) + h, e + _rotated(f + a, 18) + g, mul)


class _State:
    """What a long string's blocks of 64 bytes are mixed into, for many strings at once."""

    def __init__(self, text: _Text, starts: Int64s) -> None:
        self._text = text
        count, seed = len(starts), np.array([_SEED], np.uint64)
        y = seed * _K1 + np.uint64(113)
        self.x = seed * _K2 + text.word(starts)
        self.y = np.repeat(y, count)
        self.z = np.repeat(_mixed(y * _K2 + np.uint64(113)) * _K2, count)
        self.v, self.v2, self.w, self.w2 = (np.zeros(count, np.uint64) for _ in range(4))

    def take(self, rows: Any, at: Int64s, mul: Any, *, last: bool = False) -> None:
        """Mixes the block at each place into some of the strings."""
        word = self._text.word
        x, y, z = self.x[rows], self.y[rows], self.z[rows]
        v, v2, w, w2 = self.v[rows], self.v2[rows], self.w[rows], self.w2[rows]
        times = np.uint64(9 if last else 1)
        x = _rotated(x + y + v + word(at + 8), 37) * mul
        y = _rotated(y + v2 + word(at + 48), 42) * mul
        x = x ^ w2 * times
        y = y + v * times + word(at + 40)
        z = _rotated(z + w, 33) * mul
        self.v[rows], self.v2[rows] = self._weak(at, v2 * mul, x + w)
        self.w[rows], self.w2[rows] = self._weak(at + 32, z + w2, y + word(at + 16))
        self.x[rows], self.y[rows], self.z[rows] = z, y, x

    def _weak(self, at: Int64s, a: Words, b: Words) -> tuple[Words, Words]:
        w, x, y, z = (self._text.word(at + step) for step in (0, 8, 16, 24))
        a = a + w
        b = _rotated(b + a + z, 21)
        c = a
        a = a + x + y
        return a + z, b + _rotated(a, 44) + c


def _longer(text: _Text, starts: Int64s, lengths: Int64s) -> Words:
    state = _State(text, starts)
    blocks = (lengths - 1) // _BLOCK
    for number in range(int(blocks.max())):
        rows = np.flatnonzero(blocks > number)
        state.take(rows, starts[rows] + number * _BLOCK, _K1)
    mul = _K1 + ((state.z & np.uint64(0xFF)) << np.uint64(1))
    state.w += ((lengths - 1) & (_BLOCK - 1)).astype(np.uint64)
    state.v += state.w
    state.w += state.v
    state.take(slice(None), starts + lengths - _BLOCK, mul, last=True)
    return _of_two(
        _of_two(state.v, state.w, mul) + _mixed(state.y) * _K0 + state.z,
        _of_two(state.v2, state.w2, mul) + state.x,
        mul,
    )


_CLASSES: tuple[tuple[int, int, Callable[[_Text, Int64s, Int64s], Words]], ...] = (
    (0, 0, _empty),
    (1, 3, _to_3),
    (4, 7, _to_7),
    (8, 16, _to_16),
    (17, 32, _to_32),
    (33, 64, _to_64),
    (65, 2**31, _longer),
)
