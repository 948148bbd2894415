"""Columns, dtypes and NULLs of TableRecordDataset over every table store: inherit, and give a `tables` fixture."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from pai_train import paiio
from pai_train.errors import TableError
from tests.suites.paiio_rows import FRUIT_DEFAULTS, Configured, listed, make, make_fruit


class PaiioColumnSuite(Configured):
    """The tests; `tables` is a fixture of the subclass."""

    # -- columns

    def test_selected_columns_come_in_their_order(self, tables):
        make_fruit(tables)
        dataset = paiio.TableRecordDataset("fruit", [0.0, np.int64(0)], selected_cols=" price , UID")
        assert listed(dataset.take(1).as_numpy_iterator()) == [(5.0, 25)]

    @pytest.mark.parametrize(
        ("selected", "excluded"), [(None, "name,virtual"), ("", " Name,virtual"), ("uid,price", "")]
    )
    def test_excluded_columns(self, tables, selected, excluded):
        make_fruit(tables)
        dataset = paiio.TableRecordDataset("fruit", [np.int64(0), np.float64(0)], selected, excluded)
        assert listed(dataset.as_numpy_iterator()) == [(25, 5.0), (38, 4.5), (17, 2.2)]

    @pytest.mark.parametrize(
        ("selected", "excluded", "words"),
        [
            ("uid", "name", "mutually exclusive"),
            ("uid,prise", None, r"no column 'prise'(.|\n)*did you mean 'price'"),
            (None, "nme", r"no column 'nme'(.|\n)*did you mean 'name'"),
            ("uid,UID", None, "named twice"),
            (None, "uid,name,price,virtual", "no column is left"),
        ],
    )
    def test_columns_that_cannot_be_chosen(self, tables, selected, excluded, words):
        make_fruit(tables)
        with pytest.raises(TableError, match=words):
            paiio.TableRecordDataset("fruit", FRUIT_DEFAULTS, selected, excluded)

    def test_count_mismatch_in_the_words_of_pai(self, tables):
        make_fruit(tables)
        dataset = paiio.TableRecordDataset("fruit", [0, ""]).batch(2)
        words = "Column size of the record to be saved: '4' does not match the default record column size: '2'."
        with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(words)):
            next(iter(dataset))

    # -- types and NULL

    def test_null_is_the_default(self, tables):
        ddl = "CREATE TABLE holes (a BIGINT, b DOUBLE, c STRING, d BOOLEAN, e INT, f FLOAT)"
        types = [pa.int64(), pa.float64(), pa.string(), pa.bool_(), pa.int32(), pa.float32()]
        columns = [pa.array([None, value], kind) for value, kind in zip([1, 0.5, "", True, 2, 1.5], types, strict=True)]
        make(tables, ddl, pa.record_batch(columns, list("abcdef")))
        defaults = [np.int64(-1), np.float64(-0.5), "NULL", True, -7, -1.5]
        first, second = paiio.TableRecordDataset("holes", defaults).as_numpy_iterator()
        assert [value.item() if hasattr(value, "item") else value for value in first] == [
            -1,
            -0.5,
            b"NULL",
            True,
            -7,
            -1.5,
        ]
        assert [value.item() if hasattr(value, "item") else value for value in second] == [1, 0.5, b"", True, 2, 1.5]

    @pytest.mark.parametrize(
        ("kind", "value", "default", "wanted"),
        [
            ("BIGINT", 7, 0, np.int32(7)),
            ("TINYINT", 7, np.int64(0), np.int64(7)),
            ("DOUBLE", 0.1, 0.0, np.float32(0.1)),
            ("FLOAT", 0.5, np.float64(0), np.float64(0.5)),
            ("FLOAT", None, np.float64(1e300), np.float64(1e300)),
            ("TINYINT", None, np.int64(2**40), np.int64(2**40)),
            ("VARCHAR(5)", "x", "", b"x"),
            ("BINARY", b"\xff\n", "", b"\xff\n"),
            ("DECIMAL(6,2)", "1.50", "", b"1.50"),
            ("DATE", "2024-02-29", "", b"2024-02-29"),
        ],
    )
    def test_types_that_go_together(self, tables, kind, value, default, wanted):
        array = pa.array([value])
        if kind in ("DECIMAL(6,2)", "DATE"):
            array = array.cast(pa.decimal128(6, 2) if kind.startswith("DEC") else pa.date32())
        make(tables, f"CREATE TABLE one (a {kind})", pa.record_batch([array], ["a"]))
        (got,) = next(iter(paiio.TableRecordDataset("one", [default]).as_numpy_iterator()))
        assert (got, np.asarray(got).dtype.kind) == (wanted, np.asarray(wanted).dtype.kind)

    @pytest.mark.parametrize(
        ("kind", "default"),
        [("BIGINT", 0.0), ("BIGINT", ""), ("DOUBLE", 0), ("STRING", 0), ("BOOLEAN", 0), ("BIGINT", False)],
    )
    def test_types_that_do_not(self, tables, kind, default):
        make(tables, f"CREATE TABLE one (a {kind})", pa.record_batch([pa.array([None], pa.null())], ["a"]))
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"column 'a' and its default have different types"):
            list(paiio.TableRecordDataset("one", [default]))

    @pytest.mark.parametrize(
        ("kind", "values", "default", "shown"),
        [
            ("BIGINT", [1, None, 2**31, 5], 0, (2, "INT32", "2147483648")),
            ("BIGINT", [1, -(2**31) - 1], 0, (1, "INT32", "-2147483649")),
            ("DOUBLE", [1.0, None, float("inf"), 1e39], 0.0, (3, "FLOAT32", "1e+39")),
        ],
    )
    def test_values_out_of_range(self, tables, kind, values, default, shown):
        arrow = pa.int64() if kind == "BIGINT" else pa.float64()
        make(tables, f"CREATE TABLE one (a {kind})", pa.record_batch([pa.array(values, arrow)], ["a"]))
        row, dtype, value = shown
        words = f"one, row {row}: a value of column 'a' is outside the range of {dtype}\n    got: {value}\n"
        with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(words)):
            list(paiio.TableRecordDataset("one", [default]).batch(10))
