"""Scripts that import Keras from inside TensorFlow, as many did, get the Keras that `tf.keras` is."""

from __future__ import annotations

SCRIPT = """
import numpy as np
import tensorflow as tf
import tensorflow.python.keras.layers as L
from tensorflow.python import keras
from tensorflow.python.keras import backend as K
from tensorflow.python.keras.engine.base_layer import Layer
from tensorflow.python.keras.layers import Dense, Input
from tensorflow.python.keras.layers.core import Lambda
from tensorflow.python.keras.layers.normalization import BatchNormalization
from tensorflow.python.keras.layers.recurrent import GRU
from tensorflow.python.keras.models import Model
from tensorflow.python.keras.preprocessing.sequence import pad_sequences
from tensorflow.python.keras.regularizers import l2
from tensorflow.python.keras.utils import tf_utils
from tensorflow.keras.utils.generic_utils import CustomObjectScope

mine = [L.Dense, keras.layers.Dense, Dense, Lambda, BatchNormalization, GRU, Model, Layer]
ours = tf.keras.layers
assert mine == [*[ours.Dense] * 3, ours.Lambda, ours.BatchNormalization, ours.GRU, tf.keras.Model, ours.Layer]

class Scaled(Layer):
    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(int(shape[-1]),), initializer="ones", regularizer=l2(0.1))
        super().build(shape)

    def call(self, x):
        return K.sum(x * self.scale, axis=1, keepdims=True)

rows = Input((3,))
model = Model(rows, Scaled()(BatchNormalization()(Dense(3)(rows))))
assert isinstance(model, tf.keras.Model)
model.compile("adam", "mse")
losses = model.fit(np.ones((8, 3)), np.ones((8, 1)), epochs=3, verbose=0).history["loss"]
print(losses[-1] < losses[0], pad_sequences([[1], [2, 3]]).tolist())

# TensorFlow's own pieces still are those it is made with.
cell, x = tf.nn.rnn_cell.GRUCell(4), tf.layers.dense(tf.ones([2, 5, 3]), 3)
outputs, _ = tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)
rate = tf.train.exponential_decay(0.5, tf.train.get_or_create_global_step(), 10, 0.9)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    print(session.run(outputs).shape, session.run(rate))
try:
    from tensorflow.python.keras.layers import Nothing
except ImportError as error:
    print("Nothing" in str(error))
import tensorflow.python.keras.nothing
"""


def test_keras_inside_tensorflow(desk):
    ended = desk.run(SCRIPT)
    assert ended.code == 1
    assert [line for line in ended.out.splitlines() if line in WANTED] == WANTED, ended.out
    assert "TensorFlow has no tf.python.keras.nothing" in ended.out


WANTED = ["True [[0, 1], [2, 3]]", "(2, 5, 4) 0.5", "True"]
