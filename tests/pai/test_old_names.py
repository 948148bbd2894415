"""Names of PAI's TensorFlow in scripts of clusters: protocols, prefetching, and arguments that are None."""

from __future__ import annotations

import pytest

from tests.servers.process import free_port

SCRIPT = """
import sys
import pai
import tensorflow as tf
cluster = tf.train.ClusterSpec({"worker": [sys.argv[2]]})
server = tf.train.Server(cluster, job_name="worker", task_index=0, protocol="grpc++")
assert isinstance(server, tf.train.Server)
rows = tf.data.TableRecordDataset([sys.argv[1]], [0], num_threads=None, capacity=None).batch(2)
batch = pai.data.prefetch(rows.make_one_shot_iterator().get_next())
with tf.train.MonitoredTrainingSession(server.target, hooks=[pai.data.make_prefetch_hook()]) as session:
    print(session.run(batch)[0].tolist())
try:
    tf.train.Server(cluster, job_name="worker", protocol="pigeon", start=False)
except tf.errors.NotFoundError as error:
    print("pigeon" in str(error))
"""


def test_a_server_of_pai(desk):
    table = desk.make("create table t(a int)", [4, 5])
    assert desk.done(SCRIPT, table, f"127.0.0.1:{free_port()}", tables=(table,)) == ["[4, 5]", "True"]


FLAGS_READ_EARLY = """
import tensorflow as tf
flags = tf.app.flags
flags.DEFINE_string("tables", "", "")
FLAGS = flags.FLAGS
%s
flags.DEFINE_integer("steps", 3, "")
def main(argv):
    print(FLAGS.tables, FLAGS.steps, argv[1:])
tf.app.run()
"""


def test_what_only_the_tensorflow_of_pai_had(desk):
    ended = desk.run("import tensorflow as tf\n\ntf.get_embedding_variable('v', 8)\n")
    assert ended.code == 1
    assert "main.py:3: tf.get_embedding_variable('v', 8): TensorFlow has no tf.get_embedding_variable" in ended.out
    assert "use tf.get_variable with a shape" in ended.out


EACH = """
FLAGS._parse_flags()
each = {name: "{}".format(value) for name, value in FLAGS.__flags.items()}
assert each["tables"] == "a,b" and FLAGS.__flags["tables"].value == "a,b"
"""


@pytest.mark.parametrize(
    "read", ["hosts = FLAGS.tables.split(',')", "FLAGS._parse_flags()", EACH], ids=["value", "all", "each"]
)
def test_flags_that_a_script_does_not_define(desk, read):
    flags = ("--tables=a,b", "--buckets=oss://b/", "--steps=4", "--task_index=0")
    assert desk.done(FLAGS_READ_EARLY % read, *flags) == ["a,b 4 ['--buckets=oss://b/', '--task_index=0']"]
