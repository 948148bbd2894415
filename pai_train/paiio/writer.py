"""TableWriter: rows into a table, which they replace when the writer, or the last one of its job, closes."""

from __future__ import annotations

import os
import uuid
import warnings
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pai_train.errors import TableError
from pai_train.paiio.cells import Cells
from pai_train.paiio.job import Job
from pai_train.paiio.lock import SliceLock
from pai_train.paiio.settings import settings
from pai_train.paiio.values import columns_of
from pai_train.tables.arrow import arrow_schema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from pai_train.spec.contracts import PartWriter, Snapshot

JOB_VARIABLE = "PAI_TRAIN_JOB"
SLICES_VARIABLE = "PAI_TRAIN_SLICE_COUNT"

_BUFFER_CELLS = 262_144
_MAX_BUFFER_ROWS = 16_384
_MAX_BUFFER_BYTES = 16 * 2**20


class TableWriter:
    """Writes one slice of a table; a context manager that writes nothing when an exception leaves it.

    What the table, or the partition that is named, holds is replaced when all is there, at once: a reader sees the
    old rows or the new ones. A writer without a job replaces it at `close`. The writers of one job replace it
    together: when the last of `slice_count` closes, or at `paiio.commit`.

    Args:
        table: An address; of a partitioned table with one whole partition.
        slice_id: Which slice of the output; two writers of one slice exclude each other.
        job: Names what the slices belong to, once per run; None for `PAI_TRAIN_JOB`, or no job.
        slice_count: How many slices the job has; None for `PAI_TRAIN_SLICE_COUNT`, or unknown.

    Raises:
        TableError: No such table, a second writer of the slice, a slice other than 0 without a job, or a job that
            has published the table.
    """

    def __init__(
        self, table: str, slice_id: int = 0, *, job: str | None = None, slice_count: int | None = None
    ) -> None:
        known = settings()
        self._ref = known.ref(table)
        if self._ref.rows is not None:
            raise TableError("rows are written to a table, not to a range of it", got=str(self._ref))
        job = job or os.environ.get(JOB_VARIABLE) or None
        self._slice_count = slice_count or _slices_of_job()
        _check_slice(str(self._ref), slice_id, job, self._slice_count)
        self._slice_id = slice_id
        self._done = True  # until all of it is there
        self._session = known.tables.write(self._ref, "overwrite", job or f"paiio-{uuid.uuid4().hex}")
        info = known.tables.describe(self._ref)
        if info is None:
            raise TableError("the table is gone", where=str(self._ref))
        schema = arrow_schema(info.columns)
        self._cells = [
            Cells(column.name, str(column.type), field.type, str(self._ref))
            for column, field in zip(info.columns, schema, strict=True)
        ]
        self._job = None if job is None else Job(known, job, self._ref)
        self._lock = SliceLock(f"{known.jobs or known.tables!r} {self._ref} {slice_id}", str(self._ref), slice_id)
        try:
            self._attempt = 0 if self._job is None else self._job.attempts(slice_id)
        except BaseException:
            self._lock.release()
            raise
        self._part: PartWriter | None = None
        self._most = max(1, min(_MAX_BUFFER_ROWS, _BUFFER_CELLS // max(1, len(self._cells))))
        self._buffer: dict[int, list[Any]] = {}
        self._buffered = self._buffered_bytes = self._written = 0
        self._done = False

    def write(
        self,
        values: Any,
        indices: Sequence[int] | None = None,
        allow_type_cast: bool = False,
        *,
        col_indices: Sequence[int] | None = None,
    ) -> None:
        """Adds one row, or several.

        Args:
            values: One row (a tuple, a list or a 1-D array of scalars), or rows (a list, an array or an iterator of
                tuples, lists, arrays or structured elements).
            indices: The column, from 0, of each value of a row; columns that are not listed are NULL. None for all
                columns, in order.
            allow_type_cast: Convert values of other types: text that is a number, numbers to text.
            col_indices: Another name of indices.

        Raises:
            TableError: A value does not fit its column; it names column, row and value. A number that is out of its
                column's range may be found out later, at the latest by `close`. Nothing of the call is kept.
        """
        if self._done:
            raise TableError("the writer is closed", where=str(self._ref))
        numbers = self._indices(indices if indices is not None else col_indices)
        first = self._written + self._buffered
        columns = columns_of(values, len(numbers), str(self._ref))
        fitted = {
            number: self._cells[number].fitted(column, first, allow_type_cast)
            for number, column in zip(numbers, columns, strict=bool(columns))
        }
        count = len(columns[0]) if columns else 0
        if self._buffered and fitted.keys() != self._buffer.keys():
            self._flush()
        for number, column in fitted.items():
            self._buffer.setdefault(number, []).extend(column)
            self._buffered_bytes += self._cells[number].bytes_of(column)
        self._buffered += count
        if self._buffered >= self._most or self._buffered_bytes >= _MAX_BUFFER_BYTES:
            self._flush()

    def close(self) -> None:
        """Publishes what was written, or leaves it to the last writer of the job; once more does nothing.

        Raises:
            TableError: A value does not fit its column, or the rows cannot be published: then nothing is.
        """
        if self._done:
            return
        try:
            self._flush()
            part = self._opened().finish()
            self._done = True
            if self._job is None:
                self._session.commit([part])
            else:
                self._job.finish(part)
                parts = self._job.parts()
                if self._slice_count is not None and len(parts) >= self._slice_count:
                    self._job.publish(self._session, parts)
        finally:
            self.abort()

    def abort(self) -> None:
        """Ends the writing without publishing; after `close` it does nothing."""
        if not self._done:
            self._done = True
            if self._part is not None:
                self._part.abort()
        self._buffer.clear()
        self._lock.release()

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        if not getattr(self, "_done", True):
            warnings.warn(
                f"a writer of {self._ref} was not closed: nothing is published", ResourceWarning, stacklevel=1
            )
            self.abort()

    def _indices(self, indices: Sequence[int] | None) -> list[int]:
        if indices is None:
            return list(range(len(self._cells)))
        numbers = [int(index) for index in indices]
        if len(set(numbers)) < len(numbers) or not all(0 <= number < len(self._cells) for number in numbers):
            raise TableError(
                "indices are not column numbers",
                where=str(self._ref),
                got=str(numbers),
                wanted=f"each at most once, 0 to {len(self._cells) - 1}",
            )
        return numbers

    def _opened(self) -> PartWriter:
        if self._part is None:
            self._part = self._session.part(self._slice_id, self._attempt)
        return self._part

    def _flush(self) -> None:
        """Hands the buffered rows on, column by column."""
        if not self._buffered:
            return
        held = sorted(self._buffer.items())
        arrays = [self._cells[number].array(values, self._written) for number, values in held]
        self._opened().write(pa.RecordBatch.from_arrays(arrays, [self._cells[number].name for number, _ in held]))
        self._buffer.clear()
        self._written += self._buffered
        self._buffered = self._buffered_bytes = 0


def commit(table: str, job: str | None = None) -> Snapshot:
    """Publishes the slices of a job that are finished, however many they are; once more changes nothing.

    Args:
        table: The address that its writers were given.
        job: The job; None for `PAI_TRAIN_JOB`.

    Raises:
        TableError: No job is named, or none of its slices is finished.
    """
    known = settings()
    ref = known.ref(table)
    job = job or os.environ.get(JOB_VARIABLE)
    if not job:
        raise TableError("no job is named", where=str(ref), todo=f"pass job=, or set {JOB_VARIABLE}")
    slices = Job(known, job, ref)
    parts = slices.parts()
    if not parts:
        raise TableError(f"job {job!r} has finished no slice of the table", where=str(ref), todo="close its writers")
    return slices.publish(known.tables.write(ref, "overwrite", job), parts)


def _slices_of_job() -> int | None:
    text = os.environ.get(SLICES_VARIABLE) or None
    if text is not None and not (text.isascii() and text.isdecimal() and int(text)):
        raise TableError("not a number of slices", where=SLICES_VARIABLE, got=text, wanted="1 or more")
    return None if text is None else int(text)


def _check_slice(where: str, slice_id: int, job: str | None, slice_count: int | None) -> None:
    if slice_id < 0 or (slice_count is not None and slice_id >= slice_count):
        raise TableError("no such slice", where=where, got=f"slice_id={slice_id}", wanted=f"0 to {slice_count}")
    if job is None and (slice_id > 0 or (slice_count or 1) > 1):
        raise TableError(
            "a slice does not know what it is a slice of, and would replace the others",
            where=where,
            got=f"slice_id={slice_id} without a job",
            todo=f"set {JOB_VARIABLE} to a name that is new for each run, the same in all processes, and "
            f"{SLICES_VARIABLE} to their number; or pass job= and slice_count=",
        )
