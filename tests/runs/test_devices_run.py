"""gpus=N on a machine without GPUs: said loudly, and the same losses whatever N is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow as tf

without_gpu = pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="the machine has a GPU")


def losses(record):
    lines = (Path(record["folder"]) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["values"]["loss"] for line in lines]


@without_gpu
def test_losses_are_the_same_on_1_2_and_4_replicas_with_an_uneven_last_batch(jobs):
    arguments = ["+recipe=iris", "train.epochs=4", "train.batch_size=32"]
    records = [jobs.done(*arguments, f"gpus={n}", f"checkpointDir=ck/{n}") for n in (0, 1, 2, 4)]
    rows = records[0]["inputs"]["train"]["rows"]
    assert rows % 32
    assert [record["replicas"] for record in records] == [1, 1, 2, 4]
    for record in records[1:]:
        assert losses(record) == pytest.approx(losses(records[0]), abs=1e-6)


@without_gpu
def test_missing_gpus_are_said_loudly_or_refused(jobs):
    finished = jobs.run("+recipe=iris", "gpus=2", "train.epochs=1")
    assert finished.code == 0
    assert "warning: GPUs asked for: 2, present: 0" in finished.text
    refused = jobs.run("+recipe=iris", "gpus=2", "on_missing_gpu=fail", "checkpointDir=other")
    assert refused.code == 2
    assert "gpus=2" in refused.text
    assert "fewer GPUs" in refused.text
    assert len(jobs.records()) == 1
