"""Data faults: found by a read-only look before anything is written, each with its key and place."""

from __future__ import annotations

import shlex

import pytest

from pai_train.errors import Refused
from pai_train.front.recipes import folder
from pai_train.resolver import resolve_job
from pai_train.spec.address import TableRef
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.iceberg import IcebergTables


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(command):
    from pai_train import compose

    with pytest.raises(Refused) as caught:
        resolve_job(compose(None, shlex.split(command)))
    return "\n".join(map(str, caught.value.faults))


def tree(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def put(here, name, text):
    path = here / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


HEADER = "+recipe=csvtest inputs.train.header=true"
CASES = {
    "column the file does not have": (
        HEADER,
        "d1,d2,d3,d4,dd5\nnorth,1,2.0,card,1\n",
        ["'d5'", "did you mean 'dd5'?", "csvtest.csv"],
    ),
    "too few fields": ("+recipe=csvtest", "north,1,2.0,card\n", ["csvtest.csv:1", "4 fields", "5 fields"]),
    "a field of another type": ("+recipe=csvtest", "north,1,2.0,card,yes\n", ["csvtest.csv:1", "'d5'", "'yes'"]),
    "no rows": ("+recipe=csvtest", "", ["the files hold no rows", "inputs.train.oss"]),
    "label of a wrong type": (
        "+recipe=csvtest inputs.train.label={column:d3,task:classification}",
        "north,1,2.0,card,1\n",
        ["the label's type does not go with classification", "d3 DOUBLE", "inputs.train.label"],
    ),
    "feature of a wrong type": (
        "+recipe=csvtest 'inputs.train.columns.d4=DATE' inputs.train.record_defaults=null",
        "north,1,2.0,2024-01-02,1\n",
        ["column 'd4' cannot be a feature", "DATE", "list the columns the model sees"],
    ),
    "a name close by": (
        "+recipe=csvtest inputs.train.oss=csvtset.csv",
        "north,1,2.0,card,1\n",
        ["there is no such object", "data/csvtset.csv", "did you mean 'csvtest.csv'?"],
    ),
    "nothing matches": ("+recipe=csvtest 'inputs.train.oss=x*.csv'", "a\n", ["nothing matches", "data/x*.csv"]),
}


@pytest.mark.parametrize(("command", "text", "said"), CASES.values(), ids=CASES)
def test_faults_of_files(command, text, said, here):
    put(here, "csvtest.csv", text)
    before = tree(here)
    found = refused(command)
    for words in said:
        assert words in found
    assert tree(here) == before


def make(here, ddl, name="iris"):
    tables = IcebergTables(str(here / "data" / "tables"), "pai_train")
    ref = TableRef("pai_train", name)
    tables.ensure(ref, parse_ddl(ddl))
    return tables, ref


def fill(tables, ref):
    import pyarrow as pa

    session = tables.write(ref, "overwrite", "t")
    part = session.part(0, 0)
    part.write(pa.record_batch({"f1": [1.0], "f2": [1.0], "f3": [1.0], "f4": [1.0], "f5": ["a"]}))
    session.commit([part.finish()])


IRIS = "create table iris(f1 DOUBLE, f2 DOUBLE, f3 DOUBLE, f4 DOUBLE, f5 STRING)"


def test_a_table_without_the_column(here):
    fill(*make(here, IRIS))
    found = refused("+recipe=iris inputs.train.columns.f6=DOUBLE")
    assert "has no column 'f6'" in found
    assert "inputs.train.columns.f6" in found


def test_a_table_with_another_type(here):
    fill(*make(here, IRIS))
    found = refused("+recipe=iris inputs.train.columns.f4=BIGINT")
    assert "column 'f4' of table odps://pai_train/tables/iris has another type" in found
    assert "BIGINT" in found
    assert "DOUBLE" in found


def test_a_missing_table_and_the_nearest(here):
    fill(*make(here, IRIS))
    assert "did you mean 'iris'?" in refused("+recipe=iris inputs.train.table=irsi")


def test_an_output_table_that_differs_is_shown_as_a_diff(here):
    fill(*make(here, IRIS))
    make(here, "create table iris_output(f1 DOUBLE, f2 DOUBLE, f3 DOUBLE, f4 DOUBLE, f5 BIGINT)", "iris_output")
    before = tree(here)
    found = refused("+recipe=iris")
    assert "exists and differs from the statement" in found
    assert "f5 BIGINT" in found
    assert "f5 STRING" in found
    assert "never dropped" in found
    assert tree(here) == before


def test_writing_over_the_input_is_refused(here):
    fill(*make(here, IRIS))
    found = refused("+recipe=iris outputs.predictions.table=IRIS")
    assert "the output would replace the input 'train'" in found


def test_a_sample_that_does_not_fit_is_found_before_it_is_put_anywhere(here):
    found = refused("+recipe=iris inputs.train.columns.f6=DOUBLE")
    assert "iris.csv:1" in found
    assert not tree(here)


def test_an_output_column_that_nothing_fills(here):
    found = refused("+recipe=iris 'outputs.predictions.ddl=\"create table iris_output(f1 DOUBLE, guess STRING)\"'")
    assert "nothing fills column 'guess'" in found
    assert "outputs.predictions.columns.guess" in found
    assert not tree(here)


def test_a_second_input_must_have_what_the_model_takes(here):
    put(here, "csvtest.csv", (folder("recipes") / "data" / "csvtest.csv").read_bytes())
    found = refused(
        "+recipe=csvtest inputs.train.split=null '+inputs.test={oss: csvtest.csv, columns: {d1: STRING, d2: STRING, "
        "d3: DOUBLE, d4: STRING, d5: BIGINT}, label: d5}'"
    )
    assert "inputs.test.columns.d2" in found
    assert "d2 BIGINT" in found


def test_faults_of_several_rooms_come_together(here):
    found = refused("+recipe=iris inputs.train.table=irsi model.name=mpl checkpointDir=hdfs://b/x")
    for words in ("there is no such table", "did you mean 'mlp'?", "checkpointDir", "hdfs:// is not served"):
        assert words in found


SALES = "create table sales(f1 DOUBLE, f5 STRING) partitioned by (dt DATE)"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("sales", "a write goes to one whole partition"),
        ("odps://pai_train/tables/sales/dt=noday", "is not a DATE"),
        ("odps://pai_train/tables/sales/ds=2024-01-01", "'ds' is no partition column"),
    ],
)
def test_an_output_partition_is_checked_before_the_training(table, said, here):
    found = refused(f"+recipe=iris outputs.predictions.table={table} 'outputs.predictions.ddl={SALES}'")
    assert said in found
    assert "outputs.predictions" in found
    assert not tree(here)


def test_an_input_partition_and_snapshot_are_checked_before_the_training(here):
    fill(*make(here, IRIS))
    found = refused("+recipe=iris inputs.train.table=odps://pai_train/tables/iris/pt=1")
    assert "the table has no partitions" in found
    found = refused("+recipe=iris inputs.train.snapshot=12345")
    assert "inputs.train.snapshot=12345" in found
    assert "12345" in found


def test_the_reproduce_line_writes_beside_a_partition(here):
    from pai_train import compose
    from pai_train.experiment.reproduce import reproduce_job

    composed = compose("iris", ["outputs.predictions.table=odps://lab/tables/sales/dt=2024-12-31"])
    line = reproduce_job(composed.config, composed.overrides, "abc", {})
    assert "outputs.predictions.table=odps://lab/tables/sales_again_abc/dt=2024-12-31" in line.replace('"', "").replace(
        "'", ""
    )
    iris = compose("iris")
    again = reproduce_job(iris.config, iris.overrides, "abc", {})
    assert "outputs.predictions.table=iris_output_again_abc" in again


OVERLAPS = {
    "two outputs, one folder": ("'+outputs.a={oss: out}' '+outputs.b={oss: ./out/}'", "write to one place"),
    "among checkpoints": ("'+outputs.a={oss: checkpoints}'", "among what checkpointDir keeps"),
    "among tables": ("'+outputs.a={oss: tables/x}'", "among what tables.root keeps"),
    "the root itself": ("'+outputs.a={oss: .}'", "is storage.root itself"),
    "checkpoints among tables": ("checkpointDir=tables/ck", "checkpoints need a folder of their own"),
    "columns but for case": ("'+outputs.a={oss: out, columns: {b: f1, B: $prediction}}'", "given twice but for case"),
}


@pytest.mark.parametrize(("words", "said"), OVERLAPS.values(), ids=OVERLAPS)
def test_places_that_overlap(words, said, here):
    assert said in refused(f"+recipe=iris {words}")
    assert not tree(here)


def test_places_that_cannot_be_folders(here):
    (here / "data").write_text("a file")
    assert "storage.root" in refused("+recipe=iris")
    found = refused("+recipe=iris storage.root=data/below")
    assert "cannot be made or written" in found
    assert "storage.root=data/below" in found


def test_a_column_of_the_inputs_own_named_prediction(here):
    put(here, "p.csv", "1.0,2.0,a\n" * 9)
    (here / "recipes").mkdir()
    (here / "recipes" / "p.yaml").write_text(
        "# P.\ninputs: {train: {oss: p.csv, columns: {prediction: DOUBLE, y: DOUBLE, c: STRING}, label: c}}\n"
        "outputs: {a: {oss: out}}\ncheckpointDir: ck\n"
    )
    assert "column of its own named 'prediction'" in refused("+recipe=p")


def test_another_input_is_not_replaced(here):
    fill(*make(here, IRIS))
    fill(*make(here, IRIS.replace("iris", "iris_output"), "iris_output"))
    found = refused(
        "+recipe=iris inputs.train.split=null '+inputs.test={table: iris_output, label: f5}'",
    )
    assert "the output would replace the input 'test'" in found


def test_a_header_without_rows_is_no_input(here):
    put(here, "csvtest.csv", "d1,d2,d3,d4,d5\n")
    assert "the files hold no rows" in refused(HEADER)


def test_a_foreign_file_where_a_part_would_be(here):
    put(here, "out/part-00000.csv", "mine")
    found = refused("+recipe=csvtest +outputs.o.oss=out")
    assert "a file that no earlier run wrote" in found
    assert "part-00000.csv" in found


def test_a_store_that_is_not_served_is_blamed_where_it_is_named(here):
    found = refused("+recipe=iris storage.root=hdfs://bucket/path")
    assert "override storage.root=hdfs://bucket/path: hdfs:// is not served" in found
    assert "checkpointDir" not in found


def test_a_gzip_file_beside_plain_ones_is_called_one(here):
    import gzip

    rows = b"north,1,2.0,card,1\n" * 9
    put(here, "shop/a.csv", rows)
    put(here, "shop/b.csv", gzip.compress(rows))
    assert "compressed by gzip" in refused("+recipe=csvtest inputs.train.oss=shop/*.csv")


@pytest.mark.parametrize("pattern", ["*.csv", "**/*.csv"])
def test_an_output_that_an_input_would_read_is_refused(pattern, here):
    put(here, "shop/a.csv", b"north,1,2.0,card,1\n" * 9)
    found = refused(f"+recipe=csvtest inputs.train.oss=shop/{pattern} outputs.more.oss=shop")
    assert "the input 'train' would read what the output writes" in found
    assert "outputs.more.oss" in found


def test_a_folder_is_called_one(here):
    put(here, "shop/a.csv", b"north,1,2.0,card,1\n" * 9)
    assert "name its files: shop/*" in refused("+recipe=csvtest inputs.train.oss=shop")
