"""Variables by name, through TensorFlow's checkpoint format and across replica counts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pai_train.errors import CheckpointError
from pai_train.training.state import read_variables, weights_sha256, write_variables

CODE = str(Path(__file__).parents[2])

MODEL = """
import json, os, sys
from pathlib import Path
import numpy as np
import tensorflow as tf, keras
from pai_train.training.state import read_variables, weights_sha256, write_variables

def build():
    inputs = keras.Input((3,))
    x = keras.layers.Dense(4, name="a")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(0.5, seed=3, name="drop")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, name="b")(x))
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    named = {f"model/{v.path}": v.value for v in model.variables}
    named |= {f"optimizer/{v.path}": v.value for v in optimizer.variables}
    return model, optimizer, named

def step(model, optimizer, x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x, training=True) ** 2)
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
    return loss

def main(replicas, folder):
    devices = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * replicas)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    with strategy.scope():
        model, optimizer, named = build()
    strategy.run(step, (model, optimizer, tf.ones((2, 3))))
    write_variables(named, folder)
    first = weights_sha256(named)
    for name, variable in named.items():
        with strategy.scope():
            variable.assign(tf.zeros_like(variable))
    read_variables(named, folder)
    print(json.dumps([first, weights_sha256(named), strategy.num_replicas_in_sync, sorted(named)]))
"""


@pytest.fixture(scope="module")
def tf():
    import tensorflow

    return tensorflow


def variables(tf):
    return {
        "model/a.b/kernel": tf.Variable(np.arange(6, dtype=np.float32).reshape(2, 3) / 7),
        "model/a.b.S/kernel": tf.Variable(np.float64(0.1)),
        "seed": tf.Variable(np.array([1, 2**32 - 1], dtype=np.uint32)),
        "steps": tf.Variable(2**40, dtype=tf.int64),
        "half": tf.Variable(tf.constant([1.5, float("nan")], tf.bfloat16)),
        "flag": tf.Variable([True, False]),
        "empty": tf.Variable(np.zeros((0, 4), dtype=np.float32)),
        "save_counter": tf.Variable(3),
    }


def wiped(tf, named):
    return {name: tf.Variable(tf.zeros_like(variable)) for name, variable in named.items()}


def test_every_value_comes_back_bit_for_bit(tf, tmp_path):
    named = variables(tf)
    write_variables(named, tmp_path / "new" / "folder")
    back = wiped(tf, named)
    read_variables(back, tmp_path / "new" / "folder")
    assert {n: v.numpy().tobytes() for n, v in back.items()} == {n: v.numpy().tobytes() for n, v in named.items()}
    assert weights_sha256(back) == weights_sha256(named)


def test_the_files_are_tensorflows_own_format(tf, tmp_path):
    write_variables(variables(tf), tmp_path)
    reader = tf.train.load_checkpoint(str(tmp_path / "variables"))
    assert reader.get_tensor("by_name/steps/.ATTRIBUTES/VARIABLE_VALUE") == 2**40


def test_all_differences_are_listed_and_nothing_is_changed(tf, tmp_path):
    named = variables(tf)
    write_variables(named, tmp_path)
    other = wiped(tf, named)
    del other["seed"]
    other["model/new"] = tf.Variable(0.0)
    other["steps"] = tf.Variable(0, dtype=tf.int32)
    other["model/a.b/kernel"] = tf.Variable(np.zeros((3, 3), dtype=np.float32))
    before = weights_sha256(other)
    with pytest.raises(CheckpointError, match="does not fit the model") as caught:
        read_variables(other, tmp_path)
    assert caught.value.fault.got == (
        "missing in the checkpoint: model/new; not in the model: seed;"
        " model/a.b/kernel is float32[2,3], the model wants float32[3,3]; steps is int64[], the model wants int32[]"
    )
    assert weights_sha256(other) == before


def test_no_checkpoint_and_damaged_ones_are_named(tf, tmp_path):
    named = variables(tf)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_variables(named, tmp_path)
    write_variables(named, tmp_path / "good")
    for path in sorted((tmp_path / "good").iterdir()):
        bad = tmp_path / f"bad-{path.suffix}"
        shutil.copytree(tmp_path / "good", bad)
        content = path.read_bytes()
        (bad / path.name).write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_variables(named, bad)


def test_the_hash_sees_names_types_shapes_and_values(tf):
    hashes = {
        weights_sha256(named)
        for named in (
            {"a": tf.Variable([0.0, 0.0])},
            {"b": tf.Variable([0.0, 0.0])},
            {"a": tf.Variable([[0.0, 0.0]])},
            {"a": tf.Variable([0, 0])},
            {"a": tf.Variable([0.0, -0.0])},
            {"a": tf.Variable([0.0]), "b": tf.Variable([0.0])},
        )
    }
    assert len(hashes) == 6
    assert weights_sha256({"a": tf.Variable(1), "b": tf.Variable(2)}) == weights_sha256(
        {"b": tf.Variable(2), "a": tf.Variable(1)}
    )


def test_saved_with_two_replicas_restored_with_two_and_with_one(tf, tmp_path):
    import json

    script = MODEL + f"\nmain(2, Path({str(tmp_path)!r}))\n"
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=120, cwd=CODE
    )
    assert done.returncode == 0, done.stderr
    first, again, replicas, names = json.loads(done.stdout.splitlines()[-1])
    assert replicas == 2
    assert first == again
    assert any("seed" in name for name in names)

    import keras

    # Keras numbers the layers of a process: the other process had none before.
    keras.utils.clear_session()
    here: dict = {}
    exec(compile(MODEL, "model", "exec"), here)
    _, _, named = here["build"]()
    assert sorted(named) == names
    assert weights_sha256(named) != first
    read_variables(named, tmp_path)
    assert weights_sha256(named) == first
