"""Schedules, clipping, accumulation, weights and precision: as Keras does it, the same on replicas, exact on resume."""

import concurrent.futures
import multiprocessing

import numpy as np
import pytest

from pai_train.errors import DataError, PaiTrainError
from pai_train.models.contracts import ColumnSpec, LabelSpec
from pai_train.spec.train_config import ScheduleConfig
from pai_train.training.step_plan import StepPlan
from pai_train.training.totals import metrics
from pai_train.training.weights import class_weights
from tests.training.test_learner import assert_same_bits, epochs, values_of

X = (ColumnSpec("x", "float"), ColumnSpec("z", "float", mean=1.0, variance=4.0))
KINDS = LabelSpec("l", "classification", ("p", "q", "r"))
PLANS = {
    "accumulate": StepPlan(accumulate=3, clip_norm=0.05),
    "schedule": StepPlan(schedule=ScheduleConfig(name="warmup_cosine", decay_steps=9, warmup_steps=4), clip_value=0.01),
    "float16": StepPlan(precision="mixed_float16", accumulate=2, clip_norm=1.0),
    "bfloat16": StepPlan(precision="mixed_bfloat16", class_weights=(1.0, 2.0, 0.5), weight="w", keep_best=True),
}


def learner(plan, *, name="mlp", optimizer="adam", rate=0.01, devices=None, **params):
    import keras

    from pai_train.models.load import build
    from pai_train.training.devices import Devices
    from pai_train.training.learner import Learner

    keras.utils.set_random_seed(5)
    return Learner(
        lambda: build(name, params, X, KINDS),
        KINDS,
        optimizer=optimizer,
        learning_rate=rate,
        devices=devices or Devices(("/cpu:0",), "cpu"),
        plan=plan,
    )


def small(rows=50, seed=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    z = rng.normal(size=rows) * 2 + 1
    kinds = np.array(KINDS.classes, object)[rng.integers(0, 3, rows)]
    return {"x": x, "z": z, "l": kinds, "w": rng.uniform(0, 3, rows)}


def by_keras(columns, plan, rate, optimizer="SGD", **how):
    """Returns the weights that Keras's own fit gives for two epochs of batches of 16, and the last loss."""
    import keras

    rates = rate
    if plan.schedule is not None:
        from pai_train.training.optimizers import learning_rates

        rates = learning_rates(plan.schedule, rate)
    model = learner(plan, name="linear").model
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    clipping = {"global_clipnorm": plan.clip_norm, "clipvalue": plan.clip_value}
    model.compile(optimizer=getattr(keras.optimizers, optimizer)(rates, **clipping), loss=loss)
    index = np.searchsorted(KINDS.classes, columns["l"].astype(str))
    features = {name: columns[name] for name in "xz"}
    seen = model.fit(features, index, batch_size=16, epochs=2, shuffle=False, verbose=0, **how)
    return [value.numpy() for value in model.trainable_variables], seen.history["loss"][-1]


@pytest.mark.parametrize(
    ("plan", "how"),
    [
        (StepPlan(weight="w"), {"sample_weight": "w"}),
        (StepPlan(class_weights=(2.0, 0.5, 1.0)), {"class_weight": {0: 2.0, 1: 0.5, 2: 1.0}}),
        (StepPlan(clip_norm=0.1), {}),
        (StepPlan(clip_value=0.02, schedule=ScheduleConfig(name="cosine", decay_steps=6, end=0.01)), {}),
    ],
    ids=["sample-weight", "class-weight", "clip-norm", "clip-value-and-cosine"],
)
def test_one_replica_does_what_keras_fit_does(plan, how):
    columns = small()
    one = learner(plan, name="linear", optimizer="sgd", rate=0.3)
    epochs(one, columns, 16, 1, 4)
    running = epochs(one, columns, 16, 1, 4)
    if "sample_weight" in how:
        how = {"sample_weight": columns["w"]}
    weights, loss = by_keras(columns, plan, 0.3, **how)
    for ours, theirs in zip(one.model.trainable_variables, weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6)
    assert running["loss"] / running["rows"] == pytest.approx(loss, abs=1e-6)


def test_schedules_are_those_of_keras():
    from pai_train.training.optimizers import learning_rates

    def at(step, **keys):
        return float(learning_rates(ScheduleConfig(**keys), 0.1)(step))

    assert learning_rates(ScheduleConfig(name="constant"), 0.1) == 0.1
    assert at(5, name="cosine", decay_steps=10) == pytest.approx(0.05)
    assert at(99, name="cosine", decay_steps=10, end=0.02) == pytest.approx(0.02)
    assert at(2, name="warmup_cosine", warmup_steps=4, decay_steps=10) == pytest.approx(0.05)
    assert at(4, name="warmup_cosine", warmup_steps=4, decay_steps=10) == pytest.approx(0.1)
    assert at(10, name="exponential", decay_steps=10, decay_rate=0.5) == pytest.approx(0.05)
    assert at(9, name="exponential", decay_steps=10, decay_rate=0.5, staircase=True) == pytest.approx(0.1)
    assert at(10, name="inverse_time", decay_steps=10, decay_rate=1.0) == pytest.approx(0.05)
    assert at(5, name="polynomial", decay_steps=10, end=0.02) == pytest.approx(0.06)
    assert at(5, name="polynomial", decay_steps=10, power=2.0) == pytest.approx(0.025)
    assert at(3, name="piecewise", boundaries=[2, 5], values=[0.5, 0.1, 0.02]) == pytest.approx(0.1)


def test_accumulated_batches_are_one_batch_of_all_their_rows():
    columns = small(45)
    rows = [16, 3, 11, 10, 1, 4]
    parts = learner(StepPlan(accumulate=3), optimizer="sgd", rate=0.2)
    before = values_of(parts)
    parts.train({name: values[:19] for name, values in columns.items()}, rows[:2])
    # The weights change behind the third batch, wherever the calls end.
    for name, value in before.items():
        if name.startswith(("model/", "optimizer/")):
            np.testing.assert_array_equal(parts.variables[name].numpy(), value)
    parts.train({name: values[19:] for name, values in columns.items()}, rows[2:])
    whole = learner(StepPlan(), optimizer="sgd", rate=0.2)
    whole.train(columns, [30, 15])
    for name, value in values_of(whole).items():
        if name.startswith("model/"):
            np.testing.assert_allclose(parts.variables[name].numpy(), value, atol=1e-6)
    assert int(parts.variables["optimizer/iteration"]) == 2


@pytest.mark.parametrize("name", PLANS)
def test_a_restored_training_goes_on_with_the_same_bits(name):
    columns = small(64)
    straight = learner(PLANS[name], dropout=0.3, batch_norm=True)
    straight.train(columns, [16] * 4)
    straight.keep_best()
    saved = values_of(straight)
    expected = straight.train(columns, [16] * 4)
    resumed = learner(PLANS[name], dropout=0.3, batch_norm=True)
    assert resumed.variables.keys() == saved.keys()
    for key, variable in resumed.variables.items():
        variable.assign(saved[key])
    np.testing.assert_array_equal(resumed.train(columns, [32, 32]).rows, [32, 32])
    for key, variable in resumed.variables.items():
        variable.assign(saved[key])
    np.testing.assert_array_equal(resumed.train(columns, [16] * 4).losses, expected.losses)
    assert_same_bits(values_of(resumed), values_of(straight))
    if PLANS[name].keep_best:
        resumed.restore_best()
        for key, value in saved.items():
            if key.startswith("model/"):
                np.testing.assert_array_equal(resumed.variables[key].numpy(), value)
    if PLANS[name].precision != "float32":
        assert straight.model.get_layer("mlp.hidden.0").compute_dtype == PLANS[name].precision.removeprefix("mixed_")
        assert straight.model.outputs[0].dtype == "float32"
        assert {variable.dtype for variable in straight.model.trainable_variables} == {"float32"}


def test_an_overflow_of_float16_changes_no_weight_and_lowers_the_scale():
    one = learner(PLANS["float16"])
    one.variables["optimizer/dynamic_scale"].assign(np.float32(3e38))
    before = values_of(one)
    totals = one.train(small(32), [16, 16])
    assert np.isfinite(totals.losses).all()
    after = values_of(one)
    assert after["optimizer/dynamic_scale"] == np.float32(1.5e38)
    for name, value in before.items():
        if name.startswith(("model/", "accumulated")):
            np.testing.assert_array_equal(after[name], value)


def test_layers_built_afterwards_are_as_before():
    import keras

    learner(PLANS["bfloat16"])
    assert keras.config.dtype_policy().name == "float32"

    def build():
        from pai_train.models.preprocess import features

        raw, flow = features(X)
        return keras.Model(raw, keras.layers.Dense(3)(flow))

    from pai_train.training.precision import build_as

    with pytest.raises(PaiTrainError, match="last layer of the model gives bfloat16"):
        build_as(build, "mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"


def test_a_weight_that_is_none_changes_nothing_and_is_named():
    one = learner(StepPlan(weight="w"))
    columns = small(10)
    before = values_of(one)
    columns["w"][3] = -1
    with pytest.raises(DataError, match="below 0") as caught:
        one.train(columns, [5, 5])
    assert "1 of 10 rows" in str(caught.value)
    columns["w"][3] = np.nan
    with pytest.raises(DataError, match="1 in 'w'"):
        one.train(columns, [5, 5])
    assert_same_bits(values_of(one), before)
    del columns["w"]
    one.evaluate(columns, [5, 5])
    with pytest.raises(DataError, match="no column 'w'"):
        one.train(columns, [5, 5])


def test_metrics_and_evaluation_are_not_weighted():
    columns = small(20)
    one, plain = (learner(plan) for plan in (StepPlan(weight="w"), StepPlan()))
    assert one.evaluate(columns, [20]).metrics() == plain.evaluate(columns, [20]).metrics()
    weighed, counted = one.train(columns, [20]).metrics(), plain.train(columns, [20]).metrics()
    assert weighed["accuracy"] == counted["accuracy"]
    assert weighed["loss"] != counted["loss"]


def test_weights_of_classes():
    def none():
        raise AssertionError("rows are counted for balanced alone")

    assert class_weights(None, ("a", "b"), none) is None
    assert class_weights({"a": 3}, ("a", "b"), none) == (3.0, 1.0)
    assert class_weights({"1": 0.5}, (0, 1), none) == (1.0, 0.5)
    assert class_weights({"True": 2}, (False, True), none) == (1.0, 2.0)
    assert class_weights("balanced", ("a", "b"), lambda: [30, 10]) == pytest.approx((40 / 60, 2.0))
    with pytest.raises(DataError, match="did you mean 'setosa'"):
        class_weights({"setoza": 1}, ("setosa", "other"), none)
    with pytest.raises(DataError, match="without rows"):
        class_weights("balanced", ("a", "b"), lambda: [3, 0])


def test_replicas_agree():
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(_replicas_of_one_process).result(timeout=200)


def _replicas_of_one_process():
    from pai_train.training.devices import Devices, prepare

    two = prepare(2, "logical_cpu", deterministic=True, seed=5)
    groups = [Devices(two.names[:count], "logical_cpu") for count in (1, 2)]
    columns = small(83)
    for name in ("accumulate", "float16"):
        plan = PLANS[name]
        # What is rounded to few bits is rounded in other sums of other replicas.
        close = 1e-6 if plan.precision == "float32" else 2e-3
        losses = [metrics(epochs(learner(plan, devices=devices), columns, 16, 2, 4)) for devices in groups]
        assert losses[1] == pytest.approx(losses[0], abs=close), name
    # A training that two replicas left inside an accumulation goes on with one, and with two to the same bits.
    plan = PLANS["accumulate"]
    straight = learner(plan, devices=groups[1])
    straight.train(columns, [10] * 8 + [3])
    straight.train({name: values[:10] for name, values in columns.items()}, [10])
    saved = values_of(straight)
    assert int(saved["accumulated_batches"]) == 1
    straight.train(columns, [40, 40, 3])
    for devices in groups:
        resumed = learner(plan, devices=devices)
        for key, variable in resumed.variables.items():
            variable.assign(saved[key])
        resumed.train(columns, [40, 40, 3])
        if devices is groups[1]:
            assert_same_bits(values_of(resumed), values_of(straight))
        for key, value in values_of(straight).items():
            np.testing.assert_allclose(resumed.variables[key].numpy(), value, atol=1e-5, err_msg=key)
