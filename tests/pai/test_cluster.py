"""Scripts of several processes: parameter servers and workers, sliced outputs, shared queues of works."""

from __future__ import annotations

import json
import time

import pytest

from pai_train.pai.contracts import ScriptProcess
from tests.servers.process import free_port

HEAD = """
import json, os, time
import numpy as np
import tensorflow as tf
flags = tf.app.flags
flags.DEFINE_string("tables", "", "")
flags.DEFINE_string("outputs", "", "")
flags.DEFINE_string("checkpointDir", "", "")
flags.DEFINE_string("ps_hosts", "", "")
flags.DEFINE_string("worker_hosts", "", "")
flags.DEFINE_string("job_name", "", "")
flags.DEFINE_integer("task_index", 0, "")
FLAGS = flags.FLAGS
"""
CLUSTER = """
ps_hosts, worker_hosts = FLAGS.ps_hosts.split(","), FLAGS.worker_hosts.split(",")
cluster = tf.train.ClusterSpec({"ps": ps_hosts, "worker": worker_hosts})
server = tf.train.Server(cluster, job_name=FLAGS.job_name, task_index=FLAGS.task_index)
if FLAGS.job_name == "ps":
    server.join()
device = tf.train.replica_device_setter(worker_device="/job:worker/task:%d" % FLAGS.task_index, cluster=cluster)
is_chief = FLAGS.task_index == 0
"""
ROWS = """
    rows = tf.data.TableRecordDataset([FLAGS.tables], [0.0, 0.0, np.int64(0)], slice_id=FLAGS.task_index,
                                      slice_count=len(worker_hosts))
    x, y, ids = rows.repeat().batch(20).make_one_shot_iterator().get_next()
    w = tf.get_variable("w", [], initializer=tf.zeros_initializer())
    b = tf.get_variable("b", [], initializer=tf.zeros_initializer())
    loss = tf.reduce_mean(tf.square(w * x + b - y))
    step = tf.train.get_or_create_global_step()
"""
PREDICT = """
reader = tf.python_io.TableReader(FLAGS.tables, slice_id=FLAGS.task_index, slice_count=len(worker_hosts))
writer = tf.python_io.TableWriter(FLAGS.outputs, slice_id=FLAGS.task_index)
for x, _, i in reader.read(reader.get_row_count()):
    writer.write((i, float(final[0] * x + final[1])), indices=[0, 1])
writer.close()
print("%d wrote" % FLAGS.task_index)
"""
ASYNC = f"""
{HEAD}{CLUSTER}
with tf.device(device):
    {ROWS}
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss, global_step=step)
hooks = [tf.train.StopAtStepHook(last_step=400)]
with tf.train.MonitoredTrainingSession(master=server.target, is_chief=is_chief, hooks=hooks,
                                       checkpoint_dir=FLAGS.checkpointDir, save_checkpoint_steps=100) as sess:
    while not sess.should_stop():
        _, *final = sess.run([train, w, b])
print("%.2f %.2f" % tuple(final))
{PREDICT}
"""
SYNC = f"""
{HEAD}{CLUSTER}
with tf.device(device):
    {ROWS}
    optimizer = tf.train.GradientDescentOptimizer(0.3)
    optimizer = tf.train.SyncReplicasOptimizer(optimizer, replicas_to_aggregate=2, total_num_replicas=2)
    train = optimizer.minimize(loss, global_step=step)
hooks = [optimizer.make_session_run_hook(is_chief, num_tokens=0), tf.train.StopAtStepHook(last_step=100)]
with tf.train.MonitoredTrainingSession(master=server.target, is_chief=is_chief, hooks=hooks,
                                       stop_grace_period_secs=1) as sess:
    while not sess.should_stop():
        final = sess.run([train, loss, step])[1:]
print(final[0] < 1e-3, final[1] >= 98)
"""


def processes(ps, workers, *flags):
    hosts = {"ps": [f"127.0.0.1:{free_port()}" for _ in range(ps)]}
    hosts["worker"] = [f"127.0.0.1:{free_port()}" for _ in range(workers)]
    return tuple(
        ScriptProcess(
            part,
            task,
            (
                *flags,
                f"--job_name={part}",
                f"--task_index={task}",
                f"--ps_hosts={','.join(hosts['ps'])}",
                f"--worker_hosts={','.join(hosts['worker'])}",
            ),
            {"TF_CONFIG": json.dumps({"cluster": hosts, "task": {"type": part, "index": task}})},
        )
        for part, count in (("ps", ps), ("worker", workers))
        for task in range(count)
    )


@pytest.fixture
def line(desk):
    xs = [i / 20 - 1 for i in range(41)]
    table = "create table line(x double, y double, id bigint)"
    return desk.make(table, xs, [3 * x - 1 for x in xs], list(range(41)))


@pytest.mark.timeout(60)
def test_workers_train_and_write_their_slices(desk, line, oss_server, monkeypatch):
    oss_server.enter(monkeypatch)
    monkeypatch.setenv("OSS_ENDPOINT", oss_server.endpoint)
    model = f"{oss_server.root()}/model"
    output = desk.make("create table predicted(id bigint, y double)", [-1], [0.0])
    parts = processes(1, 2, f"--tables={line}", f"--outputs={output}", f"--checkpointDir={model}")
    ended = desk.run(ASYNC, processes=parts, outputs=(output,))
    assert (ended.code, ended.lines[-2:]) == (0, ["3.00 -1.00", "0 wrote"]), ended.out + ended.err
    assert "1 wrote" in (ended.logs / "worker-1.log").read_text()
    rows = sorted(desk.rows("predicted"))
    assert [row[0] for row in rows] == list(range(41))
    assert all(abs(y - (3 * (i / 20 - 1) - 1)) < 0.02 for i, y in rows)
    names = [info.url.rpartition("/")[2] for info in oss_server.stores().open(model).list(model)]
    assert sum(name.startswith("model.ckpt-") and name.endswith(".index") for name in names) >= 3
    assert "checkpoint" in names
    assert not list(desk.folder.glob("tables/_paiio/*"))


@pytest.mark.timeout(60)
def test_sync_replicas(desk, line):
    ended = desk.run(SYNC, processes=processes(1, 2, f"--tables={line}"))
    assert ended.code == 0, ended.out + ended.err
    assert "True True" in ended.lines


def test_works_are_shared_and_a_failing_worker_ends_all(desk, line):
    source = """
queue = tf.data.TableRecordDataset  # the name is there
from pai.data import WorkQueue
queue = WorkQueue([FLAGS.tables], num_slices=20, seed=3)
config = json.loads(os.environ["TF_CONFIG"])
dataset = paiio.TableRecordDataset(queue.input_dataset(), [np.int64(0)], selected_cols="id")
ids = dataset.batch(4).make_one_shot_iterator().get_next()[0]
seen = []
with tf.Session() as sess:
    try:
        while True:
            seen.extend(sess.run(ids).tolist())
            time.sleep(0.02)
    except tf.errors.OutOfRangeError:
        pass
writer = tf.python_io.TableWriter(FLAGS.outputs, config["task"]["index"])
writer.write([(i, config["task"]["index"]) for i in seen], (0, 1))
writer.close()
"""
    output = desk.make("create table taken(id bigint, worker bigint)")
    parts = processes(0, 2, f"--tables={line}", f"--outputs={output}")
    source = HEAD + "import paiio\n" + source
    assert desk.run(source, processes=parts, outputs=(output,)).code == 0
    rows = desk.rows("taken")
    assert sorted(row[0] for row in rows) == list(range(41))
    begin = time.monotonic()
    fails = "\nif FLAGS.task_index == 1:\n    raise ValueError('worker 1 is broken')\ntime.sleep(60)\n"
    ended = desk.run(source + fails, processes=parts, outputs=(output,))
    assert ended.code == 1
    assert time.monotonic() - begin < 40
    assert "worker-1 of the script ended with exit code 1" in ended.err
    assert "worker 1 is broken" in ended.err
    assert sorted(desk.rows("taken")) == sorted(rows)
