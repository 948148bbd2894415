"""What Python and NumPy of TensorFlow 1's days had is there for scripts, and for nobody else."""

from __future__ import annotations

SCRIPT = """
import collections
import inspect
import time
import numpy as np
import tensorflow as tf

assert np.zeros(2, np.int).dtype == np.int64 and np.float is float and np.object is object
assert np.alltrue([True]) and np.asscalar(np.array([3])) == 3 and np.isnan(np.NaN)
assert np.in1d([1, 5], [5, 6]).tolist() == [False, True]
assert isinstance({}, collections.Mapping) and isinstance([], collections.Iterable)
assert inspect.getargspec(lambda a, b=2, *c: a)[0] == ["a", "b"]
assert time.clock() >= 0
assert str([np.float32(0.5), np.int64(3)]) == "[0.5, 3]"
rows = np.array(list(zip([[1, 2], [3]], [4, 5])))
print(rows.shape, rows.dtype, np.array([[1], [2, 3]])[1], np.array([[1, 2], [3, 4]]).shape)
wrong = lambda: np.array([[1], [2, 3]], np.int32)
for ask in (wrong, lambda: tf.constant([[1], [2, 3]]), lambda: np.array([[1]], "q9")):
    try:
        ask()
    except (ValueError, TypeError) as error:
        print(type(error).__name__)
"""

LOGS = """
import numpy as np
import tensorflow as tf

def input_fn():
    return tf.data.Dataset.from_tensor_slices(([[1.0], [2.0]], [2.0, 4.0])).repeat(5).batch(2)

def model_fn(features, labels, mode):
    said = tf.layers.dense(features, 1, kernel_initializer=tf.zeros_initializer())[:, 0]
    loss = tf.losses.mean_squared_error(labels, said)
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss, tf.train.get_global_step())
    off = tf.metrics.mean_absolute_error(labels, said)
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train, eval_metric_ops={"off": off})

def main(_):
    estimator = tf.estimator.Estimator(model_fn, config=tf.estimator.RunConfig(log_step_count_steps=1))
    estimator.train(input_fn)
    estimator.evaluate(input_fn)

if __name__ == "__main__":
    tf.logging.set_verbosity(tf.logging.INFO)
    tf.app.run()
"""


def test_names_that_are_gone(desk):
    assert desk.done(SCRIPT) == ["(2, 2) object [2, 3] (2, 2)", "ValueError", "ValueError", "TypeError"]


def test_logs_say_results_once(desk):
    ended = desk.run(LOGS)
    assert ended.code == 0, ended.out
    logged = [line for line in ended.out.splitlines() if "loss = 10, step = 0" in line or "loss = 10.0" in line]
    assert len(logged) == 1
    assert logged[0].startswith("INFO:tensorflow:")
    [results] = [line for line in ended.out.splitlines() if "Saving dict" in line]
    assert results.startswith("INFO:tensorflow:Saving dict for global step 5: global_step = 5, loss = ")
    assert ", off = " in results
    assert "INFO:tensorflow:Loss for final step: " in ended.out
