"""Delete files as other engines write them, made by hand: positions, deletion vectors, deletes by value."""

from __future__ import annotations

import json
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestContent, ManifestEntry, ManifestWriterV2
from pyiceberg.manifest import ManifestEntryStatus as Status
from pyiceberg.typedef import Record
from pyroaring import BitMap

PATH_ID, POSITION_ID = 2147483546, 2147483545


class _Deletes(ManifestWriterV2):
    """A manifest of delete files, which pyiceberg only reads."""

    def content(self):
        return ManifestContent.DELETES

    @property
    def _meta(self):
        return {**super()._meta, "content": "deletes"}


def delete_positions(table, positions, *, one_file=True):
    """Commits the deletion of rows, given as places by data file, as one delete file or one for each data file."""
    groups = [positions] if one_file else [{url: places} for url, places in positions.items()]
    files = []
    for number, group in enumerate(groups):
        rows = sorted((url, place) for url, places in group.items() for place in places)
        schema = pa.schema(
            [
                pa.field("file_path", pa.string(), False, {b"PARQUET:field_id": str(PATH_ID).encode()}),
                pa.field("pos", pa.int64(), False, {b"PARQUET:field_id": str(POSITION_ID).encode()}),
            ]
        )
        held = pa.table([[url for url, _ in rows], [place for _, place in rows]], schema=schema)
        url = f"{table.location()}/data/deletes-{number}-{table.metadata.next_sequence_number()}.parquet"
        with table.io.new_output(url).create() as stream:
            pq.write_table(held, stream)
        paths = sorted(group)
        bounds = [{PATH_ID: paths[0].encode()}, {PATH_ID: paths[-1].encode()}]
        files.append(_file(table, url, FileFormat.PARQUET, len(rows), bounds=bounds))
    _commit(table, files)


def delete_by_vector(table, positions):
    """Commits the deletion of rows, given as places by data file, as deletion vectors in one Puffin file."""
    body, blobs = b"PFA1", []
    for path, places in positions.items():
        vector = b"\xd1\xd3\x39\x64" + (1).to_bytes(8, "little") + (0).to_bytes(4, "little")
        vector += BitMap(places).serialize()
        blob = len(vector).to_bytes(4, "big") + vector + zlib.crc32(vector).to_bytes(4, "big")
        properties = {"referenced-data-file": path, "cardinality": str(len(places))}
        place = {"offset": len(body), "length": len(blob)}
        head = {"type": "deletion-vector-v1", "fields": [], "snapshot-id": -1, "sequence-number": -1}
        blobs.append({**head, **place, "properties": properties})
        body += blob
    footer = json.dumps({"blobs": blobs, "properties": {}}).encode()
    body += b"PFA1" + footer + len(footer).to_bytes(4, "little") + bytes(4) + b"PFA1"
    url = f"{table.location()}/data/vectors-{table.metadata.next_sequence_number()}.puffin"
    with table.io.new_output(url).create() as stream:
        stream.write(body)
    _commit(
        table,
        [
            _file(table, url, FileFormat.PUFFIN, len(places), bounds=[{PATH_ID: path.encode()}] * 2)
            for path, places in positions.items()
        ],
    )


def delete_by_value(table, column, values):
    """Commits the deletion of all rows that have one of these values."""
    field = table.schema().find_field(column)
    arrow = pa.field(column, pa.int64(), True, {b"PARQUET:field_id": str(field.field_id).encode()})
    url = f"{table.location()}/data/by-value.parquet"
    with table.io.new_output(url).create() as stream:
        pq.write_table(pa.table([values], schema=pa.schema([arrow])), stream)
    _commit(
        table,
        [
            _file(
                table,
                url,
                FileFormat.PARQUET,
                len(values),
                content=DataFileContent.EQUALITY_DELETES,
                equality_ids=[field.field_id],
            )
        ],
    )


def _file(table, url, file_format, rows, *, bounds=None, content=DataFileContent.POSITION_DELETES, equality_ids=None):
    lower, upper = bounds or (None, None)
    return DataFile.from_args(
        content=content,
        file_path=url,
        file_format=file_format,
        partition=Record(),
        record_count=rows,
        file_size_in_bytes=len(table.io.new_input(url)),
        column_sizes=None,
        value_counts=None,
        null_value_counts=None,
        nan_value_counts=None,
        lower_bounds=lower,
        upper_bounds=upper,
        key_metadata=None,
        split_offsets=None,
        equality_ids=equality_ids,
        sort_order_id=None,
        spec_id=0,
    )


def _commit(table, files):
    transaction = table.transaction()
    with transaction.update_snapshot().fast_append() as update:
        existing = update._existing_manifests

        def manifests():
            output = update.new_manifest_output()
            spec = table.spec()
            with _Deletes(spec, table.schema(), output, update.snapshot_id, "deflate") as writer:
                for file in files:
                    writer.add_entry(
                        ManifestEntry.from_args(status=Status.ADDED, snapshot_id=update.snapshot_id, data_file=file)
                    )
            return [*existing(), writer.to_manifest_file()]

        update._existing_manifests = manifests
    transaction.commit_transaction()
