"""Parameters from the command line, a vocabulary file, a string column trained on ids."""

import sys

import tensorflow as tf

hparams = tf.contrib.training.HParams(rate=0.1, steps=1, units=[4], vocab="")
hparams.parse(sys.argv[1])
with tf.gfile.GFile(hparams.vocab, "w") as f:
    f.write("\n".join(["red", "green", "blue"]))
table = tf.contrib.lookup.index_table_from_file(hparams.vocab, num_oov_buckets=1)
names = tf.contrib.lookup.index_to_string_table_from_file(hparams.vocab, default_value="?")
data = tf.data.Dataset.from_tensor_slices((["red", "blue", "green", "grey"], [0.0, 1.0, 0.0, 2.0]))
data = data.repeat().apply(tf.contrib.data.batch_and_drop_remainder(4))
iterator = data.make_initializable_iterator()
color, value = iterator.get_next()
net = tf.contrib.layers.embed_sequence(table.lookup(color), 4, 8, scope="colors")
for units in hparams.units:
    net = tf.contrib.layers.fully_connected(net, units, tf.nn.tanh)
out = tf.contrib.layers.fully_connected(net, 1, None)[:, 0]
loss = tf.losses.mean_squared_error(value, out)
train = tf.train.AdamOptimizer(hparams.rate).minimize(loss)
with tf.Session() as sess:
    sess.run([tf.global_variables_initializer(), tf.tables_initializer(), iterator.initializer])
    for _ in range(hparams.steps):
        sess.run(train)
    RESULT = {
        "loss": sess.run(loss),
        "ids": sess.run(table.lookup(color)).tolist(),
        "names": [one.decode() for one in sess.run(names.lookup(table.lookup(color)))],
    }
