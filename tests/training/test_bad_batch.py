"""A batch that cannot be learned from: its step, its epoch, its columns and their rows."""

from __future__ import annotations

import numpy as np
import pytest

from pai_train.errors import DataError
from pai_train.feed.align import OWN
from pai_train.training.bad_batch import Steps


def steps(**columns: list[float]) -> Steps:
    return Steps({name: np.array(values) for name, values in columns.items()}, (2, 3, 1), 40, 1, 7)


def test_a_loss_of_finite_columns():
    steps(a=[1.0] * 6).check(np.array([1.0, 2.0, 3.0]))
    with pytest.raises(DataError, match="the loss is inf at step 42, in epoch 2, batch 9 of the epoch") as caught:
        steps(a=[1.0] * 6).check(np.array([1.0, np.inf, np.nan]))
    assert "finite values in all columns" in str(caught.value)


def test_the_columns_of_the_first_bad_batch_are_named():
    bad = steps(a=[1, 1, 1, np.nan, np.inf, np.nan], b=[0, 0, 0, 0, -np.inf, 0], c=[0.0] * 6, d=[0, 0, 0, 0, 0, np.nan])
    with pytest.raises(DataError) as caught:
        bad.check(np.array([1.0, np.nan, np.nan]))
    assert caught.value.fault.got == (
        "2 in 'a', the first in row 2 of 3; 1 in 'b', the first in row 3 of 3,"
        " of the batch of step 42, in epoch 2, batch 9 of the epoch"
    )
    refused = bad.refused(DataError("column 'a' holds NaN", got="4", todo="do"))
    assert refused.fault.where == "step 42, in epoch 2, batch 9 of the epoch"
    assert (refused.fault.got, refused.fault.todo) == (caught.value.fault.got, "do")


def test_images_count_by_row_and_texts_are_passed_over():
    image = np.zeros((6, 2, 2, 3), np.float32)
    image[5, 1, 1, 2] = np.nan
    one = Steps({"image": image, "text": np.array(list("abcdef"), object)}, (2, 3, 1), 0, 0, 0)
    assert (
        one.refused(DataError("x")).fault.got
        == "1 in 'image', the first in row 1 of 1, of the batch of step 3, in epoch 1, batch 3 of the epoch"
    )


def test_an_error_of_another_kind_keeps_its_words_and_gets_its_steps():
    error = steps(a=[1.0] * 6).refused(DataError("not a class", got="'x'"))
    assert (error.fault.where, error.fault.got) == ("steps 41 to 43, in epoch 2", "'x'")


def test_of_several_workers_rows_are_counted_in_this_ones():
    columns = {"a": np.array([1.0, 2.0, np.nan]), OWN: np.array([1, 2])}
    error = Steps(columns, [4, 6], 0, 0, 0).refused(DataError("a column holds NaN"))
    assert "1 in 'a', the first in row 2 of 2" in str(error)
    assert "step 2, in epoch 1" in str(error)
