"""Names of PAI's TensorFlow in scripts of clusters: protocols, prefetching, and arguments that are None."""

from __future__ import annotations

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
