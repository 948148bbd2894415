"""What keys ask of each other: the checks that no single key's type can make."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pai_train.errors import Fault, TableError, did_you_mean
from pai_train.spec.address import TableRef, parse_tables, parse_target
from pai_train.spec.catalog import catalog_fault
from pai_train.spec.cluster import cluster_faults
from pai_train.spec.config import SELF_DESCRIBING, InputConfig, JobConfig, LabelConfig, OutputConfig, Scalar
from pai_train.spec.ddl import SyntaxFault, parse_ddl
from pai_train.spec.ids import id_faults
from pai_train.spec.image_files import image_faults, with_columns
from pai_train.spec.names import character, given_twice, without_case
from pai_train.spec.oss_address import HOST, ROLE
from pai_train.spec.text_files import text_faults
from pai_train.spec.types import Decimal, MaxComputeType, Primitive, Text, parse_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pai_train.spec.table import Ddl

PREDICTIONS = ("$prediction", "$probability")

_GPUS = "0, a number of GPUs, auto, or distinct ids such as '0,1'"
_IPV6 = re.compile(r"\[[0-9a-fA-F:.]+\](?::\d{1,5})?")
_DEVICE_IDS = re.compile(r"\d+(,\d+)*,?")
# How the URLs of each provider begin.
SPELLINGS = {
    "memory": ("memory",),
    "oss": ("oss",),
    "s3": ("s3", "s3a", "s3n"),
    "gcs": ("gs", "gcs"),
    "azure": ("az", "abfs", "abfss"),
}
# Which providers have what a key of `storage` names.
OF_PROVIDERS = {
    "endpoint": ("oss", "s3", "gcs", "azure"),
    "region": ("oss", "s3", "gcs", "azure"),
    "profile": ("oss", "s3"),
    "role_arn": ("oss",),
    "addressing": ("oss", "s3"),
}
_INTEGER_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
_TEXTS = ("STRING", "DATE", "DATETIME", "TIMESTAMP", "TIMESTAMP_NTZ", "JSON", "BINARY")


def faults(config: JobConfig) -> list[Fault]:
    """Checks keys against each other; `where` is the dotted key that each fault belongs to."""
    found = [*_gpus(config.gpus)]
    places = {
        "checkpointDir": config.checkpointDir,
        "storage.root": config.storage.root,
        "tables.root": config.tables.root,
    }
    found += [Fault("is empty", where=key, wanted="a folder or a URL") for key, text in places.items() if not text]
    found += _storage(config)
    found += _catalog(config)
    found += _service(config)
    found += cluster_faults(config)
    if "train" not in config.inputs:
        todo = did_you_mean("train", config.inputs)
        found.append(Fault("there is no input to train on", where="inputs.train", wanted="rows to train on", todo=todo))
    for name, rows in config.inputs.items():
        found += _input(f"inputs.{name}", rows, config)
    train = config.inputs.get("train")
    if train is not None and train.label is None:
        found.append(Fault("needs a label", where="inputs.train.label", wanted="the column to predict"))
    if train is not None and train.split is not None and "test" in config.inputs:
        found.append(
            Fault(
                "a split holds rows out of `train`, and `inputs.test` gives held-out rows too",
                where="inputs.train.split",
                wanted="one of the two",
                todo="leave out inputs.train.split or inputs.test",
            )
        )
    for name, output in config.outputs.items():
        found += _output(f"outputs.{name}", output, config)
    return [*found, *_written_twice(config)]


def _storage(config: JobConfig) -> Iterator[Fault]:
    """Checks that what is said about the provider is about the one that is named."""
    storage = config.storage
    scheme, slashes, _ = storage.root.partition("://")
    spellings = SPELLINGS.get(storage.name)
    if spellings is not None and storage.root and (not slashes or scheme.lower() not in spellings):
        named = next((name for name, own in SPELLINGS.items() if slashes and scheme.lower() in own), "local")
        yield Fault(
            f"storage.name is {storage.name}, and the root is on another store",
            where="storage.root",
            got=storage.root,
            wanted=f"{spellings[0]}://bucket/folder",
            todo=f"name the store that the root is on: storage={named}",
        )
    for key, names in OF_PROVIDERS.items():
        if getattr(storage, key) is not None and storage.name not in names:
            what = f"storage {storage.name!r} has no {key}"
            todo = f"leave it out, or choose the store that it is for: storage={' or storage='.join(names)}"
            yield Fault(what, where=f"storage.{key}", todo=todo)
    if storage.endpoint is not None and not _is_endpoint(storage.endpoint, path=storage.name == "azure"):
        wanted = "https://host, http://host:port or host, with no user, no path and no query"
        yield Fault("not an endpoint", where="storage.endpoint", got=storage.endpoint, wanted=wanted)
    if storage.role_arn is not None and ROLE.fullmatch(storage.role_arn) is None:
        wanted = "acs:ram::<uid>:role/<name>"
        yield Fault("not a RAM role", where="storage.role_arn", got=storage.role_arn, wanted=wanted)


def _catalog(config: JobConfig) -> Iterator[Fault]:
    tables = config.tables
    if tables.catalog is None:
        return
    if tables.name != "iceberg":
        todo = "leave it out, or choose tables=iceberg"
        yield Fault(f"tables {tables.name!r} has no catalog", where="tables.catalog", todo=todo)
    elif (fault := catalog_fault(tables.catalog)) is not None:
        yield fault


def _service(config: JobConfig) -> Iterator[Fault]:
    """Checks that what is said about a service is about the one that is named."""
    tables = config.tables
    for key in ("endpoint", "tunnel_endpoint", "role_arn"):
        if getattr(tables, key) is not None and tables.name != "maxcompute":
            what, todo = f"tables {tables.name!r} has no {key}", "leave it out, or choose tables=maxcompute"
            yield Fault(what, where=f"tables.{key}", todo=todo)
    for key in ("endpoint", "tunnel_endpoint"):
        text = getattr(tables, key)
        if text is not None and not _is_endpoint(text, path=True):
            wanted = "https://host/api, http://host:port/api or host, with no user and no query"
            yield Fault("not an endpoint", where=f"tables.{key}", got=text, wanted=wanted)
    if tables.role_arn is not None and ROLE.fullmatch(tables.role_arn) is None:
        wanted = "acs:ram::<uid>:role/<name>"
        yield Fault("not a RAM role", where="tables.role_arn", got=tables.role_arn, wanted=wanted)


def _is_endpoint(text: str, *, path: bool) -> bool:
    """Tells whether a text is a host, with a scheme or without; the path of an emulator of Azure names its account."""
    scheme, slashes, rest = text.partition("://")
    host, _, after = (rest if slashes else text).partition("/")
    named = HOST.fullmatch(host) is not None or _IPV6.fullmatch(host) is not None
    return named and (not slashes or scheme.lower() in ("http", "https")) and (path or not after)


def _gpus(gpus: int | str) -> Iterator[Fault]:
    if isinstance(gpus, int):
        accepted = gpus >= 0
    else:
        ids = gpus.removesuffix(",").split(",")
        accepted = gpus == "auto" or bool(_DEVICE_IDS.fullmatch(gpus) and len({int(id_) for id_ in ids}) == len(ids))
    if not accepted:
        todo = did_you_mean(gpus, ["auto"]) if isinstance(gpus, str) and gpus.isalpha() else None
        yield Fault("not a choice of GPUs", where="gpus", got=str(gpus), wanted=_GPUS, todo=todo)


def _input(key: str, rows: InputConfig, config: JobConfig) -> Iterator[Fault]:
    yield from _one_place(key, rows.oss, rows.table)
    if rows.window is not None and rows.shuffle != "window":
        what, todo = "only shuffle=window has windows", f"leave it out, or choose {key}.shuffle=window"
        yield Fault(what, where=f"{key}.window", got=f"{rows.window}, with shuffle={rows.shuffle}", todo=todo)
    if rows.oss is not None and not rows.columns and rows.format not in (*SELF_DESCRIBING, "image"):
        wanted = "names with types, in file order, such as {f1: DOUBLE, f2: STRING}"
        yield Fault("files need columns", where=f"{key}.columns", wanted=wanted)
    if rows.where is not None and rows.table is None:
        yield Fault("only rows of a table can be filtered", where=f"{key}.where", got=rows.where, wanted="a table")
    if rows.table is not None:
        yield from _table_faults(f"{key}.table", lambda: parse_tables(rows.table or "", config.tables.project))
        twice = given_twice(rows.columns)
        for name in twice:
            yield Fault("is given twice, and names of table columns have no case", where=f"{key}.columns.{name}")
        if twice:
            return
        rows = without_case(rows)
    if len(character(rows.delimiter)) != 1 or character(rows.delimiter) in '"\r\n':
        wanted = "one character, no quote and no line end; \\t and \\x01 stand for tab and control characters"
        yield Fault("not a delimiter", where=f"{key}.delimiter", got=repr(rows.delimiter), wanted=wanted)
    yield from text_faults(key, rows)
    yield from image_faults(key, rows)
    rows = with_columns(rows)
    types: dict[str, MaxComputeType] = {}
    for name, text in rows.columns.items():
        try:
            types[name] = parse_type(text)
        except SyntaxFault as fault:
            yield Fault(f"not a column type: {fault.message}", where=f"{key}.columns.{name}", got=text)
    yield from _defaults(key, rows, types)
    yield from _roles(key, rows, types)
    yield from id_faults(key, rows, types, config.tables.project)


def _one_place(key: str, oss: str | Sequence[str] | None, table: str | None) -> Iterator[Fault]:
    if oss is None and table is None:
        yield Fault("needs a place", where=key, wanted="oss or table")
    elif oss is not None and table is not None:
        yield Fault("has two places", where=key, got="oss and table", wanted="one of them")
    if oss is not None and not (oss and all(oss if isinstance(oss, list) else [oss])):
        yield Fault("names no file", where=f"{key}.oss", got=repr(oss), wanted="an object, a list of objects or a glob")


def _table_faults(key: str, parse: Callable[[], object]) -> Iterator[Fault]:
    try:
        parse()
    except TableError as error:
        yield replace(error.fault, where=key)


def _defaults(key: str, rows: InputConfig, types: dict[str, MaxComputeType]) -> Iterator[Fault]:
    key = f"{key}.record_defaults"
    if rows.record_defaults is None:
        return
    if rows.oss is not None and not rows.columns and rows.format not in SELF_DESCRIBING:
        return
    if isinstance(rows.record_defaults, list):
        count, wanted = len(rows.record_defaults), len(rows.columns)
        if count != wanted:
            yield Fault(
                f"one default per column: {count} for {wanted} columns",
                where=key,
                got=f"{count} values",
                wanted=f"{wanted} values, in the order of columns",
                todo="declare columns, or give the defaults by name" if not wanted else None,
            )
            return
        named = {column: (f"{key}[{at}]", rows.record_defaults[at]) for at, column in enumerate(rows.columns)}
    else:
        named = {column: (f"{key}.{column}", value) for column, value in rows.record_defaults.items()}
    for column, (where, value) in named.items():
        if rows.columns and column not in rows.columns:
            yield Fault(f"no column {column!r}", where=where, todo=did_you_mean(column, rows.columns))
        elif column in types and (accepted := _accepted(types[column], value)) is not None:
            what = f"not a value of {column}, which is {types[column]}"
            yield Fault(what, where=where, got=repr(value), wanted=accepted)


def _accepted(type_: MaxComputeType, value: Scalar) -> str | None:
    """Returns what a default of this type may be, or None when the value is one."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(type_, Primitive) and type_.name in _INTEGER_BITS:
        limit = 2 ** (_INTEGER_BITS[type_.name] - 1)
        fits = isinstance(value, int) and number and -limit <= value < limit
        return None if fits else f"an integer from {-limit} to {limit - 1}"
    if isinstance(type_, Primitive) and type_.name in ("FLOAT", "DOUBLE"):
        return None if number else "a number"
    if isinstance(type_, Decimal):
        return None if number or isinstance(value, str) else "a number"
    if isinstance(type_, Primitive) and type_.name == "BOOLEAN":
        return None if isinstance(value, bool) else "true or false"
    if isinstance(type_, Text) or (isinstance(type_, Primitive) and type_.name in _TEXTS):
        return None if isinstance(value, str) else "text in quotes"
    return "no default: this type has none"


def _roles(key: str, rows: InputConfig, types: dict[str, MaxComputeType]) -> Iterator[Fault]:
    """Checks which columns are the label and the features."""
    label = rows.label.column if isinstance(rows.label, LabelConfig) else rows.label
    label_key = f"{key}.label.column" if isinstance(rows.label, LabelConfig) else f"{key}.label"
    if label is not None and rows.columns and label not in rows.columns:
        yield Fault(f"no column {label!r}", where=label_key, todo=did_you_mean(label, rows.columns))
    if isinstance(rows.label, LabelConfig):
        yield from _classes(f"{key}.label", rows.label, types.get(rows.label.column))
    if rows.features is None:
        if label is not None and list(rows.columns) == [label]:
            yield Fault("no column is left for the model beside the label", where=f"{key}.columns")
        return
    if not rows.features:
        todo = "leave features out for all columns but the label"
        yield Fault("the model sees no column", where=f"{key}.features", got="[]", wanted="column names", todo=todo)
    for at, name in enumerate(rows.features):
        where = f"{key}.features[{at}]"
        if rows.columns and name not in rows.columns:
            others = [column for column in rows.columns if column != label]
            yield Fault(f"no column {name!r}", where=where, todo=did_you_mean(name, others))
        elif name == label:
            yield Fault(f"the label {name!r} is not a feature too", where=where, todo="remove it from features")
        elif name in rows.features[:at]:
            yield Fault(f"column {name!r} is named twice", where=where, todo="remove it once")


def _classes(key: str, label: LabelConfig, type_: MaxComputeType | None) -> Iterator[Fault]:
    classes = label.classes
    if classes is None:
        return
    if label.task == "regression":
        yield Fault("regression has no classes", where=f"{key}.classes", todo="leave classes out")
    elif len({(type(value), value) for value in classes}) < len(classes) or len(classes) < 2:
        yield Fault("needs two or more distinct classes", where=f"{key}.classes", got=str(classes))
    elif type_ is not None:
        wrong = [value for value in classes if _accepted(type_, value) is not None]
        if wrong:
            what = f"not values of the label {label.column}, which is {type_}"
            yield Fault(what, where=f"{key}.classes", got=str(wrong), wanted=_accepted(type_, wrong[0]))


def _output(key: str, output: OutputConfig, config: JobConfig) -> Iterator[Fault]:
    yield from _one_place(key, output.oss, output.table)
    if output.table is not None:
        yield from _table_faults(f"{key}.table", lambda: parse_target(output.table or "", config.tables.project))
    if output.ddl is not None and output.table is None:
        yield Fault("a CREATE TABLE statement needs its table", where=f"{key}.ddl", todo=f"set {key}.table")
    ddl = None
    if output.ddl is not None:
        try:
            ddl = parse_ddl(output.ddl)
        except SyntaxFault as fault:
            yield Fault(f"not a CREATE TABLE statement: {fault}", where=f"{key}.ddl", got=output.ddl)
    rows = config.inputs.get(output.input)
    if rows is None:
        what, todo = f"no input {output.input!r}", did_you_mean(output.input, config.inputs)
        yield Fault(what, where=f"{key}.input", got=output.input, todo=todo)
    yield from _output_columns(key, output, rows and with_columns(rows), ddl)


def _output_columns(key: str, output: OutputConfig, rows: InputConfig | None, ddl: Ddl | None) -> Iterator[Fault]:
    written = [column.name for column in ddl.columns] if ddl is not None else []
    for target, source in output.columns.items():
        where = f"{key}.columns.{target}"
        if written and target.lower() not in written:
            yield Fault(f"the statement has no column {target!r}", where=where, todo=did_you_mean(target, written))
        if source.startswith("$") and source not in PREDICTIONS:
            yield Fault("not a column of the model", where=where, got=source, todo=did_you_mean(source, PREDICTIONS))
        elif not source.startswith("$") and rows is not None and rows.columns and source not in rows.columns:
            what, todo = f"the input {output.input!r} has no column {source!r}", did_you_mean(source, rows.columns)
            yield Fault(what, where=where, todo=todo)


def _written_twice(config: JobConfig) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for name, output in config.outputs.items():
        ref = _ref(output.table, config.tables.project) if output.table is not None else None
        address = str(ref) if ref is not None else output.oss
        if address is None:
            continue
        if address in seen:
            what = f"the output {seen[address]!r} writes there too"
            place = "table" if output.table is not None else "oss"
            yield Fault(what, where=f"outputs.{name}.{place}", got=address, wanted="a place of its own")
        seen.setdefault(address, name)


def _ref(table: str, project: str) -> TableRef | None:
    """Returns the table that is meant, or None for an address that is a fault already."""
    try:
        return parse_target(table, project)
    except TableError:
        return None
