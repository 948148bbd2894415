"""What contrib has beside layers: parameters, tables, cells, datasets, metrics, losses, optimizers, random fields."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from pai_train.pai.gone import ModuleGone, SymbolGone
from tests.pai_shims.checks_layers import run

C = tf.contrib


def check_hparams(_):
    HParams = C.training.HParams  # noqa: N806
    h = HParams(rate=0.1, units=[8, 4], name="a", train=True, steps=3)
    assert h.parse("rate=1e-3,units=[16,8],train=false,name=x y") is h
    assert h.values() == {"rate": 1e-3, "units": [16, 8], "name": "x y", "train": False, "steps": 3}
    h.parse("units[1]=5,steps=-7")
    assert (h.units, h.steps) == ([16, 5], -7)
    h.parse_json('{"rate": 2, "name": "b"}')
    assert isinstance(h.rate, float)
    h.set_hparam("steps", 9)
    h.add_hparam("more", 1.5)
    assert "more" in h
    assert h.get("none", 4) == 4
    assert HParams(**h.values()).to_json(sort_keys=True) == h.to_json(sort_keys=True)
    h.del_hparam("more")
    assert "more" not in h
    for wrong in ("steps=1.5", "nope=1", "units=3", "rate=abc", "train=2", "rate=1,rate=2", "rate"):
        with pytest.raises(ValueError, match=r"yper-parameters|HParams"):
            h.parse(wrong)
    with pytest.raises(ValueError, match="taken"):
        h.add_hparam("rate", 1)


def check_servers_by_size(_):
    strategy = C.training.GreedyLoadBalancingStrategy(2, C.training.byte_size_load_fn)
    with tf.Graph().as_default(), tf.device(tf.train.replica_device_setter(2, ps_strategy=strategy)):
        made = [
            tf.get_variable(f"v{number}", shape, dtype, use_resource=resource)
            for number, (shape, dtype, resource) in enumerate(
                [([10], tf.float32, False), ([2], tf.float64, True), ([2], tf.float32, True), ([1], tf.int64, False)]
            )
        ]
    # 40 bytes on the first server, then 16, 8 and 8 on the second one.
    assert [one.device[-1] for one in made] == ["0", "1", "1", "1"]


def check_tables(folder):
    (folder / "words").write_text("a\nb\nc\n")
    look = C.lookup
    words = tf.constant(["b", "z", "c"])
    tables = [
        look.index_table_from_tensor(["a", "b", "c"]),
        look.index_table_from_tensor(tf.constant(["a", "b", "c"]), num_oov_buckets=1),
        look.index_table_from_file(str(folder / "words"), default_value=7),
        look.HashTable(look.KeyValueTensorInitializer(["b", "c"], tf.constant([5, 6], tf.int64)), -2),
    ]
    got = run(*[table.lookup(words) for table in tables])
    assert [one.tolist() for one in got] == [[1, -1, 2], [1, 3, 2], [1, 7, 2], [5, -2, 6]]
    back = look.index_to_string_table_from_tensor(["a", "b"], "?").lookup(tf.constant([1, 9], tf.int64))
    lines = look.index_to_string_table_from_file(str(folder / "words")).lookup(tf.constant([2, 9], tf.int64))
    numbers = look.index_table_from_tensor([10, 20], dtype=tf.int32).lookup(tf.constant([20], tf.int64))
    assert [one.tolist() for one in run(back, lines, numbers)] == [[b"b", b"?"], [b"c", b"UNK"], [1]]
    mutable = look.MutableHashTable(tf.string, tf.int64, -1)
    with tf.Session() as session:
        session.run(mutable.insert(words, tf.constant([1, 2, 3], tf.int64)))
        assert session.run([mutable.lookup(tf.constant(["c", "q"])), mutable.size()])[0].tolist() == [3, -1]


def check_cells(_):
    x = np.random.RandomState(0).randn(2, 3, 4).astype("f")
    R = C.rnn  # noqa: N806
    cells = {
        "lstm": lambda: R.BasicLSTMCell(5),
        "block": lambda: R.LSTMBlockCell(5),
        "gru": lambda: R.GRUCell(5),
        "many": lambda: R.MultiRNNCell([R.DropoutWrapper(R.LSTMCell(6), output_keep_prob=1.0), R.GRUCell(5)]),
        "attention": lambda: R.AttentionCellWrapper(R.BasicLSTMCell(5), 2),
        "norm": lambda: R.LayerNormBasicLSTMCell(5),
        "in": lambda: R.InputProjectionWrapper(R.GRUCell(5), 7),
        "out": lambda: R.OutputProjectionWrapper(R.GRUCell(7), 5),
    }
    outputs = []
    for name, make in cells.items():
        with tf.variable_scope(name):
            result, _state = tf.nn.dynamic_rnn(make(), x, dtype=tf.float32)
            outputs.append(result)
    for name, got in zip(cells, run(*outputs), strict=True):
        assert got.shape == (2, 3, 5), name
        assert got.std() > 0.001, name
    assert "lstm/rnn/basic_lstm_cell/kernel" in [one.op.name for one in tf.global_variables()]


def check_lstm_is_its_formula(_):
    x = np.random.RandomState(0).randn(2, 3, 4).astype("f")
    steps = tf.unstack(tf.constant(x), axis=1)
    outputs, state = C.rnn.static_rnn(C.rnn.BasicLSTMCell(5, forget_bias=0.5), steps, dtype=tf.float32)
    kernel, bias = tf.trainable_variables()
    got, last, kernel, bias = run(outputs, state, kernel, bias)
    sigmoid = lambda z: 1 / (1 + np.exp(-z))
    c = h = np.zeros((2, 5), "f")
    for at in range(3):
        i, j, f, o = np.split(np.concatenate([x[:, at], h], 1) @ kernel + bias, 4, 1)
        c = c * sigmoid(f + 0.5) + sigmoid(i) * np.tanh(j)
        h = np.tanh(c) * sigmoid(o)
        np.testing.assert_allclose(got[at], h, atol=1e-6)
    np.testing.assert_allclose(last.c, c, atol=1e-6)


def check_two_directions(_):
    x = tf.constant(np.random.randn(2, 3, 4).astype("f"))
    cells = lambda: [C.rnn.GRUCell(5), C.rnn.GRUCell(6)]
    out, forward, backward = C.rnn.stack_bidirectional_dynamic_rnn(cells(), cells(), x, dtype=tf.float32)
    static, _f, _b = C.rnn.static_bidirectional_rnn(
        *(C.rnn.GRUCell(2) for _ in "ab"), tf.unstack(x, axis=1), dtype=tf.float32
    )
    got, f, b, s = run(out, forward, backward, static)
    assert got.shape == (2, 3, 12)
    np.testing.assert_array_equal(got[:, -1, :6], f[-1])
    np.testing.assert_array_equal(got[:, 0, 6:], b[-1])
    assert len(s) == 3


def check_datasets(folder):
    D = C.data  # noqa: N806
    ten = tf.data.Dataset.range(10)
    every = [
        ten.apply(D.batch_and_drop_remainder(4)),
        ten.apply(D.map_and_batch(lambda x: x * 2, 5)).apply(D.prefetch_to_device("/gpu:0")),
        ten.batch(5).apply(D.unbatch()).apply(D.enumerate_dataset()).map(lambda i, x: i + x),
        tf.data.Dataset.range(3).apply(
            D.parallel_interleave(lambda x: tf.data.Dataset.from_tensors(x).repeat(2), cycle_length=1)
        ),
    ]
    got = []
    with tf.Session() as session:
        for dataset in every:
            after, values = tf.data.make_one_shot_iterator(dataset).get_next(), []
            while True:
                try:
                    values.append(session.run(after).tolist())
                except tf.errors.OutOfRangeError:
                    break
            got.append(values)
        shuffled = ten.apply(D.shuffle_and_repeat(10, 2)).batch(20)
        both = session.run(tf.data.make_one_shot_iterator(shuffled).get_next())
        (folder / "t.csv").write_text("a,b\n1,x\n2,y\n")
        rows = D.make_csv_dataset(str(folder / "t.csv"), 2, num_epochs=1, shuffle=False, label_name="a")
        features, label = session.run(tf.data.make_one_shot_iterator(rows).get_next())
    assert got == [[[0, 1, 2, 3], [4, 5, 6, 7]], [[0, 2, 4, 6, 8], [10, 12, 14, 16, 18]], list(range(0, 20, 2)),
                   [0, 0, 1, 1, 2, 2]]  # fmt: skip
    assert sorted(both) == sorted([*range(10)] * 2)
    assert (features["b"].tolist(), label.tolist()) == ([b"x", b"y"], [1, 2])


def check_metrics_and_losses_take_predictions_first(_):
    M, P, Y = C.metrics, tf.constant([0.9, 0.2, 0.6]), tf.constant([1.0, 0.0, 0.0])  # noqa: N806
    hard, labels = tf.constant([1, 0, 1]), tf.constant([1, 0, 0])
    pairs = {
        "accuracy": M.streaming_accuracy(hard, labels),
        "precision": M.streaming_precision(hard, labels),
        "recall": M.streaming_recall(hard, labels),
        "auc": M.streaming_auc(P, labels),
        "mse": M.streaming_mean_squared_error(P, Y),
        "mean": M.streaming_mean(P),
        "iou": M.streaming_mean_iou(hard, labels, 2),
        "r": M.streaming_pearson_correlation(P, Y),
    }
    values, updates = M.aggregate_metric_map(pairs)
    with tf.Session() as session:
        session.run(tf.local_variables_initializer())
        session.run(updates)
        got = session.run(values)
    r = np.corrcoef([0.9, 0.2, 0.6], [1, 0, 0])[0, 1]
    want = {
        "accuracy": 2 / 3,
        "precision": 0.5,
        "recall": 1,
        "auc": 1,
        "mse": 0.41 / 3,
        "mean": 1.7 / 3,
        "iou": 0.5,
        "r": r,
    }
    assert got == pytest.approx(want, rel=1e-4)
    first = C.losses.mean_squared_error(P, Y, weights=tf.constant([1.0, 1.0, 0.0]))
    log = C.losses.log_loss(P, Y)
    assert run(M.accuracy(hard, labels), first) == pytest.approx([2 / 3, 0.05 / 2])
    assert run(log) == pytest.approx(-np.mean(np.log([0.9, 0.8, 0.4])), rel=1e-5)
    assert len(C.losses.get_losses()) == 2


def check_optimizers(_):
    table = tf.get_variable("t", initializer=np.ones((4, 1), "f"))
    loss = tf.reduce_sum(tf.nn.embedding_lookup(table, [[1, 2]]))
    train = C.opt.LazyAdamOptimizer(0.1).minimize(loss)
    w = tf.get_variable("w", initializer=[2.0])
    decayed = C.opt.AdamWOptimizer(0.01, 0.1).minimize(w * 1.0, decay_var_list=[w])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run([train, decayed])
        session.run(train)
        rows, w = session.run([table, w])
    np.testing.assert_allclose(rows[:, 0], [1, 0.8, 0.8, 1], atol=1e-5)
    np.testing.assert_allclose(w, [2 - 0.02 - 0.1], atol=1e-5)


def check_random_field_is_the_sum_over_all_paths(_):
    random = np.random.RandomState(1)
    scores, trans = random.randn(2, 4, 3).astype("f"), random.randn(3, 3).astype("f")
    tags, lengths = random.randint(0, 3, (2, 4)).astype("int32"), np.array([4, 2], "int32")
    likelihood, _ = C.crf.crf_log_likelihood(
        tf.constant(scores), tf.constant(tags), tf.constant(lengths), tf.constant(trans)
    )
    best, best_score = C.crf.crf_decode(tf.constant(scores), tf.constant(trans), tf.constant(lengths))
    got, best, best_score = run(likelihood, best, best_score)
    for row, length in enumerate(lengths):

        def score(path, row=row):
            steps = sum(trans[a, b] for a, b in itertools.pairwise(path))
            return steps + sum(scores[row, at, tag] for at, tag in enumerate(path))

        paths = list(itertools.product(range(3), repeat=length))
        every = np.array([score(path) for path in paths])
        np.testing.assert_allclose(got[row], score(tags[row, :length]) - np.log(np.exp(every).sum()), rtol=1e-4)
        winner = paths[int(every.argmax())]
        assert tuple(best[row, :length]) == winner
        assert best[row, length:].sum() == 0
        np.testing.assert_allclose(best_score[row], every.max(), rtol=1e-5)
        assert C.crf.viterbi_decode(scores[row, :length], trans)[0] == list(winner)


def check_sequence_loss(_):
    logits = np.random.randn(2, 3, 4).astype("f")
    targets, weights = np.array([[0, 1, 2], [3, 3, 0]]), np.array([[1, 1, 0], [1, 0, 0]], "f")
    got = run(C.seq2seq.sequence_loss(tf.constant(logits), targets, tf.constant(weights)))
    logp = logits - np.log(np.exp(logits).sum(2, keepdims=True))
    each = -np.take_along_axis(logp, targets[..., None], 2)[..., 0]
    assert got == pytest.approx((each * weights).sum() / 3, rel=1e-5)


def check_framework_variables_and_checkpoints(folder):
    F = C.framework  # noqa: N806
    with tf.variable_scope("a"):
        one = F.model_variable("one", [2], initializer=tf.constant_initializer(1.0))
    two = tf.get_variable("b/two", [2], initializer=tf.constant_initializer(2.0))
    step = F.get_or_create_global_step()
    assert F.get_variables("a") == [one]
    assert F.get_model_variables() == [one]
    assert F.get_variables_by_suffix("two") == F.get_variables_by_name("two") == [two]
    assert F.get_variables_to_restore(exclude=["a", "global_step"]) == [two]
    assert F.get_unique_variable("a/one") is one
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        path = tf.train.Saver([one]).save(session, str(folder / "m"))
        session.run([one.assign([7, 7]), two.assign([8, 8])])
        F.assign_from_checkpoint_fn(path, [one, two], ignore_missing_vars=True)(session)
        F.assign_from_values_fn({"b/two": np.array([3.0, 4.0])})(session)
        assert np.concatenate(session.run([one, two])).tolist() == [1, 1, 3, 4]
    assert F.list_variables(path) == [("a/one", [2])]
    assert F.nest.flatten({"x": [1, (2, step)]}) == [1, 2, step]
    assert F.nest.is_sequence([1])
    with pytest.raises(ValueError, match="no variable b/two"):
        F.assign_from_checkpoint(path, [two])


def check_what_is_gone_says_so(_):
    assert not hasattr(C, "nothing")
    with pytest.raises(SymbolGone, match=r"checks_contrib|SVM") as caught:
        C.learn.SVM()
    assert caught.value.fault.todo == "use tf.estimator (Estimator, RunConfig, train_and_evaluate)"
    with pytest.raises(ModuleGone, match=r"tf\.contrib\.quantize is gone"):
        from tensorflow.contrib import quantize  # noqa: F401
    with pytest.raises(ModuleGone, match="tensorflow_decision_forests"):
        import tensorflow.contrib.tensor_forest.client  # noqa: F401
    with pytest.raises(ModuleGone, match=r"tf\.contrib\.layers\.spatial_softmax"):
        from tensorflow.contrib.layers import spatial_softmax  # noqa: F401
    with pytest.raises(ModuleGone, match=r"tf\.contrib\.losses\.nothing"):
        from tensorflow.contrib.losses import nothing  # noqa: F401
    with pytest.raises(SymbolGone, match="xgboost"):
        tf.estimator.BoostedTreesRegressor  # noqa: B018
    script = compile("import tensorflow as tf\n\ntf.contrib.timeseries\n", "mine.py", "exec")
    with pytest.raises(SymbolGone, match=r"mine\.py:3: tf\.contrib\.timeseries"):
        exec(script)


def check_imports_of_the_modules_inside(_):
    import tensorflow.contrib.layers as whole
    from tensorflow.contrib import rnn, slim
    from tensorflow.contrib.framework.python.ops import arg_scope
    from tensorflow.contrib.layers import fully_connected
    from tensorflow.contrib.layers.python.layers import batch_norm, initializers, layers
    from tensorflow.contrib.rnn.python.ops import core_rnn_cell
    from tensorflow.estimator import ModeKeys

    assert whole.batch_norm is batch_norm is layers.batch_norm is slim.batch_norm
    assert core_rnn_cell.BasicLSTMCell is rnn.BasicLSTMCell
    assert initializers.xavier_initializer is C.layers.xavier_initializer
    assert arg_scope is slim.arg_scope
    assert fully_connected is C.layers.python.layers.fully_connected
    assert ModeKeys.PREDICT == C.learn.ModeKeys.INFER == "infer"
