"""A write to a table that is all or nothing: parts are staged as data files, one Iceberg commit publishes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException, ValidationException
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pai_train.errors import TableError
from pai_train.spec.contracts import Part, PartWriter, Snapshot
from pai_train.storage import ObjectMissing, join
from pai_train.tables.columns import declared_columns
from pai_train.tables.part import ParquetPart, check_parts, check_same, slice_ids
from pai_train.tables.partitions import arrow_value, one_partition, selects, stored_value
from pai_train.tables.plan import scan_tasks, stored
from pai_train.tables.staging import Staging
from pai_train.tables.store_io import entries_of, manifests_of
from pai_train.tables.token import check_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

    from pai_train.spec.address import TableRef
    from pai_train.tables.catalogs import TableCatalog
    from pai_train.tables.contracts import WriteMode

TOKEN = "pai_train.token"  # noqa: S105 - the name of a property
SLICES = "pai_train.slices"

_COMMIT_ATTEMPTS = 30
_LONGEST_WAIT_S = 2.0


class IcebergWrite:
    """A write session of one table, or of one partition of it.

    Parts lie under `data/<token>/` of the table, so that another process with the same token can write and commit
    them. Nothing of them is visible before the commit, which is one exclusive create of the next metadata file: of all
    processes with one token the first publishes, and every other gets its answer. Of writes with different tokens each
    takes effect, one after the other; an overwrite replaces what the table holds at its commit, not at its opening.

    Args:
        catalog: Where the table is.
        ref: The table, with one whole partition where it has partitions.
        mode: What becomes of the rows that the table, or the partition, holds.
        token: Names the write: a commit with a token that is already published is not repeated.

    Raises:
        TableError: The mode is 'fail' and there are rows; no whole partition; a token that is not a name.
    """

    def __init__(self, catalog: TableCatalog, ref: TableRef, mode: WriteMode, token: str) -> None:
        check_token(token)
        self._catalog = catalog
        self._store = catalog.store
        self._ref = ref
        self._mode = mode
        self._token = token
        table = self._load()
        self._data, self._keys = declared_columns(table.metadata)
        self._partition = one_partition(ref, self._keys)
        self._staging = Staging(self._store, join(table.location(), "data", token), str(ref))
        if self._published(table) is None:
            self._refuse_rows(table)
        self._table = table

    def part(self, slice_id: int, attempt: int) -> PartWriter:
        return self._staging.part(
            slice_id,
            attempt,
            lambda url: ParquetPart(
                self._store,
                url,
                slice_id=slice_id,
                attempt=attempt,
                schema=self._table.schema(),
                columns=self._data,
                constants=self._constants(),
            ),
        )

    def commit(self, parts: Sequence[Part]) -> Snapshot:
        check_parts(str(self._ref), parts)
        table = self._load()
        done = self._published(table)
        if done is None:
            self._staging.hold(parts)
            table, done = self._publish(table, parts)
        self._sweep(table, done)
        totals = _totals(done)
        check_same(str(self._ref), parts, int(totals.get("added-records", 0)), totals.get(SLICES))
        return snapshot_of(done)

    def abort(self) -> None:
        table = self._load()
        done = self._published(table)
        if done is None:
            self._staging.give_up(lambda: self._published(self._load()) is not None)
        else:
            self._sweep(table, done)

    def _load(self) -> Table:
        return self._catalog.load_table((self._ref.project, self._ref.name))

    def _constants(self) -> dict[str, pa.Scalar]:
        columns = {column.name: column for column in self._keys}
        return {name: arrow_value(columns[name], stored_value(columns[name], text)) for name, text in self._partition}

    def _published(self, table: Table) -> IcebergSnapshot | None:
        for snapshot in table.snapshots():
            if _totals(snapshot).get(TOKEN) == self._token:
                return snapshot
        return None

    def _held(self, table: Table) -> list[DataFile]:
        """Lists the data files that an overwrite replaces."""
        wanted = [self._partition] if self._partition else []
        files = (task.file for task in scan_tasks(self._ref, table))
        return [file for file in files if selects(stored(file), self._keys, wanted)]

    def _refuse_rows(self, table: Table) -> None:
        rows = sum(file.record_count for file in self._held(table)) if self._mode == "fail" else 0
        if rows:
            raise TableError(
                "the output holds rows",
                where=str(self._ref),
                got=f"{rows} rows",
                wanted="no rows, as `write: fail` says",
                todo="name another table, or say `write: overwrite` or `write: append`",
            )

    def _publish(self, table: Table, parts: Sequence[Part]) -> tuple[Table, IcebergSnapshot]:
        try:
            files = [self._data_file(table, part) for part in parts]
        except ObjectMissing as missing:
            return self._published_meanwhile(missing)
        # Where the outcome is not known, the next try looks for this write's token first, as after a lost race.
        raced = (CommitFailedException, CommitStateUnknownException, ValidationException)
        retrying = Retrying(
            retry=retry_if_exception_type(raced),
            stop=stop_after_attempt(_COMMIT_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.05, max=_LONGEST_WAIT_S),
            reraise=True,
        )
        try:
            return retrying(self._try_publish, files, slice_ids(parts))
        except raced as fault:
            unsure = isinstance(fault, CommitStateUnknownException)
            what = "the catalog did not say what became of the commit" if unsure else "other writers committed first"
            raise TableError(
                f"{what}, {_COMMIT_ATTEMPTS} times",
                where=str(self._ref),
                got=str(fault),
                todo="start again; the staged rows are kept and the commit can be repeated",
            ) from fault

    def _try_publish(self, files: Sequence[DataFile], slices: str) -> tuple[Table, IcebergSnapshot]:
        """Commits on top of the table as it is now, unless another process has published this very write."""
        table = self._load()
        done = self._published(table)
        if done is not None:
            return table, done
        self._refuse_rows(table)
        current = table.current_snapshot()
        if current is not None:
            # A list of manifests that is cut short would be carried over as it is.
            manifests_of(table, current)
        transaction = table.transaction()
        update = transaction.update_snapshot(snapshot_properties={TOKEN: self._token, SLICES: slices})
        producer = update.overwrite() if self._mode == "overwrite" else update.fast_append()
        with producer as snapshot:
            for file in self._held(table) if self._mode == "overwrite" else ():
                snapshot.delete_data_file(file)
            for file in files:
                snapshot.append_data_file(file)
        transaction.commit_transaction()
        # What counts is what the store's newest version says, whatever the commit was told.
        table = self._load()
        done = self._published(table)
        if done is None:
            raise TableError("a commit left no snapshot", where=str(self._ref), todo="report the table's metadata")
        return table, done

    def _published_meanwhile(self, missing: ObjectMissing) -> tuple[Table, IcebergSnapshot]:
        """Parts are gone: swept, when another process has published this very write."""
        table = self._load()
        done = self._published(table)
        if done is None:
            raise TableError(
                "a staged part is gone",
                where=missing.fault.where,
                todo="stage its slice again; the session that made it has given it up",
            ) from missing
        return table, done

    def _data_file(self, table: Table, part: Part) -> DataFile:
        with self._store.open_input(part.url) as stream:
            footer = pq.read_metadata(stream)
        if footer.num_rows != part.rows:
            raise TableError(
                "a staged part is not what was written",
                where=part.url,
                got=f"{footer.num_rows} rows",
                wanted=f"{part.rows} rows",
            )
        statistics = data_file_statistics_from_parquet_metadata(
            footer,
            compute_statistics_plan(table.schema(), table.metadata.properties),
            parquet_path_to_id_mapping(table.schema()),
        )
        columns = {column.name: column for column in self._keys}
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=part.url,
            file_format=FileFormat.PARQUET,
            partition=Record(*(stored_value(columns[name], text) for name, text in self._partition)),
            file_size_in_bytes=part.bytes,
            sort_order_id=None,
            spec_id=table.metadata.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )

    def _sweep(self, table: Table, done: IcebergSnapshot) -> None:
        """Deletes what was staged under the token and is not in its snapshot: attempts that were given up."""
        staged = self._staging.staged()
        for manifest in manifests_of(table, done) if staged else ():
            staged -= {entry.data_file.file_path for entry in entries_of(table, manifest)}
        self._staging.sweep(staged)


def snapshot_of(snapshot: IcebergSnapshot) -> Snapshot:
    """Returns the identity of the whole table at an Iceberg snapshot, with the totals of its summary."""
    totals = _totals(snapshot)
    rows, size = totals.get("total-records"), totals.get("total-files-size")
    return Snapshot(
        id=str(snapshot.snapshot_id),
        rows=None if rows is None else int(rows),
        bytes=None if size is None else int(size),
    )


def _totals(snapshot: IcebergSnapshot) -> Mapping[str, str]:
    return snapshot.summary.additional_properties if snapshot.summary is not None else {}
