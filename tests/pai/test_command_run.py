"""PAI commands run real scripts, from the command line to the rows that they publish."""

from __future__ import annotations

import os
import signal
import tarfile
import threading
import time
from pathlib import Path

import pytest

from pai_train import redact
from pai_train.pai import run as running
from pai_train.pai.command import Options, read_command
from pai_train.pai.parse import parse_words
from pai_train.pai.prepare import prepare
from tests.pai.test_samples import CSVTEST, IRIS, IRIS_OUTPUT, LINES

TABLE = "create table t(a bigint)"
OUTPUT = "odps://lab/tables/t"
DECLARED = (f"-Doutputs={OUTPUT}", f"-DcreateTableSql={TABLE};")
WRITE = """
import tensorflow as tf
tf.app.flags.DEFINE_string("outputs", "", "")
writer = tf.python_io.TableWriter(tf.app.flags.FLAGS.outputs)
writer.write([(7,)], [0])
writer.close()
"""


def test_csvtest_over_files(front):
    Path("csv").mkdir()
    Path("csv/csvtest.csv").write_bytes(LINES)
    folder = f"file://{front.desk.folder}"
    ended = front.script(CSVTEST, f"-Dbuckets={folder}/csv/", f"-DcheckpointDir={folder}/model/", "-DgpuRequired=100")
    assert ended.code == 0, ended.err
    assert ended.lines == ["b'b'", "b'2'", "b''", "b'7'"]


def test_script_and_data_on_oss_with_the_key_in_an_address(front, oss_server, monkeypatch):
    oss_server.enter(monkeypatch)
    monkeypatch.setenv("OSS_ENDPOINT", oss_server.endpoint)
    root = oss_server.root()
    store = oss_server.stores().open(root)
    store.put(f"{root}/csvtest.csv", LINES)
    source = CSVTEST.replace("    init =", "    saver = tf.train.Saver([tf.Variable(1.0)])\n    init =").replace(
        "        coord.request_stop()",
        "        saver.save(sess, FLAGS.checkpointDir + 'm')\n        coord.request_stop()",
    )
    store.put(f"{root}/code/csvtest.py", source.encode())
    key, secret = (os.environ[name] for name in ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"))
    place = f"{root}/?access_key_id={key}&access_key_secret={secret}"
    words = f"-Dscript={root}/code/csvtest.py", f"-Dbuckets={place}", f"-DcheckpointDir={root}/model/"
    with monkeypatch.context() as without:
        for name in ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"):
            without.delenv(name)
        ended = front("-name", "tensorflow180_ext", *words)
    assert ended.code == 0, ended.err
    assert ended.lines == ["b'b'", "b'2'", "b''", "b'7'"]
    assert f"{root}/model/m.index" in [info.url for info in store.list(f"{root}/model")]
    assert secret not in ended.out + ended.err


def test_iris_in_two_statements_of_a_file(front):
    columns = [[i / 4 for i in range(50)]] * 4
    front.desk.make("create table iris(f1 double,f2 double,f3 double,f4 double,kind string)", *columns, ["k"] * 50)
    front.desk.write("iris.py", IRIS)
    again = IRIS_OUTPUT.replace("iris_output", "iris_again")
    Path("both.sql").write_text(f"""
        use lab;
        PAI -name tensorflow180_ext -project algo_public -Dscript='code/iris.py'
            -Dtables="odps://lab/tables/iris" -Doutputs="odps://lab/tables/iris_output"
            -DcreateTableSql="{IRIS_OUTPUT}";
        -- reads what the first one wrote
        pai -NAME=tensorflow -dscript=code/iris.py -Dtables=iris_output -Doutputs=iris_again
            -DcreateTableSql='{again}';
    """)
    ended = front("--file", "both.sql")
    assert (ended.code, ended.lines) == (0, ["50 rows", "50 rows"]), ended.err
    rows = [(i / 4, i / 4, i / 4, i / 4, "k") for i in range(50)]
    assert front.desk.rows("iris_output") == front.desk.rows("iris_again") == rows


def test_a_script_that_fails_publishes_nothing_and_ends_a_list(front):
    front.desk.write("other.py", "print('other')")
    front.desk.write("main.py", WRITE + "raise ValueError('no luck')")
    first = f'pai -name tensorflow -Dscript=code/main.py -Doutputs={OUTPUT} -DcreateTableSql="{TABLE};";'
    ended = front("-e", f"{first} pai -name tensorflow -Dscript=code/other.py;")
    assert ended.code == 1
    assert "ValueError: no luck" in ended.out
    assert "nothing is published; log: " in ended.err
    assert "other" not in ended.lines
    assert front.desk.rows("t") == []


def test_an_output_that_is_not_declared(front):
    ended = front.script(WRITE.replace("tf.app.flags.FLAGS.outputs", "'other'"), *DECLARED)
    assert ended.code == 1
    assert "table other not predefined" in ended.out
    assert '-Doutputs="odps://lab/tables/other"' in ended.out
    assert "main.py" in ended.out
    assert "names.py" not in ended.out


def test_an_archive_of_python_2_with_flags_of_a_file(front):
    code = Path("archive")
    (code / "conf").mkdir(parents=True)
    (code / "helper.py").write_text("def name(d):\n    return [k for k, v in d.iteritems()]\n")
    (code / "conf" / "a.txt").write_text("conf")
    (code / "main.py").write_text(
        "import sys, helper\nprint helper.name({'a': 1}), sys.argv[1:], open('conf/a.txt').read()\nraise SystemExit\n"
    )
    with tarfile.open("code.tar.gz", "w:gz") as tar:
        tar.add(code, ".")
    Path("hyper.txt").write_text("# rates\nrate=0.1\n")
    words = "-Dscript=code.tar.gz", "-DentryFile=main.py", "-DhyperParameters=hyper.txt"
    words = "-name", "tensorflow", *words, "-DuserDefinedParameters=--name='two words' -v"
    ended = front("--py2", *words)
    assert ended.code == 0, ended.err
    assert ended.lines == ["['a'] ['--rate=0.1', '--name=two words', '-v'] conf"]
    assert "converted from Python 2: helper.py: lines 2" in ended.err
    ended = front(*words)
    assert ended.code == 1
    assert "where this is Python 2, run it with --py2" in ended.out


CLUSTER = """
import json, os
import tensorflow as tf
for name in ("job_name", "ps_hosts", "worker_hosts", "outputs"):
    tf.app.flags.DEFINE_string(name, "", "")
tf.app.flags.DEFINE_integer("task_index", 0, "")
FLAGS = tf.app.flags.FLAGS
cluster = tf.train.ClusterSpec({"ps": FLAGS.ps_hosts.split(","), "worker": FLAGS.worker_hosts.split(",")})
server = tf.train.Server(cluster, job_name=FLAGS.job_name, task_index=FLAGS.task_index)
if FLAGS.job_name == "ps":
    server.join()
with tf.device(tf.train.replica_device_setter(cluster=cluster)):
    w = tf.get_variable("w", [], initializer=tf.zeros_initializer())
    step = tf.train.get_or_create_global_step()
    train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.square(w - 3.0), global_step=step)
hooks = [tf.train.StopAtStepHook(last_step=100)]
with tf.train.MonitoredTrainingSession(server.target, FLAGS.task_index == 0, hooks=hooks) as sess:
    while not sess.should_stop():
        value = sess.run([train, w])[1]
writer = tf.python_io.TableWriter(FLAGS.outputs, slice_id=FLAGS.task_index)
writer.write([(FLAGS.task_index, round(float(value), 2))], [0, 1])
writer.close()
"""


@pytest.mark.full
def test_a_cluster(front):
    words = "-Doutputs=odps://lab/tables/c", "-DcreateTableSql=create table c(worker bigint, w double)"
    ended = front.script(CLUSTER, *words, '-Dcluster={"ps":{"count":1},"worker":{"count":2}}')
    assert ended.code == 0, ended.out + ended.err
    assert sorted(front.desk.rows("c")) == [(0, 3.0), (1, 3.0)]


def test_an_evaluator_that_does_not_end_is_named(front, monkeypatch):
    monkeypatch.setattr(running, "_EVALUATOR_S", 0.1)
    source = "import sys, time\ntime.sleep(60 if '--job_name=evaluator' in sys.argv else 0)"
    ended = front.script(source, '-Dcluster={"worker":{"count":1},"evaluator":{"count":1}}')
    assert ended.code == 0
    assert "the evaluator was ended" in ended.err


def test_a_stop_request(front):
    def stop() -> None:
        while not any(b"waiting" in log.read_bytes() for log in Path("runs/slow").glob("*/logs/script.log")):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    ended = front.script(WRITE + "print('waiting')\nimport time\ntime.sleep(60)", *DECLARED, "-DjobName=slow")
    thread.join()
    assert ended.code == 75
    assert front.desk.rows("t") == []


def test_tables_that_are_not_there_are_refused_together(front):
    front.desk.make("create table iris(a bigint)")
    tables = ",".join(f"odps://lab/tables/{name}" for name in ("irsi", "zzz", "iris/ds=1"))
    words = f"-Dtables={tables}", "-Doutputs=odps://lab/tables/made"
    ended = front.script("print('ran')", *words)
    assert ended.code == 2
    assert ended.lines == []
    assert "4 faults, nothing was touched" in ended.err
    assert "tables odps://lab/tables/iris/ds=1: the table has no partitions" in ended.err
    for said in ("did you mean 'iris'?", "tables odps://lab/tables/zzz", '-DcreateTableSql="create table made (…);"'):
        assert said in ended.err
    assert front.desk.tables.names("lab") == ["iris"]


def test_an_unknown_key_is_named_beside_faults(front):
    ended = front("-name", "tensorflow", "-Dscritp=code/main.py")
    assert ended.code == 2
    assert "-Dscript is missing" in ended.err
    assert "unknown key, without effect; did you mean -Dscript?" in ended.err


def test_a_key_in_an_address_is_in_no_text(front, monkeypatch):
    key, secret = "LTAIplantedplanted1", "pl4nted-by-the-test"
    place = f"oss://my-folder/?access_key_id={key}&access_key_secret={secret}"
    monkeypatch.setenv("OSS_ENDPOINT", "http://127.0.0.1:9")
    front.desk.write("main.py", "import os\nprint(len(os.environ['OSS_ACCESS_KEY_SECRET']))\nprint(dict(os.environ))")
    words = "-name", "tensorflow", "-Dscript=code/main.py", f"-Dbuckets={place}"
    command, faults = read_command(parse_words(words).statements[0], Options())
    assert command is not None, faults
    job = prepare(command)
    assert job.settings["OSS_ACCESS_KEY_SECRET"] == secret
    redact._hidden.clear()  # what is shown must be without it also where nothing looks for it
    shown = [repr(job), repr(command), str(job), str(command)]
    for ended in (front(*words), front("--plan", *words), front(*words, "-Dcluster=x"), front(*words, "-Dtables=no")):
        shown += [ended.out, ended.err]
        assert ended.code in (0, 2)
    assert str(len(secret)) in shown[4]
    shown += [path.read_text() for path in Path("runs").rglob("*") if path.is_file() and path.suffix != ".log"]
    assert not [text for text in shown if secret in text or key in text]


@pytest.mark.full
def test_iris_on_maxcompute(front, maxcompute_server, monkeypatch):
    from pai_train.paiio import TableReader, TableWriter
    from pai_train.spec.address import parse_table
    from pai_train.spec.ddl import parse_ddl
    from pai_train.tables.maxcompute import open_tables

    maxcompute_server.enter(monkeypatch)
    project, root = maxcompute_server.project, str(front.desk.folder / "records")
    source, target = maxcompute_server.table(), maxcompute_server.table()
    ddl = parse_ddl(f"create table {source}(f1 double,f2 double,f3 double,f4 double,kind string)")
    open_tables(root, project).ensure(parse_table(source, project), ddl)
    for name, value in {"TABLES": "maxcompute", "TABLES_ROOT": root, "PROJECT": project}.items():
        monkeypatch.setenv(f"PAI_TRAIN_{name}", value)
    with TableWriter(source) as writer:
        writer.write([(i / 4, 0.0, 1.0, 2.0, "k") for i in range(30)], range(5))
    for name in ("TABLES", "TABLES_ROOT", "PROJECT"):
        monkeypatch.delenv(f"PAI_TRAIN_{name}")
    front.desk.write("iris.py", IRIS)
    statement = IRIS_OUTPUT.replace("iris_output", target)
    words = f'-Dtables={source} -Doutputs={target} -DcreateTableSql="{statement}"'
    text = f"use {project}; PAI -name tensorflow -Dscript=code/iris.py {words};"
    ended = front("--tables", "maxcompute", "--tables-root", root, "-e", text)
    assert (ended.code, ended.lines) == (0, ["30 rows"]), ended.err
    monkeypatch.setenv("PAI_TRAIN_TABLES", "maxcompute")
    monkeypatch.setenv("PAI_TRAIN_TABLES_ROOT", root)
    rows = TableReader(f"odps://{project}/tables/{target}").read(30)
    assert [row[0] for row in rows] == [i / 4 for i in range(30)]
