"""mode=expire: what it prints, what it takes, and that a run that was killed goes on after it."""

from __future__ import annotations

import json
import os
import signal
import time

import pyarrow as pa
import pytest

from pai_train import compose, run
from pai_train.__main__ import main
from pai_train.errors import Refused
from pai_train.findings import PLAIN_WIDTH
from pai_train.tables.iceberg import IcebergTables
from pai_train.tables.pins import PIN_DAYS
from tests.suites.modes import section, staged, tree
from tests.suites.table_rows import ref, write

IRIS, OUTPUT = "odps://pai_train/tables/iris", "odps://pai_train/tables/iris_output"
NOW = ["expire.older_than_days=0", "expire.grace_hours=1"]


def expired(capsys, *words):
    """Runs an expiry by its command and returns its exit code, the table, and what was said besides."""
    code = main(["mode=expire", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert all(len(line) <= PLAIN_WIDTH for line in out.splitlines()), out
    return code, out, err


def age(where):
    """Makes every file below a folder two hours old."""
    for path in where.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 7200, time.time() - 7200))


def test_a_list_changes_nothing_and_delete_takes_what_was_listed(jobs, capsys, monkeypatch):
    monkeypatch.chdir(jobs.cwd)
    jobs.done("+recipe=iris", "train.epochs=1")
    tables = IcebergTables("data/tables", "pai_train")
    write(tables, OUTPUT, "more", pa.record_batch({"f1": [1.0]}))
    assert not list(jobs.cwd.glob("data/tables/pai_train/*/pins/*")), "finished runs let go"
    age(jobs.cwd / "data" / "tables")
    before = tree(jobs.cwd / "data")
    code, out, err = expired(capsys, "+recipe=iris", *NOW)
    assert (code, err) == (0, "")
    assert tree(jobs.cwd / "data") == before
    found = section(out, f"table  {OUTPUT}")
    assert "1 of 2 snapshots would expire: " in found["snapshots"][1]
    assert "would be deleted" in found["files"][1]
    assert "no snapshot would expire" in section(out, f"table  {IRIS}")["snapshots"][1]
    assert "expire.delete=true does it" in out
    code, out, _ = expired(capsys, "+recipe=iris", *NOW, "expire.delete=true")
    assert code == 0
    assert "1 of 2 snapshots expired: " in section(out, f"table  {OUTPUT}")["snapshots"][1]
    after = tree(jobs.cwd / "data")
    gone = {name for name in before if name not in after}
    assert gone
    assert all(name.startswith("tables/pai_train/iris_output/") for name in gone)
    assert len(list(jobs.cwd.glob("data/tables/pai_train/iris_output/data/*/*.parquet"))) == 1
    assert tables.source(ref(OUTPUT)).snapshot.rows == 1
    code, out, _ = expired(capsys, "+recipe=iris", *NOW, "expire.delete=true")
    assert "no snapshot expired" in section(out, f"table  {OUTPUT}")["snapshots"][1]


def test_a_killed_run_goes_on_after_an_expiry(jobs, capsys, monkeypatch):
    monkeypatch.chdir(jobs.cwd)
    words = ["+recipe=iris", "train.epochs=12", "train.checkpoint.every_steps=4", "train.steps_per_call=2"]
    straight = jobs.done(*words, "checkpointDir=checkpoints/straight")
    running = jobs.start(*words, stand_behind=4)
    running.wait_for(lambda: list(jobs.cwd.glob("data/checkpoints/iris/*/step-*/MANIFEST.json")))
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    (pin,) = jobs.cwd.glob("data/tables/pai_train/iris/pins/*.json")
    held = json.loads(pin.read_text())
    assert abs(held["until"] - time.time() - PIN_DAYS * 86400) < 600
    # Somebody replaces the rows, and somebody else takes away what is old.
    tables = IcebergTables("data/tables", "pai_train")
    batch = pa.record_batch({**{f"f{n}": [1.0] for n in range(1, 5)}, "f5": ["x"]})
    for token in ("a", "b"):
        write(tables, IRIS, token, batch)
    age(jobs.cwd / "data" / "tables")
    code, out, _ = expired(capsys, *words, *NOW, "expire.delete=true")
    assert code == 0, out
    assert f"by run {held['run_id']} until" in section(out, f"table  {IRIS}")["pinned"][1]
    assert "1 of 3 snapshots expired" in section(out, f"table  {IRIS}")["snapshots"][1]
    record = jobs.done(*words)
    assert record["run_id"] == held["run_id"]
    assert record["weights_sha256"] == straight["weights_sha256"]
    assert record["inputs"]["train"]["rows"] == 150
    assert not list(jobs.cwd.glob("data/tables/pai_train/*/pins/*")), "finished, it lets go"
    code, out, _ = expired(capsys, *words, *NOW, "expire.delete=true")
    assert "1 of 2 snapshots expired" in section(out, f"table  {IRIS}")["snapshots"][1]
    assert tables.source(ref(IRIS)).snapshot.rows == 1


def test_a_table_that_may_not_be_written_is_read_all_the_same(jobs):
    # A file where the folder of pins would be: also root may not write there.
    table = jobs.cwd / "data/tables/pai_train/iris"
    table.mkdir(parents=True)
    (table / "pins").write_text("in the way")
    done = jobs.run("+recipe=iris", "train.epochs=1")
    assert done.code == 0, done
    assert "cannot be pinned" in done.text


def test_a_table_that_is_broken_is_told_after_the_others(here, capsys):
    staged("+recipe=iris")
    pins = here / "data/tables/pai_train/iris/pins"
    pins.mkdir()
    (pins / "x.json").write_text("{}")
    code, out, err = expired(capsys, "+recipe=iris")
    assert code == 1
    assert section(out, f"table  {IRIS}")["table"][0] == "FAIL"
    assert section(out, f"table  {OUTPUT}")["table"][0] == "-"
    assert "; 1 table failed" in " ".join(out.split())
    assert "pin of a run cannot be read" in err


def test_a_table_that_is_not_there_yet_is_no_fault(here, capsys):
    code, out, _ = expired(capsys, "+recipe=iris")
    assert code == 0
    assert section(out, f"table  {IRIS}")["table"] == ("-", "there is no such table yet")
    assert tree(here) == {}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["+recipe=csvtest"], "no table is named"),
        ([], "no table is named"),
        (["+recipe=iris", "expire.keep_last=0"], "must be at least 1"),
        (["+recipe=iris", "expire.grace_hours=0.5"], "must be at least 1"),
        (["+recipe=iris", "expire.older_then_days=1"], "did you mean 'older_than_days'?"),
        (["+recipe=iris", "tables.catalog=postgresql://pai@127.0.0.1:1/x"], "tables.catalog"),
    ],
)
def test_what_is_refused(here, words, told):
    with pytest.raises(Refused) as caught:
        run(compose(None, ["mode=expire", *words]))
    assert told in str(caught.value)
    assert tree(here) == {}
