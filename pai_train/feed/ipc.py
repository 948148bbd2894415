"""Arrow IPC files as a source, of the file format and of the stream format: chunks of rows within record batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pai_train.feed import ipc_index
from pai_train.feed.file_set import FileSet
from pai_train.feed.groups import FileGroups, GroupedSource
from pai_train.tables.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pai_train.feed.ipc_index import Message
    from pai_train.feed.pieces import Piece
    from pai_train.storage.store import ObjectInfo, Store

COUNTED_BYTES = 2**20
"""Files up to this size are read whole to count their rows; of larger ones, footer and headers."""

BATCHES_BYTES = 128 * 2**20
"""Record batches that are kept, because several chunks lie in them."""

_VALUES_PER_DICTIONARY_ENTRY = 8


def ipc_source(objects: Sequence[ObjectInfo], columns: Mapping[str, pa.DataType], store: Store) -> GroupedSource:
    """Returns the rows of Arrow IPC files, in the files' order.

    Args:
        objects: The files; all hold the columns that are read with the same types.
        columns: The columns to read with their types; none for all.
        store: Where the files are.
    """
    files = FileSet(objects, store, "Arrow IPC")
    return GroupedSource(files, columns, IpcBatches(files))


class IpcBatches:
    """Record batches of Arrow IPC files; a `GroupReader`."""

    def __init__(self, files: FileSet) -> None:
        self._files = files
        self._messages: dict[int, tuple[Message, ...]] = {}
        self._names: dict[int, tuple[str, ...]] = {}
        self._orders: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._decoded = Recent(BATCHES_BYTES, lambda table: max(1, table.nbytes))

    def groups(self, index: int) -> FileGroups:
        info = self._files.objects[index]
        whole = self._files.read(index, 0, info.size) if info.size <= COUNTED_BYTES else None

        def read(start: int, end: int) -> bytes:
            return self._files.read(index, start, end) if whole is None else whole[start:end]

        try:
            if ipc_index.is_file(read(0, len(ipc_index.MAGIC))):
                messages = list(_file_messages(info.size, read))
                stream: Any = None
            else:
                messages = list(ipc_index.stream_messages(info.size, read))
                stream = tuple(messages)
        except ipc_index.BrokenIpcError as error:
            raise self._files.damaged(index, f"{info.size} bytes: {error}") from None
        if stream is not None:
            # A batch of a stream is decoded with the schema and all dictionaries before it, so that these are kept.
            self._messages[index] = stream
        records = [one for one in messages if one.kind == ipc_index.RECORDS]
        schema = self._schema(index)
        # Ten thousand files mostly have their columns in one order.
        order = tuple(schema.names)
        self._names[index] = self._orders.setdefault(order, order)
        return FileGroups(schema, tuple(one.rows for one in records), sum(one.bytes for one in records))

    def read(self, piece: Piece, columns: Sequence[str], *, encoded: bool) -> Iterator[pa.Table]:
        if piece.whole:
            for group in piece.groups:
                table = self._decode(piece.file, group, columns)
                yield _encoded(table.slice(piece.lo) if group == piece.groups.start else table, encoded=encoded)
            return
        if len(piece.groups) > 1:
            tables = [self._decode(piece.file, group, columns) for group in piece.groups]
            yield _encoded(pa.concat_tables(tables).slice(piece.lo, piece.rows), encoded=encoded)
            return
        group = piece.groups.start
        key = (piece.file, group, tuple(columns))
        table = self._decoded.get(key, lambda: self._decode(piece.file, group, columns))
        yield _encoded(table.slice(piece.lo, piece.rows), encoded=encoded)

    def _schema(self, index: int) -> pa.Schema:
        messages = self._messages.get(index)
        with self._files.reading(index):
            if messages is None:
                with self._files.opened(index) as stream, pa.ipc.open_file(stream) as file:
                    return file.schema
            if not messages or messages[0].kind != ipc_index.SCHEMA:
                raise self._files.damaged(index, "no schema stands at its beginning")
            return pa.ipc.read_schema(pa.py_buffer(self._files.read(index, 0, messages[0].end)))

    def _decode(self, index: int, group: int, columns: Sequence[str]) -> pa.Table:
        messages = self._messages.get(index)
        with self._files.reading(index):
            if messages is not None:
                return self._of_stream(index, messages, group, columns)
            options = _options(self._names[index], columns)
            with self._files.opened(index) as stream, pa.ipc.open_file(stream, options=options) as file:
                return _valid(file.get_batch(group))

    def _of_stream(self, index: int, messages: Sequence[Message], group: int, columns: Sequence[str]) -> pa.Table:
        """Decodes one batch as a stream of its own: schema, the dictionaries before it, the batch."""
        records = [place for place, one in enumerate(messages) if one.kind == ipc_index.RECORDS]
        place = records[group]
        needed = [one for one in messages[:place] if one.kind != ipc_index.RECORDS] + [messages[place]]
        text = b"".join(self._files.read(index, one.start, one.end) for one in needed)
        options = _options(self._names[index], columns)
        with pa.ipc.open_stream(pa.py_buffer(text), options=options) as stream:
            return _valid(stream.read_next_batch())


def _file_messages(size: int, read: ipc_index.Bytes) -> Iterator[Message]:
    for start, header in ipc_index.footer_blocks(size, read):
        found = ipc_index.message(start, read(start, start + header))
        if found is None or found.kind != ipc_index.RECORDS:
            raise ipc_index.BrokenIpcError(f"no record batch begins at byte {start}")
        if found.end > size:
            raise ipc_index.BrokenIpcError(f"the record batch at byte {start} is cut short")
        yield found


def _valid(batch: pa.RecordBatch) -> pa.Table:
    """Checks that offsets, dictionary indices and texts are sound: the format has no checksums, and Arrow trusts it."""
    batch.validate(full=True)
    return pa.Table.from_batches([batch])


def _options(names: Sequence[str], columns: Sequence[str]) -> pa.ipc.IpcReadOptions:
    return pa.ipc.IpcReadOptions(use_threads=False, included_fields=sorted(names.index(name) for name in columns))


def _encoded(table: pa.Table, *, encoded: bool) -> pa.Table:
    """Decodes dictionary encoded columns, where that is wanted or where their dictionary is large beside the rows."""
    for at, field in enumerate(table.schema):
        if not pa.types.is_dictionary(field.type):
            continue
        column = table.column(at)
        entries = max((len(chunk.dictionary) for chunk in column.chunks), default=0)
        nulls = any(chunk.dictionary.null_count for chunk in column.chunks)
        if not encoded or nulls or entries * _VALUES_PER_DICTIONARY_ENTRY > table.num_rows:
            table = table.set_column(at, field.name, column.cast(field.type.value_type))
    return table
