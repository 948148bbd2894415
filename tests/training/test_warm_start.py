"""Warm start: what fits by name is taken, and the account says what did not."""

from __future__ import annotations

import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

from pai_train.errors import CheckpointError
from pai_train.training.state import write_variables
from pai_train.training.warm_start import warm_start


def variables(value: float, **shapes: tuple[int, ...]) -> dict[str, tf.Variable]:
    named = {f"model/{name.replace('__', '/')}": tf.Variable(tf.fill(shape, value)) for name, shape in shapes.items()}
    named["model/drop/seed_generator_state"] = tf.Variable(np.array([int(value), 0], np.uint32))
    named["optimizer/iteration"] = tf.Variable(int(value), dtype=tf.int64)
    return named


@pytest.fixture
def folder(tmp_path):
    write_variables(variables(7.0, body__kernel=(3, 4), body__bias=(4,), head__kernel=(4, 2), extra=(1,)), tmp_path)
    return tmp_path


def mine() -> dict[str, tf.Variable]:
    return variables(1.0, body__kernel=(3, 4), body__bias=(4,), head__kernel=(4, 5), new__kernel=(2,))


def values(named: dict[str, tf.Variable]) -> dict[str, float]:
    return {name: float(np.ravel(variable.numpy())[0]) for name, variable in named.items()}


def test_another_shape_is_refused_and_nothing_has_changed(folder):
    here = mine()
    with pytest.raises(CheckpointError, match="another shape") as caught:
        warm_start(here, folder, "there")
    assert "head/kernel is float32[4,2] there, float32[4,5] here" in str(caught.value)
    assert set(values(here).values()) == {1.0}


@pytest.mark.parametrize("how", [{"ignore_mismatch": True}, {"exclude": ["head/*"]}, {"include": ["body/*", "new/*"]}])
def test_what_fits_is_taken_and_the_rest_is_accounted_for(folder, how):
    here = mine()
    account = warm_start(here, folder, "there", **how)
    assert values(here) == {
        "model/body/kernel": 7.0,
        "model/body/bias": 7.0,
        "model/head/kernel": 1.0,
        "model/new/kernel": 1.0,
        "model/drop/seed_generator_state": 1.0,
        "optimizer/iteration": 1.0,
    }
    assert account.taken == ("body/bias", "body/kernel")
    assert account.missing == ("new/kernel",)
    assert account.unused == ("extra",)
    assert ("head/kernel" in account.reshaped) == ("ignore_mismatch" in how)
    assert account.left_out == (() if "ignore_mismatch" in how else ("head/kernel",))
    text = "\n".join(account.lines())
    assert text.startswith("warm start from there: 2 variables taken\n  1 missing in it, left as initialised: new/ker")
    assert account.to_json()["taken"] == ["body/bias", "body/kernel"]


def test_nothing_that_fits_is_an_error(folder):
    here = variables(1.0, other__kernel=(2,))
    with pytest.raises(CheckpointError, match="no variable that fits") as caught:
        warm_start(here, folder, "there")
    assert "body/kernel" in str(caught.value)


@pytest.mark.parametrize("key", ["include", "exclude"])
def test_a_pattern_of_nothing_is_named(folder, key):
    with pytest.raises(CheckpointError, match="the pattern names no variable") as caught:
        warm_start(mine(), folder, "there", **{key: ["bodi/kernel"]})
    assert caught.value.fault.where == f"train.warm_start.{key}"
    assert "did you mean 'body/kernel'?" in str(caught.value)
