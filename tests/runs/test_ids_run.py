"""Runs whose texts come as integer ids: learned, predicted with the texts beside, and refused where ids changed."""

from __future__ import annotations

import csv
import random

import pytest

from pai_train.tables.iceberg import IcebergTables
from tests.runs.test_inputs_and_outputs_run import fill

CITIES = ["Berlin", "Paris", "Rome", "Oslo"]
RECIPE = """\
# Cities.
# @package _global_
inputs:
  train:
    oss: rows.csv
    columns: {city: STRING, user: STRING, shop: STRING, x: DOUBLE, y: STRING}
    record_defaults: {city: nowhere}
    ids: {city: {file: cities.txt}, user: 20, shop: {table: shops, column: name, oov_buckets: 0}}
    label: y
    on_bad_row: skip
outputs:
  predictions: {oss: out}
checkpointDir: checkpoints
train: {epochs: 6, batch_size: 16, learning_rate: 0.05}
"""
LOCAL = ("+recipe=cities", "storage.root=.", "tables.root=data/tables")


@pytest.fixture
def cities(jobs):
    rng = random.Random(1)
    with (jobs.cwd / "rows.csv").open("w", newline="") as file:
        for _ in range(300):
            city = rng.choice([*CITIES, ""])
            answer = "yes" if city in ("Paris", "Oslo") else "no"
            csv.writer(file).writerow([city, f"u{rng.randrange(50)}", rng.choice("abc"), rng.random(), answer])
    (jobs.cwd / "cities.txt").write_text("\n".join(CITIES) + "\n")
    (jobs.cwd / "recipes").mkdir()
    (jobs.cwd / "recipes" / "cities.yaml").write_text(RECIPE)
    tables = IcebergTables(str(jobs.cwd / "data" / "tables"), "pai_train")
    fill(tables, "shops", "create table shops(name STRING, n BIGINT)", {"name": ["a", "b"], "n": [1, 2]})
    return jobs


def test_a_model_learns_of_ids_and_predictions_hold_the_texts(cities):
    records = [
        cities.done(*LOCAL, f"engine={engine}", f"checkpointDir={engine}", f"outputs.predictions.oss=out-{engine}")
        for engine in ("tf_data", "queue_runner")
    ]
    assert records[0]["metrics"] == records[1]["metrics"]
    assert records[0]["metrics"]["train"]["accuracy"] > 0.99
    rows = list(csv.reader((cities.cwd / "rows.csv").open(newline="")))
    known = [row for row in rows if row[2] != "c"]
    # A shop outside the closed vocabulary is a row that cannot be read.
    assert records[0]["inputs"]["train"]["bad_rows"] == len(rows) - len(known)
    (path,) = (cities.cwd / "out-tf_data").glob("*.csv")
    written = list(csv.DictReader(path.open(newline="")))
    assert [[row["city"], row["user"], row["shop"]] for row in written] == [row[:3] for row in known]
    assert sum(row["prediction"] == row["y"] for row in written) > 0.99 * len(written)
    (cities.cwd / "cities.txt").write_text("\n".join(reversed(CITIES)) + "\n")
    other = cities.run(*LOCAL, "train.resume=tf_data", "train.epochs=8", "outputs.predictions.oss=other")
    assert other.code == 1, other
    assert "the vocabulary of column 'city' changed since the run began" in other.text


def test_every_fault_of_ids_is_told_at_once(cities):
    (cities.cwd / "cities.txt").write_text("Berlin\n\nBerlin\n")
    wrong = ["inputs.train.ids.user={buckets: 3, oov_buckets: 5}", "inputs.train.ids.x=5", "inputs.train.ids.y=[a,a]"]
    refused = cities.run(*LOCAL, *wrong, "inputs.train.ids.town=7", "inputs.train.ids.shop.column=null")
    assert refused.code == 2, refused
    told = ["no text is outside", "only texts get ids", "not by ids", "each text once", "'town'", "needs a column"]
    for text in told:
        assert text in refused.text
    refused = cities.run(*LOCAL, "inputs.train.ids.shop.column=n", "inputs.train.record_defaults={shop: z}")
    assert refused.code == 2, refused
    assert "2 faults" in refused.text, refused
    assert "an empty line 2" in refused.text
    assert "a vocabulary is a column of texts" in refused.text
