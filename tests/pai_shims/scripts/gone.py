"""Uses a name that nobody gives, at line 6."""

import tensorflow as tf

x = tf.constant(1.0)
y = tf.contrib.tensor_forest.build(x)
