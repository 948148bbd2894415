"""How PAI commands end where they cannot begin: with 2, nothing touched, and what to do about it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pai_train.pai.script import Orders

WRITES = "import paiio\nwith paiio.TableWriter('odps://lab/tables/t') as writer:\n    writer.write([(1,)], [0])\n"
SAY_WHERE = ("OSS_ENDPOINT", "OSS_REGION", "ODPS_ENDPOINT", "ODPS_PROJECT_NAME", "ODPS_CONFIG_FILE_PATH")
SAY_WHO = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody says where OSS and MaxCompute are, or who we are there."""
    for name in (*SAY_WHERE, *SAY_WHO):
        monkeypatch.delenv(name, raising=False)


NOT_BEGUN = {
    "script": ((), "-Dscript=oss://bucket/train.py", "oss://"),
    "hyper": ((), "-DhyperParameters=oss://bucket/hyper.txt", "oss://"),
    "bucket": ((), "-Dbuckets=oss://bucket/data/", "oss://"),
    "checkpoints": ((), "-DcheckpointDir=az://container/model/", "AZURE_STORAGE_ACCOUNT_NAME"),
    "tables": (("--tables-root", "oss://bucket/tables"), "-Dtables=odps://lab/tables/t", "oss://"),
    "service": (("--tables", "maxcompute"), "-Dtables=odps://lab/tables/t", "ODPS_ENDPOINT"),
}


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("options", "word", "said"),
    [pytest.param(*row, marks=[pytest.mark.full] * (name == "service")) for name, row in NOT_BEGUN.items()],
    ids=NOT_BEGUN.keys(),
)
def test_a_store_that_nobody_named_is_refused(options, word, said, front):
    front.desk.write("main.py", "")
    words = [*options, "-name", "tensorflow", *([] if "script" in word else ["-Dscript=code/main.py"]), word]
    ended = front(*words)
    assert ended.code == 2, ended.err
    assert ended.err.startswith("1 fault, nothing was touched:\n")
    assert said in ended.err
    assert not [path for path in Path("runs").rglob("*") if path.is_file()]


def test_a_later_statement_that_cannot_begin_has_failed(front):
    front.desk.make("create table t(a bigint)")
    front.desk.write("main.py", WRITES)
    one = "PAI -name tensorflow -Dscript=code/main.py -Doutputs=odps://lab/tables/t -Dtables=odps://lab/tables/"
    ended = front("-e", f"{one}t; {one}none;")
    assert ended.code == 1, ended.err
    assert "no such table" in ended.err
    assert front.desk.rows("t") == [(1,)]


BLOCKED = "import sys; sys.modules[{module!r}] = None; from pai_train.{place} import main; sys.exit(main(sys.argv[1:]))"


def blocked(folder: Path, module: str, place: str, *words: str) -> subprocess.CompletedProcess[str]:
    code = BLOCKED.format(module=module, place=place)
    return subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, check=False)


MISSING = {"tf1": ("tf_keras", (), "x = 1"), "py2": ("fissix", ("--py2",), "print 1")}


@pytest.mark.parametrize(("module", "options", "source"), MISSING.values(), ids=MISSING.keys())
def test_an_extra_that_is_not_installed_is_named(module, options, source, tmp_path):
    (tmp_path / "main.py").write_text(source)
    done = blocked(tmp_path, module, "pai.__main__", *options, "-name", "tensorflow", "-Dscript=main.py")
    assert done.returncode == 2, done.stderr
    assert f"{module}, which is not installed" in done.stderr
    assert "pip install 'pai_train[tf1]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_process_of_a_script_names_the_extra_too(tmp_path):
    (tmp_path / "main.py").write_text("x = 1")
    entry, place = str(tmp_path / "main.py"), str(tmp_path)
    orders = Orders(entry, place, place, (), f"{place}/record", f"{place}/mirror")
    done = blocked(tmp_path, "tf_keras", "pai.script", orders.to_text())
    assert done.returncode == 1
    assert done.stderr.endswith("to do: pip install 'pai_train[tf1]'\n")
    assert "Traceback" not in done.stderr


EVALUATED = """
import json, os, sys
import numpy as np
import tensorflow as tf
for name in ("checkpointDir", "job_name", "ps_hosts", "worker_hosts"):
    tf.app.flags.DEFINE_string(name, "", "")
tf.app.flags.DEFINE_integer("task_index", 0, "")
x = np.random.RandomState(0).rand(256, 2).astype("float32")
y = x.dot([1.0, -1.0]).astype("float32")
def model_fn(features, labels, mode):
    out = tf.layers.dense(features["x"], 1)[:, 0]
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(mode, predictions=out)
    loss = tf.losses.mean_squared_error(labels, out)
    train_op = tf.train.GradientDescentOptimizer(0.1).minimize(loss, tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)
def feed(epochs):
    return tf.estimator.inputs.numpy_input_fn({"x": x}, y, 32, epochs, shuffle=epochs is None)
config = tf.estimator.RunConfig(model_dir=tf.app.flags.FLAGS.checkpointDir, save_checkpoints_steps=100)
model = tf.estimator.Estimator(model_fn, config=config)
export = tf.estimator.FinalExporter("last", tf.estimator.export.build_raw_serving_input_receiver_fn(
    {"x": tf.placeholder(tf.float32, [None, 2], name="x")}))
tf.estimator.train_and_evaluate(
    model, tf.estimator.TrainSpec(feed(None), max_steps=300), tf.estimator.EvalSpec(feed(1), exporters=export))
print(config.task_type, config.task_id, config.is_chief)
"""


@pytest.mark.full
@pytest.mark.timeout(300)
def test_a_cluster_with_a_chief_and_an_evaluator(front, tmp_path):
    cluster = '{"ps":{"count":1},"chief":{"count":1},"worker":{"count":1},"evaluator":{"count":1}}'
    ended = front.script(EVALUATED, f"-Dcluster={cluster}", f"-DcheckpointDir=file://{tmp_path}/model")
    assert ended.code == 0, ended.out + ended.err
    [logs] = Path("runs").rglob("logs")
    said = {path.stem: path.read_text() for path in logs.iterdir()}
    assert "chief 0 True" in said["chief-0"]
    assert "worker 0 False" in said["worker-0"]
    assert "evaluator 0 False" in said["evaluator-0"]
    assert "the evaluator was ended" not in ended.err
    assert list((tmp_path / "model" / "eval").glob("events.*"))
    assert list((tmp_path / "model" / "export" / "last").glob("*/saved_model.pb"))
