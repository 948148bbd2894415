"""An output of a recipe: its columns, checked read-only against what exists, and how it is opened."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.errors import Fault, PaiTrainError, TableError, did_you_mean
from pai_train.job import JobInput, JobOutput
from pai_train.serving.predict import PREDICTION, PROBABILITY
from pai_train.spec.address import parse_target
from pai_train.spec.ddl import parse_ddl
from pai_train.spec.images import ImageType
from pai_train.spec.table import Column, Ddl
from pai_train.spec.types import MaxComputeType, Primitive
from pai_train.storage import basename, display, join, resolve
from pai_train.tables.contracts import ServiceTables
from pai_train.tables.partitions import one_partition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pai_train.inputs import Rooms
    from pai_train.spec.address import TableRef
    from pai_train.spec.config import OutputConfig
    from pai_train.spec.contracts import WriteSession

logger = logging.getLogger(__name__)

_EXTRA = {PREDICTION: "prediction", PROBABILITY: "probability"}
_DOUBLE = Primitive("DOUBLE")


@dataclass(frozen=True)
class Made:
    """What the model gives for a row: the label's column, and the type of a prediction."""

    label: str
    type: MaxComputeType


def made_by(train: JobInput) -> Made | None:
    """Returns what a model gives that is trained on an input; None for an input without a label."""
    if train.label is None:
        return None
    kind = train.columns[train.label.column]
    if isinstance(kind, ImageType):
        return None
    return Made(train.label.column, kind if train.label.task == "classification" else _DOUBLE)


def look(
    name: str, config: OutputConfig, source: JobInput, made: Made, rooms: Rooms, *, begun: bool = False
) -> tuple[JobOutput | None, list[Fault]]:
    """Finds what an output is and where its columns come from; writes nothing.

    Args:
        name: Its name in the recipe.
        config: What was asked.
        source: The input whose rows are predicted.
        made: What the model gives.
        rooms: Where to look.
        begun: Whether an earlier start of the same run may have written into it. What is there is then judged by the
            write itself, which knows its own rows.

    Returns:
        The output, None when it cannot be written, and all faults with their keys in `where`.
    """
    key = f"outputs.{name}"
    asked = _Output(name, key, config, source, made, rooms, begun)
    try:
        return asked.table() if config.table else asked.files()
    except PaiTrainError as error:
        fault = error.fault
        return None, [replace(fault, where=key, what=f"{fault.where}: {fault.what}" if fault.where else fault.what)]


@dataclass(frozen=True)
class _Output:
    name: str
    key: str
    config: OutputConfig
    source: JobInput
    made: Made
    rooms: Rooms
    begun: bool

    def table(self) -> tuple[JobOutput | None, list[Fault]]:
        config, tables = self.config, self.rooms.tables
        ref = parse_target(config.table or "", self.rooms.project)
        ddl = parse_ddl(config.ddl) if config.ddl else None
        info = tables.describe(ref)
        if ddl is not None:
            columns, partitions = ddl.columns, ddl.partitions
        elif info is not None:
            columns, partitions = info.columns, info.partitions
        else:
            todo = f"ddl: create table {ref.name}(…);"
            what = "there is no such table, and no statement to create it"
            return None, [Fault(what, f"{self.key}.ddl", got=str(ref), todo=todo)]
        one_partition(ref, partitions)
        faults = self._differences(ref, ddl)
        rows = self._rows(ref) if info is not None and config.write == "fail" and not self.begun else 0
        if rows:
            got = f"{ref}, {rows} rows"
            faults.append(Fault("the table holds rows", f"{self.key}.write", got=got, wanted="an empty table"))
        if faults:
            return None, faults
        types = {column.name: column.type for column in columns}
        named = {out.lower(): value for out, value in config.columns.items()}
        own = {self.made.label.lower(): PREDICTION}
        mapping, faults = self._mapping(types, {**own, **named} if own.keys() & types.keys() else named, any_case=True)

        def create() -> bool:
            return ddl is not None and self._create(ref, ddl)

        def write(token: str) -> WriteSession:
            return tables.write(ref, config.write, token)

        output = JobOutput(self.name, str(ref), ref, None, config.input, mapping, create, write)
        return (None if faults else output), faults

    def files(self) -> tuple[JobOutput | None, list[Fault]]:
        from pai_train.tables.arrow import arrow_type
        from pai_train.tables.files import FilesWrite

        config, source = self.config, self.source
        url = resolve(self.rooms.root, config.oss or "")
        named = config.columns or {**{name: name for name in self._carried()}, **{v: k for k, v in _EXTRA.items()}}
        types = {out: self._type(value) or _DOUBLE for out, value in named.items()}
        mapping, faults = self._mapping(types, named, any_case=False)
        if not config.columns:
            faults += [
                Fault(
                    f"the input has a column of its own named {name!r}",
                    f"{self.key}.columns",
                    todo=f"name the output's columns, such as columns: {{…, guess: {value}}}",
                )
                for value, name in _EXTRA.items()
                if name in source.columns
            ]
        faults += [
            Fault("a column is given twice but for case", f"{self.key}.columns", got=name)
            for name, count in Counter(out.lower() for out in types).items()
            if count > 1
        ]
        faults += self._folder_faults(url)
        schema = pa.schema([pa.field(out, arrow_type(Column(out, kind))) for out, kind in types.items()])

        def write(token: str) -> WriteSession:
            return FilesWrite(url, schema, config.format, config.write, token, self.rooms.stores)

        output = JobOutput(self.name, display(url), None, url, config.input, mapping, lambda: False, write)
        return (None if faults else output), faults

    def _differences(self, ref: TableRef, ddl: Ddl | None) -> list[Fault]:
        lines = self.rooms.tables.compare(ref, ddl).lines if ddl is not None else ()
        if not lines:
            return []
        return [
            Fault(
                f"table {ref} exists and differs from the statement:\n" + "\n".join(f"  {line}" for line in lines),
                f"{self.key}.ddl",
                todo="change the statement, or name another table; a table is never dropped or altered",
            )
        ]

    def _rows(self, ref: TableRef) -> int:
        try:
            return self.rooms.tables.source(ref).snapshot.rows or 0
        except TableError:
            # The table is there, so it is the partition that holds nothing yet.
            return 0

    def _create(self, ref: TableRef, ddl: Ddl) -> bool:
        if not self.rooms.tables.ensure(ref, ddl).created:
            return False
        if ddl.name != ref.name:
            logger.warning("%s: %s gets the columns that the statement gives %s", self.key, ref, ddl.name)
        if (ddl.clustered is not None or ddl.primary_key) and not isinstance(self.rooms.tables, ServiceTables):
            logger.warning("%s: CLUSTERED BY and PRIMARY KEY have no effect on %s", self.key, ref)
        return True

    def _folder_faults(self, url: str) -> list[Fault]:
        store = self.rooms.stores.open(url)
        if store.info(url) is not None:
            return [Fault("the output is an object, not a folder", f"{self.key}.oss", got=display(url))]
        if self.begun or self.config.write == "append":
            return []
        if self.config.write == "fail":
            held = store.list(url)
            todo = "name another folder, or say write=append or write=overwrite"
            return [Fault("the folder holds objects", f"{self.key}.write", got=display(url), todo=todo)] if held else []
        foreign = [] if store.info(join(url, "MANIFEST.json")) else store.glob(join(url, "part-*"))
        return [
            Fault(
                "a file that no earlier run wrote lies where a part would",
                f"{self.key}.oss",
                got=", ".join(basename(info.url) for info in foreign[:3]),
                todo="move it away, or name another folder",
            )
        ][: len(foreign)]

    def _mapping(
        self, types: Mapping[str, MaxComputeType], named: Mapping[str, str], *, any_case: bool
    ) -> tuple[tuple[tuple[str, str], ...], list[Fault]]:
        """Returns what fills each output column: an input column, $prediction or $probability."""
        sources = [*self._carried(), *_EXTRA]
        known = {name.lower(): name for name in sources} if any_case else {}
        faults = [
            Fault("the output has no such column", f"{self.key}.columns.{out}", got=out, todo=did_you_mean(out, types))
            for out in named
            if out not in types
        ]
        mapping = []
        for out, declared in types.items():
            value = named.get(out, out)
            value = value if value in sources else known.get(value.lower(), value)
            kind, where = self._type(value), f"{self.key}.columns.{out}"
            if kind is None and value in self.source.columns:
                others = f"carry {' or '.join(self._carried())} instead"
                faults.append(Fault(f"column {out!r} cannot hold images", where, got=value, todo=others))
            elif kind is None:
                wanted, todo = "an input column, $prediction or $probability", did_you_mean(value, sources)
                faults.append(Fault(f"nothing fills column {out!r}", where, got=value, wanted=wanted, todo=todo))
            elif not _fits(kind, declared):
                what, todo = f"column {out!r} cannot hold {value}", f"declare {out} {kind}"
                faults.append(Fault(what, where, got=str(kind), wanted=str(declared), todo=todo))
            mapping.append((out, value))
        return tuple(mapping), faults

    def _type(self, value: str) -> MaxComputeType | None:
        return {PREDICTION: self.made.type, PROBABILITY: _DOUBLE, **self._carried()}.get(value)

    def _carried(self) -> dict[str, MaxComputeType]:
        """Returns the input's columns that an output can hold."""
        return {name: kind for name, kind in self.source.columns.items() if not isinstance(kind, ImageType)}


def _fits(made: MaxComputeType, declared: MaxComputeType) -> bool:
    whole = ("TINYINT", "SMALLINT", "INT", "BIGINT")
    wide = {
        "STRING": ("STRING", "VARCHAR", "CHAR"),
        "DOUBLE": ("DOUBLE", "FLOAT"),
        "FLOAT": ("DOUBLE",),
        **dict.fromkeys(whole, whole),
    }
    return made == declared or str(declared).partition("(")[0] in wide.get(str(made).partition("(")[0], ())
