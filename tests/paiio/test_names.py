"""The names of paiio: where each is found, what an import costs, and where tables are when nothing is said."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
import yaml

from pai_train import paiio
from pai_train.errors import PaiTrainError, TableError
from pai_train.paiio import settings
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.iceberg import IcebergTables
from tests.suites.table_rows import PROJECT, ref

CONF = Path(__file__).resolve().parents[2] / "conf"
WITHOUT_TENSORFLOW = """
import sys
from pai_train import paiio
with paiio.TableWriter("lab.t") as writer:
    writer.write([(1, "x"), (2, "y")], (0, 1))
with paiio.python_io.TableReader("lab.t") as reader:
    assert reader.read(2).tolist() == [[1, b"x"], [2, b"y"]]
    assert "tensorflow" not in sys.modules and "hydra" not in sys.modules and "omegaconf" not in sys.modules
"""


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("paiio", ["TableRecordDataset", "TableReader", "TableWriter", "OutOfRangeException", "WorkQueue", "commit"]),
        ("paiio.data", ["TableRecordDataset", "WorkQueue"]),
        ("paiio.python_io", ["TableReader", "TableWriter", "OutOfRangeException"]),
    ],
)
def test_every_name_is_one_object(module, names):
    found = importlib.import_module(f"pai_train.{module}")
    assert all(getattr(found, name) is getattr(paiio, name) for name in names)
    assert set(names) <= {*found.__all__} <= {*dir(found)} | set(names)
    with pytest.raises(AttributeError, match="no attribute 'TableRecrodDataset'"):
        _ = found.TableRecrodDataset


def test_the_end_is_an_exception_of_tensorflow_and_crosses_processes():
    end = paiio.OutOfRangeException()
    assert isinstance(end, tf.errors.OutOfRangeError)
    again = pickle.loads(pickle.dumps(end))
    assert (type(again), again.message) == (paiio.OutOfRangeException, "No more data to read.")


def test_readers_and_writers_do_without_tensorflow(tmp_path):
    IcebergTables(str(tmp_path / "data/tables"), PROJECT).ensure(
        ref("t"), parse_ddl("CREATE TABLE t (a BIGINT, b STRING)")
    )
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_defaults_are_those_of_recipes():
    tables = yaml.safe_load((CONF / "tables/iceberg.yaml").read_text())
    storage = yaml.safe_load((CONF / "storage/local.yaml").read_text())
    assert tables["root"].replace("${storage.root}", storage["root"]) == settings.DEFAULT_ROOT
    assert tables["project"] == settings.DEFAULT_PROJECT


def test_the_environment_says_where_tables_are(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "_configured", None)
    monkeypatch.setenv("PAI_TRAIN_TABLES_ROOT", str(tmp_path / "warehouse"))
    monkeypatch.setenv("PAI_TRAIN_PROJECT", "shop")
    known = settings.settings()
    assert (known.tables.root, known.project) == (f"file://{tmp_path}/warehouse", "shop")
    assert known.jobs == f"file://{tmp_path}/warehouse/_paiio"
    known.tables.ensure(known.ref("t"), parse_ddl("CREATE TABLE t (a BIGINT)"))
    with paiio.TableWriter("t") as writer:
        writer.write((1,))
    assert paiio.TableReader("odps://shop/tables/t").read().tolist() == [[1]]


def test_the_environment_says_which_catalog_lists_tables(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "_configured", None)
    monkeypatch.setenv("PAI_TRAIN_TABLES_ROOT", str(tmp_path / "warehouse"))
    monkeypatch.setenv("PAI_TRAIN_TABLES_CATALOG", f"sqlite:///{tmp_path}/catalog.db")
    settings.settings().tables.ensure(settings.settings().ref("t"), parse_ddl("CREATE TABLE t (a BIGINT)"))
    with paiio.TableWriter("t") as writer:
        writer.write((1,))
    assert paiio.TableReader("t").read().tolist() == [[1]]
    assert (tmp_path / "catalog.db").exists()
    monkeypatch.setenv("PAI_TRAIN_TABLES_CATALOG", "sqllite:///catalog.db")
    with pytest.raises(TableError, match=r"^PAI_TRAIN_TABLES_CATALOG: not the address(.|\n)*did you mean sqlite"):
        settings.settings()


def test_keys_of_the_environment_are_read_again(maxcompute_server, maxcompute_door, monkeypatch, tmp_path):
    maxcompute_server.enter(monkeypatch)
    monkeypatch.setattr(settings, "_configured", None)
    monkeypatch.setenv("PAI_TRAIN_TABLES_ROOT", str(tmp_path))
    monkeypatch.setenv("PAI_TRAIN_TABLES", "maxcompute")
    monkeypatch.setenv("ODPS_PROJECT_NAME", maxcompute_door.project())
    known = settings.settings()
    assert known is settings.settings()
    known.tables.ensure(known.ref("t"), parse_ddl("CREATE TABLE t (a STRING)"))
    name = next(name for name in maxcompute_server.env if "SECRET" in name)
    with monkeypatch.context() as other:
        other.setenv(name, "another")
        with pytest.raises(PaiTrainError):
            settings.settings().tables.describe(known.ref("t"))
    assert settings.settings().tables.describe(known.ref("t")) is not None


@pytest.mark.parametrize("how", ["environment", "configure"])
def test_maxcompute_by_its_name(how, maxcompute_server, maxcompute_door, monkeypatch, tmp_path):
    maxcompute_server.enter(monkeypatch)
    monkeypatch.setattr(settings, "_configured", None)
    monkeypatch.setenv("PAI_TRAIN_TABLES_ROOT", str(tmp_path))
    project = maxcompute_door.project()
    monkeypatch.setenv("ODPS_PROJECT_NAME", project)
    if how == "environment":
        monkeypatch.setenv("PAI_TRAIN_TABLES", "maxcompute")
    else:
        paiio.configure("maxcompute", strings="str")
    known = settings.settings()
    assert known.project == project
    known.tables.ensure(known.ref("t"), parse_ddl("CREATE TABLE t (a STRING)"))
    with paiio.TableWriter("t") as writer:
        writer.write(("x",))
    value = b"x" if how == "environment" else "x"
    assert paiio.TableReader(f"odps://{project}/tables/t").read().tolist() == [[value]]
    assert known.tables.names(project) == ["t"]


def test_a_service_that_nobody_names(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "_configured", None)
    monkeypatch.setenv("PAI_TRAIN_TABLES_ROOT", str(tmp_path))
    for name in ("ODPS_ENDPOINT", "ODPS_PROJECT_NAME", "ODPS_CONFIG_FILE_PATH"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TableError, match="ODPS_ENDPOINT"):
        paiio.configure("maxcompute")
    monkeypatch.setenv("ODPS_ENDPOINT", "https://service.test/api")
    with pytest.raises(TableError, match="ODPS_PROJECT_NAME"):
        paiio.configure("maxcompute")
    paiio.configure("maxcompute", project="shop")
    assert settings.settings().project == "shop"
    with pytest.raises(TableError, match=r"^PAI_TRAIN_TABLES: no such table store(.|\n)*iceberg, maxcompute"):
        paiio.configure("odps")


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"strings": "text"}, "strings"),
        ({"records": "list"}, "'array' or 'tuples'"),
        ({"short_read": ""}, "short_read"),
    ],
)
def test_choices_are_checked(choice, words, monkeypatch):
    monkeypatch.setattr(settings, "_configured", None)
    with pytest.raises(TableError, match=words):
        paiio.configure(**choice)


def test_slices_need_a_folder_of_jobs(monkeypatch):
    known = settings.Settings(tables=object(), project="lab")
    with pytest.raises(TableError, match=r"find each other(.|\n)*jobs="):
        known.jobs_store()
