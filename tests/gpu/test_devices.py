"""Which devices are taken, how much of their memory, and that variables and results are on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.gpu.conftest import memory_mib

PROBE = """
import json, sys
from pai_train.training.devices import prepare, strategy
devices = prepare(sys.argv[1], "fail", deterministic=False, seed=1)
import tensorflow as tf
with strategy(devices).scope():
    values = tf.Variable(tf.ones([1024, 1024]))
@tf.function
def step():
    return tf.linalg.matmul(values, values)
made = strategy(devices).run(step)
local = strategy(devices).experimental_local_results(made)
seen = tf.config.get_visible_devices("GPU")
print(json.dumps({
    "names": devices.names,
    "kind": devices.kind,
    "notice": devices.notice,
    "results": [one.device for one in local],
    "value": float(local[0][0, 0]),
    "visible": len(seen),
    "growth": [bool(tf.config.experimental.get_memory_growth(one)) for one in seen],
}), flush=True)
sys.stdin.readline()
"""


def probed(place, gpus):
    """Returns what a process that asked for `gpus` has, and the GPU memory in MiB that it took and that there is."""
    before = memory_mib()[0] if place.gpus else 0
    with subprocess.Popen(
        [sys.executable, "-c", PROBE, gpus],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **place.env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stdout.readline()
        assert line, f"exit {process.wait(60)}"
        used, total = memory_mib() if place.gpus else (0, 0)
        process.communicate("\n", timeout=60)
    assert process.returncode == 0
    return json.loads(line), used - before, total


@pytest.mark.parametrize("gpus", ["1", "0,", "auto", "0"])
def test_the_devices_are_those_asked_for(place, gpus):
    if not place.gpus and gpus in ("1", "0,"):
        pytest.skip("asks for a GPU")
    count = 0 if gpus == "0" else place.gpus if gpus == "auto" else 1
    found, taken_mib, total_mib = probed(place, gpus)
    assert found["value"] == 1024.0
    if not count:
        assert (found["kind"], found["names"], found["visible"]) == ("cpu", ["/cpu:0"], 0)
        assert (found["notice"] is None) == (gpus == "0")
        assert ["CPU:0" in name for name in found["results"]] == [True]
        # A process that computes on the CPU leaves GPUs to others.
        assert taken_mib < 64
        return
    assert (found["kind"], found["notice"], found["visible"]) == ("gpu", None, count)
    assert found["names"] == [f"/gpu:{number}" for number in range(count)]
    assert [f"GPU:{number}" in name for number, name in enumerate(found["results"])] == [True] * count
    assert found["growth"] == [True] * count
    print(f"\ngpus={gpus}: {taken_mib} of {total_mib} MiB taken on the first GPU")
    # Without growth TensorFlow takes nearly all of it at once; the context of CUDA takes some hundreds of MiB.
    assert taken_mib < total_mib / 4


@pytest.mark.parametrize("asked", ["99", "0,99"])
def test_a_gpu_that_is_not_there_is_refused(place, jobs, asked):
    ended = jobs.run("+recipe=iris", f"gpus='{asked}'", "on_missing_gpu=fail", **place.how)
    assert ended.code == 2, ended
    assert "fewer GPUs" in ended.text
    assert not jobs.records()
