"""The manifest of a folder of written files: what is in it, and which writes are finished."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from pai_train.errors import TableError

MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class WrittenFile:
    """A file of the folder: its name, rows and bytes, and the token of the write it is of."""

    name: str
    rows: int
    bytes: int
    token: str


@dataclass(frozen=True)
class FolderManifest:
    """What writes have put into a folder.

    Attributes:
        files: Every file that is, or may half be, in the folder; nothing else there is ever touched.
        writes: Rows and bytes of each finished write, by token. A file of another token is a dead write's.
    """

    files: tuple[WrittenFile, ...] = ()
    writes: dict[str, dict[str, int]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Returns it as JSON, with the rows of all files and whether all belong to finished writes."""
        head = {
            "complete": all(file.token in self.writes for file in self.files),
            "rows": sum(file.rows for file in self.files),
            "token": next(reversed(self.writes), None),
        }
        return json.dumps({**head, **asdict(self)}, ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> FolderManifest:
        """Reads what `to_bytes` gave.

        Raises:
            TableError: It is something else.
        """
        try:
            value = json.loads(data)
            return cls(tuple(WrittenFile(**file) for file in value["files"]), dict(value["writes"]))
        except (ValueError, KeyError, TypeError) as fault:
            raise TableError(
                "not a manifest of written files", where=where, got=str(fault), todo="name another folder"
            ) from fault
