"""Declared types and their Arrow twins, and the Iceberg schema made of them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.errors import TableError
from pai_train.spec.ddl import Column
from pai_train.spec.types import Array, Decimal, Map, Primitive, Struct, Text, parse_type
from pai_train.tables.arrow import arrow_schema, arrow_type, maxcompute_type

TWINS = {
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "INT": pa.int32(),
    "BIGINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "STRING": pa.string(),
    "VARCHAR(7)": pa.string(),
    "CHAR(7)": pa.string(),
    "BINARY": pa.binary(),
    "DATE": pa.date32(),
    "DATETIME": pa.timestamp("ms"),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMP_NTZ": pa.timestamp("us"),
    "DECIMAL(20,3)": pa.decimal128(20, 3),
    "ARRAY<MAP<STRING,STRUCT<a:TINYINT>>>": pa.list_(pa.map_(pa.string(), pa.struct([("a", pa.int8())]))),
}


@pytest.mark.parametrize(("declared", "arrow"), TWINS.items())
def test_twins(declared, arrow):
    assert arrow_type(Column("c", parse_type(declared))) == arrow


def test_schema_keeps_order_and_not_null():
    schema = arrow_schema([Column("b", Primitive("INT"), nullable=False), Column("a", Primitive("STRING"))])
    assert schema == pa.schema([pa.field("b", pa.int32(), nullable=False), pa.field("a", pa.string())])


@pytest.mark.parametrize("declared", ["JSON", "INTERVAL_DAY_TIME", "VECTOR(FLOAT,3)"])
def test_types_without_twin_are_refused(declared):
    with pytest.raises(TableError, match=r"'c' has a type(.|\n)*" + declared.partition("(")[0]):
        arrow_type(Column("c", parse_type(declared)))


# One declared type per Arrow type: what is read back where the declaration is lost.
LEAVES = [Primitive(name) for name in TWINS if "(" not in name and "<" not in name and name != "TIMESTAMP_NTZ"]
leaves = st.sampled_from([*LEAVES, Decimal(10, 2)])
declared_types = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(Array),
        st.builds(Map, leaves, inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda ts: Struct(tuple((f"f{i}", t) for i, t in enumerate(ts)))),
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60)
@given(declared=declared_types)
def test_reading_back_is_the_inverse(declared):
    assert maxcompute_type(arrow_type(Column("c", declared))) == declared


def test_bounded_text_is_read_back_as_string():
    assert maxcompute_type(arrow_type(Column("c", Text("CHAR", 3)))) == Primitive("STRING")


def test_foreign_arrow_types_are_refused():
    with pytest.raises(TableError, match="time64"):
        maxcompute_type(pa.time64("us"))
