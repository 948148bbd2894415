"""Steps that XLA compiles: as those it does not, bit for bit the same however calls are cut, and refused aloud."""

import logging

import numpy as np
import pytest

from pai_train.errors import DataError
from pai_train.models.contracts import ColumnSpec, LabelSpec
from pai_train.training.step_plan import StepPlan
from tests.training.test_learner import CLASSES, COLUMNS, LABEL, assert_same_bits, data, epochs, values_of

ROOM = 4


def learner(jit_compile, *, build=None, label=LABEL, devices=None, expect=(16, ROOM), plan=StepPlan(), **params):
    from dataclasses import replace

    import keras

    from pai_train.models.load import build as build_named
    from pai_train.training.devices import Devices
    from pai_train.training.learner import Learner

    keras.utils.set_random_seed(5)
    one = Learner(
        build or (lambda: build_named("mlp", params, COLUMNS, label)),
        label,
        optimizer="sgd",
        learning_rate=0.05,
        devices=devices or Devices(("/cpu:0",), "cpu"),
        plan=replace(plan, jit_compile=jit_compile),
    )
    one.expect(*expect)
    return one


def test_they_learn_the_same_and_wrong_rows_change_nothing():
    rows = [16] * 6 + [9]
    columns = {**data(sum(rows)), "w": np.random.default_rng(1).uniform(0, 2, sum(rows))}
    plan = StepPlan(weight="w", class_weights=(1.0, 2.0, 0.5), clip_norm=0.5)
    plain, compiled = learner(False, plan=plan, batch_norm=True), learner(True, plan=plan, batch_norm=True)
    for _ in range(2):
        wanted, found = plain.train(columns, rows), compiled.train(columns, rows)
        np.testing.assert_allclose(found.losses, wanted.losses, rtol=1e-6)
        np.testing.assert_array_equal(found.sums["correct"], wanted.sums["correct"])
    for name, value in values_of(plain).items():
        np.testing.assert_allclose(compiled.variables[name].numpy(), value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert compiled.traces == {"train": 0, "evaluate": 0, "predict": 0, "compiled": 1, "mixed": 1}
    assert "compiled" not in plain.traces

    before = values_of(compiled)
    for column, value, message in (("a", np.nan, "1 in 'a'"), ("l", "zz", "'zz'"), ("w", -1.0, "below 0")):
        wrong = {**columns, column: columns[column].copy()}
        # In the short batch, which is not compiled: those before it must not have been learned from.
        wrong[column][-1] = value
        with pytest.raises(DataError, match=message):
            compiled.train(wrong, rows)
    assert_same_bits(values_of(compiled), before)


def test_calls_cut_anywhere_and_a_restored_state_give_the_same_bits(monkeypatch):
    from pai_train.training import compiled

    # `auto` compiles from the third step on, amid a call.
    monkeypatch.setattr(compiled, "COMPILED_AFTER", 2)
    columns = data(83)
    params = {"dropout": 0.3, "batch_norm": True}
    straight = learner("auto", **params)
    running = epochs(straight, columns, 16, 2, 6)
    assert straight.traces["compiled"] == 1
    resumed = learner("auto", expect=(16, 3), **params)
    cut = epochs(resumed, columns, 16, 1, 2)
    saved = values_of(resumed)
    epochs(resumed, columns, 16, 1, 6)
    for name, variable in resumed.variables.items():
        variable.assign(saved[name])
    from pai_train.training.totals import add_totals

    for begin, rows in ((0, [16]), (16, [16, 16, 16]), (64, [16, 3])):
        part = {name: values[begin : begin + sum(rows)] for name, values in columns.items()}
        cut = add_totals(cut, resumed.train(part, rows))
    assert cut == running
    assert_same_bits(values_of(resumed), values_of(straight))


def failing(kind):
    """Builds a model that XLA cannot run as TensorFlow does."""
    import keras
    import tensorflow as tf

    from pai_train.models.preprocess import features

    @keras.saving.register_keras_serializable("test")
    class Odd(keras.layers.Layer):
        def call(self, values):
            if kind == "assert":
                tf.debugging.Assert(tf.reduce_all(values < 1e9), [values])
                return values
            if kind == "random":
                return values + tf.random.normal(tf.shape(values))
            return values * tf.cast(tf.strings.length(tf.strings.as_string(values)) > 0, tf.float32)

    raw, flow = features([ColumnSpec("a", "float", mean=100.0, variance=25.0)])
    return keras.Model(raw, keras.layers.Dense(len(CLASSES))(Odd()(flow)))


@pytest.mark.parametrize("kind", ["strings", "assert", "random"])
def test_what_xla_cannot_do_runs_without_it_and_is_said_once(kind, caplog):
    columns = data(64)
    one = learner(True, build=lambda: failing(kind))
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            totals = one.train(columns, [16] * 4)
    assert np.isfinite(totals.losses).all()
    assert int(one.optimizer.iterations.numpy()) == 8
    (said,) = [record for record in caplog.records if "train.jit_compile" in record.message]
    assert said.levelname == "WARNING"
    if kind != "strings":
        assert {"assert": "Assert", "random": "RandomStandardNormal"}[kind] in said.message


def test_auto_keeps_what_notices_an_index_out_of_range(caplog, monkeypatch):
    import keras
    import tensorflow as tf

    from pai_train.training import compiled

    monkeypatch.setattr(compiled, "COMPILED_AFTER", 0)

    def build():
        number = keras.Input((), name="i", dtype="int64")
        return keras.Model(number, keras.layers.Dense(len(CLASSES))(keras.layers.Embedding(4, 2)(number)))

    one = learner("auto", build=build)
    columns = data(64)
    assert columns["i"].max() == 4
    with caplog.at_level(logging.INFO), pytest.raises(tf.errors.InvalidArgumentError, match="not in"):
        one.train(columns, [16] * 4)
    assert "would not notice an index" in caplog.text


def test_auto_compiles_where_it_pays(caplog):
    import keras

    from pai_train.models.preprocess import features
    from pai_train.training.compiled import COMPILED_WORK, compiled_steps
    from pai_train.training.devices import Devices

    one, cpu, auto = learner(False), Devices(("/cpu:0",), "cpu"), StepPlan()
    assert compiled_steps(one, auto, cpu, 16, 4)
    assert not compiled_steps(one, StepPlan(jit_compile=False), cpu, 16, 4)
    large = COMPILED_WORK // one.parameters + 1
    assert not compiled_steps(one, auto, cpu, large, 4)
    assert compiled_steps(one, StepPlan(jit_compile=True), cpu, large, 4)
    assert not compiled_steps(one, StepPlan(precision="mixed_bfloat16"), cpu, 16, 4)
    assert not compiled_steps(one, auto, Devices(("/gpu:0",), "gpu"), 16, 4)
    assert not compiled_steps(one, StepPlan(jit_compile=True), Devices(("/cpu:0", "/cpu:1"), "logical_cpu"), 16, 4)
    assert "several replicas are not compiled" in caplog.text

    def with_memory():
        raw, flow = features([ColumnSpec("a", "float")])
        memory = keras.layers.LSTM(2)(keras.layers.Reshape((1, 1))(flow))
        return keras.Model(raw, keras.layers.Dense(1)(memory))

    rolled = learner(False, build=with_memory, label=LabelSpec("i", "regression"))
    assert not compiled_steps(rolled, auto, cpu, 16, 4)
