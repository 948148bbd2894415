"""Tables on MaxCompute: the suite, and what only a service can do: sessions that end, answers lost or empty."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from pai_train.errors import TableError
from pai_train.storage import Limits, StorageOptions, Stores
from pai_train.tables.maxcompute import open_tables
from tests.suites.table_rows import PROJECT, VALUES, ids, ref, rows, write
from tests.suites.table_suite import TableSuite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pai_train.tables.maxcompute.tables import MaxComputeTables
    from tests.servers.maxcompute_fixture import MaxComputeDoor, MaxComputeServed

QUICK = Stores(StorageOptions(limits=Limits(timeout_s=5, deadline_s=3)))


@pytest.fixture
def tables(
    maxcompute_server: MaxComputeServed,
    maxcompute_door: MaxComputeDoor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[MaxComputeTables]:
    maxcompute_server.enter(monkeypatch)
    maxcompute_door._do("project", name=PROJECT)
    yield open_tables(str(tmp_path / "tables"), PROJECT, QUICK)
    service = maxcompute_server.odps(project=PROJECT)
    for table in list(service.list_tables()):
        service.delete_table(table.name)


def in_nanoseconds(value: Any) -> Any:
    """Returns a time that MaxCompute can keep, whose times are 64 bits of nanoseconds."""
    is_far = isinstance(value, dt.datetime) and not 1678 <= value.year <= 2261
    return value.replace(year=2024) if is_far else value


class TestMaxCompute(TableSuite):
    values = tuple(in_nanoseconds(value) for value in VALUES)
    has_sessions = True

    def test_a_snapshot_is_read_again_after_an_overwrite(self, iris):
        """Its session keeps the rows; without the session it is gone, and says so."""
        written = write(iris, "iris", "a", rows(0, 10))
        source = iris.source(ref("iris"), snapshot=written.id)
        write(iris, "iris", "b", rows(10, 12))
        assert ids(source) == list(range(10))
        again = iris.source(ref("iris"), snapshot=source.snapshot.id)
        assert (again.snapshot, again.chunks()) == (source.snapshot, source.chunks())
        assert ids(again) == list(range(10))
        with pytest.raises(TableError, match=r"it was changed\n(.|\n)*2 rows, not 10(.|\n)*train.resume=never"):
            iris.source(ref("iris"), snapshot=written.id)
