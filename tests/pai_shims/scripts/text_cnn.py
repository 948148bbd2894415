"""A sentence classifier in the manner of 2016: placeholders, xavier_initializer, feed_dict, a Saver."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(0)
x = rng.randint(1, 50, (128, 10))
y = np.eye(2)[(x == 7).any(1).astype(int)]
input_x = tf.placeholder(tf.int32, [None, 10])
input_y = tf.placeholder(tf.float32, [None, 2])
keep = tf.placeholder(tf.float32)
with tf.device("/cpu:0"), tf.name_scope("embedding"):
    W = tf.Variable(tf.random_uniform([50, 16], -1.0, 1.0, seed=1))
    chars = tf.expand_dims(tf.nn.embedding_lookup(W, input_x), -1)
pooled = []
for size in (1, 2):
    with tf.name_scope("conv-%s" % size):
        f = tf.Variable(tf.truncated_normal([size, 16, 1, 8], stddev=0.1, seed=2))
        h = tf.nn.relu(tf.nn.conv2d(chars, f, [1, 1, 1, 1], "VALID"))
        pooled.append(tf.nn.max_pool(h, [1, 10 - size + 1, 1, 1], [1, 1, 1, 1], "VALID"))
h = tf.nn.dropout(tf.reshape(tf.concat(pooled, 3), [-1, 16]), keep)
W = tf.get_variable("W", shape=[16, 2], initializer=tf.contrib.layers.xavier_initializer(seed=3))
scores = tf.nn.xw_plus_b(h, W, tf.Variable(tf.constant(0.1, shape=[2])))
l2 = tf.contrib.layers.apply_regularization(tf.contrib.layers.l2_regularizer(0.001), [W])
loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(logits=scores, labels=input_y)) + l2
step = tf.contrib.framework.get_or_create_global_step()
train = tf.contrib.layers.optimize_loss(loss, step, 0.01, "Adam", clip_gradients=5.0)
accuracy = tf.contrib.metrics.accuracy(tf.argmax(scores, 1), tf.argmax(input_y, 1))
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    losses = [sess.run(train, {input_x: x, input_y: y, keep: 1.0}) for _ in range(150)]
    RESULT = {
        "first": losses[0],
        "last": losses[-1],
        "step": sess.run(step),
        "accuracy": sess.run(accuracy, {input_x: x, input_y: y, keep: 1.0}),
    }
