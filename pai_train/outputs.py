"""An output of a recipe: its columns, checked read-only against what exists, and how it is opened."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.errors import Fault, PaiTrainError, did_you_mean
from pai_train.job import JobInput, JobOutput
from pai_train.serving.predict import PREDICTION, PROBABILITY
from pai_train.spec.address import TableRef, parse_table
from pai_train.spec.ddl import parse_ddl
from pai_train.spec.table import Column, Ddl
from pai_train.spec.types import MaxComputeType, Primitive
from pai_train.storage import display, join, open_store, resolve
from pai_train.tables.partitions import one_partition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pai_train.inputs import Rooms
    from pai_train.spec.config import OutputConfig
    from pai_train.spec.contracts import WriteSession
    from pai_train.tables.contracts import TableInfo

logger = logging.getLogger(__name__)

_EXTRA = {PREDICTION: "prediction", PROBABILITY: "probability"}


def look(
    name: str, config: OutputConfig, source: JobInput, rooms: Rooms, *, begun: bool = False
) -> tuple[JobOutput | None, list[Fault]]:
    """Finds what an output is and where its columns come from; writes nothing.

    Args:
        name: Its name in the recipe.
        config: What was asked.
        source: The input whose rows are predicted.
        rooms: Where to look.
        begun: Whether an earlier start of the same run may have written into it. What is there is then judged by the
            write itself, which knows its own rows.

    Returns:
        The output, None when it cannot be written, and all faults with their keys in `where`.
    """
    key = f"outputs.{name}"
    if source.label is None:
        return None, [Fault("predictions need an input with a label", f"{key}.input", got=config.input)]
    try:
        return (_table if config.table else _files)(name, config, source, rooms, begun)
    except PaiTrainError as error:
        fault = error.fault
        return None, [replace(fault, where=key, what=f"{fault.where}: {fault.what}" if fault.where else fault.what)]


def _table(
    name: str, config: OutputConfig, source: JobInput, rooms: Rooms, begun: bool
) -> tuple[JobOutput | None, list[Fault]]:
    key = f"outputs.{name}"
    ref = parse_table(config.table or "", rooms.project)
    ddl = parse_ddl(config.ddl) if config.ddl else None
    info = rooms.tables.describe(ref)
    faults = _table_faults(key, config, ref, ddl, info, source, rooms)
    if not begun and config.write == "fail" and info is not None and info.snapshot is not None and info.snapshot.rows:
        got = f"{ref}, {info.snapshot.rows} rows"
        faults.append(Fault("the table holds rows", f"{key}.write", got=got, wanted="an empty table"))
    if faults:
        return None, faults
    if ddl is not None or info is not None:
        one_partition(ref, ddl.partitions if ddl is not None else info.partitions if info is not None else ())
    columns = ddl.columns if ddl else info.columns if info else ()
    types = {column.name: column.type for column in columns}
    named = {out.lower(): value.lower() for out, value in config.columns.items()}
    mapping, faults = _mapping(key, types, named, source)
    if faults:
        return None, faults

    def create() -> bool:
        if ddl is None or not rooms.tables.ensure(ref, ddl).created:
            return False
        if ddl.name != ref.name:
            logger.info("%s: %s has the columns that the statement gives %s", key, ref, ddl.name)
        if ddl.clustered is not None or ddl.primary_key:
            logger.warning("%s: CLUSTERED BY and PRIMARY KEY have no effect on %s", key, ref)
        return True

    def write(token: str) -> WriteSession:
        return rooms.tables.write(ref, config.write, token)

    return JobOutput(name, str(ref), config.input, mapping, create, write), []


def _table_faults(
    key: str,
    config: OutputConfig,
    ref: TableRef,
    ddl: Ddl | None,
    info: TableInfo | None,
    source: JobInput,
    rooms: Rooms,
) -> list[Fault]:
    if source.table == (ref.project, ref.name):
        return [Fault("the output is the input's own table", f"{key}.table", got=str(ref), todo="name another table")]
    if ddl is None and info is None:
        return [
            Fault(
                "there is no such table, and no statement to create it",
                f"{key}.ddl",
                got=str(ref),
                todo=f"ddl: create table {ref.name}(…);",
            )
        ]
    if ddl is not None:
        diff = rooms.tables.compare(ref, ddl)
        if diff.lines:
            return [
                Fault(
                    f"table {ref} exists and differs from the statement:\n" + "\n".join(f"  {x}" for x in diff.lines),
                    f"{key}.ddl",
                    todo="change the statement, or name another table; a table is never dropped or altered",
                )
            ]
    return []


def _files(
    name: str, config: OutputConfig, source: JobInput, rooms: Rooms, begun: bool
) -> tuple[JobOutput | None, list[Fault]]:
    from pai_train.tables.arrow import arrow_type
    from pai_train.tables.files import FilesWrite

    key = f"outputs.{name}"
    url = resolve(rooms.root, config.oss or "")
    store = open_store(url)
    types = dict(source.columns)
    for value, extra in _EXTRA.items():
        types[extra] = _made_type(value, source)
    named = {extra: value for value, extra in _EXTRA.items()}
    if config.columns:
        named = dict(config.columns)
        types = {out: source.columns.get(value) or _made_type(value, source) for out, value in named.items()}
    mapping, faults = _mapping(key, types, named, source)
    if not begun and config.write == "fail" and store.list(url):
        faults.append(Fault("the folder holds objects", f"{key}.write", got=display(url), wanted="an empty folder"))
    if config.format == "csv" and any(info.url != join(url, "MANIFEST.json") for info in store.glob(url)):
        faults.append(Fault("the output is an object, not a folder", f"{key}.oss", got=display(url)))
    if faults:
        return None, faults
    schema = pa.schema([pa.field(out, arrow_type(Column(out, kind))) for out, kind in types.items()])

    def write(token: str) -> WriteSession:
        return FilesWrite(url, schema, config.format, config.write, token)

    return JobOutput(name, display(url), config.input, mapping, lambda: False, write), []


def _mapping(
    key: str, types: Mapping[str, MaxComputeType], named: Mapping[str, str], source: JobInput
) -> tuple[tuple[tuple[str, str], ...], list[Fault]]:
    """Returns what fills each output column: an input column, $prediction or $probability."""
    label = source.label.column if source.label else None
    sources: Sequence[str] = [*source.columns, PREDICTION, PROBABILITY]
    faults = [
        Fault("the output has no such column", f"{key}.columns.{out}", got=out, todo=did_you_mean(out, types))
        for out in named
        if out not in types
    ]
    mapping = []
    for out, declared in types.items():
        value = named.get(out) or (PREDICTION if out == label else out)
        if value not in sources:
            faults.append(
                Fault(
                    f"nothing fills column {out!r}",
                    f"{key}.columns.{out}",
                    got=value,
                    wanted="an input column, $prediction or $probability",
                    todo=did_you_mean(value, sources),
                )
            )
            continue
        made = source.columns[value] if value in source.columns else _made_type(value, source)
        if not _fits(made, declared):
            faults.append(
                Fault(
                    f"column {out!r} cannot hold {value}",
                    f"{key}.columns.{out}",
                    got=str(made),
                    wanted=str(declared),
                    todo=f"declare {out} {made}",
                )
            )
        mapping.append((out, value))
    return tuple(mapping), faults


def _made_type(value: str, source: JobInput) -> MaxComputeType:
    if value == PREDICTION and source.label is not None and source.label.task == "classification":
        return source.columns[source.label.column]
    return Primitive("DOUBLE")


def _fits(made: MaxComputeType, declared: MaxComputeType) -> bool:
    whole = ("TINYINT", "SMALLINT", "INT", "BIGINT")
    wide = {
        "STRING": ("STRING", "VARCHAR", "CHAR"),
        "DOUBLE": ("DOUBLE", "FLOAT"),
        "FLOAT": ("DOUBLE",),
        **dict.fromkeys(whole, whole),
    }
    return made == declared or str(declared).partition("(")[0] in wide.get(str(made).partition("(")[0], ())
