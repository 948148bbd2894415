"""A download session of the tunnel: the rows of a table or a partition, numbered, for 24 hours."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pai_train.errors import DataError, TableError
from pai_train.tables.maxcompute.errors import CutShort, EmptyAnswer, Kind, kind_of
from pai_train.tables.maxcompute.frames import batches
from pai_train.tables.maxcompute.meta import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from pai_train.spec.address import Partition, TableRef
    from pai_train.tables.maxcompute.connection import Connection

_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.1, 2.0
_GONE = (Kind.NO_SESSION, Kind.CONFLICT)


@dataclass(frozen=True)
class Download:
    """A session that reads.

    Attributes:
        id: Its name.
        rows: How many rows it has.
    """

    id: str
    rows: int


def place(ref: TableRef, leaf: Partition) -> str:
    """Returns the address of what a session is about, for people."""
    levels = "/".join(f"{key}={value}" for key, value in leaf)
    address = f"odps://{ref.project}/tables/{ref.name}"
    return f"{address}/{levels}" if levels else address


def spec(leaf: Partition) -> dict[str, str]:
    """Returns the parameter that names a partition to the tunnel; none for a table without."""
    return {"partition": ",".join(f"{key}={value}" for key, value in leaf)} if leaf else {}


class Downloads:
    """The download sessions of one table.

    Args:
        connection: The way to the service.
        ref: The table.
    """

    def __init__(self, connection: Connection, ref: TableRef) -> None:
        self._connection = connection
        self._ref = ref

    def create(self, leaf: Partition) -> Download:
        """Opens a session on the rows that are there now.

        Raises:
            PaiTrainError: It cannot be opened.
        """
        where = place(self._ref, leaf)
        told = self._ask(where, "post", {"downloads": "", "asyncmode": "true", **spec(leaf)})
        return self._ready(where, leaf, told)

    def find(self, leaf: Partition, session: str) -> Download | None:
        """Returns a session that was opened before; None once it has ended."""
        where = place(self._ref, leaf)

        def ask() -> dict[str, Any] | None:
            try:
                return self._send("get", {"downloadid": session, **spec(leaf)})
            except Exception as error:
                if kind_of(error) is Kind.NO_SESSION:
                    return None
                raise

        told = self._connection.retry(where, ask)
        if told is None or str(told["Status"]).lower() == "expired":
            return None
        return self._ready(where, leaf, told)

    def read(self, session: Download, leaf: Partition, rows: range, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yields a range of rows, going on behind the last row that came where the transfer is cut.

        Args:
            session: The session.
            leaf: Its partition.
            rows: Which rows.
            schema: The columns to read, in the table's order, as the tunnel carries them.

        Raises:
            DataError: The service keeps answering with too few rows, or with too many; or the session has ended.
            StoreUnavailable: It keeps failing.
        """
        where = f"{place(self._ref, leaf)} rows {rows.start} to {rows.stop}"
        reading = _Reading(self._open, session, leaf, rows, schema)
        while reading.at < rows.stop:
            try:
                batch = self._connection.retry(where, reading.next)
            except EmptyAnswer:
                raise DataError(
                    "MaxCompute answers without rows where there are some",
                    where=where,
                    got="0 rows, again and again",
                    wanted=f"{rows.stop - reading.at} rows from row {reading.at} on",
                    todo="start again; if it stays so, report the table to the service",
                ) from None
            except TableError as error:
                raise self._ended(session, leaf, where, error) from error
            yield batch

    def _open(self, session: Download, leaf: Partition, start: int, count: int, names: Sequence[str]) -> Any:
        params = {"downloadid": session.id, "rowrange": f"({start},{count})", "columns": ",".join(names), **spec(leaf)}
        answer = self._connection.tunnel(
            "get", path_of(self._ref), params=params, actions=["data", "arrow"], stream=True
        )
        return answer.raw

    def _ended(self, session: Download, leaf: Partition, where: str, error: TableError) -> DataError:
        """Returns what a refusal in the middle means."""
        cause = error.__cause__
        if cause is not None and kind_of(cause) in _GONE and self.find(leaf, session.id) is None:
            return DataError(
                "the session that numbers the rows has ended: it lives for 24 hours",
                where=where,
                got=session.id,
                todo="start again; a run that had begun cannot go on in the same order: train.resume=never",
            )
        fault = error.fault
        return DataError(fault.what, where=where, got=fault.got, wanted=fault.wanted, todo=fault.todo)

    def _ready(self, where: str, leaf: Partition, told: dict[str, Any]) -> Download:
        """Waits until a session is made."""
        pause, waited = _FIRST_LOOK_S, 0.0
        while str(told["Status"]).lower() == "initiating":
            if waited > self._connection.patience_s:
                raise TableError("the session is not made in time", where=where, todo="start again later")
            time.sleep(pause)
            waited += pause
            pause = min(2 * pause, _LONGEST_LOOK_S)
            told = self._ask(where, "get", {"downloadid": told["DownloadID"], **spec(leaf)})
        return Download(str(told["DownloadID"]), int(told["RecordCount"]))

    def _ask(self, where: str, method: str, params: dict[str, str]) -> dict[str, Any]:
        return self._connection.retry(where, lambda: self._send(method, params))

    def _send(self, method: str, params: dict[str, str]) -> dict[str, Any]:
        return self._connection.ask_tunnel(method, path_of(self._ref), params)


class _Reading:
    """A range that is read batch by batch; each `next` may be called again where it failed."""

    def __init__(
        self, open_: Callable[..., Any], session: Download, leaf: Partition, rows: range, schema: pa.Schema
    ) -> None:
        self._open = open_
        self._session, self._leaf = session, leaf
        self._end = rows.stop
        self._most = len(rows)
        self._schema = schema
        self._body: Any = None
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._asked = rows.start
        self.at = rows.start

    def next(self) -> pa.RecordBatch:
        """Returns the next rows; where it fails nothing has been taken."""
        try:
            batch = self._take()
            if self.at + batch.num_rows >= self._asked:
                self._finish(batch)
        except BaseException as error:
            if self._body is not None:
                self._body.close()
            self._body = None
            if isinstance(error, EmptyAnswer):
                # The service may answer so to a range that is too large for it.
                self._most = max(self._most // 2, 1)
            raise
        self.at += batch.num_rows
        return batch

    def _take(self) -> pa.RecordBatch:
        is_first = self._body is None
        if is_first:
            count = min(self._end - self.at, self._most)
            self._asked = self.at + count
            self._body = self._open(self._session, self._leaf, self.at, count, self._schema.names)
            self._batches = batches(self._body, self._schema)
        batch = self._rows()
        if batch is None:
            raise EmptyAnswer("an answer without rows") if is_first else CutShort("an answer with too few rows")
        return batch

    def _finish(self, last: pa.RecordBatch) -> None:
        """Reads on to the sum at the end, which vouches for the last rows too."""
        more = self._rows()
        surplus = self.at + last.num_rows - self._asked + (more.num_rows if more is not None else 0)
        if surplus:
            raise TableError(
                "MaxCompute answers with more rows than were asked for",
                got=f"{surplus} more",
                todo="start again; if it stays so, report the table to the service",
            )
        self._body.release_conn()
        self._body = None

    def _rows(self) -> pa.RecordBatch | None:
        return next((batch for batch in self._batches if batch.num_rows), None)
