"""The Storage API of the MaxCompute server, reading: sessions over partitions, their splits, their rows as Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from aiohttp import web

from pai_train.spec.table import Column
from tests.servers import maxcompute_faults as faults
from tests.servers.maxcompute_answers import Refused
from tests.servers.maxcompute_call import Call
from tests.servers.maxcompute_predicate import predicate
from tests.servers.maxcompute_rows import Part
from tests.servers.maxcompute_sessions import Session
from tests.servers.maxcompute_state import Table, Values, partition_values
from tests.servers.maxcompute_tunnel import alive
from tests.servers.maxcompute_types import odps_type, storage_schema, stored_type

FORMATS = [{"Type": "ARROW", "Version": "V5"}]
_UNITS = {"second": "s", "milli": "ms", "micro": "us", "nano": "ns"}
_COMPRESSIONS = {"": None, "identity": None, "zstd": "zstd", "lz4_frame": "lz4"}
_BATCH_ROWS = 4096


async def create_read_session(call: Call) -> web.Response:
    """Opens a session on the rows that are there now.

    Columns that are named are given; when neither data columns nor partition columns are named, all of both are.
    """
    table, told = call.table, await call.told()
    data, keys = told.get("RequiredDataColumns") or [], told.get("RequiredPartitionColumns") or []
    if told.get("RequiredBucketIds"):
        raise Refused(400, "NotImplemented", "this server knows no buckets: RequiredBucketIds")
    if not data and not keys:
        data, keys = [one.name for one in table.ddl.columns], list(table.keys)
    parts = _parts(call, table, told.get("RequiredPartitions") or [])
    asked = {
        "data": [one.name for one in _named(table.ddl.columns, data)],
        "keys": [one.name for one in _named(table.ddl.partitions, keys)],
        "filter": told.get("FilterPredicate") or "",
        "units": _units(told.get("ArrowOptions") or {}),
        "stats": bool(told.get("EnableEstimateStats")),
        **_splits(parts, told.get("SplitOptions") or {}),
    }
    predicate(asked["filter"], _all_columns(table))
    session = call.service.sessions.open("read", table, asked, parts)
    return _told(call, session, created=True)


async def get_read_session(call: Call) -> web.Response:
    """Answers what a session is; may let it live longer."""
    session = find_session(call, "read", call.names["session"])
    if call.query.get("session_refresh") == "true":
        alive(call, session)
        call.service.sessions.expire(session.id, call.service.sessions.life_s)
    return _told(call, session)


async def read_rows(call: Call) -> web.StreamResponse:
    """Sends the rows of a split, or of a range, as an Arrow stream."""
    session = alive(call, find_session(call, "read", call.query.get("session_id", "")))
    start, count = _range(call, session)
    if call.fault is not None and call.has(faults.FEWER):
        count = max(0, count - call.fault.rows)
    encoding = call.headers.get("accept-encoding", "").lower()
    if encoding not in _COMPRESSIONS:
        raise Refused(400, "InvalidArgument", f"Invalid argument: Accept-Encoding: {encoding}")
    table, asked = call.table, session.asked
    columns = _named(table.ddl.columns, asked["data"]) + _named(table.ddl.partitions, asked["keys"])
    schema = pa.schema([(one.name, sent_type(stored_type(odps_type(one)), asked["units"])) for one in columns])
    most = call.number("max_batch_rows", least=1) if "max_batch_rows" in call.query else _BATCH_ROWS
    whole = _all_columns(table)
    wanted = predicate(asked["filter"], whole)

    def batches() -> Iterator[pa.RecordBatch]:
        for part, batch in session.view.batches(start, count):
            full = _with_keys(batch, part, whole)
            kept = full if wanted is None else pa.Table.from_batches([full]).filter(wanted)
            sent = pa.table(kept.select(schema.names)).cast(schema)
            yield from sent.combine_chunks().to_batches(max_chunksize=most)

    pieces = _stream(schema, batches(), _COMPRESSIONS[encoding])
    if call.has(faults.CORRUPT):
        pieces = _flipped(pieces)
    return await call.stream(pieces, {"Content-Type": "application/octet-stream"})


def find_session(call: Call, kind: str, session_id: str) -> Session:
    """Returns the session that a request names.

    Raises:
        Refused: It is not there.
    """
    session = call.service.sessions.find(session_id, kind, call.table)
    if session is None:
        raise Refused(404, "NoSuchSession", f"The specified session id does not exist. '{session_id}'")
    return session


def sent_type(kind: pa.DataType, units: Mapping[str, str]) -> pa.DataType:
    """Returns a type as a session sends it: points in time in the unit that it was asked for."""
    return pa.timestamp(units[kind.unit]) if pa.types.is_timestamp(kind) else kind


def _told(call: Call, session: Session, *, created: bool = False) -> web.Response:
    asked, table = session.asked, call.table
    expired, ready = call.service.sessions.expired(session), session.asked_whether_ready()
    rows = asked["mode"] == "RowOffset"
    told: dict[str, Any] = {
        "SessionId": session.id,
        "SessionType": "BATCH_READ",
        "SessionStatus": "EXPIRED" if expired else "NORMAL" if ready else "INIT",
        "ExpirationTime": int(session.expires * 1000),
        "Message": "",
        "RecordCount": session.view.rows if rows and ready else -1,
        "SplitsCount": len(asked["splits"]) if not rows and ready else -1,
        "DataSchema": storage_schema(
            _named(table.ddl.columns, asked["data"]), _named(table.ddl.partitions, asked["keys"])
        ),
        "SupportedDataFormat": FORMATS,
    }
    if asked["stats"]:
        size = sum(part.bytes for part in session.view.parts)
        told["SessionStats"] = {"EstimatedSize": size, "EstimatedRowCount": session.view.rows}
    return web.json_response(told, status=(201 if ready else 202) if created else 200)


def _parts(call: Call, table: Table, specs: list[str]) -> list[Part]:
    found: dict[Values, Part] = {}
    for spec in specs or [""]:
        matching = table.matching(partition_values(table, spec, whole=False))
        if not matching and spec:
            raise Refused(404, "NoSuchPartition", f"The specified partition does not exist. '{spec}'")
        found |= {one.values: call.service.tables.part(table, one) for one in matching}
    return list(found.values())


def _named(columns: Iterable[Column], names: Iterable[str]) -> list[Column]:
    known = {column.name: column for column in columns}
    wanted = [name.lower() for name in names]
    if unknown := [name for name in wanted if name not in known]:
        raise Refused(400, "InvalidArgument", f"Invalid argument: no such columns: {unknown}")
    return [known[name] for name in wanted]


def _units(options: Mapping[str, str]) -> dict[str, str]:
    try:
        # DATETIME is kept in milliseconds, TIMESTAMP in nanoseconds.
        return {
            "ms": _UNITS[options.get("DatetimeUnit") or "milli"],
            "ns": _UNITS[options.get("TimestampUnit") or "nano"],
        }
    except KeyError as error:
        raise Refused(400, "InvalidArgument", f"Invalid argument: ArrowOptions: {error}") from error


def _splits(parts: list[Part], options: Mapping[str, Any]) -> dict[str, Any]:
    mode, number = options.get("SplitMode") or "Size", options.get("SplitNumber") or 0
    rows, size = sum(part.rows for part in parts), sum(part.bytes for part in parts)
    if mode == "RowOffset":
        return {"mode": mode, "splits": []}
    if mode not in ("Size", "Parallelism") or number <= 0:
        raise Refused(400, "InvalidArgument", f"Invalid argument: SplitOptions: {mode} {number}")
    step = max(1, number * rows // max(1, size) if mode == "Size" else -(-rows // number))
    borders = [rows]
    if not options.get("CrossPartition", True):
        ends = [sum(part.rows for part in parts[: at + 1]) for at in range(len(parts))]
        borders = sorted({end for end in ends if end})
    splits, start = [], 0
    for border in borders:
        while start < border:
            splits.append((start, min(step, border - start)))
            start += splits[-1][1]
    return {"mode": mode, "splits": splits}


def _range(call: Call, session: Session) -> tuple[int, int]:
    if session.asked["mode"] != "RowOffset":
        split = call.number("split_index")
        if split >= len(session.asked["splits"]):
            raise Refused(400, "InvalidArgument", f"Invalid argument: split_index={split}")
        start, count = session.asked["splits"][split]
        return start, count
    start, count = call.number("row_index"), call.number("row_count")
    if start + count > session.view.rows:
        raise Refused(400, "InvalidRowRange", "The specified row range is not valid.")
    return start, count


def _all_columns(table: Table) -> pa.Schema:
    return pa.schema([(one.name, stored_type(odps_type(one))) for one in (*table.ddl.columns, *table.ddl.partitions)])


def _with_keys(batch: pa.RecordBatch, part: Part, whole: pa.Schema) -> pa.RecordBatch:
    keys = [pa.repeat(pa.scalar(value).cast(whole.field(name).type), batch.num_rows) for name, value in part.values]
    return pa.RecordBatch.from_arrays([*batch.columns, *keys], schema=whole)


def _stream(schema: pa.Schema, batches: Iterator[pa.RecordBatch], compression: str | None) -> Iterator[bytes]:
    sink = _Sink()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        yield sink.taken()
        for batch in batches:
            writer.write_batch(batch)
            yield sink.taken()
    yield sink.taken()


def _flipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Flips one bit of the first rows; what comes before them is the schema."""
    yield next(pieces)
    rows = bytearray(next(pieces))
    rows[-9] ^= 1
    yield bytes(rows)
    yield from pieces


class _Sink:
    """Collects what an Arrow writer writes."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(self._pieces[-1])

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing is kept open."""

    def taken(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken
