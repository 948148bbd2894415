"""train_and_evaluate as a part of a cluster that TF_CONFIG describes; argv: model_dir."""

import sys

import numpy as np
import tensorflow as tf

x = np.random.RandomState(0).rand(256, 2).astype("float32")
y = x.dot([1.0, -1.0]).astype("float32")


def model_fn(features, labels, mode, config):
    out = tf.contrib.layers.fully_connected(features["x"], 1, None)[:, 0]
    loss = tf.losses.mean_squared_error(labels, out)
    train_op = tf.train.GradientDescentOptimizer(0.1).minimize(loss, tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)


def feed(epochs):
    return tf.estimator.inputs.numpy_input_fn({"x": x}, y, 32, epochs, shuffle=epochs is None)


model = tf.estimator.Estimator(model_fn, sys.argv[1], tf.estimator.RunConfig(save_checkpoints_steps=100))
tf.estimator.train_and_evaluate(
    model,
    tf.estimator.TrainSpec(feed(None), max_steps=400),
    tf.estimator.EvalSpec(feed(1), steps=None, start_delay_secs=0, throttle_secs=0),
)
if model.config.task_type == "evaluator":
    RESULT = {key: float(value) for key, value in model.evaluate(feed(1)).items()}
