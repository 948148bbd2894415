"""Slices: PAI's rule, as documented and as a property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pai_train.spec.slices import slice_rows


@pytest.mark.parametrize(
    ("rows", "count", "slices"),
    [
        (10, 3, [range(4), range(4, 7), range(7, 10)]),
        (2, 4, [range(1), range(1, 2), range(2, 2), range(2, 2)]),
        (0, 2, [range(0), range(0)]),
        (5, 1, [range(5)]),
    ],
)
def test_slices(rows, count, slices):
    assert [slice_rows(rows, index, count) for index in range(count)] == slices


@given(st.integers(0, 10**12), st.integers(1, 500))
def test_every_row_is_in_one_slice_and_sizes_differ_by_one(rows, count):
    slices = [slice_rows(rows, index, count) for index in range(count)]
    edges = [0, *(one.stop for one in slices)]
    assert [one.start for one in slices] == edges[:-1]
    assert edges[-1] == rows
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


@pytest.mark.parametrize(("rows", "index", "count"), [(1, 1, 1), (1, -1, 2), (1, 0, 0), (-1, 0, 1)])
def test_no_such_slice(rows, index, count):
    with pytest.raises(ValueError, match="no slice"):
        slice_rows(rows, index, count)
