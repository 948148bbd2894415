"""Keras callbacks in our loop, and a model that takes its own steps."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest

from pai_train.errors import PaiTrainError, Refused
from pai_train.feed.batches import arrow_superbatches
from pai_train.feed.contracts import FeedPlan, Superbatch
from pai_train.models.contracts import ColumnSpec, LabelSpec
from pai_train.spec.config import TrainConfig
from pai_train.training.callbacks import Callbacks, load_callbacks
from pai_train.training.devices import Devices
from pai_train.training.fit import Fit
from pai_train.training.learner import Learner
from pai_train.training.step_plan import StepPlan
from tests.suites.sources import MemorySource
from tests.training.test_fit import BEGINNING, Kept, Seen

X, VALUE = (ColumnSpec("x", "float"),), LabelSpec("y", "regression")


def linear(cls=None):
    from pai_train.models.preprocess import features

    raw, flow = features(X)
    return (cls or keras.Model)(raw, keras.layers.Dense(1, dtype="float32")(flow))


def learner(build=linear, plan=StepPlan()):
    keras.utils.set_random_seed(3)
    return Learner(build, VALUE, optimizer="sgd", learning_rate=0.1, devices=Devices(("/cpu:0",), "cpu"), plan=plan)


def columns_of(ids):
    x = (ids % 7 - 3) / 3
    return {"x": x, "y": 2 * x + 1}


@contextmanager
def rows(source, plan, at):
    with arrow_superbatches(source, plan, at) as found:
        yield (Superbatch(columns_of(d.data.column("id").to_numpy()), d.rows, d.after) for d in found)


def run(one, callbacks, *, at=BEGINNING, epochs=3, steps=None):
    plan = FeedPlan(("id",), 10, {}, epochs=epochs, steps=4)
    test = partial(rows, MemorySource([7]), replace(plan, epochs=None))
    kept = Kept()
    config = TrainConfig(epochs=epochs, steps=steps)
    told = Callbacks(callbacks, one, epochs=epochs)
    feed = partial(rows, MemorySource([25] * 4), plan)
    return Fit(one, feed, test, kept, config, 2, Seen(), lambda: False, callbacks=told).run(at), kept.states


def noted(events):
    return keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: events.append("begin"),
        on_train_end=lambda logs: events.append("end"),
        on_epoch_begin=lambda epoch, logs: events.append(("epoch", epoch)),
        on_epoch_end=lambda epoch, logs: events.append(("epoch end", epoch, sorted(logs))),
        on_train_batch_begin=lambda batch, logs: events.append(("batch", batch)),
        on_train_batch_end=lambda batch, logs: events.append(("batch end", batch, sorted(logs))),
    )


def test_events_come_in_keras_order_once_per_call():
    events = []
    plain = learner()
    run(plain, [], epochs=2)
    one = learner()
    run(one, [noted(events)], epochs=2)
    logs = ["loss", "mae", "rmse"]
    calls = [("batch", 0), ("batch end", 3, logs), ("batch", 4), ("batch end", 7, logs), ("batch", 8)]
    calls.append(("batch end", 9, logs))
    ends = [*logs, *(f"val_{name}" for name in logs)]
    expected = [[("epoch", epoch), *calls, ("epoch end", epoch, ends)] for epoch in range(2)]
    assert events == ["begin", *expected[0], *expected[1], "end"]
    for name, variable in one.variables.items():
        np.testing.assert_array_equal(variable.numpy(), plain.variables[name].numpy())


def test_early_stopping_of_keras_stops_and_a_resumed_run_stays_stopped():
    stopper = keras.callbacks.EarlyStopping(monitor="val_loss", patience=1, min_delta=1e3, restore_best_weights=True)
    one = learner()
    state, saved = run(one, [stopper], epochs=9)
    assert (state.epoch, state.step, saved[-1]) == (2, 20, state)
    first = learner()
    run(first, [], epochs=1)
    weights = [variable.numpy() for variable in first.model.weights]
    for ours, best in zip(one.model.weights, weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), best)
    assert run(one, [], at=state, epochs=9) == (state, [])


def test_a_callback_sets_the_learning_rate():
    one = learner()
    run(one, [keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))], epochs=2)
    assert float(one.optimizer.learning_rate) == pytest.approx(0.05)


def test_a_callback_that_fails_is_named_with_its_line():
    def fail(epoch, logs):
        raise RuntimeError("mine")

    with pytest.raises(PaiTrainError, match="failed in on_epoch_end: RuntimeError: mine"):
        run(learner(), [keras.callbacks.LambdaCallback(on_epoch_end=fail)])
    with pytest.raises(PaiTrainError, match="not a Keras callback"):
        Callbacks([3], learner(), epochs=1)


def test_paths_of_callbacks():
    (found,) = load_callbacks(["keras.callbacks.TerminateOnNaN"])
    assert isinstance(found, keras.callbacks.TerminateOnNaN)
    with pytest.raises(Refused) as caught:
        load_callbacks(["keras.callbacks.TerminateOnNan", "keras.callbacks.LearningRateScheduler", "keras.Sequential"])
    text = "\n".join(map(str, caught.value.faults))
    assert "did you mean 'TerminateOnNaN'?" in text
    assert "cannot be called without arguments" in text
    assert "keras.Sequential is no Keras callback" in text


@keras.saving.register_keras_serializable("tests")
class Doubled(keras.Model):
    """Learns from twice the loss."""

    def train_step(self, data):
        import tensorflow as tf

        x, y = data[:2]
        with tf.GradientTape() as tape:
            loss = 2 * self.compute_loss(x, y, self(x, training=True))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


def test_a_model_keeps_its_own_train_step():
    one, plain = learner(partial(linear, Doubled)), learner()
    x = np.linspace(-1, 1, 20)
    columns = {"x": x, "y": 2 * x + 1}
    doubled, single = one.train(columns, [20]), plain.train(columns, [20])
    np.testing.assert_allclose(doubled.losses, 2 * single.losses, rtol=1e-5)
    assert one.train(columns, [8, 8, 4]).metrics().keys() == {"loss"}
    assert one.evaluate(columns, [20]).metrics().keys() == {"loss", "rmse", "mae"}
    assert one.traces["train"] == 1
    state, _ = run(learner(partial(linear, Doubled)), [], epochs=2)
    assert state.history[-1]["train/loss"] < state.history[0]["train/loss"]


@pytest.mark.parametrize("plan", [StepPlan(accumulate=2), StepPlan(clip_norm=1.0), StepPlan(precision="mixed_float16")])
def test_what_a_train_step_cannot_be_combined_with(plan):
    with pytest.raises(PaiTrainError, match="has a train_step of its own"):
        learner(partial(linear, Doubled), plan)
