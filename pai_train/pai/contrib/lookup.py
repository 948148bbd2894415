"""`tf.contrib.lookup` over `tf.lookup`: tables from texts to numbers and back, from a tensor or a file."""

from __future__ import annotations

from typing import Any

from pai_train.pai.gone import absent, argument_gone
from pai_train.pai.v1 import tf

__all__ = [
    "FastHashSpec",
    "HashTable",
    "MutableDenseHashTable",
    "MutableHashTable",
    "index_table_from_file",
    "index_table_from_tensor",
    "index_to_string",
    "index_to_string_table_from_file",
    "index_to_string_table_from_tensor",
    "string_to_index",
    "string_to_index_table_from_file",
    "string_to_index_table_from_tensor",
]  # fmt: skip

FastHashSpec = None
"""The only hash for texts outside a vocabulary."""


def index_table_from_tensor(
    mapping: Any,
    num_oov_buckets: int = 0,
    default_value: int = -1,
    hasher_spec: Any = FastHashSpec,
    dtype: Any = None,
    name: str | None = None,
) -> Any:
    """Returns a table from each value of a list to its place.

    Args:
        mapping: The values, different from each other: a list, an array or a 1-D tensor.
        num_oov_buckets: How many numbers behind the list are shared by values outside it.
        default_value: The number of values outside the list, where there are no buckets.
        hasher_spec: `FastHashSpec`.
        dtype: The values' type, text if none; every integer type is looked up as int64.
        name: The operations' scope.
    """
    _check_hasher(hasher_spec)
    with tf.name_scope(name, "string_to_index"):
        keys = tf.convert_to_tensor(mapping)
        integers = keys.dtype.is_integer
        keys = tf.cast(keys, tf.int64) if integers else tf.cast(keys, tf.as_dtype(dtype or "string"))
        initializer = tf.lookup.KeyValueTensorInitializer(keys, tf.range(tf.size(keys, out_type=tf.int64)))
        return _indexed(initializer, num_oov_buckets, default_value)


def index_table_from_file(
    vocabulary_file: Any = None,
    num_oov_buckets: int = 0,
    vocab_size: int | None = None,
    default_value: int = -1,
    hasher_spec: Any = FastHashSpec,
    key_dtype: Any = None,
    name: str | None = None,
    key_column_index: int | None = None,
    value_column_index: int | None = None,
    delimiter: str = "\t",
) -> Any:
    """Returns a table from each line of a file to its number; arguments as for `index_table_from_tensor`.

    Args:
        vocabulary_file: The file, one value a line.
        num_oov_buckets: How many numbers behind the file's are shared by values outside it.
        vocab_size: How many lines count, all if none.
        default_value: The number of values outside, where there are no buckets.
        hasher_spec: `FastHashSpec`.
        key_dtype: The values' type, text if none.
        name: The operations' scope.
        key_column_index: The column of the value where lines have columns.
        value_column_index: The column of the number, the line's number if none.
        delimiter: Between columns.
    """
    _check_hasher(hasher_spec)
    with tf.name_scope(name, "string_to_index"):
        key = tf.lookup.TextFileIndex.WHOLE_LINE if key_column_index is None else key_column_index
        value = tf.lookup.TextFileIndex.LINE_NUMBER if value_column_index is None else value_column_index
        kind = tf.as_dtype(key_dtype or "string")
        kind = tf.int64 if kind.is_integer else kind
        initializer = tf.lookup.TextFileInitializer(vocabulary_file, kind, key, tf.int64, value, vocab_size, delimiter)
        return _indexed(initializer, num_oov_buckets, default_value)


def index_to_string_table_from_tensor(mapping: Any, default_value: str = "UNK", name: str | None = None) -> Any:
    """Returns a table from places in a list of texts to the texts."""
    with tf.name_scope(name, "index_to_string"):
        values = tf.convert_to_tensor(mapping, tf.string)
        initializer = tf.lookup.KeyValueTensorInitializer(tf.range(tf.size(values, out_type=tf.int64)), values)
        return tf.lookup.StaticHashTable(initializer, default_value)


def index_to_string_table_from_file(
    vocabulary_file: Any,
    vocab_size: int | None = None,
    default_value: str = "UNK",
    name: str | None = None,
    key_column_index: int | None = None,
    value_column_index: int | None = None,
    delimiter: str = "\t",
) -> Any:
    """Returns a table from line numbers of a file to its lines."""
    with tf.name_scope(name, "index_to_string"):
        key = tf.lookup.TextFileIndex.LINE_NUMBER if key_column_index is None else key_column_index
        value = tf.lookup.TextFileIndex.WHOLE_LINE if value_column_index is None else value_column_index
        initializer = tf.lookup.TextFileInitializer(
            vocabulary_file, tf.int64, key, tf.string, value, vocab_size, delimiter
        )
        return tf.lookup.StaticHashTable(initializer, default_value)


def string_to_index_table_from_tensor(
    mapping: Any, num_oov_buckets: int = 0, default_value: int = -1, hasher_spec: Any = None, name: str | None = None
) -> Any:
    """Returns `index_table_from_tensor`, by its first name."""
    return index_table_from_tensor(mapping, num_oov_buckets, default_value, hasher_spec, name=name)


def string_to_index_table_from_file(
    vocabulary_file: Any = None,
    num_oov_buckets: int = 0,
    vocab_size: int | None = None,
    default_value: int = -1,
    hasher_spec: Any = None,
    name: str | None = None,
) -> Any:
    """Returns `index_table_from_file`, by its first name."""
    return index_table_from_file(vocabulary_file, num_oov_buckets, vocab_size, default_value, hasher_spec, name=name)


def string_to_index(tensor: Any, mapping: Any, default_value: int = -1, name: str | None = None) -> Any:
    """Returns the places of texts in a list."""
    return index_table_from_tensor(mapping, default_value=default_value, name=name).lookup(tensor)


def index_to_string(tensor: Any, mapping: Any, default_value: str = "UNK", name: str | None = None) -> Any:
    """Returns the texts at places of a list."""
    return index_to_string_table_from_tensor(mapping, default_value, name).lookup(tensor)


def HashTable(initializer: Any, default_value: Any, shared_name: str | None = None, name: str | None = None) -> Any:  # noqa: N802
    """Returns a table that an initializer fills and nothing changes."""
    return tf.lookup.StaticHashTable(initializer, default_value, name=name)


def MutableHashTable(  # noqa: N802
    key_dtype: Any,
    value_dtype: Any,
    default_value: Any,
    shared_name: str | None = None,
    name: str = "MutableHashTable",
    checkpoint: bool = True,
) -> Any:
    """Returns a table that `insert` fills, kept in checkpoints."""
    return tf.lookup.experimental.MutableHashTable(key_dtype, value_dtype, default_value, name, checkpoint)


def MutableDenseHashTable(  # noqa: N802
    key_dtype: Any,
    value_dtype: Any,
    default_value: Any,
    empty_key: Any,
    initial_num_buckets: int | None = None,
    shared_name: str | None = None,
    name: str = "MutableDenseHashTable",
    checkpoint: bool = True,
    deleted_key: Any = None,
) -> Any:
    """Returns a table that `insert` fills, with a key that stands for an empty place and one for a deleted one."""
    if deleted_key is None:
        deleted_key = "\x00deleted" if tf.as_dtype(key_dtype) == tf.string else tf.as_dtype(key_dtype).min
    return tf.lookup.experimental.DenseHashTable(
        key_dtype, value_dtype, default_value, empty_key, deleted_key, initial_num_buckets, name, checkpoint
    )


def _indexed(initializer: Any, buckets: int, default_value: int) -> Any:
    if buckets:
        return tf.lookup.StaticVocabularyTable(initializer, buckets)
    return tf.lookup.StaticHashTable(initializer, default_value)


def _check_hasher(spec: Any) -> None:
    if spec is not None:
        raise argument_gone("tf.contrib.lookup", f"hasher_spec={spec!r}", "leave hasher_spec out: FastHashSpec")


_LOOKUP = {"KeyValueTensorInitializer", "TextFileIndex", "TextFileInitializer"}
_absent = absent("tf.contrib.lookup")


def __getattr__(name: str) -> Any:
    return getattr(tf.lookup, name) if name in _LOOKUP else _absent(name)
