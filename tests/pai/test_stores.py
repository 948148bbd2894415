"""Files, checkpoints and summaries of scripts on an object store, and tables on MaxCompute."""

from __future__ import annotations

import textwrap
import time

import pytest

from tests.pai.test_samples import IRIS, IRIS_OUTPUT, LINES
from tests.pai.test_styles import HEAD


class Bucket:
    """A folder of the OSS server, as scripts and tests see it."""

    def __init__(self, desk, server, monkeypatch):
        server.enter(monkeypatch)
        for name, value in _door(server).items():
            monkeypatch.setenv(name, value)
        self.root = server.root()
        self._store = server.stores().open(self.root)

    def put(self, name: str, data: bytes) -> None:
        self._store.put(f"{self.root}/{name}", data)

    def read(self, name: str) -> bytes:
        return self._store.read(f"{self.root}/{name}")

    def names(self, folder: str = "") -> list[str]:
        return [info.url.removeprefix(f"{self.root}/") for info in self._store.list(f"{self.root}/{folder}")]


def _door(server):
    """Returns what says in an environment where a server is."""
    if server.scheme != "az":
        names = {"oss": "OSS_ENDPOINT", "s3": "AWS_ENDPOINT_URL", "gs": "STORAGE_EMULATOR_HOST"}
        return {names[server.scheme]: server.endpoint}
    account, key = (server.env[f"AZURE_STORAGE_ACCOUNT_{part}"] for part in ("NAME", "KEY"))
    text = f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key}"
    return {"AZURE_STORAGE_CONNECTION_STRING": f"{text};BlobEndpoint={server.endpoint}/{account};"}


OTHERS = ("s3", "gcs", "azure")


@pytest.fixture(params=["oss", *(pytest.param(name, marks=pytest.mark.full) for name in OTHERS)])
def bucket(request, desk, monkeypatch):
    return Bucket(desk, request.getfixturevalue(f"{request.param}_server"), monkeypatch)


def run(desk, bucket, source, **job):
    flags = (f"--buckets={bucket.root}/", f"--checkpointDir={bucket.root}/model/")
    return desk.done(HEAD + textwrap.dedent(source), *flags, **job)


def test_csvtest(desk, bucket):
    from tests.pai.test_samples import CSVTEST

    bucket.put("csvtest.csv", LINES)
    lines = desk.done(CSVTEST, f"--buckets={bucket.root}/", f"--checkpointDir={bucket.root}/model/")
    assert lines == ["b'b'", "b'2'", "b''", "b'7'"]
    assert bucket.names("model") == []


TRAIN = """
    x = tf.random_uniform([8], seed=1)
    w = tf.get_variable("w", [], initializer=tf.zeros_initializer())
    tf.summary.scalar("w", w)
    step = tf.train.get_or_create_global_step()
    train = tf.train.GradientDescentOptimizer(0.5).minimize(tf.reduce_mean(tf.square(w * x - 2 * x)), global_step=step)
    seen = []
    with tf.train.MonitoredTrainingSession(checkpoint_dir=FLAGS.checkpointDir, save_checkpoint_steps=10,
                                           save_summaries_steps=10,
                                           hooks=[tf.train.StopAtStepHook(num_steps=25)]) as sess:
        while not sess.should_stop():
            seen.append(sess.run([train, step])[1])
    print(seen[0], seen[-1])
    print(tf.train.latest_checkpoint(FLAGS.checkpointDir).rpartition("/")[2])
    print(abs(tf.train.load_variable(FLAGS.checkpointDir, "w") - 2.0) < 0.01)
"""


def test_a_monitored_session_goes_on_from_a_store(desk, bucket):
    first = run(desk, bucket, TRAIN)
    time.sleep(1)  # TensorFlow names files of events by the second
    last = run(desk, bucket, TRAIN)
    assert first[1:] == ["model.ckpt-25", "True"]
    assert last[1:] == ["model.ckpt-50", "True"]
    assert int(last[0].split()[0]) >= 25
    names = bucket.names("model")
    assert {"model/checkpoint", "model/graph.pbtxt", "model/model.ckpt-50.index", "model/model.ckpt-50.meta"} <= {
        *names
    }
    assert sum("events.out" in name for name in names) == 2
    assert sum(name.endswith(".index") for name in names) <= 7
    assert b'model_checkpoint_path: "model.ckpt-50"' in bucket.read("model/checkpoint")
    assert not list(desk.folder.glob("run-*/mirror"))


def test_a_saver_keeps_what_it_is_told_on_a_store(desk, bucket):
    source = """
        v = tf.Variable(1.0, name="v")
        saver = tf.train.Saver(max_to_keep=2)
        with tf.Session() as sess:
            sess.run(v.initializer)
            for step in range(4):
                sess.run(v.assign_add(1.0))
                path = saver.save(sess, os.path.join(FLAGS.checkpointDir, "m"), global_step=step)
        print(path == FLAGS.checkpointDir + "m-3" or path, tf.train.checkpoint_exists(path))
        state = tf.train.get_checkpoint_state(FLAGS.checkpointDir)
        print([p.rpartition("/")[2] for p in state.all_model_checkpoint_paths])
        print(tf.train.NewCheckpointReader(path).get_variable_to_shape_map())
        with tf.Session() as sess:
            saver.restore(sess, state.all_model_checkpoint_paths[0])
            print(sess.run(v))
        tf.reset_default_graph()
        v = tf.get_variable("v", [])
        tf.train.init_from_checkpoint(FLAGS.checkpointDir, {"v": v})
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            print(sess.run(v))
            checkpoint = tf.train.Checkpoint(v=v)
            saved = checkpoint.save(os.path.join(FLAGS.checkpointDir, "object", "ck"), session=sess)
            sess.run(v.assign(0.0))
            latest = tf.train.latest_checkpoint(os.path.join(FLAGS.checkpointDir, "object"))
            checkpoint.restore(latest).run_restore_ops()
            print(sess.run(v), saved.rpartition("/")[2])
            export = os.path.join(FLAGS.buckets, "export")
            x = tf.placeholder(tf.float32, name="x")
            tf.saved_model.simple_save(sess, export, {"x": x}, {"y": tf.multiply(x, v, name="y")})
        tf.reset_default_graph()
        with tf.Session() as sess:
            tf.saved_model.loader.load(sess, ["serve"], export)
            print(sess.run("y:0", {"x:0": 3.0}))
        try:
            saver.restore(tf.Session(), os.path.join(FLAGS.checkpointDir, "absent"))
        except ValueError as error:
            print("absent" in str(error))
    """
    assert run(desk, bucket, source) == [
        "True True",
        "['m-2', 'm-3']",
        "{'v': []}",
        "4.0",
        "5.0",
        "5.0 ck-1",
        "15.0",
        "True",
    ]
    kept = [name for name in bucket.names("model") if name.endswith(".index")]
    assert kept == ["model/m-2.index", "model/m-3.index", "model/object/ck-1.index"]
    assert "export/variables/variables.index" in bucket.names("export")


def test_gfile(desk, bucket):
    bucket.put("in/a.txt", b"one\ntwo\n")
    source = """
        from tensorflow.python.lib.io import file_io
        from tensorflow.python.platform import gfile
        root = FLAGS.buckets
        path = os.path.join(root, "in", "a.txt")
        print(tf.gfile.Exists(path), gfile.Exists(path + "x"), tf.gfile.IsDirectory(root + "in"))
        print(tf.gfile.Stat(path).length, tf.gfile.IsDirectory(path))
        with tf.gfile.GFile(path) as file:
            print(file.readline().strip(), file.read().strip(), file.size())
        with gfile.FastGFile(path, "rb") as file:
            print(file.read(3), file.tell())
        with tf.gfile.Open(root + "out/b.txt", "w") as file:
            file.write("three")
            print(tf.gfile.Exists(root + "out/b.txt"), tf.gfile.ListDirectory(root + "out"))
        with tf.gfile.GFile(root + "out/b.txt", "a") as file:
            file.write("four")
        print(file_io.read_file_to_string(root + "out/b.txt"))
        tf.gfile.Copy(root + "out/b.txt", root + "out/deep/c.txt")
        tf.gfile.Rename(root + "out/b.txt", root + "out/d.txt")
        print(sorted(tf.gfile.ListDirectory(root + "out")), [p[len(root):] for p in tf.gfile.Glob(root + "out/*.txt")])
        print([(p[len(root):], d, f) for p, d, f in tf.gfile.Walk(root + "out")])
        try:
            tf.gfile.Copy(path, root + "out/d.txt")
        except tf.errors.AlreadyExistsError:
            print("there already")
        try:
            tf.gfile.GFile(root + "none").read()
        except tf.errors.NotFoundError:
            print("not found")
        tf.gfile.MakeDirs(root + "made/deep")
        print(tf.gfile.IsDirectory(root + "made"))
        tf.gfile.DeleteRecursively(root + "out")
        print(tf.gfile.Exists(root + "out"), tf.io.gfile.exists(path))
        file = tf.gfile.GFile(root + "left-open.txt", "w")
        file.write("sent at the end")
    """
    assert run(desk, bucket, source) == [
        "True False True",
        "8 False",
        "one two 8",
        "b'one' 3",
        "False ['b.txt']",
        "threefour",
        "['d.txt', 'deep'] ['out/d.txt']",
        "[('out', ['deep'], ['d.txt']), ('out/deep', [], ['c.txt'])]",
        "there already",
        "not found",
        "True",
        "False True",
    ]
    assert bucket.names() == ["in/a.txt", "left-open.txt"]
    assert bucket.read("left-open.txt") == b"sent at the end"


def test_readers_and_datasets(desk, bucket):
    for part in range(3):
        bucket.put(f"text/part-{part}", "".join(f"{part}{line}\n" for line in range(2)).encode())
    source = """
        root = FLAGS.buckets
        with tf.python_io.TFRecordWriter(root + "rows.tfrecord") as writer:
            for i in range(3):
                writer.write(b"%d" % i)
        print([row for row in tf.python_io.tf_record_iterator(root + "rows.tfrecord")])
        names = [root + "text/part-%d" % i for i in range(3)]
        def first(rows):
            return rows.batch(10).make_one_shot_iterator().get_next()
        wanted = [
            first(tf.data.TextLineDataset(names)),
            first(tf.data.TextLineDataset(tf.data.Dataset.list_files(root + "text/part-*", shuffle=False)).skip(1)),
            first(tf.data.Dataset.from_tensor_slices(names).interleave(tf.data.TextLineDataset, cycle_length=3)),
            first(tf.data.TFRecordDataset(root + "rows.tfrecord", num_parallel_reads=2)),
            first(tf.data.FixedLengthRecordDataset(tf.constant(names), 3)),
            tf.read_file(root + "text/part-1"),
            tf.write_file(root + "written", "content"),
        ]
        queue = tf.train.string_input_producer(tf.train.match_filenames_once(root + "text/*"), 1, shuffle=False)
        _, line = tf.TextLineReader().read(queue)
        records = tf.train.string_input_producer([root + "rows.tfrecord"], 1)
        _, row = tf.TFRecordReader().read_up_to(records, 5)
        with tf.Session() as sess:
            sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
            coord = tf.train.Coordinator()
            threads = tf.train.start_queue_runners(sess, coord)
            for one in wanted:
                found = sess.run(one)
                if found is not None:
                    print(b" ".join(np.atleast_1d(found).tolist()))
            print(b" ".join(sess.run(line) for _ in range(6)), sess.run(row).tolist())
            coord.request_stop()
            coord.join(threads)
    """
    assert run(desk, bucket, source) == [
        "[b'0', b'1', b'2']",
        "b'00 01 10 11 20 21'",
        "b'01 10 11 20 21'",
        "b'00 10 20 01 11 21'",
        "b'0 1 2'",
        r"b'00\n 01\n 10\n 11\n 20\n 21\n'",
        r"b'10\n11\n'",
        "b'00 01 10 11 20 21' [b'0', b'1', b'2']",
    ]
    assert bucket.read("written") == b"content"


def test_a_failed_script_leaves_no_half_file(desk, bucket):
    bucket.put("kept.txt", b"old")
    source = """
        file = tf.gfile.GFile(FLAGS.buckets + "kept.txt", "w")
        file.write("half")
        os.abort()
    """
    flags = (f"--buckets={bucket.root}/",)
    ended = desk.run(HEAD + textwrap.dedent(source), *flags)
    assert ended.code == 1
    assert "SIGABRT" in ended.err
    assert bucket.read("kept.txt") == b"old"


def test_iris_on_maxcompute(desk, maxcompute_server, monkeypatch):
    from pai_train.paiio import TableReader, TableWriter
    from pai_train.spec.address import parse_table
    from pai_train.spec.ddl import parse_ddl
    from pai_train.tables.maxcompute import open_tables

    maxcompute_server.enter(monkeypatch)
    project = maxcompute_server.project
    root = str(desk.folder / "tables")
    desk.settings = {
        "PAI_TRAIN_TABLES": "maxcompute",
        "PAI_TRAIN_TABLES_ROOT": root,
        "PAI_TRAIN_PROJECT": project,
    }
    for name, value in desk.settings.items():
        monkeypatch.setenv(name, value)
    source, target = maxcompute_server.table(), maxcompute_server.table()
    ddl = f"create table {source}(f1 double,f2 double,f3 double,f4 double,kind string)"
    tables = open_tables(root, project)
    tables.ensure(parse_table(source, project), parse_ddl(ddl))
    with TableWriter(source) as writer:
        writer.write([(i / 4, 0.0, 1.0, 2.0, "k") for i in range(30)], range(5))
    table, output = (f"odps://{project}/tables/{name}" for name in (source, target))
    lines = desk.done(
        IRIS,
        f"--tables={table}",
        f"--outputs={output}",
        tables=(table,),
        outputs=(output,),
        statements=(IRIS_OUTPUT.replace("iris_output", target),),
    )
    assert lines == ["30 rows"]
    rows = TableReader(output).read(30)
    assert [row[0] for row in rows] == [i / 4 for i in range(30)]
