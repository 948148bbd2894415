"""The samples of PAI's pages, as they stand there."""

from __future__ import annotations

CSVTEST = """
import tensorflow as tf
import argparse
import os
import sys
FLAGS = None
def main(_):
    dirname = FLAGS.buckets
    training_file = os.path.join(dirname, "csvtest.csv")
    filename_queue = tf.train.string_input_producer([training_file])
    reader = tf.TextLineReader()
    key, value = reader.read(filename_queue)
    record_defaults = [[''], [''], [''], [''], ['']]
    d1, d2, d3, d4, d5 = tf.decode_csv(value, record_defaults, ',')
    init = tf.initialize_all_variables()
    with tf.Session() as sess:
        sess.run(init)
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess=sess, coord=coord)
        for i in range(4):
            print(sess.run(d2))
        coord.request_stop()
        coord.join(threads)
if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--buckets', type=str, default='', help='input data path')
    parser.add_argument('--checkpointDir', type=str, default='', help='output model path')
    FLAGS, _ = parser.parse_known_args()
    tf.app.run(main=main)
"""
LINES = b"a,b,c,d,e\n1,2,3,4,5\nx,,z,w,v\n6,7,8,9,0\n"
IRIS = """
import tensorflow as tf
tf.app.flags.DEFINE_string("tables", "", "tables info")
tf.app.flags.DEFINE_string("outputs", "", "outputs")
FLAGS = tf.app.flags.FLAGS

def main(_):
    queue = tf.train.string_input_producer([FLAGS.tables], num_epochs=1)
    reader = tf.TableRecordReader()
    key, value = reader.read(queue)
    defaults = [[1.0], [1.0], [1.0], [1.0], ["Iris-virginica"]]
    c1, c2, c3, c4, kind = tf.decode_csv(value, defaults)
    writer = tf.TableRecordWriter(FLAGS.outputs, slice_id=0)
    write = writer.write([0, 1, 2, 3, 4], [c1, c2, c3, c4, kind])
    close = writer.close()
    init = tf.group(tf.global_variables_initializer(), tf.local_variables_initializer())
    with tf.Session() as sess:
        sess.run(init)
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess=sess, coord=coord)
        rows = 0
        try:
            while not coord.should_stop():
                sess.run(write)
                rows += 1
        except tf.errors.OutOfRangeError:
            print("%d rows" % rows)
        finally:
            coord.request_stop()
        coord.join(threads)
        sess.run(close)

if __name__ == "__main__":
    tf.app.run()
"""
IRIS_OUTPUT = "create table iris_output(f1 DOUBLE,f2 DOUBLE,f3 DOUBLE,f4 DOUBLE,f5 STRING);"
FRUIT = """
import numpy as np
import tensorflow as tf
flags = tf.app.flags
flags.DEFINE_string("tables", "", "")
flags.DEFINE_string("outputs", "", "")
FLAGS = flags.FLAGS
dataset = tf.data.TableRecordDataset([FLAGS.tables], record_defaults=(np.int64(0), '', np.float64(0)),
                                     selected_cols="uid,name,price")
uid, name, price = dataset.repeat(1).batch(2).prefetch(1).make_one_shot_iterator().get_next()
with tf.Session() as sess:
    try:
        while True:
            print(sess.run([uid, name, price * 2]))
    except tf.errors.OutOfRangeError:
        print("end")
reader = tf.python_io.TableReader(FLAGS.tables, selected_cols="name,uid")
records = reader.read(3)
print(records[:, 0].tolist(), reader.get_row_count(), reader.get_schema()[0]["colname"])
try:
    reader.read()
except tf.python_io.OutOfRangeException:
    print("out of range")
values = [(25, "Apple", 5.0, False), (38, "Pear", 4.5, False), (17, "Watermelon", 2.2, True)]
writer = tf.python_io.TableWriter(FLAGS.outputs)
writer.write(values, indices=[0, 1, 2, 3])
writer.close()
"""
FRUIT_TABLE = "create table fruit(uid bigint, name string, price double, virtual boolean)"
FRUIT_COLUMNS = [25, 38, 17], ["Apple", "Pear", "Watermelon"], [5.0, 4.5, 2.2], [False, False, True]


def test_csvtest(desk):
    (desk.folder / "csvtest.csv").write_bytes(LINES)
    lines = desk.done(CSVTEST, f"--buckets={desk.folder}/", f"--checkpointDir={desk.folder}/model/")
    assert lines == ["b'b'", "b'2'", "b''", "b'7'"]


def test_iris(desk):
    columns = [[i / 4 for i in range(150)]] * 4
    table = desk.make("create table iris(f1 double,f2 double,f3 double,f4 double,kind string)", *columns, ["k"] * 150)
    output = "odps://lab/tables/iris_output"
    lines = desk.done(
        IRIS,
        f"--tables={table}",
        f"--outputs={output}",
        tables=(table,),
        outputs=(output,),
        statements=(IRIS_OUTPUT,),
    )
    assert lines == ["150 rows"]
    assert desk.rows("iris_output") == [(i / 4, i / 4, i / 4, i / 4, "k") for i in range(150)]


def test_fruit(desk):
    table = desk.make(FRUIT_TABLE, *FRUIT_COLUMNS)
    output = desk.make(FRUIT_TABLE.replace("fruit", "basket"), [1], ["old"], [1.0], [True])
    lines = desk.done(FRUIT, f"--tables={table}", f"--outputs={output}", tables=(table,), outputs=(output,))
    assert lines == [
        "[array([25, 38]), array([b'Apple', b'Pear'], dtype=object), array([10.,  9.])]",
        "[array([17]), array([b'Watermelon'], dtype=object), array([4.4])]",
        "end",
        "[b'Apple', b'Pear', b'Watermelon'] 3 name",
        "out of range",
    ]
    assert desk.rows("basket") == list(zip(*FRUIT_COLUMNS, strict=True))
