"""A write to MaxCompute that is all or nothing: one upload session, a block for each slice, one commit."""

from __future__ import annotations

import io
import logging
import tempfile
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from pai_train.errors import TableError
from pai_train.spec.contracts import Part, PartWriter, Snapshot
from pai_train.storage.errors import mapped
from pai_train.tables.arrow import arrow_schema
from pai_train.tables.maxcompute.download import Downloads, place
from pai_train.tables.maxcompute.meta import partition_modified
from pai_train.tables.maxcompute.register import Begun, Register
from pai_train.tables.maxcompute.state import snapshot_id, state_of
from pai_train.tables.maxcompute.upload import MOST_BLOCKS, Upload, Uploads
from pai_train.tables.maxcompute.wire import to_wire, wire_schema
from pai_train.tables.part import check_parts
from pai_train.tables.partitions import one_partition
from pai_train.tables.token import check_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.spec.address import TableRef
    from pai_train.storage import Store
    from pai_train.tables.contracts import WriteMode
    from pai_train.tables.maxcompute.connection import Connection
    from pai_train.tables.maxcompute.meta import TableMeta

logger = logging.getLogger(__name__)

_IN_MEMORY = 8 * 2**20
_MOST_ROWS = 65_536


class MaxComputeWrite:
    """A write session of one table, or of one partition of it.

    The upload session is opened with the first part and noted beside, so that another process with the same token
    writes to it and commits it. Nothing of it is visible before the commit. Of two attempts at a slice, the one that
    finishes last counts.

    Args:
        connection: The way to the service.
        store: Where records of writes lie.
        root: Their folder.
        ref: The table, with one whole partition where it has partitions.
        meta: What the table is.
        mode: What becomes of the rows that the table, or the partition, holds.
        token: Names the write: a commit with a token that is already published is not repeated.

    Raises:
        TableError: The mode is 'fail' and there are rows; no whole partition; a column that cannot be written; a token
            that is no name or that is another write's.
    """

    def __init__(
        self,
        connection: Connection,
        store: Store,
        root: str,
        ref: TableRef,
        meta: TableMeta,
        mode: WriteMode,
        token: str,
    ) -> None:
        check_token(token)
        if ref.rows is not None:
            raise TableError(
                "a write replaces or adds whole rows, and its address names a range of them",
                where=str(ref),
                todo=f"write to {replace(ref, rows=None)}",
            )
        self._connection = connection
        self._ref = ref
        self._meta = meta
        self._leaf = one_partition(ref, meta.partitions)
        self._where = place(ref, self._leaf)
        self._mode = mode
        self._ours = arrow_schema(meta.columns)
        self._wire = wire_schema(meta.columns, meta.plain_decimals)
        self._uploads = Uploads(connection, ref, self._leaf)
        self._register = Register(store, root, ref, token)
        self._begun: Begun | None = None
        if self._register.done() is None:
            begun = self._register.begun()
            if begun is None or self._uploads.find(begun.session).status != "closed":
                self._refuse_rows()

    def part(self, slice_id: int, attempt: int) -> PartWriter:
        if not 0 <= slice_id < MOST_BLOCKS:
            raise TableError(
                "a write has no such slice", where=self._where, got=str(slice_id), wanted=f"0 to {MOST_BLOCKS - 1}"
            )
        return _Block(self, slice_id, attempt)

    def commit(self, parts: Sequence[Part]) -> Snapshot:
        check_parts(self._where, parts)
        done = self._register.done()
        if done is not None:
            return done
        begun, upload = self._session()
        if upload.status != "closed":
            self._refuse_rows()
            self._settle(begun, upload, parts)
            self._register.committing(begun.number)
            self._uploads.commit(begun.session)
        return self._register.finish(self._snapshot())

    def abort(self) -> None:
        """Does nothing: what the session holds is not shown without a commit, and the service drops it after a day.

        Another process may be writing to the same session.
        """

    def send(self, slice_id: int, payload: BinaryIO) -> str:
        """Sends a block and returns where it is; nothing is sent any more once the write is published."""
        begun = self._register.begun() if self._register.done() is not None else None
        if begun is None:
            begun, upload = self._session()
            if upload.status == "normal":
                self._uploads.put(begun.session, slice_id, payload)
        return self._url(begun.session, slice_id)

    def to_wire(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Returns rows as the tunnel takes them.

        Raises:
            TableError: They do not fit the table.
        """
        return to_wire(batch, self._ours, self._wire, self._where)

    def nothing(self) -> bytes:
        """Returns a block without rows."""
        return bytes(pa.RecordBatch.from_pylist([], schema=self._wire).serialize())

    def _session(self) -> tuple[Begun, Upload]:
        """Returns the session that the write goes to; a new one where there is none, or the last one has ended."""
        begun = self._begun or self._register.begun()
        number = 0
        if begun is not None:
            self._check_same(begun)
            upload = self._uploads.find(begun.session)
            if upload.status in ("normal", "closing", "closed"):
                self._begun = begun
                return begun, upload
            self._check_unpublished(begun, upload)
            logger.warning("%s: the upload session of an earlier start has ended; its rows are sent again", self._where)
            number = begun.number + 1
        fresh = self._uploads.create(overwrite=self._mode == "overwrite")
        self._begun = self._register.begin(Begun(number, fresh.id, self._where, self._mode))
        if self._begun.session == fresh.id:
            return self._begun, fresh
        return self._begun, self._uploads.find(self._begun.session)

    def _check_same(self, begun: Begun) -> None:
        if (begun.target, begun.mode) != (self._where, self._mode):
            raise TableError(
                "the token belongs to another write",
                where=self._where,
                got=f"{begun.mode} into {begun.target}",
                wanted=f"{self._mode} into {self._where}",
                todo="give each write a token of its own",
            )

    def _check_unpublished(self, begun: Begun, upload: Upload) -> None:
        """Refuses to append once more where nobody can tell whether the rows are there already."""
        if self._mode != "overwrite" and self._register.may_be_committed(begun.number):
            raise TableError(
                "the commit was asked for, its answer was lost, and the session that could tell has ended",
                where=self._where,
                got=f"session {begun.session}, {upload.status}",
                todo="look whether the rows are there; if not, write with `train.resume=never`",
            )

    def _settle(self, begun: Begun, upload: Upload, parts: Sequence[Part]) -> None:
        """Sees to it that the session holds the blocks of these parts, and no rows besides."""
        wanted = {part.slice_id: part for part in parts}
        for slice_id, part in wanted.items():
            if part.url != self._url(begun.session, slice_id) or slice_id not in upload.blocks:
                raise TableError(
                    "a staged part is gone: the session it was sent to has ended",
                    where=part.url,
                    wanted=f"a block of session {begun.session}",
                    todo="write the slice again; a session lives for 24 hours",
                )
        for block in sorted(upload.blocks - wanted.keys()):
            # The commit shows every block: those of attempts that were given up are made empty.
            self._clear(begun.session, block)
        if not upload.blocks:
            self._clear(begun.session, 0)

    def _clear(self, session: str, block: int) -> None:
        self._uploads.put(session, block, io.BytesIO(self.nothing()))

    def _snapshot(self) -> Snapshot:
        state = state_of(self._connection, self._ref, [self._leaf])
        rows = Downloads(self._connection, self._ref).create(self._leaf).rows
        return Snapshot(snapshot_id(state, rows), rows, None, order_stable=False)

    def _refuse_rows(self) -> None:
        rows = self._held() if self._mode == "fail" else 0
        if rows:
            raise TableError(
                "the output holds rows",
                where=str(self._ref),
                got=f"{rows} rows",
                wanted="no rows, as `write: fail` says",
                todo="name another table, or say `write: overwrite` or `write: append`",
            )

    def _url(self, session: str, block: int) -> str:
        return f"{self._where}#{session}/{block}"

    def _held(self) -> int:
        if self._leaf and partition_modified(self._connection, self._ref, self._leaf) is None:
            return 0
        return Downloads(self._connection, self._ref).create(self._leaf).rows


class _Block:
    """One slice on its way: kept in a local temporary file, and sent at its end; implements `PartWriter`.

    A connection that waits for slow rows would be cut by the service, and what was sent could not be sent again.
    """

    def __init__(self, write: MaxComputeWrite, slice_id: int, attempt: int) -> None:
        self._write = write
        self._slice_id, self._attempt = slice_id, attempt
        self._rows = 0
        self._file: Any = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - open until the slice is

    def write(self, batch: pa.RecordBatch) -> None:
        batch = self._write.to_wire(batch)
        with mapped(_here()):
            for start in range(0, batch.num_rows, _MOST_ROWS):
                self._file.write(batch.slice(start, _MOST_ROWS).serialize())
        self._rows += batch.num_rows

    def finish(self) -> Part:
        try:
            with mapped(_here()):
                if not self._rows:
                    self._file.write(self._write.nothing())
                # What does not fit on the disk is told here, not taken for a service that is away.
                self._file.flush()
                size = self._file.tell()
            url = self._write.send(self._slice_id, self._file)
        finally:
            self.abort()
        return Part(self._slice_id, self._attempt, url, self._rows, size)

    def abort(self) -> None:
        # What a full disk still holds back is not needed any more.
        with suppress(OSError):
            self._file.close()


def _here() -> str:
    return f"file://{tempfile.gettempdir()}"
