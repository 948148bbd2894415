"""Layers of contrib against the same thing written by hand in numpy or in tf."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

L = tf.contrib.layers


def run(*fetches, feed=None):
    with tf.Session() as session:
        session.run([tf.global_variables_initializer(), tf.local_variables_initializer(), tf.tables_initializer()])
        got = session.run(fetches, feed)
    return got[0] if len(fetches) == 1 else got


def names():
    return [one.op.name for one in tf.global_variables()]


X = np.random.RandomState(0).randn(6, 4).astype("float32")


def check_fully_connected(_):
    y = L.fully_connected(X, 3, weights_regularizer=L.l2_regularizer(0.1), scope="fc")
    again = L.fully_connected(X, 3, scope="fc", reuse=True)
    assert names() == ["fc/weights", "fc/biases"]
    assert len(tf.losses.get_regularization_losses()) == 1
    w, b = tf.trainable_variables()
    got, same, w, b, penalty = run(y, again, w, b, tf.losses.get_regularization_loss())
    np.testing.assert_allclose(got, np.maximum(X @ w + b, 0), atol=1e-6)
    np.testing.assert_array_equal(got, same)
    np.testing.assert_allclose(penalty, 0.1 * (w**2).sum() / 2, rtol=1e-5)
    assert np.abs(w).max() <= np.sqrt(6 / (4 + 3))


def check_fully_connected_of_a_sequence(_):
    x = np.random.rand(2, 5, 4).astype("float32")
    y = L.linear(x, 3)
    w, _b = tf.trainable_variables()
    got, w = run(y, w)
    assert y.shape.as_list() == [2, 5, 3]
    np.testing.assert_allclose(got, x @ w, atol=1e-6)
    assert names()[0] == "fully_connected/weights"
    L.linear(x, 3)
    assert names()[-1] == "fully_connected_1/biases"


def check_initializers(_):
    he = L.variance_scaling_initializer()([400, 300])
    xavier = L.xavier_initializer(seed=1)([400, 300])
    got_he, got_xavier = run(he, xavier)
    np.testing.assert_allclose(got_he.std(), np.sqrt(2 / 400), rtol=0.02)
    np.testing.assert_allclose(got_xavier.std(), np.sqrt(2 / 700), rtol=0.02)
    assert np.abs(got_xavier).max() <= np.sqrt(6 / 700)
    conv = run(L.variance_scaling_initializer(1.0, "FAN_AVG", True)([3, 3, 8, 16]))
    np.testing.assert_allclose(conv.std(), np.sqrt(2 / (9 * 24)), rtol=0.05)
    with pytest.raises(ValueError, match="FAN_IN"):
        L.variance_scaling_initializer(mode="FAN")


def check_regularizers(_):
    w = tf.constant([[1.0, -2.0], [3.0, 0.5]])
    both = L.sum_regularizer([L.l1_regularizer(0.5), L.l2_regularizer(0.1), None])
    total = L.apply_regularization(both, [w, w])
    assert run(total) == pytest.approx(2 * (0.5 * 6.5 + 0.05 * 14.25))
    assert len(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)) == 2
    assert L.l1_regularizer(0.0)(w) is None
    assert run(L.l1_l2_regularizer(1.0, 1.0)(w)) == pytest.approx(6.5 + 7.125)
    with pytest.raises(ValueError, match=r"0\.0 or more"):
        L.l2_regularizer(1)


def check_convolutions_are_those_of_tf_layers(_):
    x = np.random.rand(2, 8, 8, 3).astype("float32")
    ones = tf.constant_initializer(0.1)
    ours = [
        L.conv2d(x, 4, [3, 3], stride=2, weights_initializer=ones),
        L.conv2d_transpose(x, 4, 3, stride=2, weights_initializer=ones),
        L.conv2d(x, 4, 3, padding="VALID", rate=2, activation_fn=None, weights_initializer=ones),
        L.separable_conv2d(x, 4, 3, weights_initializer=ones),
    ]
    relu = tf.nn.relu
    theirs = [
        tf.layers.conv2d(x, 4, 3, 2, "same", activation=relu, kernel_initializer=ones),
        tf.layers.conv2d_transpose(x, 4, 3, 2, "same", activation=relu, kernel_initializer=ones),
        tf.layers.conv2d(x, 4, 3, padding="valid", dilation_rate=2, kernel_initializer=ones),
        tf.layers.separable_conv2d(
            x, 4, 3, padding="same", activation=relu, depthwise_initializer=ones, pointwise_initializer=ones
        ),
    ]
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape.as_list() == b.shape.as_list()
    got = run(*ours, *theirs)
    for a, b in zip(got[:4], got[4:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert "Conv/weights" in names()


def check_pools_flatten_one_hot_and_norms(_):
    x = np.random.rand(2, 4, 4, 3).astype("float32")
    flat = L.flatten(tf.placeholder_with_default(x, [None, 4, 4, 3]))
    assert flat.shape.as_list() == [None, 48]
    pooled, mean, flat, hot, unit = run(
        L.max_pool2d(x, 2), L.avg_pool2d(x, [2, 2]), flat, L.one_hot_encoding([1, 0], 3), L.unit_norm(X, 1)
    )
    blocks = x.reshape(2, 2, 2, 2, 2, 3)
    np.testing.assert_array_equal(pooled, blocks.max((2, 4)))
    np.testing.assert_allclose(mean, blocks.mean((2, 4)), rtol=1e-6)
    np.testing.assert_array_equal(flat, x.reshape(2, 48))
    np.testing.assert_array_equal(hot, [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose((unit**2).sum(1), 1, rtol=1e-4)


def check_batch_norm_trains_and_serves(_):
    training = tf.placeholder(tf.bool)
    y = L.batch_norm(X, decay=0.9, is_training=training, scale=True, scope="bn")
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert names() == ["bn/beta", "bn/gamma", "bn/moving_mean", "bn/moving_variance"]
    assert [one.op.name for one in tf.trainable_variables()] == ["bn/beta", "bn/gamma"]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        trained, _ = session.run([y, updates], {training: True})
        served = session.run(y, {training: False})
        session.run(updates, {training: False})
        mean, variance = session.run(tf.global_variables()[2:])
    np.testing.assert_allclose(trained, (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-3), atol=1e-5)
    np.testing.assert_allclose(mean, 0.1 * X.mean(0), atol=1e-6)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * X.var(0), rtol=1e-5)
    np.testing.assert_allclose(served, (X - mean) / np.sqrt(variance + 1e-3), atol=1e-5)
    from pai_train.pai.gone import ArgumentGone

    with pytest.raises(ArgumentGone, match="renorm"):
        L.batch_norm(X, renorm=True)


def check_batch_norm_in_place_is_fused_batch_norm(_):
    x = np.random.rand(2, 3, 3, 4).astype("float32")
    y = L.batch_norm(x, updates_collections=None, decay=0.5, scale=True)
    theirs, mean, variance = tf.nn.fused_batch_norm(x, np.ones(4, "f"), np.zeros(4, "f"), epsilon=0.001)
    assert not tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        got, want, mean, variance = session.run([y, theirs, mean, variance])
        kept = session.run(tf.global_variables()[2:])
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(kept, [mean / 2, 0.5 + variance / 2], rtol=1e-5)


def check_layer_norm(_):
    got = run(L.layer_norm(X))
    np.testing.assert_allclose(got, (X - X.mean(1, keepdims=True)) / X.std(1, keepdims=True), atol=1e-4)


def check_dropout(_):
    x = np.ones((100, 100), "float32")
    training = tf.placeholder_with_default(True, [])
    kept, all_of_it = run(L.dropout(x, 0.8, is_training=training), L.dropout(x, 0.8, is_training=False))
    assert set(np.unique(kept)) == {0, np.float32(1.25)}
    assert np.mean(kept > 0) == pytest.approx(0.8, abs=0.02)
    np.testing.assert_array_equal(all_of_it, x)


def check_embeddings(_):
    ids = np.array([[1, 2, 1], [0, 0, 2]])
    a = L.embed_sequence(ids, 5, 3, scope="e")
    b = L.embed_sequence(ids, 5, 3, scope="e", reuse=True, unique=True)
    assert names() == ["e/embeddings"]
    sparse = tf.SparseTensor([[0, 0], [0, 1], [2, 0]], tf.constant([1, 3, 2], tf.int64), [3, 2])
    pooled = L.safe_embedding_lookup_sparse([tf.constant(np.eye(4, dtype="f"))], sparse)
    a, b, table, pooled = run(a, b, tf.global_variables()[0], pooled)
    np.testing.assert_array_equal(a, table[ids])
    np.testing.assert_array_equal(b, a)
    np.testing.assert_array_equal(pooled, [[0, 0.5, 0, 0.5], [0, 0, 0, 0], [0, 0, 1, 0]])


def check_columns(_):
    age = L.real_valued_column("age")
    job = L.sparse_column_with_hash_bucket("job", 10)
    sex = L.sparse_column_with_keys("sex", ["m", "f"])
    crossed = L.crossed_column([job, sex], 20)
    columns = [age, L.bucketized_column(age, [20, 40]), L.one_hot_column(sex), L.embedding_column(job, 3),
               L.embedding_column(crossed, 2)]  # fmt: skip
    features = {"age": [[10.0], [30.0]], "job": [["a"], ["b"]], "sex": [["f"], ["x"]]}
    features = {name: tf.constant(value) for name, value in features.items()}
    net = L.input_from_feature_columns(features, columns)
    got = run(net)
    assert got.shape == (2, 1 + 3 + 2 + 3 + 2)
    np.testing.assert_array_equal(got[:, :4], [[10, 1, 0, 0], [30, 0, 1, 0]])
    np.testing.assert_array_equal(
        run(tf.feature_column.input_layer(features, [L.one_hot_column(sex)])), [[0, 1], [0, 0]]
    )
    assert set(L.create_feature_spec_for_parsing(columns)) == {"age", "job", "sex"}


def check_optimize_loss_is_a_hand_written_step(_):
    w = tf.get_variable("w", initializer=[3.0, 4.0])
    step = tf.train.get_or_create_global_step()
    decay = lambda rate, step: tf.train.exponential_decay(rate, step, 1, 0.5)
    loss = tf.reduce_sum(tf.square(w)) / 2
    train = L.optimize_loss(loss, step, 0.1, "SGD", clip_gradients=1.0, learning_rate_decay_fn=decay)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        losses = [session.run(train) for _ in range(2)]
        got, count = session.run([w, step])
    norm = 5 - 0.1 - 0.05
    np.testing.assert_allclose(got, np.array([3, 4]) / 5 * norm, rtol=1e-6)
    np.testing.assert_allclose(losses, [12.5, 4.9**2 / 2], rtol=1e-6)
    assert count == 2
    assert "OptimizeLoss/learning_rate" in names()


def check_slim_arg_scope(_):
    slim = tf.contrib.slim
    zeros = tf.constant_initializer(0.0)
    with slim.arg_scope([slim.conv2d, slim.fully_connected], activation_fn=tf.nn.sigmoid, weights_initializer=zeros):
        with slim.arg_scope([slim.conv2d], activation_fn=None) as scope:
            inner = slim.conv2d(np.ones((1, 4, 4, 1), "f"), 2, 3)
        dense = slim.fully_connected(X, 2)
        own = slim.fully_connected(X, 2, tf.identity)
    with slim.arg_scope(scope):
        again = slim.fully_connected(X, 2)
    outside = slim.fully_connected(X, 2)
    inner, dense, own, again, outside = run(inner, dense, own, again, outside)
    assert (inner == 0).all()
    assert (own == 0).all()
    assert (dense == 0.5).all()
    assert (again == 0.5).all()
    assert outside.std() > 0
    assert slim.repeat(X, 2, slim.fully_connected, 3, scope="r").op.name.startswith("r/r_2")
    assert slim.stack(X, slim.fully_connected, [3, 2], scope="s").shape.as_list() == [6, 2]
    with pytest.raises(ValueError, match="add_arg_scope"), slim.arg_scope([np.sum], a=1):
        pass
