"""Images in a recipe, whole: learned by a named model and a user's own, predicted into a table, stopped and resumed."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests.runs.test_recipes_run import read_table

RECIPE = """# Pets: dark or light, from PNG files.
inputs:
  train:
    oss: pets/*/*.png
    format: image
    image: {height: 6, width: 5, channels: 3}
    label: label
    split: {test: 0.2}
outputs:
  guesses:
    table: guesses
    ddl: create table guesses(path STRING, label STRING, kind STRING)
    columns: {kind: $prediction, label: label}
checkpointDir: checkpoints/pets
model: {params: {hidden: [8]}}
train: {epochs: 8, batch_size: 4, learning_rate: 0.05}
"""
BUILDER = '''"""A convolution over images."""

import keras

from pai_train.models.preprocess import inputs


def convnet(columns, label, *, filters=2):
    raw = inputs(columns)
    assert raw["image"].shape == (None, 6, 5, 3)
    flow = keras.layers.Rescaling(1 / 255)(raw["image"])
    flow = keras.layers.Conv2D(filters, 3, activation="relu")(flow)
    flow = keras.layers.GlobalAveragePooling2D()(flow)
    return keras.Model(raw, keras.layers.Dense(label.width)(flow))
'''


@pytest.fixture
def pets(jobs):
    """24 images of several sizes, dark and light, in a folder each."""
    for kind, grey in (("dark", 20), ("light", 230)):
        folder = jobs.cwd / "data" / "pets" / kind
        folder.mkdir(parents=True)
        for n in range(12):
            pixels = np.full((6 + n, 8, 3), grey + n, np.uint8)
            (folder / f"{n:02}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    (jobs.cwd / "recipes").mkdir()
    (jobs.cwd / "recipes" / "pets.yaml").write_text(RECIPE)
    (jobs.cwd / "mynet.py").write_text(BUILDER)
    return jobs


def test_images_are_learned_predicted_and_the_same_by_both_engines(pets):
    # Looking at the images before must leave the devices to be chosen.
    record = pets.done("+recipe=pets", "gpus=2")
    assert record["inputs"]["train"]["rows"] == 24
    assert record["metrics"]["train"]["accuracy"] == record["metrics"]["test"]["accuracy"] == 1
    rows = read_table(pets.cwd / "data/tables", "guesses")
    assert len(rows) == record["outputs"]["guesses"]["rows"] == 24
    assert {path.split("/pets/")[1] for path, _, _ in rows} == {
        f"{kind}/{n:02}.png" for kind in ("dark", "light") for n in range(12)
    }
    assert all(path.split("/")[-2] == label == kind for path, label, kind in rows)
    other = pets.done(
        "+recipe=pets", "gpus=2", "engine=queue_runner", "checkpointDir=again", "outputs.guesses.table=again"
    )
    assert other["metrics"] == record["metrics"]
    assert other["weights_sha256"] == record["weights_sha256"]
    assert read_table(pets.cwd / "data/tables", "again") == rows


@pytest.mark.full
def test_a_builder_of_the_users_own_sees_pixels_and_a_stopped_run_goes_on(pets):
    own = [
        "+recipe=pets",
        "model.name=mynet.convnet",
        "~model.params.hidden",
        "train.epochs=8",
        "train.steps_per_call=1",
    ]
    straight = pets.done(*own, "checkpointDir=straight", "outputs.guesses.table=straight")
    own.append("train.checkpoint.every_steps=1")
    running = pets.start(*own)
    running.wait_for(lambda: list((pets.cwd / "data/checkpoints/pets").glob("g0001-*/step-*3/MANIFEST.json")))
    os.kill(running.pid, signal.SIGTERM)
    stopped = running.wait()
    assert stopped.code == 75, stopped
    resumed = pets.run(*own)
    assert resumed.code == 0, resumed
    assert "going on behind step" in resumed.text
    assert pets.last()["weights_sha256"] == straight["weights_sha256"]
    assert pets.last()["metrics"] == straight["metrics"]


def test_a_list_of_labels_and_a_check(pets):
    lines = [f"{kind}/{n:02}.png,{n % 2}\n" for kind in ("dark", "light") for n in range(12)]
    (pets.cwd / "data/pets/labels.csv").write_text("".join(["path,label\n", *lines]))
    asked = ["+recipe=pets", "mode=check", "inputs.train.image.labels=pets/labels.csv"]
    finished = pets.run(*asked)
    assert finished.code == 0, finished
    assert "is there" in finished.text
    assert "CUDA" not in finished.text
    short = "".join(["path,label\n", *lines[:7]])
    (pets.cwd / "data/pets/labels.csv").write_text(short)
    finished = pets.run(*asked)
    assert finished.code != 0
    assert "the list of labels has no line for an image" in " ".join(finished.text.split())


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("outputs.guesses.columns.path=image", "column 'path' cannot hold images"),
        ("inputs.train.image.labels=pets/labels.csv", "inputs.train.image.labels"),
        ("inputs.train.label=image", "the label's type does not go with"),
    ],
    ids=["image written", "no list", "image learned"],
)
def test_what_images_cannot_be_is_refused_before_anything_is_written(override, told, pets):
    finished = pets.run("+recipe=pets", override)
    assert finished.code == 2, finished
    assert told in finished.text
    assert not (pets.cwd / "data/checkpoints").exists()
