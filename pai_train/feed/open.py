"""The feed as a library: from an address, a few lines give batches for any loop. Knows no recipe."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, get_args

from pai_train.errors import DataError, did_you_mean
from pai_train.feed.contracts import WINDOW, FeedPlan, Position, Shard, Shuffle, Split
from pai_train.feed.feed import Feed
from pai_train.feed.formats import FileFormat, Format, open_files
from pai_train.feed.id_source import with_ids
from pai_train.feed.ids import Ids
from pai_train.feed.order import merge
from pai_train.storage import ObjectMissing, Stores, basename, display, is_glob, join, open_store, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from pai_train.spec.contracts import Source
    from pai_train.spec.types import Vector
    from pai_train.storage import ObjectInfo, Store
    from pai_train.tables.contracts import Tables

TABLES = "data/tables"
PROJECT = "pai_train"
_TABLE = "odps://"
_ENGINES = ("tf_data", "queue_runner")
_PACKED = ("gz", "gzip", "zst", "zstd")
_ENDINGS = {"txt": "text", "ndjson": "jsonl", "ipc": "arrow", "feather": "arrow", "tfrecords": "tfrecord"}


def open_feed(
    address: str | Sequence[str],
    columns: Mapping[str, str] | Sequence[str] | None = None,
    *,
    batch_size: int,
    label: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    shuffle: Shuffle = "none",
    window: int = WINDOW,
    seed: int = 0,
    epochs: int | None = 1,
    split: tuple[float, Literal["train", "test"]] | Split | None = None,
    drop_remainder: bool = False,
    worker: int = 0,
    workers: int = 1,
    position: Mapping[str, Any] | None = None,
    select: Sequence[str] | None = None,
    ids: Mapping[str, int | Sequence[str] | Ids] | None = None,
    format: Format | FileFormat | None = None,  # noqa: A002 - the recipe's word
    header: bool = False,
    delimiter: str = ",",
    tables: str | Tables | None = None,
    where: str | None = None,
    snapshot: str | None = None,
    stores: Stores | None = None,
    engine: str = "tf_data",
    lanes: int = 4,
    parallel: int | None = None,
) -> Feed:
    """Opens rows of files or of a table as a feed of batches.

    Args:
        address: A path, a URL of any store, a glob or a list of them; or a table, `odps://project/tables/name` or,
            where `tables` is given, its name.
        columns: Of files, each column's MaxCompute type by name, in file order, as in a recipe; of TFRecord also
            VECTOR(FLOAT, 3) and the like, a feature of so many values. Of a table, or of files
            that name their columns, the names wanted; None for all.
        batch_size: Rows of a batch, over all workers.
        label: The column that `Feed.dataset` gives apart.
        defaults: Value that stands for null, by column; a null elsewhere is an error.
        shuffle: 'none', 'block' or 'window', as in a recipe; 'none' is the stored order where `lanes` is 1.
        window: Chunks whose rows are permuted together, with shuffle 'window'.
        seed: Seed of the order.
        epochs: Epochs of one pass; None for a pass that never ends.
        split: Only one of two sets of the rows: (share of the test set, 'train' or 'test'), or a `Split`.
        drop_remainder: Whether batches of fewer rows are left out.
        worker: Which of the workers this is, from 0.
        workers: How many share the rows, `lanes` at most.
        position: Where to begin, as `Feed.position` gave it.
        select: Of the columns, those delivered, in their order; None for all.
        ids: Columns of texts to come as integer ids, int32: into how many ids texts are hashed, or the vocabulary,
            whose texts have their places and all others the one id behind them; or an `Ids`, which says more.
        format: How files are written, as a `FileFormat` says more of it; None for what the first one's ending says, CSV
            where that says nothing.
        header: CSV, of a format given by name or ending: whether each file's first line names its columns.
        delimiter: CSV, as well: the one character between fields.
        tables: The folder or URL of the tables, or a table store; None for `data/tables`.
        where: Of a table: only the rows that fulfil this filter.
        snapshot: Of a table: this snapshot; None for the current one.
        stores: How stores are reached; None for as the environment says.
        engine: 'tf_data' or 'queue_runner'.
        lanes: Streams a batch is drawn from.
        parallel: Chunks read at once; None for the number of cores.

    Raises:
        DataError: An argument that does not fit, a column that is not there, or a position of other data.
        StorageError: An object is not there or cannot be read.
        TableError: A table is not there, or has no such column.
    """
    _check(batch_size=batch_size, lanes=lanes, window=window, workers=workers, epochs=epochs, parallel=parallel)
    _choice("shuffle", shuffle, get_args(Shuffle))
    _choice("engine", engine, _ENGINES)
    if not 0 <= worker < workers or workers > lanes:
        wanted = f"worker from 0, below workers; at most lanes={lanes} workers"
        raise DataError("no such worker", got=f"worker={worker}, workers={workers}", wanted=wanted)
    for word, chosen in (("columns", columns), ("select", select)):
        if chosen is not None and not len(chosen):
            raise DataError(f"{word} names no column", got=repr(chosen), wanted="one column or more; None for all")
    names = [address] if isinstance(address, str) else list(address)
    if not names:
        raise DataError("there is nothing to read", got="no address", wanted="a path, a URL, a glob, a list or a table")
    if tables is not None or names[0].startswith(_TABLE):
        source = _table(names, tables, stores, snapshot, where)
    else:
        for name, given in (("where", where), ("snapshot", snapshot)):
            if given is not None:
                raise DataError(f"{name} is about tables", got=given, where=names[0], todo="leave it out")
        written = format if isinstance(format, FileFormat) else _written(names[0], format, header, delimiter)
        source = _files(names, columns, stores, written)
    source = with_ids(source, {name: _ids(name, given) for name, given in (ids or {}).items()}, defaults)
    wanted_columns = tuple(select or columns or source.schema.names)
    for column in (*wanted_columns, *(defaults or ()), *([label] if label else [])):
        if column not in source.schema.names:
            todo = did_you_mean(column, source.schema.names)
            raise DataError(f"there is no column {column!r}", where=", ".join(names), todo=todo)
    if label is not None and label not in wanted_columns:
        wanted_columns = (*wanted_columns, label)
    plan = FeedPlan(
        columns=wanted_columns,
        batch_size=batch_size,
        defaults={name: value for name, value in (defaults or {}).items() if name not in (ids or ())},
        shuffle=shuffle,
        window=window,
        seed=seed,
        lanes=lanes,
        split=_split(split),
        drop_remainder=drop_remainder,
    )
    shard = Shard(worker, workers)
    return Feed(
        source,
        plan,
        epochs=epochs,
        label=label,
        shard=shard,
        engine=engine,
        parallel=parallel,
        position=position,
        name=", ".join(names),
    )


def merge_positions(positions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Puts the positions of all workers of one feed together, for any number of workers to go on from.

    Args:
        positions: One of each worker, in their order, behind the same batch.

    Raises:
        DataError: They do not belong together.
    """
    if not positions:
        raise DataError("there is no position", wanted="one of each worker")
    return merge([Position.from_json(position) for position in positions]).to_json()


def _ids(name: str, given: int | Sequence[str] | Ids) -> Ids:
    if isinstance(given, Ids):
        return given
    try:
        if isinstance(given, int) and not isinstance(given, bool):
            return Ids(buckets=given)
        found = Ids(given, buckets=1)
        if not len(found.vocabulary):
            raise DataError("a vocabulary holds texts", got="none", wanted="one text or more")
        return found
    except DataError as error:
        raise DataError(
            error.fault.what, where=f"ids of {name}", got=error.fault.got, wanted=error.fault.wanted
        ) from None


def _split(given: Any) -> Split | None:
    if given is None or isinstance(given, Split):
        return given
    if isinstance(given, tuple) and len(given) == 2:
        share, part = given
        if isinstance(share, Real) and 0 <= float(share) <= 1 and part in ("train", "test"):
            return Split(float(share), 0, part)
    raise DataError("not a split", got=repr(given), wanted="(share of the test set, 0 to 1, 'train' or 'test')")


def _check(**numbers: Any) -> None:
    for name, number in numbers.items():
        if number is not None and not isinstance(number, Integral):
            raise DataError(f"{name} is no whole number", got=repr(number), wanted="1 or more")
        if number is not None and number < 1:
            raise DataError(f"{name} is too small", got=str(number), wanted="1 or more")


def _choice(name: str, got: str, known: Sequence[str]) -> None:
    if got not in known:
        raise DataError(f"no such {name}", got=repr(got), wanted=" or ".join(known), todo=did_you_mean(got, known))


def _table(
    names: Sequence[str], tables: str | Tables | None, stores: Stores | None, snapshot: str | None, where: str | None
) -> Source:
    from pai_train.spec.address import parse_tables
    from pai_train.tables.several import open_tables

    if tables is None or isinstance(tables, str):
        from pai_train.tables.iceberg import IcebergTables

        tables = IcebergTables(tables or TABLES, PROJECT, stores)
    refs = parse_tables(",".join(names), getattr(tables, "project", PROJECT))
    return open_tables(tables, refs, snapshot, where=where)


def _written(name: str, given: str | None, header: bool, delimiter: str) -> FileFormat:
    from pai_train.spec.names import character

    known = get_args(Format)
    endings = basename(resolve(".", name)).lower().split(".")[1:]
    while endings and endings[-1] in _PACKED:
        endings.pop()
    ending = _ENDINGS.get(endings[-1], endings[-1]) if endings else ""
    chosen = given or (ending if ending in known else "csv")
    _choice("format", chosen, known)
    return FileFormat(chosen, header, character(delimiter))  # type: ignore[arg-type]


def _files(
    names: Sequence[str],
    columns: Mapping[str, str] | Sequence[str] | None,
    stores: Stores | None,
    written: FileFormat,
) -> Source:
    urls = [resolve(".", name) for name in names]
    opened: Callable[[str], Store] = open_store if stores is None else stores.open
    store = opened(urls[0])
    if any(opened(url) is not store for url in urls):
        raise DataError("the objects of one feed lie on different stores", got=", ".join(names))
    objects = [info for url in urls for info in _found(store, url)]
    types = _types(columns) if isinstance(columns, Mapping) else {}
    return open_files(objects, types, store, written)


def _types(columns: Mapping[str, str]) -> dict[str, pa.DataType]:
    from pai_train.spec.ddl import SyntaxFault
    from pai_train.spec.table import Column
    from pai_train.spec.types import Vector, parse_type
    from pai_train.tables.arrow import arrow_type

    types = {}
    for name, text in columns.items():
        try:
            kind = parse_type(text)
            types[name] = _vector(kind) if isinstance(kind, Vector) else arrow_type(Column(name, kind))
        except SyntaxFault as fault:
            raise DataError(f"not a column type: {fault.message}", where=name, got=text) from None
    return types


def _vector(kind: Vector) -> pa.DataType:
    import pyarrow as pa

    from pai_train.spec.table import Column
    from pai_train.tables.arrow import arrow_type

    return pa.fixed_shape_tensor(arrow_type(Column("-", kind.element)), [kind.size])


def _found(store: Store, url: str) -> list[ObjectInfo]:
    found = store.glob(url)
    if found:
        return found
    if is_glob(url):
        raise ObjectMissing("nothing matches the pattern", where=display(url), wanted="at least one object")
    inside = store.glob(join(url, "*"))
    if inside:
        raise DataError("is a folder, not an object", where=display(url), todo=f"name its files: {display(url)}/*")
    beside = [basename(info.url) for info in store.glob(join(url.rpartition("/")[0], "*"))]
    raise ObjectMissing("there is no such object", where=display(url), todo=did_you_mean(basename(url), beside))
