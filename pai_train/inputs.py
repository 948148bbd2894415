"""An input of a recipe: what is there, checked read-only, and how it is opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pai_train.errors import Fault, PaiTrainError, did_you_mean
from pai_train.feed.contracts import WINDOW
from pai_train.feed.id_source import with_ids
from pai_train.job import JobInput, Sample
from pai_train.roles import defaults_of, learned, seen, weighed
from pai_train.samples import file_sample, table_sample
from pai_train.spec.address import parse_tables
from pai_train.spec.config import SELF_DESCRIBING
from pai_train.spec.images import IMAGE_COLUMNS, ImageType
from pai_train.spec.names import character, without_case
from pai_train.spec.table import Column
from pai_train.spec.types import MaxComputeType, Primitive, parse_type
from pai_train.storage import ObjectInfo, Store, basename, display, is_glob, join, open_store, resolve
from pai_train.vocabularies import ids_of, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from pai_train.spec.address import TableRef
    from pai_train.spec.config import InputConfig
    from pai_train.spec.contracts import Source
    from pai_train.spec.images import ImageConfig
    from pai_train.storage import Stores
    from pai_train.tables.contracts import TableInfo, Tables


@dataclass(frozen=True)
class Rooms:
    """What inputs and outputs are looked up in.

    Attributes:
        root: storage.root.
        tables: The table store.
        project: Project of a bare table name.
        tables_local: Whether the tables lie on this machine.
        samples: Folders to look for samples in, in order.
        stores: How stores are reached.
    """

    root: str
    tables: Tables
    project: str
    tables_local: bool
    samples: Sequence[Path]
    stores: Stores


def look(name: str, config: InputConfig, rooms: Rooms) -> tuple[JobInput | None, list[Fault]]:
    """Finds an input's data and checks headers and schemas; writes nothing.

    Returns:
        The input, None when it cannot be used, and all faults with their keys in `where`.
    """
    key = f"inputs.{name}"
    found, faults = (_table if config.table else _files)(key, config, rooms)
    if found is None:
        return None, faults
    types = found.columns
    if config.table:
        config = without_case(config)
    label, label_faults = learned(key, config, types)
    faults += label_faults
    defaults = defaults_of(config, list(types))
    ids, id_faults = ids_of(
        key,
        config.ids,
        types,
        defaults,
        root=rooms.root,
        stores=rooms.stores,
        tables=rooms.tables,
        project=rooms.project,
    )
    faults += id_faults
    features, feature_faults = seen(key, config, types, label)
    faults += [*feature_faults, *weighed(key, config, types)]
    if faults:
        return None, faults
    return (
        JobInput(
            name=name,
            address=found.address,
            tables=found.tables,
            columns=types,
            features=tuple(features),
            label=label,
            weight=config.weight,
            ids=ids,
            defaults={column: value for column, value in defaults.items() if column not in ids},
            split=(config.split.test, config.split.seed) if config.split else None,
            shuffle=config.shuffle,
            window=config.window or WINDOW,
            snapshot=config.snapshot,
            on_bad_row=config.on_bad_row,
            max_bad_rows=config.max_bad_rows,
            sample=found.sample,
            open=lambda snapshot: with_ids(found.open(snapshot), ids, defaults),
        ),
        [],
    )


@dataclass(frozen=True)
class _Found:
    address: str
    columns: Mapping[str, MaxComputeType | ImageType]
    sample: Sample | None
    open: Callable[[str | None], Source]
    tables: tuple[TableRef, ...] = ()


def _table(key: str, config: InputConfig, rooms: Rooms) -> tuple[_Found | None, list[Fault]]:
    from pai_train.tables.contracts import WhereError
    from pai_train.tables.several import open_tables

    refs = parse_tables(config.table or "", rooms.project)
    address = ",".join(map(str, refs))
    declared = tuple(Column(name, parse_type(text)) for name, text in config.columns.items())
    try:
        infos = [rooms.tables.describe(ref) for ref in refs]
    except PaiTrainError as error:
        return None, [within(error.fault, f"{key}.table")]

    def open_table(snapshot: str | None) -> Source:
        return open_tables(rooms.tables, refs, snapshot or config.snapshot, where=config.where)

    # An empty table of that name is what a start leaves that was killed between creating and filling it.
    if len(refs) == 1 and (infos[0] is None or _empty(infos[0])):
        ref = replace(refs[0], rows=None)
        sample = _sample(config, f"{ref.name}.csv", rooms.tables_local, rooms)
        if sample is not None and declared:
            found = _sample_faults(sample, declared)
            if found:
                return None, found
            place = table_sample(sample, rooms.tables, ref, declared)
            return _Found(address, _types(declared), place, open_table, refs), []
    if None in infos:
        return None, [_no_table(key, config, ref, rooms) for ref, info in zip(refs, infos, strict=True) if info is None]
    present = {column.name: column for info in infos[:1] if info for column in (*info.columns, *info.partitions)}
    try:
        source = open_table(None)
    except WhereError as error:
        return None, [within(error.fault, f"{key}.where")]
    except PaiTrainError as error:
        return None, [within(error.fault, f"{key}.snapshot" if config.snapshot else f"{key}.table")]
    # A partition column that the address fixes is not among the rows' columns.
    present = {name: column for name, column in present.items() if name in source.schema.names}
    faults = [
        Fault(
            f"table {address} has no column {column.name!r}",
            f"{key}.columns.{column.name}",
            wanted=", ".join(f"{c.name} {c.type}" for c in present.values()),
            todo=did_you_mean(column.name, present),
        )
        for column in declared
        if column.name not in present
    ]
    faults += [
        Fault(
            f"column {column.name!r} of table {address} has another type",
            f"{key}.columns.{column.name}",
            got=str(column.type),
            wanted=str(present[column.name].type),
        )
        for column in declared
        if column.name in present and present[column.name].type != column.type
    ]
    if not source.snapshot.rows and config.where is not None:
        faults.append(Fault("no row fulfils the filter", f"{key}.where", got=config.where))
    elif not source.snapshot.rows:
        faults.append(Fault("the table holds no rows", f"{key}.table", got=address, todo="fill it, or name another"))
    if faults:
        return None, faults
    columns = _types(declared or present.values())
    return _Found(address, columns, None, open_table, refs), []


def _no_table(key: str, config: InputConfig, ref: TableRef, rooms: Rooms) -> Fault:
    return Fault(
        "there is no such table",
        f"{key}.table",
        got=str(ref),
        todo=_staged(config, f"{ref.name}.csv", rooms)
        or did_you_mean(ref.name, rooms.tables.names(ref.project))
        or _no_sample(config, f"{ref.name}.csv"),
    )


def _sample_faults(path: Path, columns: Sequence[Column]) -> list[Fault]:
    from pai_train.feed.csv import look as look_at_csv
    from pai_train.tables.arrow import arrow_type

    info = _local(path)
    return look_at_csv(open_store(info.url), [info], {c.name: arrow_type(c) for c in columns}, header=False)


def _empty(info: TableInfo) -> bool:
    return info.snapshot is None or info.snapshot.rows == 0


def _types(columns: Iterable[Column]) -> dict[str, MaxComputeType]:
    return {column.name: column.type for column in columns}


def _files(key: str, config: InputConfig, rooms: Rooms) -> tuple[_Found | None, list[Fault]]:
    from pai_train.feed.formats import FileFormat, open_files
    from pai_train.feed.formats import look as look_at
    from pai_train.tables.arrow import arrow_type, maxcompute_type

    names = [config.oss] if isinstance(config.oss, str) else list(config.oss or [])
    columns: dict[str, MaxComputeType | ImageType] = {}
    faults: list[Fault] = []
    try:
        declared = {name: parse_type(text) for name, text in config.columns.items()}
        types = {name: arrow_type(Column(name, kind)) for name, kind in declared.items()}
        columns.update(declared)
        urls = [resolve(rooms.root, name) for name in names]
        stores = [rooms.stores.open(url) for url in urls]
    except PaiTrainError as error:
        return None, [within(error.fault, f"{key}.oss")]
    store = stores[0]
    if any(other is not store for other in stores):
        return None, [Fault("the objects of one input lie on different stores", f"{key}.oss", got=", ".join(names))]

    def objects() -> list[ObjectInfo]:
        return [info for url in urls for info in (store.glob(url) if is_glob(url) else [_there(store, url)])]

    def written() -> FileFormat:
        return FileFormat(
            config.format,
            config.header,
            character(config.delimiter),
            config.quoted_newlines,
            config.compression,
            config.encoding,
            **_of_images(key, config.image, store, rooms),
        )

    source: Source | None = None

    def open_objects(_: str | None) -> Source:
        found = objects()
        # What was learned of the files when they were looked at holds while they are the same.
        return source if source is not None and found == present else open_files(found, types, store, written())

    sample = None
    present: list[ObjectInfo] = []
    for url in urls:
        try:
            infos = store.glob(url)
        except PaiTrainError as error:
            faults.append(within(error.fault, f"{key}.oss"))
            continue
        present += infos
        if infos:
            continue
        path = _sample(config, basename(url), store.is_local, rooms) if len(urls) == 1 and not is_glob(url) else None
        if path is None:
            faults.append(_missing(key, url, store, config, rooms))
        else:
            sample = file_sample(path, store, url)
            present.append(_local(path))
    if present and not faults:
        where = rooms.stores.open(present[0].url)
        lenient = config.on_bad_row != "fail"
        try:
            how = written()
            opened = open_files(present, types, where, how)
            faults += look_at(where, present, types, how, lenient=lenient, source=opened)
            if not faults and opened.snapshot.rows == 0:
                faults.append(Fault("the files hold no rows", f"{key}.oss", got=", ".join(names)))
            source = opened if sample is None else None
            if not faults and config.format in SELF_DESCRIBING:
                types = {field.name: field.type for field in opened.schema}
                columns = columns or {name: maxcompute_type(kind) for name, kind in types.items()}
            if config.image is not None:
                image = config.image
                kinds = (ImageType(image.height, image.width, image.channels), Primitive("STRING"), Primitive("STRING"))
                columns = dict(zip(IMAGE_COLUMNS, kinds, strict=True))
        except PaiTrainError as error:
            faults.append(error.fault)
    address = ", ".join(display(url) for url in urls)
    return (None if faults else _Found(address, columns, sample, open_objects)), faults


def _of_images(key: str, image: ImageConfig | None, store: Store, rooms: Rooms) -> dict[str, Any]:
    """Returns what is to be known of images, with the list of labels as it is now."""
    if image is None:
        return {}
    labels = None
    if image.labels is not None:
        url = resolve(rooms.root, image.labels)
        labels = store.info(url) if rooms.stores.open(url) is store else None
        if labels is None:
            place, wanted = f"{key}.image.labels", "an object on the store of the images"
            raise PaiTrainError("there is no such object", where=place, got=display(url), wanted=wanted)
    return {"height": image.height, "width": image.width, "channels": image.channels, "labels": labels}


def _there(store: Store, url: str) -> ObjectInfo:
    info = store.info(url)
    if info is None:
        raise PaiTrainError("the object is gone since it was checked", where=display(url), todo="start again")
    return info


def _local(path: Path) -> ObjectInfo:
    url = resolve("/", str(path.resolve()))
    return _there(open_store(url), url)


def _missing(key: str, url: str, store: Store, config: InputConfig, rooms: Rooms) -> Fault:
    if is_glob(url):
        return Fault("nothing matches the pattern", f"{key}.oss", got=display(url), wanted="at least one object")
    folder = url[: -len(basename(url))].rstrip("/")
    beside = [basename(info.url) for info in store.glob(join(folder, "*"))]
    name = basename(url)
    if store.glob(join(url, "*")):
        return Fault("is a folder, not an object", f"{key}.oss", got=display(url), todo=f"name its files: {name}/*")
    hint = _staged(config, name, rooms) or did_you_mean(name, beside) or _no_sample(config, name)
    return Fault("there is no such object", f"{key}.oss", got=display(url), todo=hint)


def _sample(config: InputConfig, name: str, local: bool, rooms: Rooms) -> Path | None:
    """Returns the sample's file, only where its name is the one that is missing."""
    if config.sample is None or config.sample != name or not local:
        return None
    return next((folder / name for folder in rooms.samples if (folder / name).is_file()), None)


def _staged(config: InputConfig, name: str, rooms: Rooms) -> str | None:
    """Says how a missing input gets its sample on a store where nothing is put unasked."""
    if _sample(config, name, local=True, rooms=rooms) is None:
        return None
    return f"the same command with mode=stage puts the sample {name} there"


def _no_sample(config: InputConfig, name: str) -> str | None:
    if config.sample is None or config.sample == name:
        return None
    return f"the sample {config.sample!r} only stands in for an input of its own name"
