"""A character model: GRU cells of contrib, static unrolling, sequence_loss, the state fed back."""

import numpy as np
import tensorflow as tf

text = "hello world " * 8
chars = sorted(set(text))
codes = np.array([chars.index(c) for c in text])
steps, batch = 12, 4
x = codes[:-1][: batch * 23].reshape(batch, 23)[:, :steps]
y = codes[1:][: batch * 23].reshape(batch, 23)[:, :steps]
X, Y = tf.placeholder(tf.int32, [batch, steps]), tf.placeholder(tf.int32, [batch, steps])
cell = tf.contrib.rnn.MultiRNNCell(
    [tf.contrib.rnn.DropoutWrapper(tf.contrib.rnn.BasicLSTMCell(24), output_keep_prob=0.99) for _ in range(2)]
)
state = cell.zero_state(batch, tf.float32)
inputs = tf.unstack(tf.one_hot(X, len(chars)), axis=1)
outputs, last = tf.contrib.rnn.static_rnn(cell, inputs, initial_state=state)
logits = tf.layers.dense(tf.stack(outputs, 1), len(chars))
loss = tf.contrib.seq2seq.sequence_loss(logits, Y, tf.ones([batch, steps]))
grads, _ = tf.clip_by_global_norm(tf.gradients(loss, tf.trainable_variables()), 5)
train = tf.train.AdamOptimizer(0.02).apply_gradients(zip(grads, tf.trainable_variables()))
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    losses = [sess.run([loss, train], {X: x, Y: y})[0] for _ in range(100)]
RESULT = {"first": losses[0], "last": losses[-1], "uniform": float(np.log(len(chars)))}
