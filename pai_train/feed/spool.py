"""What compressed files hold, kept on this machine while they are read, so that any block is read as fast as any."""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import IO

import pyarrow as pa

from pai_train.errors import PaiTrainError


class Spool:
    """Blocks of bytes in a file without a name, compressed; gone with the process."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._codec = pa.Codec("zstd", compression_level=1)
        self._end = 0

    def write(self, block: bytes) -> tuple[int, int]:
        """Adds a block and returns its place and stored size."""
        stored = self._codec.compress(block, asbytes=True)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="pai_train-")  # noqa: SIM115 - open while there are readers
                weakref.finalize(self, self._file.close)
            self._file.write(stored)
            self._file.flush()
        except OSError as error:
            raise PaiTrainError(
                "what the files hold cannot be kept on this machine",
                where=tempfile.gettempdir(),
                got=error.strerror or str(error),
                wanted="room for about the size of the compressed files",
                todo="make room there, or set TMPDIR to a folder that has it",
            ) from error
        place, self._end = self._end, self._end + len(stored)
        return place, len(stored)

    def read(self, place: int, stored: int, size: int) -> bytes:
        """Returns a block."""
        if self._file is None:
            raise ValueError("nothing was written")
        data = os.pread(self._file.fileno(), stored, place)
        return bytes(self._codec.decompress(data, decompressed_size=size, asbytes=True))
