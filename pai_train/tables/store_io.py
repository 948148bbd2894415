"""pyiceberg's way to files, by the one door that all bytes take; manifests are looked at before it decodes them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

from pyiceberg.io import FileIO, InputFile, OutputFile

from pai_train.errors import DataError, PaiTrainError, StorageError
from pai_train.storage import ObjectMissing, Store
from pai_train.tables.avro import FrameError, check_frame

if TYPE_CHECKING:
    from pyiceberg.manifest import ManifestEntry, ManifestFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

_AVRO = ".avro"
_RESTORE = "restore the files in the table's metadata folder, or read another snapshot"


class StoreInput(InputFile):
    """An object of the store, for pyiceberg to read.

    Args:
        store: Where it lies.
        location: Its URL.
        length: How long it was when it was written; None where that is not known.
    """

    def __init__(self, store: Store, location: str, length: int | None = None) -> None:
        super().__init__(location)
        self._store = store
        self._length = length

    def __len__(self) -> int:
        return _size(self._store, self.location)

    def exists(self) -> bool:
        return self._store.info(self.location) is not None

    def open(self, seekable: bool = True) -> Any:
        """Opens it; a manifest, or a list of them, is read whole.

        Raises:
            DataError: A manifest is gone, damaged or cut short.
        """
        if not self.location.endswith(_AVRO):
            return self._store.open_input(self.location)
        try:
            data = self._store.read(self.location)
        except ObjectMissing as missing:
            raise DataError("a manifest of the table is gone", where=self.location, todo=_RESTORE) from missing
        if self._length is not None and len(data) != self._length:
            raise unreadable(self.location, f"{len(data)} bytes", f"{self._length} bytes")
        try:
            check_frame(data)
        except FrameError as fault:
            raise unreadable(self.location, str(fault), "a whole Avro file") from fault
        return io.BytesIO(data)


class StoreOutput(OutputFile):
    """An object of the store, for pyiceberg to write; its names are unique, so that none is ever replaced."""

    def __init__(self, store: Store, location: str) -> None:
        super().__init__(location)
        self._store = store

    def __len__(self) -> int:
        return _size(self._store, self.location)

    def exists(self) -> bool:
        return self._store.info(self.location) is not None

    def create(self, overwrite: bool = False) -> Any:
        return self._store.open_output(self.location)

    def to_input_file(self) -> InputFile:
        return StoreInput(self._store, self.location)


class StoreIO(FileIO):
    """The files of a table."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._lengths: dict[str, int] = {}

    def new_input(self, location: str) -> InputFile:
        return StoreInput(self._store, location, self._lengths.get(location))

    def new_output(self, location: str) -> OutputFile:
        return StoreOutput(self._store, location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        self._store.delete(location if isinstance(location, str) else location.location)

    def expect(self, manifests: list[ManifestFile]) -> None:
        """Notes how long manifests are, which is checked when they are read from now on."""
        self._lengths.update((one.manifest_path, one.manifest_length) for one in manifests)


def manifests_of(table: Table, snapshot: Snapshot) -> list[ManifestFile]:
    """Lists the manifests of a snapshot; from now on each must have the length that the list says.

    Raises:
        DataError: The list is damaged, or names none where the snapshot has data files.
    """
    try:
        found = snapshot.manifests(table.io)
    except PaiTrainError:
        raise
    except Exception as fault:
        # What a damaged list raises depends on where it is damaged.
        raise unreadable(snapshot.manifest_list, str(fault)) from fault
    totals = snapshot.summary.additional_properties if snapshot.summary is not None else {}
    files = totals.get("total-data-files", "0")
    if not found and files != "0":
        raise unreadable(snapshot.manifest_list, "no manifest", f"those of {files} data files")
    cast("StoreIO", table.io).expect(found)
    return found


def entries_of(table: Table, manifest: ManifestFile) -> list[ManifestEntry]:
    """Lists what a manifest holds and has not deleted.

    Raises:
        DataError: The manifest is gone, damaged or cut short.
    """
    try:
        return manifest.fetch_manifest_entry(table.io, discard_deleted=True)
    except PaiTrainError:
        raise
    except Exception as fault:
        raise unreadable(manifest.manifest_path, str(fault)) from fault


def unreadable(where: str, got: str, wanted: str | None = None) -> DataError:
    """Returns the error for manifests that do not say which data files a snapshot has."""
    return DataError("the manifests of the table cannot be read", where=where, got=got, wanted=wanted, todo=_RESTORE)


def _size(store: Store, location: str) -> int:
    info = store.info(location)
    if info is None:
        raise StorageError("no such object", where=location, todo="a file of the table was deleted behind its back")
    return info.size
