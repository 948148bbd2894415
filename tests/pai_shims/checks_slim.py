"""Slim's loops: what they train, save, go on from and evaluate, against steps made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.contrib.slim.python.slim import learning as imported
from tensorflow.contrib.training.python.training import hparam

slim = tf.contrib.slim


def _model():
    """Returns a training operation that moves w from 8 towards 0: each step takes a quarter of it away."""
    w = slim.model_variable("w", shape=[], initializer=tf.constant_initializer(8.0))
    # Whoever reads a variable of old itself may see it before the step or after it.
    tf.losses.mean_squared_error(0.0, w)
    return w, slim.learning.create_train_op(tf.losses.get_total_loss(), tf.train.GradientDescentOptimizer(0.125))


def check_trains_saves_and_goes_on(folder):
    logged = []
    for steps, first in ((4, 8.0), (6, 8 * 0.75**4)):
        with tf.Graph().as_default():
            w, train_op = _model()
            tf.summary.scalar("w", w)
            seen = []

            def step(sess, op, global_step, kwargs, seen=seen, w=w):
                seen.append(sess.run(w))
                return slim.learning.train_step(sess, op, global_step, kwargs)

            loss = slim.learning.train(train_op, f"{folder}/logs", step, number_of_steps=steps, save_interval_secs=600)
            assert seen[0] == pytest.approx(first)
            assert loss == pytest.approx((8 * 0.75 ** (steps - 1)) ** 2)
            logged.append(len(seen))
    assert logged == [4, 2]
    assert tf.train.latest_checkpoint(f"{folder}/logs").endswith("model.ckpt-6")
    assert imported is slim.learning


def check_init_fn_and_the_end_of_the_input(folder):
    rows = tf.train.limit_epochs(tf.constant(1.0), num_epochs=3)
    w = slim.model_variable("w", shape=[], initializer=tf.zeros_initializer())
    loss = tf.square(w + 0.0 * rows)
    train_op = slim.learning.create_train_op(loss, tf.train.GradientDescentOptimizer(0.25))
    nothing = tf.constant("")
    init = slim.assign_from_values_fn({"w": np.float32(10)})
    loss = slim.learning.train(train_op, None, init_fn=init, summary_op=None)
    assert loss == pytest.approx((10 / 2**2) ** 2)
    with pytest.raises(ValueError, match="logdir"):
        slim.learning.train(train_op, None, summary_op=nothing)
    with pytest.raises(ValueError, match="positive"):
        slim.learning.train(train_op, None, number_of_steps=0)


def check_evaluates_a_checkpoint_and_all_that_come(folder):
    with tf.Graph().as_default():
        _, train_op = _model()
        slim.learning.train(train_op, f"{folder}/logs", number_of_steps=2)
    w = slim.model_variable("w", shape=[], initializer=tf.zeros_initializer())
    mean, update = tf.metrics.mean(w + tf.random_uniform([], 0, 1e-6))
    count = slim.local_variable(0, name="count")
    tf.summary.scalar("so_far", mean)
    given = {
        "num_evals": 3,
        "initial_op": tf.group(tf.local_variables_initializer()),
        "eval_op": [update, count.assign_add(1)],
        "final_op": [mean, count],
    }
    found, times = slim.evaluation.evaluate_once(
        "", tf.train.latest_checkpoint(f"{folder}/logs"), f"{folder}/eval", **given
    )
    assert found == pytest.approx(8 * 0.75**2, abs=1e-4)
    assert times == 3
    (events,) = tf.gfile.Glob(f"{folder}/eval/events*")
    written = {v.tag: (e.step, v.simple_value) for e in tf.train.summary_iterator(events) for v in e.summary.value}
    assert written == {"so_far": (2, pytest.approx(found))}
    again, _ = slim.evaluation.evaluation_loop(
        "", f"{folder}/logs", None, eval_interval_secs=0, timeout=0.1, max_number_of_evaluations=3, **given
    )
    assert again == pytest.approx(found, abs=1e-4)


def check_sizes(capsys):
    slim.fully_connected(tf.zeros([2, 3]), 4, weights_initializer=slim.initializers.xavier_initializer())
    assert slim.model_analyzer.analyze_vars(tf.trainable_variables(), print_info=True) == (16, 64)
    assert slim.model_analyzer.analyze_ops(tf.get_default_graph()) > 16
    assert slim.model_analyzer.tensor_description(tf.trainable_variables()[0]) == "(float32_ref 3x4)"
    assert hparam.HParams(a=1).parse("a=2").a == 2


def check_keras_of_contrib(_):
    from tensorflow.contrib.keras import preprocessing

    assert tf.contrib.keras.layers.Dense is tf.keras.layers.Dense
    assert preprocessing.sequence.pad_sequences([[1], [2, 3]]).tolist() == [[0, 1], [2, 3]]
