"""What tutorials and older scripts import: digits, vocabularies, legacy seq2seq, summaries, TPUEstimator."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import tensorflow as tf

from pai_train.errors import DataError
from pai_train.pai.gone import ArgumentGone, ModuleGone
from tests.pai_shims.checks_layers import run

C = tf.contrib


def _idx(path, array):
    head = struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape)
    path.write_bytes(gzip.compress(head + array.astype("uint8").tobytes()))


def _digits(folder, train=60, test=20):
    r = np.random.RandomState(0)
    for part, count in (("train", train), ("t10k", test)):
        _idx(folder / f"{part}-images-idx3-ubyte.gz", r.randint(0, 256, (count, 28, 28)))
        _idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(count) % 10)


def check_digits(folder):
    from tensorflow.examples.tutorials.mnist import input_data

    _digits(folder)
    found = input_data.read_data_sets(str(folder), one_hot=True, validation_size=10, seed=1)
    assert found.train.images.shape == (50, 784)
    assert found.train.images.dtype == np.float32
    assert 0 <= found.train.images.min() < 0.01
    assert 0.99 < found.train.images.max() <= 1
    assert found.validation.labels[3].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert found.test.num_examples == 20
    plain = input_data.read_data_sets(str(folder), reshape=False, validation_size=0, dtype=tf.uint8)
    assert plain.train.images.shape == (60, 28, 28, 1)
    assert plain.train.labels.tolist() == [number % 10 for number in range(60)]


def check_batches_of_digits(folder):
    from tensorflow.contrib.learn.python.learn.datasets.mnist import read_data_sets

    _digits(folder)
    train = read_data_sets(str(folder), validation_size=0, seed=3).train
    of = {image.tobytes(): label for image, label in zip(train.images, train.labels, strict=True)}
    batches = [train.next_batch(25) for _ in range(5)]
    # Two epochs of 60 and 5 more: each image twice, with its own label, before any comes a third time.
    seen = [(image.tobytes(), label) for images, labels in batches for image, label in zip(images, labels, strict=True)]
    assert all(of[image] == label for image, label in seen)
    assert len({image for image, _ in seen[:60]}) == len({image for image, _ in seen[60:120]}) == 60
    assert [image for image, _ in seen[:60]] != [image for image, _ in seen[60:120]]
    assert train.epochs_completed == 2
    again = read_data_sets(str(folder), validation_size=0).train
    assert again.next_batch(7, shuffle=False)[1].tolist() == [0, 1, 2, 3, 4, 5, 6]


def check_digits_that_are_none(folder):
    from tensorflow.examples.tutorials.mnist import input_data

    _digits(folder)
    with pytest.raises(ValueError, match="0 to 60"):
        input_data.read_data_sets(str(folder), validation_size=61)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"what is this"))
    with pytest.raises(DataError, match="not one of MNIST's"):
        input_data.read_data_sets(str(folder), validation_size=0)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="put the file there"):
        input_data.read_data_sets(str(folder), validation_size=0, source_url="http://127.0.0.1:9/")
    with pytest.raises(ModuleGone, match="fully_connected_feed"):
        from tensorflow.examples.tutorials.mnist import fully_connected_feed  # noqa: F401


def check_csv(folder):
    (folder / "a.csv").write_text("2,3,setosa,virginica\n1,2,3,0\n4,5,6,1\n")
    base = C.learn.datasets.base
    found = base.load_csv_with_header(str(folder / "a.csv"), np.int32, np.float32)
    assert found.data.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found.target.tolist() == [0, 1]
    (folder / "b.csv").write_text("7,1,2\n8,3,4\n")
    bare = base.load_csv_without_header(str(folder / "b.csv"), np.int32, np.float32, target_column=0)
    assert (bare.data.tolist(), bare.target.tolist()) == ([[1, 2], [3, 4]], [7, 8])
    (folder / "c.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match="load_csv_without_header"):
        base.load_csv_with_header(str(folder / "c.csv"), np.int32, np.float32)
    (folder / "d.csv").write_text("3,2,a,b\n1,2,0\n")
    with pytest.raises(DataError, match="not what its first line says"):
        base.load_csv_with_header(str(folder / "d.csv"), np.int32, np.float32)


def check_vocabularies(folder):
    from tensorflow.contrib import learn

    texts = ["the cat sat", "the dog sat down now"]
    words = learn.preprocessing.VocabularyProcessor(4)
    rows = np.array(list(words.fit_transform(texts)))
    assert rows.tolist() == [[1, 2, 3, 0], [1, 4, 3, 5]]
    assert len(words.vocabulary_) == 7
    words.save(str(folder / "vocab"))
    back = learn.preprocessing.VocabularyProcessor.restore(str(folder / "vocab"))
    assert next(iter(back.transform(["a cat now then"]))).tolist() == [0, 2, 6, 0]
    assert list(back.reverse([[1, 2, 0]])) == ["the cat <UNK>"]
    rare = learn.preprocessing.VocabularyProcessor(3, min_frequency=1).fit(texts)
    assert sorted(rare.vocabulary_._mapping) == ["<UNK>", "sat", "the"]
    with pytest.raises(ModuleGone, match="KMeansClustering"):
        from tensorflow.contrib.learn import KMeansClustering  # noqa: F401


def check_legacy_losses(_):
    legacy = C.legacy_seq2seq
    r = np.random.RandomState(1)
    logits = [r.randn(3, 5).astype("float32") for _ in range(4)]
    targets = [r.randint(0, 5, 3) for _ in range(4)]
    weights = [np.array([1, 1, step % 2], "float32") for step in range(4)]
    lost = [
        [-np.log(np.exp(one[row])[goal[row]] / np.exp(one[row]).sum()) for row in range(3)]
        for one, goal in zip(logits, targets, strict=True)
    ]
    rows = sum(np.array(one) * weight for one, weight in zip(lost, weights, strict=True))
    consts = [tf.constant(one) for one in logits], [tf.constant(one) for one in targets], weights
    each, total, mean = run(
        legacy.sequence_loss_by_example(*consts),
        legacy.sequence_loss_by_example(*consts, average_across_timesteps=False),
        legacy.sequence_loss(*consts),
    )
    np.testing.assert_allclose(each, rows / sum(weights), rtol=1e-5)
    np.testing.assert_allclose(total, rows, rtol=1e-5)
    np.testing.assert_allclose(mean, (rows / sum(weights)).mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="4, 4, 3"):
        legacy.sequence_loss(consts[0], consts[1], weights[:3])


def check_legacy_decoder(_):
    legacy, X = C.legacy_seq2seq, np.random.RandomState(2).randn(3, 2, 4).astype("float32")  # noqa: N806
    cell = tf.nn.rnn_cell.BasicLSTMCell(4)
    start = cell.zero_state(2, tf.float32)
    outputs, last = legacy.rnn_decoder([tf.constant(one) for one in X], start, cell)
    again, last_again = tf.nn.static_rnn(cell, [tf.constant(one) for one in X], initial_state=start)
    np.testing.assert_allclose(*run(tf.stack(outputs), tf.stack(again)), rtol=1e-6)
    np.testing.assert_allclose(*run(last.h, last_again.h), rtol=1e-6)
    # Fed with its own outputs, only the first input counts.
    with tf.variable_scope("fed"):
        fed = tf.nn.rnn_cell.GRUCell(4)
        steps = [tf.constant(X[0]), tf.constant(X[1]), tf.constant(X[2])]
        one, _ = legacy.rnn_decoder(steps, fed.zero_state(2, tf.float32), fed, lambda before, step: before * step)
        assert len({variable.op.name for variable in tf.trainable_variables("fed")}) == 4
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        right = session.run(one[2])
        np.testing.assert_allclose(session.run(one[2], {steps[1]: X[1] * 9, steps[2]: X[2] * 9}), right)
        assert not np.allclose(session.run(one[2], {steps[0]: X[0] * 9}), right)


def check_legacy_seq2seq_learns(_):
    legacy, length = C.legacy_seq2seq, 3
    given = [tf.placeholder(tf.int32, [None]) for _ in range(length)]
    decode = [tf.zeros_like(given[0]), *given[:-1]]
    with tf.variable_scope("copy"):
        outputs, _ = legacy.embedding_rnn_seq2seq(given, decode, tf.nn.rnn_cell.GRUCell(24), 6, 6, 8)
    with tf.variable_scope("copy", reuse=True):
        alone, _ = legacy.embedding_rnn_seq2seq(given, decode, tf.nn.rnn_cell.GRUCell(24), 6, 6, 8, feed_previous=True)
    loss = legacy.sequence_loss(outputs, given, [tf.ones_like(one, tf.float32) for one in given])
    train = tf.train.AdamOptimizer(0.03).minimize(loss)
    r = np.random.RandomState(0)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        losses = []
        for _ in range(150):
            rows = r.randint(1, 6, (32, length))
            losses.append(session.run([loss, train], dict(zip(given, rows.T, strict=True)))[0])
        rows = r.randint(1, 6, (32, length))
        said = session.run([tf.argmax(one, 1) for one in alone], dict(zip(given, rows.T, strict=True)))
    assert losses[-1] < 0.2 * losses[0]
    assert np.mean(rows == np.array(said).T) > 0.9
    with pytest.raises(ModuleGone, match="one2many_rnn_seq2seq"):
        from tensorflow.contrib.legacy_seq2seq import one2many_rnn_seq2seq  # noqa: F401


def check_legacy_attention_is_the_formula(_):
    legacy, r = C.legacy_seq2seq, np.random.RandomState(4)
    memory, steps = r.randn(2, 5, 3).astype("float32"), r.randn(2, 2, 4).astype("float32")
    cell = tf.nn.rnn_cell.GRUCell(6)
    outputs, last = legacy.attention_decoder(
        [tf.constant(one) for one in steps], cell.zero_state(2, tf.float32), tf.constant(memory), cell, output_size=7
    )
    names = [one.op.name for one in tf.trainable_variables()]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        got, end = session.run([outputs, last])
        v = {name.removeprefix("attention_decoder/"): session.run(f"{name}:0") for name in names}

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    state, seen, wanted = np.zeros((2, 6)), np.zeros((2, 3)), []
    for step in steps:
        x = np.concatenate([step, seen], 1) @ v["kernel"] + v["bias"]
        gates = sigmoid(np.concatenate([x, state], 1) @ v["gru_cell/gates/kernel"] + v["gru_cell/gates/bias"])
        reset, update = np.split(gates, 2, 1)
        fresh = np.tanh(
            np.concatenate([x, reset * state], 1) @ v["gru_cell/candidate/kernel"] + v["gru_cell/candidate/bias"]
        )
        state = update * state + (1 - update) * fresh
        asked = state @ v["Attention_0/kernel"] + v["Attention_0/bias"]
        score = (v["AttnV_0"] * np.tanh(memory @ v["AttnW_0"][0, 0] + asked[:, np.newaxis])).sum(2)
        weights = np.exp(score) / np.exp(score).sum(1, keepdims=True)
        seen = (weights[..., np.newaxis] * memory).sum(1)
        wanted.append(
            np.concatenate([state, seen], 1) @ v["AttnOutputProjection/kernel"] + v["AttnOutputProjection/bias"]
        )
    np.testing.assert_allclose(np.array(got), np.array(wanted), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(end, state, rtol=1e-4, atol=1e-5)


def check_legacy_translation_in_buckets(_):
    # As the translation tutorial has it: sampled softmax, buckets, and a decoder told at run time to feed itself.
    legacy, buckets, symbols, units = C.legacy_seq2seq, [(2, 2), (4, 4)], 8, 24
    given = [tf.placeholder(tf.int32, [None]) for _ in range(4)]
    taught = [tf.zeros_like(given[0]), *given[:-1]]
    weights = [tf.ones_like(one, tf.float32) for one in given]
    w, b = tf.get_variable("proj_w", [units, symbols]), tf.get_variable("proj_b", [symbols])
    alone = tf.placeholder_with_default(False, [])

    def sampled(labels, logits):
        return tf.nn.sampled_softmax_loss(tf.transpose(w), b, tf.reshape(labels, [-1, 1]), logits, 6, symbols)

    def seq2seq(encoder, decoder):
        cell = tf.nn.rnn_cell.MultiRNNCell([tf.nn.rnn_cell.GRUCell(units) for _ in range(2)])
        return legacy.embedding_attention_seq2seq(
            encoder, decoder, cell, symbols, symbols, 12, 2, output_projection=(w, b), feed_previous=alone
        )

    outputs, losses = legacy.model_with_buckets(given, taught, given, weights, buckets, seq2seq, sampled)
    count = len(tf.trainable_variables())
    train = [tf.train.AdamOptimizer(0.02).minimize(loss) for loss in losses]
    answers = [[tf.argmax(tf.matmul(one, w) + b, 1) for one in bucket] for bucket in outputs]
    assert [len(bucket) for bucket in outputs] == [2, 4]
    r = np.random.RandomState(0)

    def rows():
        return dict(zip(given, r.randint(1, symbols, (4, 32)), strict=True))

    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for step in range(300):
            session.run(train[step % 2], rows())
        some = rows()
        said = [session.run(bucket, {**some, alone: True}) for bucket in answers]
    right = [some[one] for one in given]
    assert np.mean(np.array(said[0]) == right[:2]) > 0.9
    assert np.mean(np.array(said[1]) == right) > 0.8
    with pytest.raises(ValueError, match="wanted 4 steps of targets, got 3"):
        legacy.model_with_buckets(given, taught, given[:3], weights, buckets, seq2seq)
    assert count == len(tf.trainable_variables())


def check_legacy_symbols_fed_back_as_a_tensor_says(_):
    legacy = C.legacy_seq2seq
    given = [tf.constant([1, 2]), tf.constant([3, 1])]
    alone = tf.placeholder(tf.bool, [])

    def model(**more):
        return legacy.embedding_rnn_seq2seq(given, given, tf.nn.rnn_cell.BasicLSTMCell(5), 4, 4, 3, **more)

    outputs, state = model(feed_previous=alone)
    with tf.variable_scope(tf.get_variable_scope(), reuse=True):
        fed, _ = model(feed_previous=True)
        plain, _ = model()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for says, other in ((True, fed), (False, plain)):
            np.testing.assert_allclose(*session.run([outputs, other], {alone: says}), rtol=1e-6)
        assert session.run(state, {alone: True}).h.shape == (2, 5)


def check_first_summaries(folder):
    old = C.deprecated
    old.scalar_summary("cost", tf.constant(1.5))
    old.scalar_summary(["a", "b"], tf.constant([1.0, 2.0]))
    old.histogram_summary("weights", tf.constant([1.0, 2.0, 3.0]))
    old.image_summary("picture", tf.zeros([1, 4, 4, 3]))
    merged = old.merge_all_summaries()
    found = tf.Summary.FromString(run(merged))
    assert {one.tag: one.simple_value for one in found.value if one.HasField("simple_value")} == {
        "cost": 1.5, "a": 1.0, "b": 2.0,
    }  # fmt: skip
    assert {one.tag for one in found.value} >= {"weights", "picture/image/0"}


def check_tpu_estimator(folder):
    tpu, sizes = C.tpu, {}

    def input_fn(params):
        sizes.setdefault(len(sizes), params["batch_size"])
        rows = tf.data.Dataset.from_tensor_slices(
            ({"x": np.arange(8, dtype="float32")}, np.arange(8, dtype="float32") * 2)
        )
        return rows.repeat(40).batch(params["batch_size"], drop_remainder=True)

    def model_fn(features, labels, mode, params):
        w = tf.get_variable("w", [])
        said = w * features["x"] * params["scale"]
        if mode == tf.estimator.ModeKeys.PREDICT:
            return tpu.TPUEstimatorSpec(mode, predictions={"said": said})
        loss = tf.reduce_mean(tf.square(said - labels))
        train = tf.train.GradientDescentOptimizer(0.02).minimize(loss, tf.train.get_global_step())

        def metrics(labels, said):
            return {"off": tf.metrics.mean_absolute_error(labels, said)}

        return tpu.TPUEstimatorSpec(
            mode, loss=loss, train_op=train, eval_metrics=(metrics, [labels, said]), scaffold_fn=tf.train.Scaffold
        )

    config = tpu.RunConfig(
        cluster=None, master=None, model_dir=str(folder), save_checkpoints_steps=20,
        tpu_config=tpu.TPUConfig(iterations_per_loop=5, num_shards=8),
    )  # fmt: skip
    made = tpu.TPUEstimator(
        use_tpu=False, model_fn=model_fn, config=config, train_batch_size=4, eval_batch_size=2, predict_batch_size=8,
        params={"scale": 1.0},
    )  # fmt: skip
    made.train(input_fn, max_steps=60)
    got = made.evaluate(input_fn, steps=4)
    said = next(iter(made.predict(input_fn)))
    assert list(sizes.values()) == [4, 2, 8]
    assert got["off"] < 0.01
    assert got["global_step"] == 60
    assert said == {"said": 0.0}
    with pytest.raises(ArgumentGone, match="use_tpu=False"):
        tpu.TPUEstimator(model_fn, use_tpu=True, train_batch_size=4)
    with pytest.raises(ArgumentGone, match="master"):
        tpu.RunConfig(master="grpc://10.0.0.1:8470")


def check_strategies_of_one_copy(folder):
    strategy = C.distribute.ParameterServerStrategy()
    assert tf.estimator.RunConfig(train_distribute=strategy).train_distribute is strategy
    assert tf.estimator.RunConfig(eval_distribute=C.distribute.OneDeviceStrategy("/cpu:0"), protocol="grpc++").protocol
    with pytest.raises(ArgumentGone, match="more workers"):
        C.distribute.ParameterServerStrategy(num_gpus_per_worker=2)
    with pytest.raises(ArgumentGone, match="train_distribute"):
        tf.estimator.RunConfig(train_distribute=object())


def check_the_product_of_old_cells(_):
    from tensorflow.contrib.rnn.python.ops.core_rnn_cell import _Linear, _linear

    r = np.random.RandomState(0)
    a, b = r.randn(3, 2).astype("float32"), r.randn(3, 4).astype("float32")
    with tf.variable_scope("gates"):
        product = _Linear([a, b], 5, True, bias_initializer=tf.constant_initializer(0.5))
    with tf.variable_scope("gates", reuse=True):
        again = _linear([a, b], 5, True)
    assert [(one.op.name, one.shape.as_list()) for one in tf.global_variables()] == [
        ("gates/kernel", [6, 5]), ("gates/bias", [5]),
    ]  # fmt: skip
    got, same, kernel = run(product([a, b]), again, tf.global_variables()[0])
    np.testing.assert_allclose(got, np.concatenate([a, b], 1) @ kernel + 0.5, rtol=1e-5)
    np.testing.assert_allclose(same, got)
    with pytest.raises(ValueError, match="width"):
        _linear(tf.zeros([3]), 2, False)


def check_modules_inside_of_old(_):
    from tensorflow.contrib.layers.python.layers import layers
    from tensorflow.python.estimator.canned.dnn import DNNClassifier
    from tensorflow.python.estimator.model_fn import ModeKeys
    from tensorflow_estimator.python.estimator import run_config

    assert layers.fully_connected is C.layers.fully_connected
    assert DNNClassifier is tf.estimator.DNNClassifier
    assert ModeKeys.TRAIN == tf.estimator.ModeKeys.TRAIN
    assert run_config.RunConfig is tf.estimator.RunConfig
