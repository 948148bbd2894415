"""Expiry and collection: what goes, what stays, and that a table is readable wherever it ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

import polars
import pytest
from pyiceberg.table import StaticTable

from pai_train.errors import Interrupted, TableError
from pai_train.spec.ddl import parse_ddl
from pai_train.storage import Limits, Store, join, open_store
from pai_train.tables import catalog as store_catalog
from pai_train.tables.catalog import StoreCatalog
from pai_train.tables.expire import Expiry, Policy
from pai_train.tables.iceberg import IcebergTables
from pai_train.tables.pins import PIN_DAYS, Pin, read_pins
from tests.suites.table_rows import DAILY, IRIS, PROJECT, ids, ref, rows, stage, write

DAY = 86400.0
ALL = Policy(older_than_s=0, keep_last=1, grace_s=DAY)


@pytest.fixture(params=["store", "sqlite"])
def tables(request, tmp_path):
    address = f"sqlite:///{tmp_path}/catalog.db" if request.param == "sqlite" else None
    tables = IcebergTables(str(tmp_path / "root"), PROJECT, catalog=address)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    return tables


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "root" / PROJECT / "iris"


def later(days):
    return lambda: time.time() + days * DAY


def expiry(tables, policy=ALL, days=2.0):
    """Returns the expiry of the table, some days from now."""
    return Expiry(tables._catalog, ref("iris"), policy, later(days))


def collect(tables, policy=ALL, days=2.0):
    return expiry(tables, policy, days).run(lambda: None)


def history(tables):
    return [str(one.snapshot_id) for one in tables._catalog.load_table((PROJECT, "iris")).snapshots()]


def names(where):
    return {str(path.relative_to(where)) for path in where.rglob("*") if path.is_file()}


def hold(tables, snapshots=(), tokens=(), days=PIN_DAYS, run_id="run"):
    tables.pin(ref("iris"), Pin(run_id, time.time() + days * DAY, tuple(snapshots), tuple(tokens)))


def test_what_nobody_needs_goes_and_others_read_the_rest(tables, folder, monkeypatch):
    old = [write(tables, "iris", f"t{n}", rows(n, n + 5)).id for n in range(3)]
    last = write(tables, "iris", "last", rows(0, 9), rows(9, 20))
    before = names(folder)
    found = expiry(tables).look()
    assert names(folder) == before, "looking changes nothing"
    assert (history(tables), [str(one) for one in found.snapshots]) == ([*old, last.id], old)
    done = collect(tables)
    assert done.snapshots == found.snapshots
    assert {one.url for one in found.files} <= {one.url for one in done.files}
    assert before - names(folder) == {one.url.partition("/iris/")[2] for one in done.files}
    assert {name.split("/")[1] for name in names(folder) if name.startswith("data/")} == {"last"}
    table = tables._catalog.load_table((PROJECT, "iris"))
    manifests = [one.manifest_path for one in table.current_snapshot().manifests(table.io)]
    wanted = {url.partition("/iris/")[2] for url in (table.current_snapshot().manifest_list, *manifests)}
    assert {name for name in names(folder) if name.endswith(".avro")} == wanted
    assert ids(tables.source(ref("iris"))) == list(range(20))
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    plain = StaticTable.from_metadata(tables._catalog.load_table((PROJECT, "iris")).metadata_location)
    assert sorted(plain.scan().to_arrow()["id"].to_pylist()) == list(range(20))
    assert polars.scan_iceberg(plain).select(polars.len()).collect().item() == 20
    with pytest.raises(TableError, match="expired"):
        tables.source(ref("iris"), snapshot=old[0])
    again = collect(tables)
    assert (again.snapshots, again.files, again.kept) == ((), (), 1)


def test_a_table_goes_on_after_a_collection(tables):
    for n in range(3):
        write(tables, "iris", f"t{n}", rows(n * 10, n * 10 + 10), mode="append")
    assert len(collect(tables).snapshots) == 2
    assert sorted(ids(tables.source(ref("iris")))) == list(range(30)), "appended files belong to the last snapshot"
    write(tables, "iris", "more", rows(30, 40), mode="append")
    collect(tables)
    assert sorted(ids(tables.source(ref("iris")))) == list(range(40))


def test_partitions_that_were_replaced_are_collected(tables, tmp_path):
    tables.ensure(ref("daily"), parse_ddl(DAILY))
    for n, hour in enumerate((0, 1, 0)):
        write(tables, f"odps://lab/tables/daily/pt=a/hh={hour}", f"t{n}", rows(n, n + 1).select(["id"]))
    Expiry(tables._catalog, ref("daily"), ALL, later(2)).run(lambda: None)
    assert sorted(ids(tables.source(ref("daily")))) == [1, 2]
    assert {path.parent.name for path in tmp_path.glob("root/lab/daily/data/*/*")} == {"t1", "t2"}


def test_age_counts_from_when_a_snapshot_stopped_being_current(tables):
    old = [write(tables, "iris", f"t{n}", rows(n, n + 5)).id for n in range(3)]
    policy = Policy(older_than_s=7 * DAY, keep_last=1, grace_s=DAY)
    assert expiry(tables, policy, days=6.9).look().snapshots == ()
    assert [str(one) for one in expiry(tables, policy, days=7.1).look().snapshots] == old[:2]
    table = tables._catalog.load_table((PROJECT, "iris"))

    def aged(one):
        return one.model_copy(update={"timestamp_ms": one.timestamp_ms - int(10 * DAY * 1000)})

    # As if the first one had been current for ten days before it was replaced just now.
    first, *rest = table.metadata.snapshots
    log = [aged(table.metadata.snapshot_log[0]), *table.metadata.snapshot_log[1:]]
    table.metadata = table.metadata.model_copy(update={"snapshots": [aged(first), *rest], "snapshot_log": log})
    assert expiry(tables, policy, days=0)._expired(table, []) == []
    assert expiry(tables, policy, days=7.1)._expired(table, []) == [first.snapshot_id, rest[0].snapshot_id]


def test_the_newest_and_the_tagged_stay(tables):
    old = [write(tables, "iris", f"t{n}", rows(n, n + 5)).id for n in range(5)]
    tables._catalog.load_table((PROJECT, "iris")).manage_snapshots().create_tag(int(old[0]), "paper").commit()
    done = collect(tables, Policy(0, 3, DAY))
    assert [str(one) for one in done.snapshots] == [old[1]]
    assert ids(tables.source(ref("iris"), old[0])) == list(range(5))
    assert ids(tables.source(ref("iris"), old[2])) == list(range(2, 7))


def test_a_pinned_snapshot_is_read_after_a_collection(tables, folder):
    old = [write(tables, "iris", f"t{n}", rows(n, n + 5)).id for n in range(3)]
    hold(tables, [old[0]])
    done = collect(tables)
    assert [str(one) for one in done.snapshots] == [old[1]]
    assert [pin.run_id for pin in done.pins] == ["run"]
    assert ids(tables.source(ref("iris"), old[0])) == list(range(5))
    tables.unpin(ref("iris"), "run")
    tables.unpin(ref("iris"), "run")
    assert [str(one) for one in collect(tables).snapshots] == [old[0]]
    assert "pins/run.json" not in names(folder)


def test_a_pin_ends(tables):
    old = write(tables, "iris", "a", rows(0, 5)).id
    write(tables, "iris", "b", rows(0, 5))
    hold(tables, [old])
    assert expiry(tables, days=PIN_DAYS - 1).look().snapshots == ()
    assert [str(one) for one in expiry(tables, days=PIN_DAYS + 1).look().snapshots] == [old]


def test_a_pin_that_cannot_be_read_forbids_everything(tables, folder):
    write(tables, "iris", "a", rows(0, 5))
    write(tables, "iris", "b", rows(0, 5))
    hold(tables)
    (folder / "pins" / "run.json").write_text('{"run_id": "run"')
    before = names(folder)
    with pytest.raises(TableError, match="pin of a run cannot be read"):
        collect(tables)
    assert names(folder) == before
    with pytest.raises(TableError, match="names an object"):
        hold(tables, run_id="../../x")


def test_a_write_under_way_is_not_robbed(tables):
    session = tables.write(ref("iris"), "append", "now")
    parts = [stage(session, 0, rows(0, 5))]
    done = collect(tables, days=0.9)
    assert (done.files, done.young > 0) == ((), True)
    assert session.commit(parts).rows == 5
    left = tables.write(ref("iris"), "append", "dead")
    stage(left, 0, rows(5, 9))
    assert ["/data/dead/" in one.url for one in collect(tables, days=1.1).files].count(True) == 1
    assert ids(tables.source(ref("iris"))) == list(range(5))


def test_a_long_write_is_as_young_as_its_youngest_file(tables, folder):
    session = tables.write(ref("iris"), "append", "long")
    parts = [stage(session, n, rows(n * 5, n * 5 + 5)) for n in range(2)]
    old = time.time() - 10 * DAY
    for path in folder.rglob("*"):
        if path.is_file() and "part-00001" not in path.name:
            os.utime(path, (old, old))
    assert not [one for one in collect(tables, days=0).files if "/data/" in one.url]
    assert session.commit(parts).rows == 10
    assert ids(tables.source(ref("iris"))) == list(range(10))


def test_an_unfinished_run_keeps_what_it_staged_and_published(tables):
    session = tables.write(ref("iris"), "append", "run-out")
    parts = [stage(session, 0, rows(0, 5))]
    hold(tables, tokens=["run-out"])
    collect(tables)
    published = session.commit(parts)
    for n in range(3):
        write(tables, "iris", f"t{n}", rows(n, n + 5), mode="append")
    collect(tables)
    assert tables.write(ref("iris"), "append", "run-out").commit(parts) == published, "it is known to be published"
    assert len(ids(tables.source(ref("iris")))) == 20


def test_old_metadata_files_go_and_the_chain_of_versions_stays(tables, folder):
    table = tables._catalog.load_table((PROJECT, "iris"))
    with table.transaction() as transaction:
        transaction.set_properties({"write.metadata.previous-versions-max": "2"})
    for n in range(6):
        write(tables, "iris", f"t{n}", rows(n, n + 5))
    head = tables._catalog.load_table((PROJECT, "iris")).metadata_location
    before = len([name for name in names(folder) if name.endswith(".metadata.json")])
    collect(tables)
    left = sorted(name for name in names(folder) if name.endswith(".metadata.json"))
    assert before == 8
    if isinstance(tables._catalog, StoreCatalog):
        assert left == [f"metadata/v{n}.metadata.json" for n in (1, 7, 8, 9)]
    else:
        assert len(left) == 3
    assert head.partition("/iris/")[2] in left
    assert tables.names(PROJECT) == ["iris"]
    write(tables, "iris", "next", rows(0, 3))
    assert ids(tables.source(ref("iris"))) == [0, 1, 2]


def test_nothing_else_is_touched(tables, tmp_path, folder):
    for n in range(3):
        write(tables, "iris", f"t{n}", rows(n, n + 5))
    others = ["iris2/data/x.parquet", "iris/README", "iris/metadata/version-hint.text", "iris/other/x.avro", "x.avro"]
    for name in others:
        path = tmp_path / "root" / PROJECT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    (tmp_path / "root" / "data").mkdir()
    (tmp_path / "root" / "data" / "y.parquet").write_text("mine")
    done = collect(tables, days=1000)
    assert done.files
    assert all(Path(one.url.removeprefix("file://")).is_relative_to(folder) for one in done.files)
    assert all((tmp_path / "root" / PROJECT / name).read_text() == "mine" for name in others)
    assert (tmp_path / "root" / "data" / "y.parquet").exists()


class Dying(Store):
    """A store that ends at its N-th deletion."""

    def __init__(self, real, count):
        super().__init__(real.scheme, real.filesystem, is_local=True, exclusive_create=True, limits=Limits(parallel=1))
        self.count = count

    def delete(self, url):
        if self.count == 0:
            raise KeyboardInterrupt
        self.count -= 1
        super().delete(url)


def test_ended_anywhere_it_leaves_a_readable_table(tables):
    for n in range(2):
        write(tables, "iris", f"t{n}", rows(n, n + 5))
    pinned = write(tables, "iris", "pinned", rows(0, 7)).id
    write(tables, "iris", "last", rows(0, 9))
    hold(tables, [pinned])
    wanted = len(expiry(tables).look().files)
    real, deaths = tables._catalog.store, 0
    for _ in range(wanted + 3):
        tables._catalog.store = Dying(real, 1)
        try:
            collect(tables)
        except KeyboardInterrupt:
            deaths += 1
        else:
            break
        finally:
            tables._catalog.store = real
        assert ids(tables.source(ref("iris"))) == list(range(9))
        assert ids(tables.source(ref("iris"), pinned)) == list(range(7))
    assert deaths >= wanted - 1
    assert collect(tables).files == ()


def test_a_stop_is_obeyed_between_deletions(tables):
    for n in range(3):
        write(tables, "iris", f"t{n}", rows(n, n + 5))

    def stop():
        raise Interrupted("asked to stop")

    with pytest.raises(Interrupted):
        expiry(tables).run(stop)
    assert len(history(tables)) == 1
    assert ids(tables.source(ref("iris"))) == list(range(2, 7))
    assert collect(tables).files


def test_a_commit_that_comes_first_is_kept(tables, monkeypatch):
    for n in range(3):
        write(tables, "iris", f"t{n}", rows(n, n + 5))
    real, met = type(tables._catalog).commit_table, iter([True])

    def commit(self, *asked):
        if next(met, False):
            write(tables, "iris", "winner", rows(50, 60), mode="append")
        return real(self, *asked)

    monkeypatch.setattr(type(tables._catalog), "commit_table", commit)
    done = collect(tables)
    assert len(done.snapshots) >= 2
    assert ids(tables.source(ref("iris"))) == [*range(2, 7), *range(50, 60)]


def test_a_folder_with_files_of_another_table_is_refused(tmp_path):
    root = str(tmp_path / "root")
    for address in (None, f"sqlite:///{tmp_path}/c.db"):
        tables = IcebergTables(root, PROJECT, catalog=address)
        tables.ensure(ref("iris"), parse_ddl(IRIS))
        write(tables, "iris", f"{address is None}-a", rows(0, 3))
        write(tables, "iris", f"{address is None}-b", rows(0, 3))
    before = names(tmp_path / "root")
    for address in (None, f"sqlite:///{tmp_path}/c.db"):
        with pytest.raises(TableError, match="files of two tables"):
            collect(IcebergTables(root, PROJECT, catalog=address))
    assert names(tmp_path / "root") == before


class Late(Store):
    """A store whose next exclusive create comes after `before`, as if its writer had slept for days."""

    def __init__(self, real, before):
        super().__init__(real.scheme, real.filesystem, is_local=True, exclusive_create=True)
        self.before = before

    def create(self, url, data):
        before, self.before = self.before, None
        if before is not None:
            before()
        super().create(url, data)


def test_a_commit_that_slept_through_a_collection_is_not_lost(tmp_path, monkeypatch):
    tables = IcebergTables(str(tmp_path), PROJECT)
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    with tables._catalog.load_table((PROJECT, "iris")).transaction() as transaction:
        transaction.set_properties({"write.metadata.previous-versions-max": "2"})
    metadata = tmp_path / PROJECT / "iris" / "metadata"

    def others():
        for n in range(6):
            write(tables, "iris", f"t{n}", rows(n * 10, n * 10 + 10), mode="append")
        collect(tables)
        assert not (metadata / "v3.metadata.json").exists(), "the version that the sleeper wants next is free again"

    sleeper = IcebergTables(str(tmp_path), PROJECT)
    sleeper._catalog = StoreCatalog(tables.root, Late(open_store(tables.root), others))
    monkeypatch.setattr(store_catalog, "_SLOW_S", -1.0)
    hold(tables, tokens=["sleeper"])
    session = sleeper.write(ref("iris"), "append", "sleeper")
    assert session.commit([stage(session, 0, rows(100, 105))]).rows == 65
    assert sorted(ids(tables.source(ref("iris")))) == [*range(60), *range(100, 105)]
    assert not (metadata / "v3.metadata.json").exists()


@pytest.mark.parametrize("served", ["s3", "gcs"])
def test_on_an_object_store(served, request, monkeypatch):
    server = request.getfixturevalue(f"{served}_server")
    server.enter(monkeypatch)
    tables = IcebergTables(join(server.root(), "tables"), PROJECT, server.stores())
    tables.ensure(ref("iris"), parse_ddl(IRIS))
    old = [write(tables, "iris", f"t{n}", rows(n, n + 5)).id for n in range(3)]
    hold(tables, [old[0]])
    store, location = tables._catalog.store, tables._catalog.location((PROJECT, "iris"))
    assert [pin.snapshots for pin in read_pins(store, location, time.time())] == [(old[0],)]
    assert collect(tables, days=0.9).files == ()
    assert collect(tables).files
    assert ids(tables.source(ref("iris"))) == list(range(2, 7))
    assert ids(tables.source(ref("iris"), old[0])) == list(range(5))


def test_a_short_grace_is_refused():
    with pytest.raises(ValueError, match="rob"):
        Policy(0, 1, 60)
