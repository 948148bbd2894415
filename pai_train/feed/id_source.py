"""A source whose texts come as integer ids: the same for every engine, for they know nothing of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pai_train.errors import DataError, did_you_mean
from pai_train.feed.assemble import plain
from pai_train.feed.bad_rows import locate, place_of
from pai_train.feed.ids import KIND, Ids, as_column, shown
from pai_train.spec.contracts import BadRow, EncodedSource, Marked, MarkingSource, RowPlace, Source, TextSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pai_train.spec.contracts import Chunk, Snapshot

_OUTSIDE = "holds a value outside its vocabulary"


def with_ids(source: Source, ids: Mapping[str, Ids], defaults: Mapping[str, Any] | None = None) -> Source:
    """Returns a source whose columns of texts come as ids, int32.

    Args:
        source: The rows.
        ids: By column of strings.
        defaults: Texts that stand for null and for the empty text in these columns; others are passed over. What has
            none stays null where it is null.

    Raises:
        DataError: There is no such column, or it holds no texts, or a default is outside of a vocabulary that has no
            ids for such.
    """
    if not ids:
        return source
    for name, one in ids.items():
        if name not in source.schema.names:
            raise DataError(f"there is no column {name!r}", todo=did_you_mean(name, source.schema.names))
        kind = source.schema.field(name).type
        if not pa.types.is_string(kind):
            raise DataError(f"only texts get ids, and {name!r} holds none", got=str(kind), wanted="a column of STRING")
        check_default(name, one, (defaults or {}).get(name))
    own = {name: value for name, value in (defaults or {}).items() if name in ids}
    return _kind(source)(source, dict(ids), own)


def texts_beside(source: Source, names: Sequence[str]) -> tuple[Source, dict[str, str]]:
    """Returns a source that gives some columns as they are stored, too, and the name that each has there."""
    if not isinstance(source, IdSource):
        return source, {name: name for name in names}
    texts: dict[str, str] = {}
    for name in names:
        if name in source.ids:
            beside = f"{name} as stored"
            while beside in source.schema.names:
                beside += "'"
            texts[beside] = name
    stored = {name: name for name in names} | {name: text for text, name in texts.items()}
    return type(source)(source.stored, source.ids, source.defaults, texts), stored


def check_default(name: str, ids: Ids, default: object) -> None:
    """Refuses a text that is to stand for null and has no id itself.

    Raises:
        DataError: It has none.
    """
    if default is None:
        return
    if not isinstance(default, str):
        raise DataError(
            f"the default of column {name!r} is no text", got=repr(default), wanted="a text, which gets an id"
        )
    if ids.of(pa.array([default], pa.string()))[0] < 0:
        raise DataError(
            f"the default of column {name!r} is outside its vocabulary", got=shown(default), wanted=ids.wanted
        )


def _kind(source: Source) -> type[IdSource]:
    if isinstance(source, TextSource):
        return TextIdSource
    return EncodedIdSource if isinstance(source, EncodedSource) else IdSource


@dataclass(frozen=True)
class IdSource:
    """A `MarkingSource` and a `LocatingSource` around any source.

    Attributes:
        stored: The rows as they are stored.
        ids: By column.
        defaults: Texts that stand for null and the empty text.
        texts: Further columns: the name of a column of ids, as it is stored.
    """

    stored: Source
    ids: Mapping[str, Ids]
    defaults: Mapping[str, Any]
    texts: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def schema(self) -> pa.Schema:
        own = [pa.field(each.name, KIND) if each.name in self.ids else each for each in self.stored.schema]
        return pa.schema([*own, *(pa.field(text, pa.string()) for text in self.texts)])

    @property
    def snapshot(self) -> Snapshot:
        return self.stored.snapshot

    def chunks(self) -> Sequence[Chunk]:
        return self.stored.chunks()

    def read(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        yield from self._read(chunk, columns, start, encoded=False)

    def read_marked(self, chunk: Chunk, columns: Sequence[str]) -> Marked:
        names = self._stored_names(columns)
        if isinstance(self.stored, MarkingSource):
            marked = self.stored.read_marked(chunk, names)
        else:
            batches = list(self._texts(chunk, names, 0))
            marked = Marked(batches, sum(batch.num_rows for batch in batches), ())
        good = np.ones(marked.rows, bool)
        good[[row.row for row in marked.bad]] = False
        places = np.flatnonzero(good)
        kept, bad, first = [], [*marked.bad], 0
        for batch in marked.batches:
            made, outside = self._made(batch, columns, encoded=False)
            if outside:
                keep = np.ones(batch.num_rows, bool)
                keep[list(outside)] = False
                made = made.filter(pa.array(keep))
                bad += [
                    BadRow(
                        int(places[first + row]),
                        f"column {name!r} {_OUTSIDE}",
                        name,
                        shown(text),
                        self.ids[name].wanted,
                    )
                    for row, (name, text) in outside.items()
                ]
            kept.append(made)
            first += batch.num_rows
        return Marked(kept, marked.rows, sorted(bad, key=lambda row: row.row))

    def locate(self, chunk: Chunk, rows: Sequence[int]) -> Sequence[RowPlace]:
        return locate(self.stored, chunk, rows)

    def _read(self, chunk: Chunk, columns: Sequence[str], start: int, *, encoded: bool) -> Iterator[pa.RecordBatch]:
        row = start
        for batch in self._texts(chunk, self._stored_names(columns), start):
            made, outside = self._made(batch, columns, encoded=encoded)
            for first, (name, text) in outside.items():
                raise self._fault(name, text, place_of(self.stored, chunk, row + first))
            row += batch.num_rows
            yield made

    def _texts(self, chunk: Chunk, names: Sequence[str], start: int) -> Iterator[pa.RecordBatch]:
        """Reads texts as they are stored: of a dictionary each value is looked up once."""
        source = self.stored
        return (source.read_encoded if isinstance(source, EncodedSource) else source.read)(chunk, names, start)

    def _stored_names(self, columns: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(self.texts.get(name, name) for name in columns))

    def _made(
        self, batch: pa.RecordBatch, columns: Sequence[str], *, encoded: bool
    ) -> tuple[pa.RecordBatch, dict[int, tuple[str, Any]]]:
        """Returns the columns, and of each row with a text that has no id the first such column and the text."""
        made: list[Any] = []
        outside: dict[int, tuple[str, Any]] = {}
        for name in columns:
            column = batch.column(self.texts.get(name, name))
            if name in self.ids:
                found, rows = as_column(self.ids[name].of(column, self.defaults.get(name)))
                made.append(found)
                for row in rows.tolist():
                    outside.setdefault(row, (name, column[row].as_py()))
            else:
                made.append(column if encoded else plain(column))
        return pa.RecordBatch.from_arrays(made, names=list(columns)), dict(sorted(outside.items()))

    def _fault(self, name: str, text: Any, where: str | None) -> DataError:
        return DataError(
            f"column {name!r} {_OUTSIDE}",
            where=where,
            got=shown(text),
            wanted=self.ids[name].wanted,
            todo="add it, give other values ids of their own with oov_buckets, or leave such rows out",
        )


class EncodedIdSource(IdSource):
    """Around a source that stores strings with dictionaries; an `EncodedSource` too."""

    def read_encoded(self, chunk: Chunk, columns: Sequence[str], start: int = 0) -> Iterator[pa.RecordBatch]:
        yield from self._read(chunk, columns, start, encoded=True)


class TextIdSource(IdSource):
    """Around a source of text lines; a `TextSource` too."""

    stored: Any

    def lines(self, chunk: Chunk) -> bytes:
        text: bytes = self.stored.lines(chunk)
        return text

    def decode(self, text: bytes, columns: Sequence[str]) -> pa.RecordBatch:
        batch = self.stored.decode(text, self._stored_names(columns))
        made, outside = self._made(batch, columns, encoded=False)
        for name, value in outside.values():
            raise self._fault(name, value, None)
        return made

    def place(self, chunk: Chunk, row: int) -> str:
        place: str = self.stored.place(chunk, row)
        return place
