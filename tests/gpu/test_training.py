"""Whole runs on a device: exact on resume, in fewer bits, kept busy by the input, and alike on two."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest

IRIS = ("+recipe=iris", "train.epochs=12", "train.learning_rate=0.01")
RECIPE = """# Numbers.
inputs:
  train:
    oss: rows.csv
    columns: {a: DOUBLE, b: DOUBLE, c: DOUBLE, d: DOUBLE, y: DOUBLE}
    label: y
checkpointDir: ck
model: {name: mlp, params: {hidden: HIDDEN}}
train: {learning_rate: 0.0001}
"""
SIZES = {"cpu": ([256, 256, 256], 128, 40_000), "gpu": ([4096, 4096, 4096, 4096], 1024, 400_000)}
"""Hidden layers, rows of a batch, and rows."""


def losses(record):
    lines = (Path(record["folder"]) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["values"]["loss"] for line in lines]


def numbers(folder, size):
    """Writes a recipe with a model and rows of a size."""
    hidden, _, rows = size
    values = np.random.default_rng(7).normal(size=(rows, 4)).astype(np.float32)
    (folder / "data").mkdir()
    (folder / "recipes").mkdir()
    table = np.column_stack([values, np.sin(values).sum(axis=1)])
    np.savetxt(folder / "data" / "rows.csv", table, fmt="%.6f", delimiter=",")
    (folder / "recipes" / "numbers.yaml").write_text(RECIPE.replace("HIDDEN", json.dumps(hidden)))


def test_a_killed_run_ends_with_the_same_bits(place, jobs):
    words = (*IRIS, *place.replicas(1), "train.deterministic=true", "+model.params.dropout=0.2")
    words = (*words, "train.checkpoint.every_steps=4", "train.steps_per_call=4")
    straight = jobs.done(*words, "checkpointDir=ck/straight", **place.how)
    running = jobs.start(*words, "checkpointDir=ck/killed", **place.how)
    running.wait_for(lambda: list(jobs.cwd.glob("data/ck/killed/*/step-*/MANIFEST.json")))
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    ended = jobs.run(*words, "checkpointDir=ck/killed", **place.how)
    assert ended.code == 0, ended
    record = jobs.last()
    assert record["devices"] == ["/gpu:0" if place.gpus else "/cpu:0"]
    assert record["weights_sha256"] == straight["weights_sha256"]
    assert record["metrics"] == straight["metrics"]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_fewer_bits_learn_the_same(place, jobs, precision):
    whole = jobs.done(*IRIS, *place.replicas(1), "checkpointDir=ck/float32", **place.how)
    mixed = jobs.done(*IRIS, *place.replicas(1), f"train.precision={precision}", "checkpointDir=ck/mixed", **place.how)
    found, wanted = mixed["metrics"]["test"]["loss"], whole["metrics"]["test"]["loss"]
    assert math.isfinite(found)
    assert found != wanted
    assert found == pytest.approx(wanted, abs=0.1)


def test_the_input_keeps_the_device_busy(place, jobs):
    size = SIZES["gpu" if place.gpus else "cpu"]
    numbers(jobs.cwd, size)
    words = ("+recipe=numbers", *place.replicas(1), f"train.batch_size={size[1]}")
    told = []
    for precision in ("float32", "mixed_bfloat16"):
        epochs = 3 if place.gpus else 1
        record = jobs.done(*words, f"train.epochs={epochs}", f"train.precision={precision}", **place.how)
        told.append(record["stall_fraction"])
        print(f"\n{precision}: {record['rows_per_s']:,.0f} rows/s, input waited for {told[-1]:.1%} of the time")
    # Above a fifth the device would wait for rows and not the rows for it.
    assert max(told) < 0.2


def test_two_replicas_learn_what_one_does(two, jobs):
    one = jobs.done(*IRIS, *two.replicas(1), "checkpointDir=ck/one", **two.how)
    both = jobs.done(*IRIS, *two.replicas(2), "checkpointDir=ck/two", **two.how)
    assert (one["replicas"], both["replicas"]) == (1, 2)
    # GPUs multiply float32 in TF32, of which another cut of the rows rounds otherwise.
    assert losses(both) == pytest.approx(losses(one), abs=1e-2 if two.gpus else 1e-5)


@pytest.mark.full
def test_two_workers_learn_what_one_does(two, jobs):
    gpus = 1 if two.gpus else 0
    one = jobs.done(*IRIS, f"gpus={gpus}", "checkpointDir=ck/one", cold=True, env=two.env)
    both = jobs.done(*IRIS, f"gpus={gpus}", "cluster.workers=2", "checkpointDir=ck/two", cold=True, env=two.env)
    assert (one["replicas"], both["replicas"]) == (1, 2)
    assert losses(both) == pytest.approx(losses(one), abs=1e-2 if two.gpus else 1e-5)
