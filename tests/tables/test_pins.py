"""The pins of a run: written, kept alive while it lives, left by a death, removed at its end."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from pai_train.errors import StorageError
from pai_train.pins import Held, Pins
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.iceberg import IcebergTables
from pai_train.tables.pins import PIN_DAYS, read_pins
from tests.suites.table_rows import IRIS, PROJECT, ref, rows, write


@pytest.fixture
def tables(tmp_path):
    tables = IcebergTables(str(tmp_path), PROJECT)
    for name in ("iris", "other"):
        tables.ensure(ref(name), parse_ddl(IRIS))
    return tables


def pinned(tables, name="iris"):
    return read_pins(tables._catalog.store, tables._catalog.location((PROJECT, name)), time.time())


def test_a_run_pins_each_of_its_tables_once(tables):
    with Pins(lambda: tables, "r1", clock=lambda: 2e9) as pins:
        pins.hold([Held(ref("iris"), snapshots=("7",)), Held(ref("iris"), tokens=("r1-out",)), Held(ref("other"))])
        (pin,) = pinned(tables)
        assert (pin.run_id, pin.snapshots, pin.tokens) == ("r1", ("7",), ("r1-out",))
        assert pin.until == 2e9 + PIN_DAYS * 86400
    assert len(pinned(tables, "other")) == 1, "what ends without being finished stays pinned"
    pins.release()
    assert pinned(tables) == pinned(tables, "other") == []


def test_runs_do_not_touch_each_others_pins(tables):
    with Pins(lambda: tables, "r1") as one, Pins(lambda: tables, "r2") as other:
        one.hold([Held(ref("iris"), ("1",))])
        other.hold([Held(ref("iris"), ("2",))])
        one.release()
        assert [pin.run_id for pin in pinned(tables)] == ["r2"]


def test_a_living_run_renews_its_pins(tables):
    times, renewed = iter(range(2_000_000_000, 2_100_000_000, 1000)), threading.Event()

    def clock():
        at = next(times)
        if at >= 2_000_003_000:
            renewed.set()
        return float(at)

    with Pins(lambda: tables, "r1", renew_s=0.01, clock=clock) as pins:
        pins.hold([Held(ref("iris"), ("1",))])
        assert renewed.wait(10)
    assert pinned(tables)[0].until >= 2_000_003_000
    assert not [thread for thread in threading.enumerate() if thread.name == "pins"]


def test_nothing_is_opened_where_nothing_is_held():
    def never():
        raise AssertionError

    with Pins(never, "r1") as pins:
        pins.hold([])
        pins.release()


def test_a_store_that_does_not_take_pins_is_only_worth_a_warning(tables, monkeypatch, caplog):
    write(tables, "iris", "t", rows(0, 3))

    def refuse(*_):
        raise StorageError("may not be written")

    monkeypatch.setattr(tables._catalog.store, "put", refuse)
    with caplog.at_level(logging.WARNING), Pins(lambda: tables, "r1") as pins:
        pins.hold([Held(ref("iris"), ("1",))])
        monkeypatch.setattr(tables._catalog.store, "delete", refuse)
        pins.release()
    assert "cannot be pinned" in caplog.text
    assert "stays pinned for up to 30 days" in caplog.text
