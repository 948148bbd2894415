"""Whole runs with accumulation, weights, a schedule and early stopping: killed anywhere, the end is the same."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.runs.test_resume import newest_step

KEYS = [
    "+recipe=iris",
    "train.epochs=12",
    "train.steps_per_call=2",
    "train.checkpoint.every_steps=2",
    "+model.params.dropout=0.2",
    "train.accumulate_steps=3",
    "train.clip_norm=0.5",
    "train.class_weight=balanced",
    "inputs.train.weight=f4",
    "train.learning_rate_schedule={name: warmup_cosine, warmup_steps: 4, decay_steps: 30}",
    "train.evaluate_every_steps=5",
    "train.early_stopping={metric: test/loss, min_delta: 0.02, patience: 8}",
]


def of_generation(record):
    return [record[name] for name in ("metrics", "weights_sha256", "steps", "epochs")]


@pytest.mark.parametrize("gpus", [pytest.param(0, marks=pytest.mark.full), 2])
def test_a_kill_inside_an_accumulation_changes_nothing(jobs, tmp_path, gpus):
    straight = jobs.done(*KEYS, f"gpus={gpus}", "checkpointDir=checkpoints/straight")
    running = jobs.start(*KEYS, f"gpus={gpus}", stand_behind=14)
    running.wait_for(lambda: newest_step(jobs) >= 14)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    killed_at = newest_step(jobs)
    finished = jobs.run(*KEYS, f"gpus={gpus}")
    assert finished.code == 0, finished
    assert "going on behind step" in finished.text
    record = jobs.last()
    assert killed_at < record["steps"]
    assert of_generation(record) == of_generation(straight)
    state = json.loads((jobs.cwd / record["checkpoint"] / "MANIFEST.json").read_text())["extra"]["state"]
    assert state["tracking"]["restored"] == 1
    assert record["metrics"]["test"]["loss"] == state["best"]["test/loss"] == state["tracking"]["best"]
    # Predictions are the best weights', and a weight is no feature.
    config = (jobs.cwd / record["folder"] / "config.yaml").read_text()
    assert "weight: f4" in config
