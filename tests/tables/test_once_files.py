"""A process that writes a folder of files ends at any storage operation; the same write done again lists every row."""

from __future__ import annotations

from contextlib import suppress

import pytest

from pai_train.errors import StorageError, TableError
from pai_train.storage import join
from pai_train.tables.files import FilesWrite
from tests.suites.mortal import ENDS, ENDS_DONE, FAILS, FAILS_DONE, Ended, World, at
from tests.suites.once_rows import keys, stage_slice
from tests.suites.table_rows import rows, stage
from tests.tables.test_files import SCHEMA, csv_ids, manifest, names

FULL = pytest.mark.full
OLD = list(range(10))


def session(store, folder, mode, token):
    return FilesWrite(folder, SCHEMA, "csv", mode, token, store)


def whole(stores, folder, mode, attempt=0):
    opened = session(stores, folder, mode, "t")
    return opened.commit([stage_slice(opened, n, 2, attempt) for n in range(2)])


@pytest.fixture(params=["memory", pytest.param("file", marks=FULL)])
def world(request, tmp_path):
    return World(tmp_path if request.param == "file" else None)


@pytest.mark.parametrize("mode", ["overwrite", "append", "fail"])
@pytest.mark.parametrize(
    "fault", [ENDS_DONE, FAILS_DONE, pytest.param(ENDS, marks=FULL), pytest.param(FAILS, marks=FULL)]
)
def test_an_end_at_every_operation(world, mode, fault):
    folder = join(world.root, "out")
    old = [] if mode == "fail" else OLD
    if old:
        opened = session(world.stores, folder, "overwrite", "old")
        opened.commit([stage(opened, 0, rows(0, 10))])
    objects = world.save()
    life = world.live()
    whole(life.stores, folder, mode)
    world.restore(objects)
    for number in range(1, life.files.count + 1):
        print(f"operation {number}")  # noqa: T201 - names the case that failed
        doomed = world.live(at(number, fault))
        with suppress(StorageError, Ended):
            whole(doomed.stores, folder, mode)
        assert doomed.files.struck
        answer = whole(world.stores, folder, mode, attempt=1)
        assert (answer.rows, whole(world.stores, folder, mode, attempt=2)) == (len(keys()), answer)
        assert sorted(csv_ids(world.store, folder)) == ([*old, *keys()] if mode == "append" else keys())
        found = manifest(world.store, folder)
        assert found["complete"]
        listed = {file["name"] for file in found["files"]}
        assert set(names(world.store, folder)) == {"MANIFEST.json", *listed}
        world.restore(objects)


def test_a_token_that_was_used_for_other_rows_is_told(world):
    folder = join(world.root, "out")
    whole(world.stores, folder, "append")
    opened = session(world.stores, folder, "append", "t")
    with pytest.raises(TableError, match=r"already published, with other rows(.|\n)*3 rows(.|\n)*23 rows"):
        opened.commit([stage(opened, 0, rows(0, 3))])
    assert sorted(csv_ids(world.store, folder)) == keys()
