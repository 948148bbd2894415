"""A small convolutional net of slim, trained by create_train_op under MonitoredTrainingSession."""

import sys

import numpy as np
import tensorflow as tf
from tensorflow.contrib import slim

images = np.random.RandomState(0).rand(64, 8, 8, 1).astype("float32")
labels = (images[:, :4].mean((1, 2, 3)) > images[:, 4:].mean((1, 2, 3))).astype("int64")


def net(x, is_training):
    with slim.arg_scope(
        [slim.conv2d, slim.fully_connected],
        weights_regularizer=slim.l2_regularizer(1e-4),
        normalizer_fn=slim.batch_norm,
        normalizer_params={"is_training": is_training, "decay": 0.9},
    ):
        x = slim.repeat(x, 2, slim.conv2d, 8, [3, 3], scope="conv1")
        x = slim.max_pool2d(x, [2, 2], scope="pool1")
        x = slim.flatten(x)
        x = slim.dropout(slim.fully_connected(x, 16, scope="fc"), 0.9, is_training=is_training)
        return slim.fully_connected(x, 2, activation_fn=None, normalizer_fn=None, scope="logits")


tf.set_random_seed(1)
logits = net(tf.constant(images), True)
slim.losses.softmax_cross_entropy(logits, slim.one_hot_encoding(labels, 2))
total = slim.losses.get_total_loss()
train_op = slim.learning.create_train_op(total, tf.train.AdamOptimizer(0.01))
hooks = [tf.train.StopAtStepHook(last_step=60)]
losses = []
with tf.train.MonitoredTrainingSession(checkpoint_dir=sys.argv[1], hooks=hooks, save_checkpoint_secs=600) as sess:
    while not sess.should_stop():
        losses.append(sess.run(train_op))
with tf.Graph().as_default(), tf.Session() as sess:
    logits = net(tf.constant(images), False)
    init = slim.assign_from_checkpoint_fn(tf.train.latest_checkpoint(sys.argv[1]), slim.get_model_variables())
    init(sess)
    right = np.mean(sess.run(tf.argmax(logits, 1)) == labels)
RESULT = {"first": losses[0], "last": losses[-1], "right": right, "steps": len(losses)}
