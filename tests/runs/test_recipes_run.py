"""Every shipped recipe, whole, on both engines: same metrics, written tables, checkpoints and run folders."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pai_train.front.recipes import folder, listing

RECIPES = [name for name, _, _ in listing()]
SHORT = ["train.epochs=3"]


def read_table(root, name, stores=None):
    from pai_train.spec.address import TableRef
    from pai_train.tables.iceberg import IcebergTables

    source = IcebergTables(str(root), "pai_train", stores).source(TableRef("pai_train", name))
    return [
        row
        for chunk in source.chunks()
        for batch in source.read(chunk, source.schema.names)
        for row in zip(*batch.to_pydict().values(), strict=True)
    ]


@pytest.mark.parametrize("recipe", RECIPES)
def test_both_engines_give_the_same_metrics(recipe, jobs):
    first, second = (
        jobs.done(f"+recipe={recipe}", f"engine={name}", *SHORT, f"checkpointDir=ck/{name}")
        for name in ("tf_data", "queue_runner")
    )
    assert first["metrics"] == second["metrics"]
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first["metrics"]["test"]["accuracy"] > 0.3
    lines = [
        [
            {key: value for key, value in json.loads(line).items() if key != "time"}
            for line in (Path(record["folder"]) / "metrics.jsonl").read_text().splitlines()
        ]
        for record in (first, second)
    ]
    assert lines[0] == lines[1]
    assert [line["epoch"] for line in lines[0] if line["kind"] == "eval"] == [1, 2, 3]


def test_iris_learns_and_writes_a_prediction_for_every_row(jobs):
    record = jobs.done("+recipe=iris", "gpus=2", cold=True)
    assert record["metrics"]["test"]["accuracy"] >= 0.9
    assert (record["status"], record["exit_code"], record["replicas"]) == ("done", 0, 2)
    with (folder("recipes") / "data" / "iris.csv").open() as file:
        sample = [tuple(row) for row in csv.reader(file)]
    rows = read_table(jobs.cwd / "data" / "tables", "iris_output")
    assert [tuple(map(str, row[:4])) for row in rows] == [row[:4] for row in sample]
    right = sum(row[4] == known[4] for row, known in zip(rows, sample, strict=True))
    assert right >= 0.9 * 150
    assert record["outputs"]["predictions"]["rows"] == 150


def test_the_summary_says_where_everything_is(jobs):
    finished = jobs.run("+recipe=iris", *SHORT)
    record = jobs.last()
    assert "putting the sample" in finished.text
    assert "accuracy" in finished.text
    for text in (record["checkpoint"], "odps://pai_train/tables/iris_output (150 rows)", record["folder"]):
        assert text in finished.text
    assert record["waited_for"] in finished.text
    assert (jobs.cwd / record["checkpoint"] / "MANIFEST.json").is_file()


def test_the_progress_line_is_plain_in_a_file(jobs):
    text = jobs.run("+recipe=csvtest", "train.epochs=40").text
    lines = [line for line in text.splitlines() if line.startswith("epoch ")]
    assert "epoch 40/40" in lines[-1]
    for word in ("rows/s", "ETA", "loss", "accuracy", "waiting"):
        assert word in lines[-1]
    assert "\r" not in text
    assert "\x1b" not in text


def test_csvtest_reads_lists_and_globs(jobs):
    sample = (folder("recipes") / "data" / "csvtest.csv").read_bytes().splitlines(keepends=True)
    parts = jobs.cwd / "data" / "parts"
    parts.mkdir(parents=True)
    for i in range(3):
        (parts / f"p{i}.csv").write_bytes(b"".join(sample[i * 200 : i * 200 + 200]))
    listed = jobs.done("+recipe=csvtest", *SHORT, "inputs.train.oss=[parts/p0.csv,parts/p1.csv,parts/p2.csv]")
    globbed = jobs.done("+recipe=csvtest", *SHORT, "inputs.train.oss=parts/*.csv")
    assert listed["inputs"]["train"]["rows"] == globbed["inputs"]["train"]["rows"] == 600
    assert listed["metrics"] == globbed["metrics"]


def test_a_full_url_and_the_memory_store(jobs, tmp_path):
    path = tmp_path / "elsewhere.csv"
    path.write_bytes((folder("recipes") / "data" / "csvtest.csv").read_bytes())
    record = jobs.done("+recipe=csvtest", *SHORT, f"inputs.train.oss=file://{path}")
    assert record["inputs"]["train"]["address"].endswith("elsewhere.csv")
    for recipe in RECIPES:
        assert jobs.done(f"+recipe={recipe}", *SHORT, "storage=memory")["status"] == "done"


def test_predictions_as_files(jobs):
    record = jobs.done("+recipe=csvtest", *SHORT, "outputs.files.oss=scored", "outputs.files.format=csv")
    parts = sorted((jobs.cwd / "data" / "scored").glob("part-*.csv"))
    rows = [row for part in parts for row in csv.DictReader(part.open())]
    assert len(rows) == 600 == record["outputs"]["files"]["rows"]
    assert list(rows[0]) == ["d1", "d2", "d3", "d4", "d5", "prediction", "probability"]
    assert {row["prediction"] for row in rows} <= {"0", "1"}
    assert all(0.5 <= float(row["probability"]) <= 1 for row in rows)


def test_a_wrong_name_never_trains_on_a_sample(jobs):
    for arguments in (["+recipe=iris", "inputs.train.table=iirs"], ["+recipe=csvtest", "inputs.train.oss=cvstest.csv"]):
        finished = jobs.run(*arguments)
        assert finished.code == 2
        assert "there is no such" in finished.text
        assert not list(jobs.cwd.iterdir())


def test_a_regression_on_a_table_with_nulls(jobs):
    finished = jobs.run(
        "+recipe=csvtest",
        "train.epochs=4",
        "inputs.train.label={column: d3, task: regression}",
        "outputs.files={oss: out, columns: {d3: d3, d2: d2, guess: $prediction}}",
    )
    assert finished.code == 0, finished
    assert set(jobs.last()["metrics"]["test"]) == {"loss", "rmse", "mae"}
    rows = [row for part in (jobs.cwd / "data" / "out").glob("part-*.csv") for row in csv.DictReader(part.open())]
    assert "" in {row["d2"] for row in rows}, "an empty field stays empty in what is carried along"
    float(rows[0]["guess"])


OWN = """
# @package _global_
inputs:
  train:
    oss: rows.csv
    columns: {x: DOUBLE, y: BIGINT}
    record_defaults: [0.0, 0]
    label: {column: y, task: classification}
outputs:
  预测: {oss: out, columns: {y: $prediction}}
checkpointDir: ck
train: {epochs: 1}
"""


def test_the_default_of_an_empty_label_is_a_class_and_outputs_have_any_name(jobs):
    for folder_name in ("data", "recipes"):
        (jobs.cwd / folder_name).mkdir()
    lines = [f"{i % 7},{'' if i % 5 == 0 else i % 3 + 1}" for i in range(60)]
    (jobs.cwd / "data/rows.csv").write_text("\n".join(lines))
    (jobs.cwd / "recipes/own.yaml").write_text(OWN)
    record = jobs.done("+recipe=own")
    assert record["outputs"]["预测"]["rows"] == 60
    predicted = (jobs.cwd / "data/out/part-00000.csv").read_text().split()
    assert set(predicted[1:]) <= {"0", "1", "2", "3"}
