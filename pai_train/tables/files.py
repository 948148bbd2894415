"""A write into a folder of files: parts are staged, copied into place, and the list of them is written last."""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING

import pyarrow as pa

from pai_train.errors import TableError
from pai_train.spec.contracts import Part, PartWriter, Snapshot
from pai_train.storage import Stores, join
from pai_train.tables.file_part import FilePart, Format
from pai_train.tables.folder import MANIFEST, FolderManifest, WrittenFile
from pai_train.tables.part import check_parts, check_same
from pai_train.tables.token import check_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.tables.contracts import WriteMode

_STAGING = "_staging-"
_COPY_BYTES = 4 * 2**20


class FilesWrite:
    """A write session of a folder; one writer at a time.

    Parts are staged under `_staging-<token>/`. The commit copies them to `part-00000.csv` and so on, or
    `part-<token>-00000.csv` when appending. A commit that was cut off is finished by repeating it, or undone by the
    next write.

    Args:
        folder_url: The folder, a full URL.
        schema: The columns to write.
        format: 'csv' with a header line, or 'parquet'.
        mode: 'overwrite' replaces what the manifest lists and nothing else; 'append' adds; 'fail' refuses a folder
            that holds objects.
        token: Names the write: a commit with a token that is already published is not repeated.
        stores: How its store is reached; left out, as the environment says.

    Raises:
        TableError: The mode is 'fail' and there are objects; a token that is no name; a type that CSV cannot hold.
    """

    def __init__(
        self,
        folder_url: str,
        schema: pa.Schema,
        format: Format,  # noqa: A002 - the recipe's word
        mode: WriteMode,
        token: str,
        stores: Stores | None = None,
    ) -> None:
        check_token(token)
        _check_format(folder_url, schema, format)
        self._folder = folder_url
        self._store = (stores or Stores()).open(folder_url)
        self._schema = schema
        self._format: Format = format
        self._mode = mode
        self._token = token
        self._staging = join(folder_url, _STAGING + token)
        manifest = self._read()
        if token not in manifest.writes:
            self._refuse_objects(manifest)

    def part(self, slice_id: int, attempt: int) -> PartWriter:
        url = join(self._staging, f"part-{slice_id:05}-{attempt}-{secrets.token_hex(4)}.{self._format}")
        return FilePart(self._store, url, self._schema, self._format, slice_id=slice_id, attempt=attempt)

    def commit(self, parts: Sequence[Part]) -> Snapshot:
        check_parts(self._folder, parts)
        manifest = self._read()
        if self._token not in manifest.writes:
            self._refuse_objects(manifest)
            manifest = self._publish(manifest, parts)
        self._store.delete_tree(self._staging)
        written = manifest.writes[self._token]
        check_same(self._folder, parts, written["rows"], None)
        return Snapshot(id=self._token, rows=written["rows"], bytes=written["bytes"])

    def abort(self) -> None:
        self._store.delete_tree(self._staging)

    def _publish(self, old: FolderManifest, parts: Sequence[Part]) -> FolderManifest:
        kept = [file for file in old.files if self._mode == "append" and file.token in old.writes]
        urls = {self._name(part.slice_id): part.url for part in parts}
        new = [WrittenFile(self._name(part.slice_id), part.rows, part.bytes, self._token) for part in parts]
        doomed = {file.name for file in old.files} - {file.name for file in kept} - set(urls)
        self._refuse_foreign(urls.keys() - {file.name for file in old.files})
        for part in parts:
            self._check_staged(part)
        begun = [*kept, *new, *(WrittenFile(name, 0, 0, self._token) for name in sorted(doomed))]
        self._write(FolderManifest(tuple(begun), old.writes))
        for name, url in urls.items():
            self._copy(url, join(self._folder, name))
        for name in sorted(doomed):
            self._store.delete(join(self._folder, name))
        total = {"rows": sum(part.rows for part in parts), "bytes": sum(part.bytes for part in parts)}
        manifest = FolderManifest((*kept, *new), {**old.writes, self._token: total})
        self._write(manifest)
        for token in sorted({file.token for file in old.files} - manifest.writes.keys()):
            self._store.delete_tree(join(self._folder, _STAGING + token))
        return manifest

    def _name(self, slice_id: int) -> str:
        infix = f"{self._token}-" if self._mode == "append" else ""
        return f"part-{infix}{slice_id:05}.{self._format}"

    def _read(self) -> FolderManifest:
        url = join(self._folder, MANIFEST)
        if self._store.info(url) is None:
            return FolderManifest()
        return FolderManifest.from_bytes(self._store.read(url), url)

    def _write(self, manifest: FolderManifest) -> None:
        self._store.put(join(self._folder, MANIFEST), manifest.to_bytes())

    def _copy(self, source: str, target: str) -> None:
        with self._store.open_input(source) as staged, self._store.open_output(target) as output:
            shutil.copyfileobj(staged, output, _COPY_BYTES)

    def _check_staged(self, part: Part) -> None:
        info = self._store.info(part.url)
        if info is None or info.size != part.bytes:
            raise TableError(
                "a staged part is gone, or is not what was written",
                where=part.url,
                got=None if info is None else f"{info.size} bytes",
                wanted=f"{part.bytes} bytes",
                todo="start the write again; another write has undone it",
            )

    def _refuse_foreign(self, names: set[str]) -> None:
        for name in sorted(names):
            if self._store.info(join(self._folder, name)) is not None:
                raise TableError(
                    "a file that no earlier write made lies where a part would",
                    where=join(self._folder, name),
                    wanted="only files that the folder's manifest lists are replaced",
                    todo="move it away, or name another folder",
                )

    def _refuse_objects(self, manifest: FolderManifest) -> None:
        if self._mode != "fail":
            return
        mine = {join(self._folder, file.name) for file in manifest.files if file.token == self._token}
        if len(mine) == len(manifest.files):
            mine.add(join(self._folder, MANIFEST))
        staging = join(self._folder, _STAGING)
        held = [
            info.url
            for info in self._store.list(self._folder)
            if info.url not in mine and not info.url.startswith(staging)
        ]
        if held:
            raise TableError(
                "the output folder holds objects",
                where=self._folder,
                got=f"{len(held)}, such as {held[0]}",
                wanted="none, as `write: fail` says",
                todo="name another folder, or say `write: overwrite` or `write: append`",
            )


def _check_format(where: str, schema: pa.Schema, format: Format) -> None:  # noqa: A002
    nested = [field.name for field in schema if pa.types.is_nested(field.type) or pa.types.is_binary(field.type)]
    if format == "csv" and nested:
        raise TableError(
            f"column {nested[0]!r} has a type that CSV cannot hold",
            where=where,
            got=str(schema.field(nested[0]).type),
            todo="say `format: parquet`, or write to a table",
        )
