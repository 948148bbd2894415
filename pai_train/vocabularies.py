"""The ids of an input's texts: vocabularies read from objects and tables before a run, every fault of theirs told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pai_train.errors import DataError, Fault, PaiTrainError, did_you_mean
from pai_train.feed.id_source import check_default
from pai_train.feed.ids import Ids
from pai_train.spec.address import parse_tables
from pai_train.spec.ids import IdsConfig, is_text, written_out
from pai_train.storage import display, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pai_train.spec.ids import IdsChoice
    from pai_train.storage import Stores
    from pai_train.tables.contracts import Tables

_BOM = b"\xef\xbb\xbf"


def ids_of(
    key: str,
    asked: Mapping[str, IdsChoice],
    types: Mapping[str, object],
    defaults: Mapping[str, Any],
    *,
    root: str,
    stores: Stores,
    tables: Tables,
    project: str,
) -> tuple[dict[str, Ids], list[Fault]]:
    """Reads the vocabularies of an input.

    Args:
        key: The key of the input.
        asked: Its `ids`.
        types: Its columns with their declared types.
        defaults: Texts that stand for null.
        root: storage.root.
        stores: How stores are reached.
        tables: The table store.
        project: Project of a bare table name.

    Returns:
        The ids by column, and all faults with their keys in `where`.
    """
    found: dict[str, Ids] = {}
    faults: list[Fault] = []
    for name, choice in asked.items():
        where = f"{key}.ids.{name}"
        if name not in types:
            faults.append(Fault(f"no column {name!r}", where, todo=did_you_mean(name, types)))
            continue
        if not is_text(types[name]):
            wanted = "a column of STRING, VARCHAR or CHAR"
            faults.append(Fault("only texts get ids", where, got=f"{name} {types[name]}", wanted=wanted))
            continue
        config = written_out(choice)
        source = next((way for way in ("file", "table") if getattr(config, way) is not None), None)
        at = where if source is None else f"{where}.{source}"
        try:
            values = _values(config, root, stores, tables, project)
            found[name] = Ids(values, config.buckets or config.oov_buckets)
        except PaiTrainError as error:
            faults.append(within(error.fault, at))
            continue
        try:
            check_default(name, found[name], defaults.get(name))
        except DataError as error:
            faults.append(within(error.fault, f"{key}.record_defaults"))
    return found, faults


def within(fault: Fault, key: str) -> Fault:
    """Puts the key in front of a fault that names only the data."""
    return replace(fault, what=f"{fault.where}: {fault.what}" if fault.where else fault.what, where=key)


def _values(config: IdsConfig, root: str, stores: Stores, tables: Tables, project: str) -> pa.Array:
    if config.file is not None:
        return _lines(resolve(root, config.file), stores)
    if config.table is not None:
        return _column(config.table, (config.column or "").lower(), tables, project)
    return pa.array(config.vocabulary or [], pa.string())


def _lines(url: str, stores: Stores) -> pa.Array:
    text = stores.open(url).read(url).removeprefix(_BOM)
    lines = text.removesuffix(b"\n").split(b"\n") if text else []
    values = [line.removesuffix(b"\r") for line in lines]
    if not values or b"" in values:
        got = f"an empty line {values.index(b'') + 1}" if values else "an empty object"
        raise DataError("not a vocabulary", where=display(url), got=got, wanted="a text per line")
    try:
        return pa.array(values, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid as error:
        raise DataError("the vocabulary is not written in UTF-8", where=display(url), got=str(error)) from None


def _column(table: str, name: str, tables: Tables, project: str) -> pa.Array:
    from pai_train.tables.several import open_tables

    source = open_tables(tables, parse_tables(table, project))
    if name not in source.schema.names:
        todo = did_you_mean(name, source.schema.names)
        raise DataError(f"there is no column {name!r}", where=table, wanted=", ".join(source.schema.names), todo=todo)
    kind = source.schema.field(name).type
    if not pa.types.is_string(kind):
        raise DataError("a vocabulary is a column of texts", where=table, got=f"{name} {kind}", wanted="STRING")
    batches = [batch.column(0) for chunk in source.chunks() for batch in source.read(chunk, [name])]
    values = pa.chunked_array(batches, pa.string()).combine_chunks()
    if not len(values):
        raise DataError("not a vocabulary", where=table, got="a table without rows", wanted="a text per row")
    return values
