"""Statistics of the training rows do not depend on how the rows are batched."""

import json
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.errors import DataError
from pai_train.models.contracts import ColumnSpec, LabelSpec
from pai_train.models.statistics import collect_classes, describe


def _batches(table, size):
    return table.to_batches(max_chunksize=size)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=1, max_size=60),
    st.integers(1, 20),
    st.sampled_from([0.0, 1e12]),
)
def test_moments_agree_with_numpy_for_any_batching(values, size, offset):
    values = [value if value is None else value + offset for value in values]
    table = pa.table({"x": pa.array(values, pa.float64())})
    [spec] = describe(_batches(table, size), ["x"], None, 10)
    kept = np.array([value for value in values if value is not None])
    if kept.size == 0:
        assert (spec.mean, spec.variance) == (0.0, 1.0)
        return
    assert spec.mean == pytest.approx(kept.mean(), rel=1e-12, abs=1e-9)
    if kept.min() == kept.max():
        assert spec.variance == 1.0
    elif kept.var() < sys.float_info.min:  # the square of so small a spread may round to 0, which no one divides by
        assert spec.variance == 1.0 or spec.variance < sys.float_info.min
    else:
        assert spec.variance == pytest.approx(kept.var(), rel=1e-6, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["a", "b", "c", "ä", "", None]), min_size=1, max_size=40), st.integers(1, 9))
def test_vocabulary_is_by_frequency_then_value_for_any_batching(values, size):
    table = pa.table({"s": pa.array(values, pa.string())})
    [spec] = describe(_batches(table, size), ["s"], None, 3)
    present = [value for value in values if value is not None]
    ranked = sorted(set(present), key=lambda value: (-present.count(value), value.encode()))
    assert spec.vocabulary == tuple(ranked[:3])


def test_types_of_columns():
    table = pa.table(
        {
            "f": pa.array([1.0, 2.0], pa.float32()),
            "i": pa.array([2**60, 2**60 + 2048], pa.int64()),
            "b": [True, False],
            "s": ["x", "y"],
            "d": pa.array(["x", "y"]).dictionary_encode(),
            "z": pa.array([b"x", b"x"], pa.binary()),
        }
    )
    specs = {spec.name: spec for spec in describe(_batches(table, 1), ["s", "f", "i", "b", "d", "z"], None, 5)}
    assert list(specs) == ["s", "f", "i", "b", "d", "z"]
    assert [spec.dtype for spec in specs.values()] == ["string", "float", "int", "bool", "string", "string"]
    assert (specs["b"].mean, specs["b"].variance) == (0.5, 0.25)
    assert (specs["i"].mean, specs["i"].variance) == (2.0**60 + 1024, 1024.0**2)
    assert specs["z"].vocabulary == ("x",)


def test_constant_column_has_variance_one():
    table = pa.table({"x": [0.1] * 1001})
    [spec] = describe(_batches(table, 7), ["x"], None, 5)
    assert spec.variance == 1.0
    assert spec.mean == pytest.approx(0.1, rel=1e-15)


def test_reads_no_further_than_max_rows():
    table = pa.table({"x": [1.0, 3.0, 1000.0, 1000.0]})

    def batches():
        yield from _batches(table.slice(0, 3), 2)
        raise RuntimeError("read on")

    [spec] = describe(batches(), ["x"], 2, 5)
    assert (spec.mean, spec.variance) == (2.0, 1.0)


def test_faults_name_the_column():
    table = pa.table({"when": pa.array([0], pa.date32()), "price": [1.0]})
    with pytest.raises(DataError, match="date32"):
        describe(_batches(table, 1), ["when"], None, 5)
    with pytest.raises(DataError, match="did you mean 'price'"):
        describe(_batches(table, 1), ["prise"], None, 5)
    with pytest.raises(DataError, match="no rows"):
        describe([], ["price"], None, 5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_names_its_column(value):
    table = pa.table({"x": [1.0, None, value, value], "y": [1.0] * 4})
    with pytest.raises(DataError, match="column 'x' holds NaN or infinite values") as caught:
        describe(_batches(table, 4), ["y", "x"], None, 5)
    assert "2 in 'x'" in str(caught.value)


def test_classes_are_sorted_and_bounded():
    table = pa.table({"i": [3, 1, None, 1, 2], "b": [True, False, True, True, None], "f": [1.0] * 5})
    assert collect_classes(_batches(table, 2), "i", None, 3) == (1, 2, 3)
    assert collect_classes(_batches(table, 2), "b", None, 3) == (False, True)
    with pytest.raises(DataError, match="more than 2 classes"):
        collect_classes(_batches(table, 2), "i", None, 2)
    with pytest.raises(DataError, match="real numbers"):
        collect_classes(_batches(table, 2), "f", None, 2)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.text(max_size=4) | st.binary(max_size=4), max_size=4),
    st.floats(allow_nan=False),
    st.lists(st.text(max_size=3), min_size=1, max_size=4, unique=True)
    | st.lists(st.integers(), min_size=1, max_size=4, unique=True)
    | st.just([True, False]),
)
def test_what_is_known_of_columns_is_the_same_on_another_worker(vocabulary, mean, classes):
    column = ColumnSpec("x", "string", mean=mean, variance=mean / 3, vocabulary=tuple(vocabulary), shape=(2, 3, 1))
    assert ColumnSpec.from_json(json.loads(json.dumps(column.to_json()))) == column
    label = LabelSpec("y", "classification", tuple(classes))
    found = LabelSpec.from_json(json.loads(json.dumps(label.to_json())))
    assert found == label
    assert [type(one) for one in found.classes] == [type(one) for one in classes]
