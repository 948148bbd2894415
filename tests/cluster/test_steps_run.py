"""How several workers take steps: schedules, clipping, weights, evaluation and callbacks give what one worker gives."""

from __future__ import annotations

import json
import os
import signal

import pytest
import tensorflow as tf

from tests.cluster.conftest import LONGEST_S, free_ports

RUN = ("+recipe=uneven", "train.batch_size=64", "train.learning_rate=0.02", "train.steps_per_call=4")
ALL = (
    *RUN,
    "train.epochs=6",
    "inputs.train.weight=c",
    "train.class_weight=balanced",
    "train.learning_rate_schedule={name: warmup_cosine, warmup_steps: 4, decay_steps: 30}",
    "train.clip_norm=0.3",
    "train.accumulate_steps=3",
    "train.evaluate_every_steps=5",
    "train.early_stopping={metric: test/loss, min_delta: 0.001}",
    "train.checkpoint={every_steps: 7, keep_best: {metric: test/loss, keep: 2}}",
    "inputs.train.on_bad_row=quarantine",
    "train.callbacks=[mine.Notes]",
)
MINE = """
import keras


class Notes(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        with open("notes.txt", "a") as file:
            file.write(f"{epoch} {logs['loss']:.6f} {logs['val_loss']:.6f}\\n")
        self.model.stop_training = epoch == 3


class Changes(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.model.optimizer.learning_rate * 0.99

    def on_epoch_end(self, epoch, logs=None):
        self.model.set_weights([value * 0.9 for value in self.model.get_weights()])
        self.model.save(f"model-{epoch}.keras")


class Behind(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model.set_weights([value * 0.9 for value in self.model.get_weights()])


class Predicts(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.predict({})
"""

OWN = """
from __future__ import annotations

import keras


class Own(keras.Model):
    def __init__(self, columns, label, hidden=()):
        super().__init__()

    def train_step(self, data):
        return {"loss": 0.0}


def build(columns, label, hidden=()) -> Own:
    return Own(columns, label)
"""


def spoil(path):
    """Makes every fortieth row a bad one."""
    lines = path.read_text().splitlines()
    lines[::40] = [f"{number},x" for number in range(len(lines[::40]))]
    path.write_text("\n".join(lines) + "\n")


def bad(jobs):
    """Returns what is told of the bad rows, and what is written down of them, whatever the order."""
    told = jobs.last()["inputs"]["train"]
    lines = (jobs.records()[-1].parent / told["quarantine"]).read_text().splitlines()
    return told["bad_rows"], told["rows_read"], sorted(lines)


def same(crews, *words, count=2):
    """Trains with one worker and with several, and returns both, whose losses are the same."""
    alone, several = crews("alone"), crews("several")
    for jobs in (alone, several):
        (jobs.cwd / "mine.py").write_text(MINE)
        if "inputs.train.on_bad_row=quarantine" in words:
            spoil(jobs.cwd / "data/rows.csv")
    alone.done(*words)
    ended = several.crew(count, *words).wait()
    assert [one.code for one in ended] == [0] * count, ended
    wanted, found = alone.losses(), several.losses()
    assert [line[:3] for line in found] == [line[:3] for line in wanted]
    assert [line[3] for line in found] == pytest.approx([line[3] for line in wanted], abs=1e-6)
    return alone, several


def test_all_at_once_is_what_one_worker_does(crews):
    alone, several = same(crews, *ALL)
    assert {kind for _, _, kind, _ in alone.losses()} == {"epoch", "eval"}
    notes = [(jobs.cwd / "notes.txt").read_text().splitlines() for jobs in (alone, several)]
    assert len(notes[0]) == len(notes[1]) == 4
    record, wanted = several.last(), alone.last()
    assert (record["epochs"], record["steps"]) == (wanted["epochs"], wanted["steps"]) == (4, 36)
    assert record["metrics"]["test"]["loss"] == pytest.approx(wanted["metrics"]["test"]["loss"], abs=1e-6)
    assert bad(several) == bad(alone)
    assert bad(alone)[:2] == (17, 641)
    kept = [sorted(path.name for path in jobs.cwd.glob("data/ck/*/step-*")) for jobs in (alone, several)]
    assert kept[0] == kept[1]


@pytest.mark.full
@pytest.mark.parametrize(
    ("count", "words"),
    [
        pytest.param(3, ALL, id="three workers"),
        pytest.param(
            2,
            (*RUN, "train.epochs=4", "train.clip_value=0.002", "train.class_weight={1: 3.0}", "train.steps=31"),
            id="cut gradients",
        ),
        pytest.param(2, (*RUN, "train.epochs=3", "train.callbacks=[mine.Changes]"), id="what callbacks change"),
        pytest.param(
            2,
            (*RUN, "train.epochs=30", "train.evaluate_every_steps=1", "train.early_stopping={patience: 4}"),
            id="stopped early",
        ),
    ],
)
def test_steps_of_several_workers_are_those_of_one(crews, count, words):
    alone, several = same(crews, *words, count=count)
    record, wanted = several.last(), alone.last()
    assert (record["epochs"], record["steps"]) == (wanted["epochs"], wanted["steps"])
    models = [{path.name for path in jobs.cwd.glob("*.keras")} for jobs in (alone, several)]
    assert models[0] == models[1]


@pytest.mark.full
def test_a_worker_killed_among_all_of_it_changes_nothing(crews):
    # All but the callback, which would end the training soon.
    words = (*ALL[:-1], "train.epochs=16", "+model.params.dropout=0.2")
    unkilled, killed = crews("unkilled"), crews("killed")
    for jobs in (unkilled, killed):
        spoil(jobs.cwd / "data/rows.csv")
    ended = unkilled.crew(2, *words).wait()
    assert [one.code for one in ended] == [0, 0], ended
    crew = killed.crew(2, *words)
    crew.running[0].wait_for(lambda: list(killed.cwd.glob("data/ck/*/step-*/MANIFEST.json")), LONGEST_S)
    os.kill(crew.running[1].pid, signal.SIGKILL)
    ended = crew.wait()
    assert [one.code for one in ended] == [74, -signal.SIGKILL], ended
    ended = killed.crew(2, *words).wait()
    assert [one.code for one in ended] == [0, 0], ended
    assert "going on behind step" in ended[0].text
    record, wanted = killed.last(), unkilled.last()
    assert record["steps"] == wanted["steps"]
    assert record["weights_sha256"] == wanted["weights_sha256"]
    assert bad(killed) == bad(unkilled)


@pytest.mark.full
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_few_bits_differ_little(crews, precision):
    words = (*RUN, "train.epochs=8", f"train.precision={precision}", "inputs.train.weight=c", "train.clip_norm=1")
    jobs = [crews("alone"), crews("several")]
    for one in jobs:
        # So large that gradients overflow, and float16 has to find another scale.
        text = (one.cwd / "data/rows.csv").read_text().splitlines()
        parts = [line.split(",") for line in text]
        lines = [f"{a},{b},{float(c) * 9000},{y}" for a, b, c, y in parts]
        (one.cwd / "data/rows.csv").write_text("\n".join(lines) + "\n")
    alone, several = jobs
    alone.done(*words)
    ended = several.crew(2, *words).wait()
    assert [one.code for one in ended] == [0, 0], ended
    wanted, found = alone.losses(), several.losses()
    assert [line[:3] for line in found] == [line[:3] for line in wanted]
    # Where an update is left out for an overflow depends on how many rows a worker adds up.
    assert found[-1][3] == pytest.approx(wanted[-1][3], rel=0.05)
    if precision == "mixed_float16":
        assert max(scale_of(one) for one in jobs) < 2**15


def scale_of(jobs):
    newest = max(jobs.cwd.glob("data/ck/*/step-*"))
    return tf.train.load_variable(
        str(newest / "variables"), "by_name/optimizer.Sdynamic_scale/.ATTRIBUTES/VARIABLE_VALUE"
    )


@pytest.mark.full
@pytest.mark.parametrize("key", ["train.resume", "train.warm_start"])
def test_the_chief_alone_reads_what_a_run_begins_from(crews, key):
    alone, several, elsewhere = crews("alone"), crews("several"), crews("elsewhere")
    rows = f"inputs.train.oss={(alone.cwd / 'data/rows.csv').as_uri()}"
    words = (*RUN, rows, "train.learning_rate=0.005", "train.epochs=4", "checkpointDir=new", f"{key}=ck")
    for jobs in (alone, several):
        jobs.done(*RUN, rows, "train.epochs=2")
    alone.done(*words)
    first = several.crew(2, *words, missing=[1])
    other = elsewhere.worker(first.addresses, 1, *words)
    ended = [*first.wait(), other.wait()]
    assert [one.code for one in ended] == [0, 0], ended
    assert not (elsewhere.cwd / "data/ck").exists()
    wanted, found = alone.losses(), several.losses()
    assert [line[:3] for line in found] == [line[:3] for line in wanted]
    assert [line[3] for line in found] == pytest.approx([line[3] for line in wanted], abs=1e-6)
    begins = {"train.resume": (3, 27), "train.warm_start": (1, 9)}[key]
    assert found[0][:2] == begins
    record = several.last()
    assert (record["begun_from"] is not None) == (key == "train.resume")
    if key == "train.warm_start":
        assert record["warm_start"] == {**alone.last()["warm_start"], "origin": record["warm_start"]["origin"]}


@pytest.mark.full
@pytest.mark.parametrize(
    ("callback", "said"),
    [
        ("Behind", "a callback changed the weights behind a batch"),
        ("Predicts", "model.predict waits for the other workers"),
    ],
)
def test_what_a_callback_may_not_do_ends_all(crews, callback, said):
    jobs = crews("refused")
    (jobs.cwd / "mine.py").write_text(MINE)
    ended = jobs.crew(2, *RUN, "train.epochs=3", f"train.callbacks=[mine.{callback}]").wait()
    assert sorted(one.code for one in ended) in ([1, 1], [1, 74]), ended
    assert said in ended[0].text
    assert not any("Traceback" in one.text for one in ended)


@pytest.mark.full
def test_bad_rows_of_all_workers_count_together(crews):
    jobs = crews("spoiled")
    spoil(jobs.cwd / "data/rows.csv")
    limit = ("inputs.train.on_bad_row=skip", "inputs.train.max_bad_rows=16")
    ended = jobs.crew(2, *RUN, "train.epochs=2", *limit).wait()
    assert [one.code for one in ended] == [1, 74], ended
    assert "input train has more bad rows than max_bad_rows allows" in ended[0].text
    assert "worker 0 of 2 has failed" in ended[1].text


@pytest.mark.parametrize(
    ("made", "cluster"), [("Own", "cluster=tf_config"), ("build", "cluster.workers=2")], ids=["scheduled", "started"]
)
def test_a_train_step_of_its_own_is_refused_before_workers_start_or_meet(crews, made, cluster):
    jobs = crews("own")
    (jobs.cwd / "mine.py").write_text(OWN)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 0}}
    ended = jobs.run(*RUN, f"model.name=mine.{made}", cluster, env={"TF_CONFIG": json.dumps(task)})
    assert ended.code == 2, ended
    assert f"model.name=mine.{made}: the model Own has a train_step of its own" in ended.text
    assert "got: 2 workers" in ended.text
    assert not jobs.records()
    assert not list(jobs.cwd.glob("runs/**/worker-*.log"))
