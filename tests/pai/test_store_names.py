"""Names of every store in what TensorFlow itself opens: readers, lookup tables, datasets, savers, summaries."""

from __future__ import annotations

import pytest

from tests.pai.test_stores import OTHERS, Bucket, run

WORDS = """
    root = FLAGS.buckets
    with tf.gfile.GFile(root + "words.txt", "w") as file:
        file.write("a\\nb\\n")
    with tf.gfile.GFile(root + "rows.csv", "w") as file:
        file.write("a,1\\nb,2\\nc,3\\n")
    key, whole = tf.WholeFileReader().read(tf.train.string_input_producer([root + "words.txt"]))
    record = tf.FixedLengthRecordReader(2).read_up_to(tf.train.string_input_producer([root + "words.txt"]), 9)
    first = lambda rows: rows.batch(9).make_one_shot_iterator().get_next()
    ids = tf.contrib.lookup.index_table_from_file(root + "words.txt", num_oov_buckets=1)
    init = tf.lookup.TextFileInitializer(root + "rows.csv", tf.string, 0, tf.int64, 1, delimiter=",")
    numbers = tf.lookup.StaticHashTable(init, -1)
    text = first(tf.data.TextLineDataset(root + "words.txt"))
    rows = first(tf.data.experimental.CsvDataset([root + "rows.csv"], ["", 0]))
    dealt = tf.data.Dataset.from_tensor_slices([root + "rows.csv"])
    dealt = first(dealt.interleave(lambda name: tf.data.experimental.CsvDataset(name, ["", 0]), cycle_length=1))
    v = tf.get_variable("v", [], initializer=tf.ones_initializer())
    saver = tf.train.Saver()
    with tf.Session() as sess:
        sess.run([tf.global_variables_initializer(), tf.tables_initializer()])
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess, coord)
        print(sess.run(key).decode()[len(root):], sess.run(whole), sess.run(record[1]).tolist())
        print([name.decode()[len(root):] for name in sess.run(record[0])])
        print(sess.run(ids.lookup(tf.constant(["b", "x"]))), sess.run(numbers.lookup(tf.constant(["c", "x"]))))
        print(sess.run(text), *(column.tolist() for column in sess.run(rows) + sess.run(dealt)))
        path = saver.save(sess, FLAGS.checkpointDir + "m", 1)
        saver.restore(sess, tf.train.latest_checkpoint(FLAGS.checkpointDir))
        writer = tf.summary.FileWriter(FLAGS.checkpointDir, sess.graph)
        writer.close()
        coord.request_stop()
        coord.join(threads)
    print(sorted(tf.gfile.ListDirectory(root)), [name[len(root):] for name in tf.gfile.Glob(root + "*.txt")])
    print([(place[len(root):], inside) for place, inside, _ in tf.gfile.Walk(FLAGS.buckets)])
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("store", ["oss", *OTHERS])
def test_names_of_every_store(store, request, desk, monkeypatch):
    bucket = Bucket(desk, request.getfixturevalue(f"{store}_server"), monkeypatch)
    assert run(desk, bucket, WORDS) == [
        r"words.txt b'a\nb\n' [b'a\n', b'b\n']",
        "['words.txt:0', 'words.txt:1']",
        "[1 2] [ 3 -1]",
        "[b'a' b'b'] [b'a', b'b', b'c'] [1, 2, 3] [b'a', b'b', b'c'] [1, 2, 3]",
        "['model', 'rows.csv', 'words.txt'] ['words.txt']",
        "[('', ['model']), ('model', [])]",
    ]
    names = bucket.names("model")
    assert "model/m-1.index" in names
    assert any("events.out" in name for name in names)
