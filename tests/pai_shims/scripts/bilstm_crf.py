"""A tagger: two directions of LSTM, a conditional random field, viterbi in numpy."""

import numpy as np
import tensorflow as tf
from tensorflow.contrib import rnn
from tensorflow.contrib.crf import crf_log_likelihood, viterbi_decode
from tensorflow.contrib.layers.python.layers import initializers

rng = np.random.RandomState(0)
words = rng.randint(0, 9, (32, 6))
tags = ((words + np.roll(words, 1, 1)) % 3 == 0).astype("int32")
lengths = rng.randint(3, 7, 32).astype("int32")
w, t, n = (tf.placeholder(tf.int32, shape) for shape in ([None, None], [None, None], [None]))
table = tf.get_variable("char_embedding", [9, 12], initializer=initializers.xavier_initializer(seed=1))
fw, bw = rnn.LSTMCell(16), rnn.LSTMCell(16)
outputs, _ = tf.nn.bidirectional_dynamic_rnn(
    fw, bw, tf.nn.embedding_lookup(table, w), dtype=tf.float32, sequence_length=n
)
logits = tf.layers.dense(tf.concat(outputs, 2), 2)
likelihood, trans = crf_log_likelihood(logits, t, n)
loss = tf.reduce_mean(-likelihood)
train = tf.train.AdamOptimizer(0.02).minimize(loss)
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    feed = {w: words, t: tags, n: lengths}
    losses = [sess.run([loss, train], feed)[0] for _ in range(80)]
    scores, moves = sess.run([logits, trans], feed)
right = [viterbi_decode(scores[i, :k], moves)[0] == tags[i, :k].tolist() for i, k in enumerate(lengths)]
RESULT = {"first": losses[0], "last": losses[-1], "right": float(np.mean(right))}
