"""Less usual inputs and outputs, whole: partitions, rows without a label, names in another case."""

from __future__ import annotations

import csv
import shlex
import uuid

import pyarrow as pa
import pytest

from pai_train.spec.address import parse_table
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.iceberg import IcebergTables
from tests.runs.test_recipes_run import read_table

ROWS = {
    "f1": [float(i % 7) for i in range(60)],
    "f2": [float(i % 5) for i in range(60)],
    "f3": [float(i % 3) for i in range(60)],
    "f4": [float(i) for i in range(60)],
    "f5": ["a" if i % 2 else "b" for i in range(60)],
}
QUICK = ["+recipe=iris", "train.epochs=2"]


@pytest.fixture
def tables(jobs):
    return IcebergTables(str(jobs.cwd / "data" / "tables"), "pai_train")


def fill(tables, address, ddl, rows):
    ref = parse_table(address, "pai_train")
    tables.ensure(ref, parse_ddl(ddl))
    session = tables.write(ref, "overwrite", f"fill-{uuid.uuid4().hex}")
    part = session.part(0, 0)
    part.write(pa.record_batch(rows))
    session.commit([part.finish()])


PARTED = "create table parted(f1 DOUBLE, f2 DOUBLE, f3 DOUBLE, f4 DOUBLE, f5 STRING) partitioned by (pt STRING)"


@pytest.mark.parametrize("columns", ["inputs.train.columns={}", "inputs.train.features=[F1,F2]"])
def test_a_partition_is_read_and_another_of_the_same_table_written(columns, jobs, tables):
    fill(tables, "odps://pai_train/tables/parted/pt=a", PARTED, ROWS)
    record = jobs.done(
        *QUICK,
        columns,
        "~inputs.train.columns" if "features" in columns else "inputs.train.label=F5",
        "inputs.train.table=odps://pai_train/tables/parted/pt=a",
        "outputs.predictions.table=odps://pai_train/tables/parted/pt=b",
        f"outputs.predictions.ddl={PARTED}",
        "outputs.predictions.write=fail",
    )
    assert record["inputs"]["train"]["rows"] == 60
    assert record["outputs"]["predictions"]["rows"] == 60
    assert len(read_table(jobs.cwd / "data/tables", "parted")) == 120


def test_ranges_of_several_tables_are_one_input_and_run_again(jobs, tables):
    fill(tables, "first", PARTED.partition(" partitioned")[0].replace("parted", "first"), ROWS)
    fill(tables, "odps://pai_train/tables/parted/pt=a", PARTED, ROWS)
    record = jobs.done(
        *QUICK,
        "inputs.train.table=first?start=10&end=40,odps://pai_train/tables/parted/pt=a?start=50",
        "outputs.predictions.table=out",
    )
    train = record["inputs"]["train"]
    assert train["address"] == (
        "odps://pai_train/tables/first?start=10&end=40,odps://pai_train/tables/parted/pt=a?start=50"
    )
    assert (train["rows"], record["outputs"]["predictions"]["rows"]) == (40, 40)
    assert len(train["snapshot"]["id"].split(",")) == 2
    rows = read_table(jobs.cwd / "data/tables", "out")
    assert [row[3] for row in rows] == [*ROWS["f4"][10:40], *ROWS["f4"][50:]]
    fill(tables, "first", PARTED.partition(" partitioned")[0].replace("parted", "first"), {"f1": [0.0], "f5": ["c"]})
    words = shlex.split(record["reproduce"])
    again = jobs.done(*words[words.index("pai_train") + 1 :])
    assert again["inputs"]["train"]["snapshot"] == train["snapshot"]
    assert again["weights_sha256"] == record["weights_sha256"]


def test_a_filter_chooses_the_rows_of_a_run(jobs, tables):
    fill(tables, "first", PARTED.partition(" partitioned")[0].replace("parted", "first"), ROWS)
    chosen = [*QUICK, "inputs.train.table=first", "~inputs.train.split", "outputs.predictions.table=out"]
    record = jobs.done(*chosen, "inputs.train.where=f4 >= 20 and (\"f1\" < 3 or f5 = 'a')", "train.batch_size=7")
    want = [i for i in range(20, 60) if i % 7 < 3 or i % 2]
    assert (record["inputs"]["train"]["rows"], record["outputs"]["predictions"]["rows"]) == (len(want), len(want))
    assert record["steps"] == 2 * -(-len(want) // 7)
    assert [row[3] for row in read_table(jobs.cwd / "data/tables", "out")] == want
    text = jobs.run(*chosen, "inputs.train.where='f9 > 1'").text
    assert "command line inputs.train.where='f9 > 1'" in text
    assert "names a column 'f9' that the table does not have" in text
    assert "no row fulfils the filter" in jobs.run(*chosen, "inputs.train.where='f4 > 99'").text


def test_several_tables_that_differ_are_refused(jobs, tables):
    fill(tables, "first", PARTED.partition(" partitioned")[0].replace("parted", "first"), ROWS)
    fill(tables, "slim", "create table slim(f1 DOUBLE, f5 BIGINT)", {"f1": [1.0], "f5": [2]})
    text = jobs.run(*QUICK, "inputs.train.table=first,slim,frist").text
    assert "there is no such table" in text
    assert "did you mean 'first'?" in text
    text = jobs.run(*QUICK, "inputs.train.table=first,slim").text
    for line in ("these differ", "- f2 double", "- f5 string", "+ f5 int64", "+++ odps://pai_train/tables/slim"):
        assert line in text


def test_rows_without_a_label_are_predicted(jobs, tables):
    unlabelled = {name: values for name, values in ROWS.items() if name != "f5"}
    fill(tables, "fresh", "create table fresh(f1 DOUBLE, f2 DOUBLE, f3 DOUBLE, f4 DOUBLE)", unlabelled)
    record = jobs.done(*QUICK, "+inputs.fresh.table=fresh", "outputs.predictions.input=fresh")
    assert record["outputs"]["predictions"]["rows"] == 60
    rows = read_table(jobs.cwd / "data/tables", "iris_output")
    assert [row[3] for row in rows] == ROWS["f4"]
    assert {row[4] for row in rows} <= {"Iris-setosa", "Iris-versicolor", "Iris-virginica"}


def test_upper_case_columns_of_a_file_fill_a_table(jobs):
    (jobs.cwd / "data").mkdir()
    lines = [f"{i % 7},{i % 5},{'Ja' if i % 2 else 'Nein'}" for i in range(60)]
    (jobs.cwd / "data" / "upper.csv").write_text("X,y,Klasse\n" + "\n".join(lines) + "\n")
    (jobs.cwd / "recipes").mkdir()
    (jobs.cwd / "recipes" / "upper.yaml").write_text(
        "# Upper case.\ninputs:\n  train:\n    oss: upper.csv\n    header: true\n"
        "    columns: {X: DOUBLE, y: DOUBLE, Klasse: STRING}\n    label: Klasse\n"
        "outputs: {o: {table: upt, ddl: 'create table upt(X DOUBLE, Klasse STRING)'}}\n"
        "checkpointDir: ck\ntrain: {epochs: 2}\n"
    )
    assert jobs.done("+recipe=upper")["outputs"]["o"]["rows"] == 60
    assert {row[1] for row in read_table(jobs.cwd / "data/tables", "upt")} <= {"Ja", "Nein"}


def test_a_regression_writes_files_by_default(jobs):
    record = jobs.done(
        "+recipe=csvtest",
        "train.epochs=2",
        "inputs.train.label={column: d2, task: regression}",
        "outputs.o.oss=out",
    )
    rows = [row for part in (jobs.cwd / "data/out").glob("part-*.csv") for row in csv.DictReader(part.open())]
    assert len(rows) == record["outputs"]["o"]["rows"] == 600
    assert rows[0]["d2"] == "9"
    float(rows[0]["prediction"])
    assert rows[0]["probability"] == ""


@pytest.mark.parametrize(("written", "character"), [(r"\t", "\t"), (r"\x01", "\x01"), (";", ";")])
def test_delimiters_as_a_command_line_can_hold_them(written, character, jobs):
    (jobs.cwd / "data").mkdir()
    rows = [character.join(("north", str(i % 9), f"{i / 7}", "card", str(i % 2))) for i in range(90)]
    (jobs.cwd / "data" / "csvtest.csv").write_text("\n".join(rows) + "\n")
    record = jobs.done("+recipe=csvtest", "train.epochs=1", f'inputs.train.delimiter="{written}"')
    assert record["inputs"]["train"]["rows"] == 90
