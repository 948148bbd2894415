"""Scripts that are resources of a MaxCompute project, read through pyodps."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from pai_train.errors import PaiTrainError, StorageError

if TYPE_CHECKING:
    from pai_train.pai.place import Script

_BLOCK = 4 * 2**20


def copy_resource(script: Script, project: str | None, file: IO[bytes], most: int) -> None:
    """Copies a resource into a file.

    Args:
        script: The resource.
        project: The project of one that names none; None for the environment's.
        file: Where it goes.
        most: How many bytes it may have.

    Raises:
        PaiTrainError: The environment names no service, or the resource is not there or cannot be read.
    """
    from pai_train.tables.maxcompute import open_tables

    owner, _, name = script.address.partition("/")
    tables = open_tables("runs", project or "")
    odps = tables.client()
    written = 0
    try:
        with odps.open_resource(name, project=owner or tables.project, mode="rb") as stream:
            while block := stream.read(_BLOCK):
                written += len(block)
                if written > most:
                    raise StorageError("the script is too large", where=str(script), wanted=f"{most:,} bytes")
                file.write(block)
    except PaiTrainError:
        raise
    except Exception as error:
        from pai_train.storage.redact import safe_text

        raise StorageError("the resource cannot be read", where=str(script), got=safe_text(error)) from None
