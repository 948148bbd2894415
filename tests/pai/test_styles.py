"""Scripts as people wrote them, each judged by what came of it: losses, metrics and rows."""

from __future__ import annotations

import numpy as np
import pytest

HEAD = """
import os
import numpy as np
import tensorflow as tf
flags = tf.app.flags
for name in ("tables", "outputs", "buckets", "checkpointDir"):
    flags.DEFINE_string(name, "", "")
FLAGS = flags.FLAGS
"""
LINE_TABLE = "create table line(x double, y double, kind string, id bigint)"


@pytest.fixture
def line(desk):
    """A table of 200 rows on the line y = 3 x - 1."""
    xs = np.linspace(-1, 1, 200)
    kinds = ["even" if i % 2 == 0 else "odd" for i in range(200)]
    return desk.make(LINE_TABLE, xs.tolist(), (3 * xs - 1).tolist(), kinds, list(range(200)))


def test_shuffle_batch_of_csv_files(desk):
    for part in range(2):
        rows = [f"{i / 50 - 1},{3 * (i / 50 - 1) - 1}" for i in range(part, 100, 2)]
        (desk.folder / f"part-{part}.csv").write_text("\n".join(rows) + "\n")
    source = """
        names = [os.path.join(FLAGS.buckets, "part-%d.csv" % i) for i in range(2)]
        queue = tf.train.string_input_producer(names, num_epochs=60, seed=1)
        _, value = tf.TextLineReader().read(queue)
        x, y = tf.decode_csv(value, record_defaults=[[0.0], [0.0]])
        xs, ys = tf.train.shuffle_batch([x, y], batch_size=20, capacity=200, min_after_dequeue=50, seed=2)
        w, b = tf.Variable(0.0), tf.Variable(0.0)
        loss = tf.reduce_mean(tf.square(w * xs + b - ys))
        train = tf.train.GradientDescentOptimizer(0.2).minimize(loss)
        steps = 0
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            sess.run(tf.local_variables_initializer())
            coord = tf.train.Coordinator()
            threads = tf.train.start_queue_runners(sess=sess, coord=coord)
            try:
                while not coord.should_stop():
                    sess.run(train)
                    steps += 1
            except tf.errors.OutOfRangeError:
                pass
            coord.request_stop()
            coord.join(threads)
            print("%d %.3f %.3f" % (steps, sess.run(w), sess.run(b)))
    """
    assert desk.done(HEAD + _flat(source), f"--buckets={desk.folder}/") == ["300 3.000 -1.000"]


def test_placeholders_and_feed_dict(desk, line):
    source = """
        reader = tf.python_io.TableReader(FLAGS.tables, selected_cols="x,y")
        records = np.array(reader.read(reader.get_row_count()), dtype=np.float32)
        reader.close()
        x = tf.placeholder(tf.float32, [None, 1])
        label = tf.placeholder(tf.float32, [None, 1])
        w = tf.get_variable("w", [1, 1], initializer=tf.zeros_initializer())
        b = tf.get_variable("b", [1], initializer=tf.constant_initializer(0.0))
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(logits=tf.matmul(x, w) + b, labels=label))
        train = tf.train.AdamOptimizer(0.1).minimize(loss)
        saver = tf.train.Saver()
        feed = {x: records[:, :1], label: (records[:, 1:] > 0).astype(np.float32)}
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            first = sess.run(loss, feed_dict=feed)
            for step in range(200):
                sess.run(train, feed)
            last = sess.run(loss, feed)
            saver.save(sess, os.path.join(FLAGS.checkpointDir, "model"), global_step=step)
        tf.reset_default_graph()
        with tf.Session() as sess:
            path = tf.train.latest_checkpoint(FLAGS.checkpointDir)
            saver = tf.train.import_meta_graph(path + ".meta")
            saver.restore(sess, path)
            print("%.4f %s %s" % (first, last < 0.2, sess.run("w:0")[0, 0] > 5))
    """
    flags = [f"--tables={line}", f"--checkpointDir={desk.folder}/model"]
    assert desk.done(HEAD + _flat(source), *flags) == ["0.6931 True True"]
    assert (desk.folder / "model" / "model-199.index").exists()


def test_initializable_and_string_handle_iterators(desk, line):
    source = """
        def rows(lo, hi):
            name = "%s?start=%d&end=%d" % (FLAGS.tables, lo, hi)
            return tf.data.TableRecordDataset([name], record_defaults=(np.float64(0), np.int64(0)),
                                              selected_cols="x,id").batch(8)
        train, test = rows(0, 20), rows(20, 24)
        handle = tf.placeholder(tf.string, shape=[])
        iterator = tf.data.Iterator.from_string_handle(handle, train.output_types, train.output_shapes)
        _, ids = iterator.get_next()
        total = tf.reduce_sum(ids)
        a, b = train.make_initializable_iterator(), test.make_initializable_iterator()
        with tf.Session() as sess:
            handles = sess.run([a.string_handle(), b.string_handle()])
            for epoch in range(2):
                sess.run([a.initializer, b.initializer])
                for one in handles:
                    sums = []
                    try:
                        while True:
                            sums.append(int(sess.run(total, {handle: one})))
                    except tf.errors.OutOfRangeError:
                        print(sums)
    """
    sums = ["[28, 92, 70]", "[86]"]
    assert desk.done(HEAD + _flat(source), f"--tables={line}") == sums * 2


def test_read_up_to_and_decode_csv(desk, line):
    source = """
        queue = tf.train.string_input_producer(FLAGS.tables.split(","), num_epochs=1, shuffle=False)
        reader = tf.TableRecordReader(csv_delimiter=";", selected_cols="id,kind", slice_id=1, slice_count=2)
        _, lines = reader.read_up_to(queue, 32)
        ids, kinds = tf.decode_csv(lines, [tf.constant([0], tf.int64), [""]], field_delim=";", use_quote_delim=False)
        batch = tf.train.batch([ids, kinds], 40, enqueue_many=True, allow_smaller_final_batch=True)
        seen = []
        with tf.train.MonitoredSession() as sess:
            while not sess.should_stop():
                try:
                    some, names = sess.run(batch)
                except tf.errors.OutOfRangeError:
                    break
                seen.extend(some.tolist())
                assert set(names[some % 2 == 1]) == {b"odd"}
        print(sorted(seen) == list(range(100, 200)))
    """
    assert desk.done(HEAD + _flat(source), f"--tables={line}") == ["True"]


def test_layers_and_predictions_into_a_table(desk, line):
    output = desk.make("create table predicted(id bigint, y double)")
    source = """
        def rows(epochs, size):
            rows = tf.data.TableRecordDataset(FLAGS.tables, [0.0, 0.0, np.int64(0)], selected_cols="x,y,id")
            return rows.repeat(epochs).batch(size).make_one_shot_iterator().get_next()

        def model(x):
            with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
                hidden = tf.layers.dense(tf.expand_dims(x, 1), 16, activation=tf.nn.relu, name="hidden")
                hidden = tf.layers.dropout(hidden, 0.0, training=True)
                return tf.squeeze(tf.layers.dense(hidden, 1, name="out"), 1)

        tf.set_random_seed(7)
        x, y, _ = rows(60, 50)
        loss = tf.losses.mean_squared_error(y, model(x))
        step = tf.train.get_or_create_global_step()
        train = tf.train.AdamOptimizer(0.02).minimize(loss, global_step=step)
        x, _, ids = rows(1, 64)
        predicted = model(x)
        writer = tf.python_io.TableWriter(FLAGS.outputs, slice_id=0)
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            try:
                while True:
                    sess.run(train)
            except tf.errors.OutOfRangeError:
                print(sess.run(step))
            try:
                while True:
                    values = sess.run([ids, predicted])
                    writer.write(zip(*values), (0, 1), allow_type_cast=True)
            except tf.errors.OutOfRangeError:
                writer.close()
    """
    assert desk.done(HEAD + _flat(source), f"--tables={line}", f"--outputs={output}", outputs=(output,)) == ["240"]
    rows = desk.rows("predicted")
    assert [row[0] for row in rows] == list(range(200))
    assert np.mean((np.array([row[1] for row in rows]) - (3 * np.linspace(-1, 1, 200) - 1)) ** 2) < 0.01


def test_a_factorization_machine_over_embeddings(desk):
    users, items = np.meshgrid(np.arange(8), np.arange(8))
    labels = ((users + items) % 2).ravel()
    table = desk.make(
        "create table clicks(user bigint, item string, label bigint)",
        users.ravel().tolist(),
        [f"i{item}" for item in items.ravel()],
        labels.tolist(),
    )
    source = """
        from tensorflow.python.framework import ops
        from tensorflow.python.ops import variable_scope as vs
        rows = tf.data.TableRecordDataset([FLAGS.tables], record_defaults=[np.int64(-1), "", 0])
        user, item, label = rows.repeat(300).batch(64).make_one_shot_iterator().get_next()
        item = tf.string_to_hash_bucket_fast(item, 1000)
        with tf.variable_scope("fm", initializer=tf.random_normal_initializer(stddev=0.3, seed=3)):
            v = [tf.get_variable("v%d" % i, [n, 4], dtype=tf.float32) for i, n in enumerate((8, 1000))]
            bias = vs.get_variable("bias", [], initializer=tf.zeros_initializer())
        factors = tf.stack([tf.nn.embedding_lookup(v[0], user), tf.nn.embedding_lookup(v[1], item)], axis=1)
        logits = bias + 0.5 * tf.reduce_sum(
            tf.square(tf.reduce_sum(factors, 1)) - tf.reduce_sum(tf.square(factors), 1), 1)
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.to_float(label), logits=logits))
        train = tf.train.AdagradOptimizer(0.5).minimize(loss)
        accuracy, update = tf.metrics.accuracy(label, tf.to_int32(logits > 0))
        auc, update_auc = tf.metrics.auc(label, tf.sigmoid(logits))
        assert len(ops.get_collection(ops.GraphKeys.TRAINABLE_VARIABLES)) == 3
        with tf.Session() as sess:
            sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
            for step in range(300):
                if step == 290:
                    sess.run(tf.local_variables_initializer())
                last, _, _, _ = sess.run([loss, train, update, update_auc])
            print(last < 0.05, sess.run(accuracy), "%.2f" % sess.run(auc))
    """
    assert desk.done(HEAD + _flat(source), f"--tables={table}") == ["True 1.0 1.00"]


def test_rnn_cells_and_keras(desk):
    source = """
        tf.set_random_seed(1)
        rng = np.random.RandomState(0)
        data = rng.randint(0, 2, (64, 6, 1)).astype(np.float32)
        target = (data.sum(axis=(1, 2)) > 3).astype(np.int32)
        inputs = tf.placeholder(tf.float32, [None, 6, 1])
        cell = tf.nn.rnn_cell.MultiRNNCell([tf.nn.rnn_cell.BasicLSTMCell(8), tf.nn.rnn_cell.GRUCell(8)])
        cell = tf.nn.rnn_cell.DropoutWrapper(cell, output_keep_prob=1.0)
        outputs, state = tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)
        logits = tf.keras.layers.Dense(2)(outputs[:, -1])
        loss = tf.losses.sparse_softmax_cross_entropy(target, logits)
        optimizer = tf.train.AdamOptimizer(0.03)
        grads, variables = zip(*optimizer.compute_gradients(loss))
        grads, _ = tf.clip_by_global_norm(grads, 5.0)
        train = optimizer.apply_gradients(zip(grads, variables))
        with tf.Session(config=tf.ConfigProto(allow_soft_placement=True)) as sess:
            sess.run(tf.global_variables_initializer())
            losses = [sess.run([loss, train], {inputs: data})[0] for _ in range(120)]
            print("%.1f" % losses[0], losses[-1] < 0.1)
        from tensorflow.keras.layers import Dense
        import tensorflow.keras.backend as K
        model = tf.keras.Sequential([Dense(1, input_shape=(1,))])
        model.compile("sgd", "mse")
        print(len(model.get_weights()), K.floatx())
    """
    assert desk.done(HEAD + _flat(source))[-2:] == ["0.7 True", "2 float32"]


def test_paiio_common_io_and_work_queues(desk, line):
    source = """
        import common_io
        import paiio
        import pai
        from pai.data import WorkQueue
        from tensorflow.python.ops.work_queue import WorkQueue as DeepRecQueue
        reader = common_io.table.TableReader(FLAGS.tables, selected_cols="id,kind", slice_id=1, slice_count=3)
        print(reader.read(2), reader.start_pos, reader.end_pos)
        reader.seek(66)
        print(reader.read(2))
        try:
            reader.read(1)
        except common_io.exception.OutOfRangeException:
            print("end")
        for kind in (paiio.data.WorkQueue, pai.data.WorkQueue, DeepRecQueue, WorkQueue):
            queue = kind([FLAGS.tables], num_epochs=2, shuffle=False, num_slices=4)
            rows = paiio.TableRecordDataset(queue.input_dataset(), [np.int64(0)], selected_cols="id").batch(64)
            ids = rows.make_one_shot_iterator().get_next()[0]
            seen = []
            with tf.Session() as sess:
                try:
                    while True:
                        seen.extend(sess.run(ids).tolist())
                except tf.errors.OutOfRangeError:
                    print(len(seen), seen[:200] == list(range(200)))
        reader = paiio.python_io.TableReader(FLAGS.tables)
        print(reader.read(1)[0, 2])
    """
    assert desk.done(HEAD + _flat(source), f"--tables={line}") == [
        "[(67, 'odd'), (68, 'even')] 67 134",
        "[(133, 'odd')]",
        "end",
        *["400 True"] * 4,
        "b'even'",
    ]


def test_text_and_records_of_local_files(desk):
    source = """
        path = os.path.join(FLAGS.checkpointDir, "a", "rows.tfrecord")
        tf.gfile.MakeDirs(os.path.dirname(path))
        with tf.python_io.TFRecordWriter(path) as writer:
            for i in range(5):
                feature = {"i": tf.train.Feature(int64_list=tf.train.Int64List(value=[i]))}
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
        print(len(list(tf.python_io.tf_record_iterator(path))), tf.gfile.ListDirectory(FLAGS.checkpointDir))
        parse = lambda row: tf.parse_single_example(row, {"i": tf.FixedLenFeature([], tf.int64)})["i"]
        rows = tf.data.TFRecordDataset([path]).map(parse).shuffle(10).batch(5).make_one_shot_iterator().get_next()
        with tf.gfile.GFile(path + ".txt", "w") as file:
            file.write("word\\nother\\n")
        table = tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(
            path + ".txt", tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER), -1)
        found = table.lookup(tf.constant(["other", "none"]))
        text = tf.read_file(path + ".txt")
        with tf.Session() as sess:
            sess.run(tf.tables_initializer())
            print(sorted(sess.run(rows).tolist()), sess.run(found).tolist(), sess.run(text))
    """
    flags = [f"--checkpointDir={desk.folder}/out"]
    assert desk.done(HEAD + _flat(source), *flags) == [
        "5 ['a']",
        "[0, 1, 2, 3, 4] [1, -1] b'word\\nother\\n'",
    ]


def _flat(source: str) -> str:
    import textwrap

    return textwrap.dedent(source)
