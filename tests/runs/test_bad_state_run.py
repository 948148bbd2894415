"""What ends a run beside the rows: no room, places that cannot be written, damaged parts, models that have changed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs.test_resume import newest_step

IRIS = [
    *["+recipe=iris", "train.epochs=2", "train.steps_per_call=2"],
    *["train.checkpoint.every_steps=2", "train.checkpoint.keep_last=9"],
]
CODE = str(Path(__file__).parents[2])


def shell(words):
    return " ".join(f"'{word}'" for word in words)


def ends(jobs, *lines):
    """Runs lines of a shell in a mount namespace of their own, where `train …` is a cold command.

    Returns the exit code of each command, and what it said.
    """
    head = f'train() {{ {sys.executable} -m pai_train "$@" 2>&1 && code=0 || code=$?; echo "exit $code"; }}\n'
    space = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*space, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mount namespaces")
    words = [*space, "sh", "-ec", head + "\n".join(lines)]
    env = {**os.environ, "PYTHONPATH": CODE}
    done = subprocess.run(words, cwd=jobs.cwd, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return [(int(code), said) for said, code in re.findall(r"(.*?)^exit (\d+)$", done.stdout, re.DOTALL | re.MULTILINE)]


@pytest.mark.full
def test_no_room_for_a_checkpoint_keeps_the_one_before_and_with_room_it_goes_on(jobs):
    wide = [*IRIS, "model.params.hidden=[64,64]"]
    straight = jobs.done(*wide, "train.resume=never", "checkpointDir=straight")
    (jobs.cwd / "data/checkpoints").mkdir()
    (jobs.cwd / "small").mkdir()
    found = ends(
        jobs,
        "mount -t tmpfs -o size=300k none data/checkpoints",
        "mount -t tmpfs -o size=40k none small",
        f"TMPDIR=$PWD/small train {shell(wide)}",
        f"train {shell(wide)}",
        "mount -o remount,size=9m data/checkpoints",
        f"train {shell(wide)}",
    )
    assert [code for code, _ in found] == [1, 1, 0], found
    here, there, done = (said for _, said in found)
    assert "cannot be written to this machine's disk" in here
    assert "No space left on device" in here
    assert "TMPDIR" in here
    assert "step-0000000" in there
    assert "free space there" in there
    assert "going on behind step 8 " in done
    assert "Traceback" not in here + there + done
    assert jobs.last()["weights_sha256"] == straight["weights_sha256"]


@pytest.mark.full
def test_a_checkpoint_dir_that_cannot_be_written_is_refused(jobs):
    (jobs.cwd / "data/checkpoints").mkdir(parents=True)
    found = ends(
        jobs,
        "mount -t tmpfs none data/checkpoints",
        "mount -o remount,ro data/checkpoints",
        f"train {shell(IRIS)}",
        f"train {shell(IRIS)} mode=check",
    )
    assert [code for code, _ in found] == [2, 2], found
    assert "checkpointDir" in found[0][1]
    assert "a folder that this process may write into" in found[0][1]
    assert "nothing was touched" in found[0][1]
    assert {path.name for path in (jobs.cwd / "data").iterdir()} == {"checkpoints"}


def killed(jobs, *words, at=6):
    running = jobs.start(*words)
    running.wait_for(lambda: newest_step(jobs) >= at, 200)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    return sorted((jobs.cwd / "data/checkpoints/iris").glob("g0001-*/step-*/MANIFEST.json"))


def test_a_damaged_part_is_passed_over_and_where_all_are_none_is_made_up(jobs):
    straight = jobs.done(*IRIS, "train.resume=never", "checkpointDir=straight")
    *_, before, newest = killed(jobs, *IRIS)
    (data,) = newest.parent.glob("variables.data-*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    step = int(before.parent.name.split("-")[1])
    finished = jobs.run(*IRIS)
    assert finished.code == 0, finished
    assert f"{newest.parent.name} is damaged, going on from the one before it" in finished.text
    assert f"going on behind step {step} " in finished.text
    assert jobs.last()["weights_sha256"] == straight["weights_sha256"]
    (run,) = (jobs.cwd / "data/checkpoints/iris").glob("g0001-*")
    (run / "finished.json").unlink()
    for data in run.glob("step-*/variables.index"):
        data.unlink()
    refused = jobs.run(*IRIS)
    assert refused.code == 1, refused
    assert "there are checkpoints, and none of them is sound" in refused.text
    assert "train.resume=never" in refused.text


MODEL = """
import keras
from pai_train.models.preprocess import features

def build(columns, label):
    raw, flow = features(columns)
    flow = keras.layers.Dense({units}, name="first", activation="relu")(flow)
    return keras.Model(raw, keras.layers.Dense(label.width, name="{last}", dtype="float32")(flow))
"""


def test_a_model_of_the_same_recipe_that_has_changed_is_told_by_its_variables(jobs):
    own = [*IRIS, "model.name=mine.build", "~model.params.hidden"]
    (jobs.cwd / "mine.py").write_text(MODEL.format(units=8, last="last"))
    before = killed(jobs, *own)
    (jobs.cwd / "mine.py").write_text(MODEL.format(units=9, last="end"))
    finished = jobs.run(*own)
    assert finished.code == 1, finished
    assert "missing in the checkpoint: model/end/bias" in finished.text
    assert "not in the model: model/last/bias" in finished.text
    assert "model/first/bias is float32[8], the model wants float32[9]" in finished.text
    assert "to do" in finished.text
    assert "Traceback" not in finished.text
    assert before[-1].exists()


def test_a_loss_that_is_no_number_leaves_the_last_good_checkpoint_to_go_on_from(jobs):
    rate = "{name: piecewise, boundaries: [9], values: [0.01, 1e30]}"
    bad = jobs.run(*IRIS, f"train.learning_rate_schedule={rate}")
    assert bad.code == 1, bad
    assert "the loss is" in bad.text
    assert ", in epoch 2, batch " in bad.text
    assert "the last checkpoint stays as it is" in bad.text
    # The rate was wrong from step 10 on: what was saved behind it has a loss, and no use.
    (good,) = (jobs.cwd / "data/checkpoints/iris").glob("g0001-*/step-000000008")
    better = f"train.learning_rate_schedule={rate.replace('1e30', '0.001')}"
    finished = jobs.run(*IRIS, better, "checkpointDir=better", f"train.resume={good}")
    assert (finished.code, jobs.last()["steps"]) == (0, 18), finished
    assert "going on behind step 8 " in finished.text


ROOT_OF_NOTHING = MODEL.replace("    return", "    flow = keras.ops.sqrt(flow)\n    return")


def test_weights_that_are_no_numbers_are_not_saved_in_the_place_of_good_ones(jobs):
    """The loss of the step that spoils them is a number: that of sqrt at 0 is, and its gradient is none."""
    (jobs.cwd / "mine.py").write_text(ROOT_OF_NOTHING.format(units=8, last="last"))
    every = [word.replace("=2", "=1") for word in IRIS]
    finished = jobs.run(*every, "model.name=mine.build", "~model.params.hidden")
    assert finished.code == 1, finished
    assert "weights are NaN or infinite behind step" in finished.text
    assert newest_step(jobs) == 0


@pytest.mark.full
def test_more_replicas_than_rows_and_no_rows_at_all(jobs):
    records = [jobs.done("+recipe=iris", "train.batch_size=3", "train.steps=9", f"gpus={gpus}") for gpus in (0, 4)]
    losses = [record["metrics"]["test"]["loss"] for record in records]
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    nothing = jobs.run("+recipe=iris", "+inputs.train.where=f1 > 1000")
    assert nothing.code == 2, nothing
    assert "nothing was touched" in nothing.text
    assert "where" in nothing.text
    few = jobs.run("+recipe=iris", "train.batch_size=1000", "train.drop_remainder=true")
    assert few.code == 1, few
    assert "the rows to train on fill no batch" in few.text
