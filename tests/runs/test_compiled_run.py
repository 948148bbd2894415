"""Whole runs whose steps XLA compiles: killed anywhere, the end is the same."""

from __future__ import annotations

import os
import signal

from tests.runs.test_resume import newest_step

KEYS = [
    "+recipe=iris",
    "gpus=0",
    "train.jit_compile=true",
    "train.epochs=6",
    "train.checkpoint.every_steps=2",
    "+model.params={dropout: 0.2, batch_norm: true}",
]


def test_a_kill_changes_nothing_where_steps_are_compiled(jobs):
    straight = jobs.done(*KEYS, "checkpointDir=checkpoints/straight")
    running = jobs.start(*KEYS, stand_behind=6)
    running.wait_for(lambda: newest_step(jobs) >= 6, timeout_s=120)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert newest_step(jobs) < straight["steps"]
    finished = jobs.run(*KEYS)
    assert finished.code == 0, finished
    assert "going on behind step" in finished.text
    record = jobs.last()
    assert [record[name] for name in ("metrics", "weights_sha256", "steps")] == [
        straight[name] for name in ("metrics", "weights_sha256", "steps")
    ]
    assert "XLA compiled the steps" in finished.text
