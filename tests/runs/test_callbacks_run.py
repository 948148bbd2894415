"""Keras callbacks of a recipe: from the command line, from YAML, out of a file beside the recipe, on two replicas."""

from __future__ import annotations

import json

import pytest

MINE = """
import json
import keras

def note(epoch, logs):
    with open("notes.jsonl", "a") as file:
        file.write(json.dumps([epoch, logs["val_loss"]]) + "\\n")

noted = keras.callbacks.LambdaCallback(on_epoch_end=note)

def early():
    return keras.callbacks.EarlyStopping(monitor="val_loss", patience=1, min_delta=9.0, restore_best_weights=True)

def kept():
    return keras.callbacks.ModelCheckpoint("best.keras", monitor="val_loss", save_best_only=True)

class Slower(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate = 0.01 / (epoch + 1)

    def on_train_end(self, logs=None):
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        open("rate", "w").write(repr(rate))
"""
RECIPE = """# Iris, watched by its own callbacks.
# @package _global_
defaults: [/recipe/iris]
train:
  epochs: 5
  callbacks: [mine.Slower, mine.noted, mine.early, mine.kept, keras.callbacks.TerminateOnNaN]
"""


def notes(jobs):
    return [json.loads(line) for line in (jobs.cwd / "notes.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("gpus", [2, pytest.param(0, marks=pytest.mark.full)])
def test_a_recipe_names_callbacks_of_a_file_beside_it(jobs, gpus):
    folder = jobs.cwd / "recipes"
    folder.mkdir()
    (folder / "mine.py").write_text(MINE)
    (folder / "own.yaml").write_text(RECIPE)
    straight = jobs.done("+recipe=iris", "train.epochs=1", f"gpus={gpus}", "checkpointDir=straight")
    record = jobs.done("+recipe=own", f"gpus={gpus}")
    # It stops behind the second epoch, with the weights of the first.
    assert (record["epochs"], record["replicas"]) == (2, max(1, gpus))
    assert [epoch for epoch, _ in notes(jobs)] == [0, 1]
    assert notes(jobs)[0][1] == pytest.approx(straight["metrics"]["test"]["loss"])
    assert (jobs.cwd / "best.keras").stat().st_size > 1000
    assert float((jobs.cwd / "rate").read_text()) == pytest.approx(0.005)


def test_the_command_line_names_them_and_what_is_wrong_with_them(jobs):
    (jobs.cwd / "mine.py").write_text(MINE)
    quick = ["+recipe=iris", "train.epochs=3"]
    record = jobs.done(*quick, "train.callbacks=[mine.noted,keras.callbacks.EarlyStopping]")
    assert record["epochs"] == len(notes(jobs)) == 3
    wrong = jobs.run(*quick, "train.callbacks=[mine.slowr,mine.note,mine.early,mine.json]")
    assert wrong.code == 2, wrong
    assert "3 faults, nothing was touched" in wrong.text
    assert "did you mean 'Slower'?" in wrong.text
    assert "mine.note cannot be called without arguments" in wrong.text
    assert "'json' is no function in 'mine'" in wrong.text
    assert "Traceback" not in wrong.text
