"""CSV files put into a table by one transactional write, and read back."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pai_train.errors import Fault, TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from pai_train.spec.address import TableRef
    from pai_train.spec.contracts import Chunk, Source
    from pai_train.spec.table import Ddl
    from pai_train.tables.contracts import Tables, WriteMode


@dataclass(frozen=True)
class Fill:
    """Rows on their way into a table, or into one partition of it.

    Attributes:
        source: The rows.
        files: How many files they are in.
        tables: Where the table is.
        ref: The table.
        ddl: Makes the table where it is absent; None where it is there.
        mode: What becomes of the rows it holds.
        parallel: How many chunks are read at once.
    """

    source: Source
    files: int
    tables: Tables
    ref: TableRef
    ddl: Ddl | None
    mode: WriteMode
    parallel: int = 1

    @property
    def address(self) -> str:
        """The table, for people."""
        return str(self.ref)

    @property
    def bytes(self) -> int:
        """How much is read."""
        return self.source.snapshot.bytes or 0

    def look(self, stop: Callable[[], None]) -> Fault | bool:
        """Compares with what the table holds; changes nothing.

        Args:
            stop: Called between chunks; raises to give up.

        Returns:
            True where the very rows are there, False where they have to be written, or what forbids it.
        """
        info = self.tables.describe(self.ref)
        if info is None:
            return False
        lines = self.tables.compare(self.ref, self.ddl).lines if self.ddl is not None else ()
        if lines:
            what = "the table exists and differs from the statement:\n" + "\n".join(f"  {line}" for line in lines)
            todo = "change the statement, or name another table; a table is never dropped or altered"
            return Fault(what, self.address, todo=todo)
        held = self._held()
        rows = held.snapshot.rows if held is not None else 0
        if not rows or held is None:
            return False
        if self.mode == "append":
            return self._published()
        ours = self.source.snapshot.rows
        if ours in (None, rows) and self._same(held, stop):
            return True
        if self.mode == "overwrite":
            return False
        return Fault(
            "the table holds other rows",
            self.address,
            got=f"{rows:,} rows",
            wanted="no rows, as stage.write=fail says",
            todo="stage.write=overwrite replaces them, stage.write=append adds to them; or name another table",
        )

    def run(self, report: Callable[[int], None], stop: Callable[[], None]) -> int:
        """Makes the table where it is absent, writes the rows, and reads them back.

        Args:
            report: Told of every chunk that was read, in bytes.
            stop: Called between chunks; raises to give up.

        Returns:
            The rows written.

        Raises:
            TableError: The table holds rows meanwhile, or other rows than were written.
            DataError: A field cannot be read as declared.
        """
        if self.ddl is not None:
            self.tables.ensure(self.ref, self.ddl)
        session = self.tables.write(self.ref, self.mode, self._token())
        try:
            part, names, digest = session.part(0, 0), self._names(), self._digest()
            try:
                for chunk, batches in _read(self.source, names, self.parallel):
                    stop()
                    for batch in batches:
                        part.write(batch)
                        digest.update(batch)
                    report(chunk.bytes or 0)
            except BaseException:
                part.abort()
                raise
            written = part.finish()
            snapshot = session.commit([written])
        except BaseException:
            session.abort()
            raise
        # What was there before makes appended rows hard to tell apart; the commit has counted them.
        if self.mode != "append":
            self._verify(digest, snapshot.id, stop)
        return written.rows

    def _digest(self) -> RowsDigest:
        return RowsDigest() if self.tables.keeps_order else BagDigest()

    def _content(self, source: Source, stop: Callable[[], None]) -> str:
        return content(source, self._names(), self.parallel, stop, self._digest())

    def _same(self, held: Source, stop: Callable[[], None]) -> bool:
        return self._content(held, stop) == self._content(self.source, stop)

    def _verify(self, sent: RowsDigest, snapshot: str, stop: Callable[[], None]) -> None:
        there = self.tables.source(self.ref, snapshot)
        if self._content(there, stop) != sent.hexdigest():
            raise TableError(
                "the table does not hold what was sent",
                where=self.address,
                got=f"{there.snapshot.rows} rows",
                wanted=f"{sent.rows} rows",
                todo="see that nobody else writes there, and start again with stage.write=overwrite",
            )

    def _names(self) -> list[str]:
        return list(self.source.schema.names)

    def _held(self) -> Source | None:
        try:
            return self.tables.source(self.ref)
        except TableError:
            # The table is there, so it is the partition that holds nothing yet.
            return None

    def _published(self) -> bool:
        """Tells whether a write of these very files was committed before; only such a one may be repeated."""
        try:
            self.tables.write(self.ref, "fail", self._token())
        except TableError:
            return False
        return True

    def _token(self) -> str:
        """Names the write by the files' identity, so that one that was killed is gone on with and not repeated."""
        info = self.tables.describe(self.ref)
        # Appended once is appended; any other write is a new one as soon as the table has changed.
        before = info.snapshot.id if info is not None and info.snapshot is not None and self.mode != "append" else ""
        identity = json.dumps([self.source.snapshot.id, self._names(), self.address, self.mode, before])
        return f"stage-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"


class RowsDigest:
    """A hash of rows in order, however they are cut into batches."""

    def __init__(self) -> None:
        self.rows = 0
        self._hash = hashlib.sha256()

    def update(self, batch: pa.RecordBatch) -> None:
        """Adds rows."""
        import pyarrow.csv as pacsv

        self.rows += batch.num_rows
        # Nulls are bare and texts are quoted, so that a null differs from an empty text.
        options = pacsv.WriteOptions(include_header=False, quoting_style="all_valid")
        pacsv.write_csv(batch, _Sink(self._hash), options)

    def hexdigest(self) -> str:
        """The SHA-256 so far."""
        return self._hash.hexdigest()


class BagDigest(RowsDigest):
    """A hash of rows in any order, for stores that do not keep it."""

    def __init__(self) -> None:
        super().__init__()
        self._sums = [0, 0]

    def update(self, batch: pa.RecordBatch) -> None:
        import pandas as pd

        self.rows += batch.num_rows
        hashes = pd.util.hash_pandas_object(batch.to_pandas(types_mapper=pd.ArrowDtype), index=False).to_numpy()
        # Two sums that hardly ever agree by chance; they wrap around.
        for at, values in enumerate((hashes, pd.util.hash_array(hashes, hash_key="0123456789abcdef"))):
            self._sums[at] = (self._sums[at] + int(values.sum(dtype="uint64"))) % 2**64

    def hexdigest(self) -> str:
        return hashlib.sha256(json.dumps([self.rows, *self._sums]).encode()).hexdigest()


class _Sink:
    """A file that only hashes."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Has nothing to do."""


def content(
    source: Source,
    columns: Sequence[str],
    parallel: int,
    stop: Callable[[], None],
    digest: RowsDigest | None = None,
) -> str:
    """Returns a hash of all rows of a source, in order unless another digest is given."""
    digest = digest or RowsDigest()
    for _, batches in _read(source, columns, parallel):
        stop()
        for batch in batches:
            digest.update(batch)
    return digest.hexdigest()


def _read(source: Source, columns: Sequence[str], parallel: int) -> Iterator[tuple[Chunk, list[pa.RecordBatch]]]:
    """Reads chunks ahead by several threads, and gives them in order."""
    with ThreadPoolExecutor(parallel) as pool:
        waiting: deque[tuple[Chunk, Any]] = deque()
        try:
            for chunk in source.chunks():
                waiting.append((chunk, pool.submit(lambda one: list(source.read(one, columns)), chunk)))
                if len(waiting) > parallel:
                    first, batches = waiting.popleft()
                    yield first, batches.result()
            while waiting:
                first, batches = waiting.popleft()
                yield first, batches.result()
        finally:
            for _, batches in waiting:
                batches.cancel()
