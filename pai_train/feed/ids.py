"""Integer ids of texts, by a vocabulary or by a hash: computed on whole Arrow columns. Knows no TensorFlow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pai_train.errors import DataError
from pai_train.feed.fingerprint import fingerprints
from pai_train.feed.places import Places
from pai_train.tables.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

KIND = pa.int32()
"""The type of ids: half the bytes of BIGINT on the way to the device."""
MOST = 2**31 - 1
OUTSIDE = -1
"""Stands for a text outside of a vocabulary that has no buckets for such."""
NULL = -2

_SHOWN = 4
_KNOWN_BYTES = 16 * 2**20
"""Dictionaries, and their ids, that are kept."""
_SEARCHED = 4096
"""Values of a vocabulary from which on a search by fingerprints costs less than Arrow's hash table, made each time."""


class Ids:
    """Which id each text has, the same on every machine and in every version.

    A text of the vocabulary has its place there, from 0. Every other has `len(vocabulary) + Fingerprint64(text in
    UTF-8) % buckets`, as TensorFlow's `to_hash_bucket_fast` and `StaticVocabularyTable` have it; without a vocabulary
    these are all.

    Args:
        vocabulary: Distinct texts.
        buckets: Ids that all other texts share; 0 for such a text to be an error.

    Attributes:
        size: How many ids there are, 0 to size - 1.

    Raises:
        DataError: A text is there twice, or what is no text, or there is no id, or more than int32 holds.
    """

    def __init__(self, vocabulary: Sequence[str] | pa.Array = (), buckets: int = 0) -> None:
        values = _texts(vocabulary)
        if values.null_count:
            raise DataError("a vocabulary holds a value that is null", wanted="texts")
        if len(values) and pc.count_distinct(values).as_py() < len(values):
            counts = pc.value_counts(values)
            twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))[0].as_py()
            raise DataError("a vocabulary holds a value twice", got=repr(twice), wanted="values that differ")
        self.vocabulary = values
        self.buckets = buckets
        self.size = len(values) + buckets
        self._known = Recent(_KNOWN_BYTES, lambda found: max(1, found[0].get_total_buffer_size() + found[1].nbytes))
        if not 1 <= self.size <= MOST:
            raise DataError("not a number of ids", got=f"{self.size:,}", wanted=f"1 to {MOST:,}")

    @cached_property
    def identity(self) -> str:
        """A short text that changes with the ids of any text."""
        digest = hashlib.sha256(f"{self.buckets} {len(self.vocabulary)}".encode())
        if len(self.vocabulary):
            digest.update(fingerprints(self.vocabulary).tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def wanted(self) -> str:
        """What a vocabulary without buckets takes, in words."""
        values, first = len(self.vocabulary), self.vocabulary[:_SHOWN].to_pylist()
        return f"one of {values:,} values: {', '.join(map(shown, first))}{', …' if values > _SHOWN else ''}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def of(self, column: pa.Array, default: str | None = None) -> npt.NDArray[np.int32]:
        """Returns the ids of a column's texts, int32 of shape [rows]; `NULL` and `OUTSIDE` where there is none.

        Args:
            column: Strings, plain or dictionary encoded: then each value of the dictionary is looked up once.
            default: Text that stands for null, and for the empty text.
        """
        if not pa.types.is_dictionary(column.type):
            return self._filled(column, default)
        ids = self._of_dictionary(column.dictionary, default)
        indices = column.indices
        places = indices.fill_null(len(ids) - 1) if indices.null_count else indices
        taken: npt.NDArray[np.int32] = ids.take(places.to_numpy(), mode="clip")
        return taken

    def _of_dictionary(self, values: pa.Array, default: str | None) -> npt.NDArray[np.int32]:
        """Returns the ids of a dictionary, and one more for null; it is that of many batches, and looked up once."""
        where = tuple(0 if buffer is None else buffer.address for buffer in values.buffers())

        def look_up() -> tuple[pa.Array, npt.NDArray[np.int32]]:
            # The values are kept too, so that no others take their place in memory.
            return values, np.append(self._filled(values, default), np.int32(self._missing(default)))

        found: npt.NDArray[np.int32] = self._known.get((where, values.offset, len(values), default), look_up)[1]
        return found

    def _filled(self, values: pa.Array, default: str | None) -> npt.NDArray[np.int32]:
        ids = self._looked_up(values)
        if values.null_count:
            ids[pc.is_null(values).to_numpy(zero_copy_only=False)] = self._missing(default)
        if default:
            ids[pc.equal(values, "").fill_null(False).to_numpy(zero_copy_only=False)] = self._missing(default)
        return ids

    def _missing(self, default: str | None) -> int:
        return NULL if default is None else int(self._looked_up(pa.array([default], pa.string()))[0])

    def _looked_up(self, values: pa.Array) -> npt.NDArray[np.int32]:
        if not len(self.vocabulary):
            return self._hashed(fingerprints(values))
        if self._places is None:
            places = pc.index_in(values, value_set=self.vocabulary).fill_null(OUTSIDE)
            return self._with_others(values, places.to_numpy().copy(), None)
        hashes = fingerprints(values)
        ids = self._places.of(hashes)
        # Two texts of one fingerprint are rare, not impossible. What is nowhere is compared with any text.
        same = pc.equal(self.vocabulary.take(pa.array(ids.clip(min=0))), values).fill_null(False)
        ids[~same.to_numpy(zero_copy_only=False)] = OUTSIDE
        return self._with_others(values, ids, hashes)

    def _with_others(
        self, values: pa.Array, ids: npt.NDArray[np.int32], hashes: npt.NDArray[np.uint64] | None
    ) -> npt.NDArray[np.int32]:
        if self.buckets:
            outside = np.flatnonzero(ids == OUTSIDE)
            if len(outside):
                others = fingerprints(values.take(pa.array(outside))) if hashes is None else hashes[outside]
                ids[outside] = self._hashed(others) + np.int32(len(self.vocabulary))
        return ids

    def _hashed(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
        return (hashes % np.uint64(self.buckets)).astype(np.int32)

    @cached_property
    def _places(self) -> Places | None:
        """Where each of the vocabulary's fingerprints stands in it; None where Arrow's lookup is to be used."""
        if len(self.vocabulary) < _SEARCHED:
            return None
        hashes = fingerprints(self.vocabulary)
        return Places(hashes) if len(np.unique(hashes)) == len(hashes) else None


def _texts(vocabulary: Any) -> pa.Array:
    if isinstance(vocabulary, pa.Array):
        got = None if pa.types.is_string(vocabulary.type) else str(vocabulary.type)
    elif isinstance(vocabulary, (str, bytes)) or not isinstance(vocabulary, Iterable):
        # One text would be the vocabulary of its letters.
        got = shown(vocabulary)
    else:
        vocabulary = list(vocabulary)
        others = [value for value in vocabulary if not isinstance(value, (str, bytes))]
        got = shown(others[0]) if others else None
    if got is not None:
        raise DataError("a vocabulary is a list of texts", got=got, wanted="texts")
    return vocabulary if isinstance(vocabulary, pa.Array) else pa.array(vocabulary, pa.string())


def as_column(ids: npt.NDArray[np.int32]) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Returns ids as a column with its nulls, and the rows whose text has no id."""
    if not len(ids) or int(ids.min()) >= 0:
        return pa.array(ids, KIND), np.zeros(0, np.int64)
    return pa.array(ids, KIND, mask=ids < 0), np.flatnonzero(ids == OUTSIDE)


def shown(value: Any) -> str:
    """Returns a text as faults show it."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
