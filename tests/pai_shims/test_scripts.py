"""Scripts in the styles people wrote, run unchanged; each is checked for what it computes."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "scripts"


def test_deepfm_with_an_estimator(run_script, tmp_path):
    got = run_script(SCRIPTS / "deepfm_estimator.py", f"--model_dir={tmp_path}/m")
    assert got["global_step"] == 160
    assert got["auc"] > 0.9
    assert got["served_off_by"] < 1e-6


def test_text_cnn_with_placeholders(run_script):
    got = run_script(SCRIPTS / "text_cnn.py")
    assert got["last"] < 0.2 * got["first"]
    assert got["accuracy"] > 0.95
    assert got["step"] == 150


def test_bilstm_with_a_random_field(run_script):
    got = run_script(SCRIPTS / "bilstm_crf.py")
    assert got["last"] < 0.2 * got["first"]
    assert got["right"] > 0.8


def test_lookup_tables_and_parameters(run_script, tmp_path):
    got = run_script(SCRIPTS / "lookup_hparams.py", f"rate=0.05,steps=150,units=[8,4],vocab={tmp_path}/words")
    assert got["ids"] == [0, 2, 1, 3]
    assert got["names"] == ["red", "blue", "green", "?"]
    assert got["loss"] < 0.01


def test_slim_net(run_script, tmp_path):
    got = run_script(SCRIPTS / "slim_convnet.py", f"{tmp_path}/m")
    assert got["steps"] == 60
    assert got["last"] < 0.3 * got["first"]
    assert got["right"] > 0.9


def test_wide_and_deep(run_script, tmp_path):
    got = run_script(SCRIPTS / "wide_and_deep.py", str(tmp_path))
    assert got["global_step"] == 160
    assert got["accuracy"] > 0.95
    assert got["auc"] > 0.98


def test_character_model(run_script):
    got = run_script(SCRIPTS / "char_rnn.py")
    assert got["first"] == pytest.approx(got["uniform"], rel=0.1)
    assert got["last"] < 0.3


def test_a_name_that_is_gone(run_script):
    said = run_script(SCRIPTS / "gone.py", code=1)
    assert "gone.py:6: tf.contrib.tensor_forest is gone" in said
    assert "tensorflow_decision_forests" in said


@pytest.mark.full
def test_chief_worker_ps_and_evaluator(tf1, tmp_path):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    chief, worker, ps = (f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    for one in sockets:
        one.close()
    cluster = {"chief": [chief], "worker": [worker], "ps": [ps]}
    before, pids = len(tf1.output), {}
    for part in ("ps", "chief", "worker", "evaluator"):
        config = json.dumps({"cluster": cluster, "task": {"type": part, "index": 0}})
        arguments = (str(SCRIPTS / "distributed_estimator.py"), [f"{tmp_path}/m"], str(tmp_path / part))
        pids[part] = tf1.start("tests.pai_shims.tf1:script", *arguments, env={"TF_CONFIG": config})
    try:
        for part in ("chief", "worker", "evaluator"):
            assert tf1.wait(pids[part], 90) == 0, f"{part}\n{tf1.output[before:]}"
    finally:
        for pid in pids.values():
            _end(pid)
    got = json.loads((tmp_path / "evaluator").read_text())
    assert got["global_step"] >= 400
    assert got["loss"] < 0.01


def _end(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    time.sleep(0.05)
