"""record_defaults in every form that scripts give them, and rows in every form that TableWriter takes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pai_train.errors import TableError
from pai_train.paiio.defaults import read_defaults

BYTES = np.dtype(object)


@pytest.mark.parametrize(
    ("entry", "dtype", "value"),
    [
        ("", BYTES, b""),
        ("ü", BYTES, "ü".encode()),
        (b"x", BYTES, b"x"),
        (np.str_("x"), BYTES, b"x"),
        (np.bytes_(b"x"), BYTES, b"x"),
        (np.array("x"), BYTES, b"x"),
        ([""], BYTES, b""),
        (0, np.int32, 0),
        (-1, np.int32, -1),
        ([0], np.int32, 0),
        (True, np.bool_, True),
        (np.bool_(False), np.bool_, False),
        (0.0, np.float32, 0.0),
        ([1.0], np.float32, 1.0),
        (np.int64(1), np.int64, 1),
        (np.int32(1), np.int32, 1),
        (np.float32(), np.float32, 0.0),
        (np.float64(2.5), np.float64, 2.5),
        (np.array(0, np.int64), np.int64, 0),
        (np.array([7], np.int64), np.int64, 7),
        (np.array(["x"], object), BYTES, b"x"),
        (tf.constant(0, tf.int64), np.int64, 0),
        (tf.constant(1.5, tf.float64, ()), np.float64, 1.5),
        (tf.constant(3, tf.int32, (1,)), np.int32, 3),
        (tf.constant("x"), BYTES, b"x"),
        (tf.constant(["x"]), BYTES, b"x"),
    ],
    ids=repr,
)
def test_forms(entry, dtype, value):
    (found,) = read_defaults([entry])
    assert (found.dtype, found.value, type(found.value)) == (np.dtype(dtype), value, type(value))


def test_constants_of_a_graph():
    with tf.Graph().as_default():
        found = read_defaults((tf.constant(0, tf.int64, (1,)), tf.constant("x"), 0.0))
        assert [default.name for default in found] == ["INT64", "STRING", "FLOAT32"]
        with pytest.raises(TableError, match="before the graph runs"):
            read_defaults([tf.compat.v1.placeholder(tf.int64, ())])


@pytest.mark.parametrize(
    ("defaults", "words"),
    [
        ([2**31], r"np.int64\(2147483648\)"),
        ([None], "entry 0 of record_defaults has no dtype"),
        ([0, np.int16(1)], "entry 1"),
        ([[0, 1]], "entry 0"),
        ([[]], "entry 0"),
        ([np.zeros(2)], "entry 0"),
        ([], "is empty"),
        ("", "is a list"),
        (0, "is a list"),
    ],
)
def test_what_is_no_default(defaults, words):
    with pytest.raises(TableError, match=words):
        read_defaults(defaults)
