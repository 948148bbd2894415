"""An upload session of the tunnel: numbered blocks of rows, and the commit that shows all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from pai_train.errors import TableError
from pai_train.tables.maxcompute.download import place, spec
from pai_train.tables.maxcompute.errors import CutShort, Kind, kind_of
from pai_train.tables.maxcompute.frames import framed
from pai_train.tables.maxcompute.meta import path_of

if TYPE_CHECKING:
    from pai_train.spec.address import Partition, TableRef
    from pai_train.tables.maxcompute.connection import Connection

MOST_BLOCKS = 20_000


@dataclass(frozen=True)
class Upload:
    """What is known of a session that writes.

    Attributes:
        id: Its name.
        status: `normal`, `closing`, `closed`, `expired`, `canceled`, `critical` or `gone`.
        blocks: The numbers of the blocks that have come whole.
    """

    id: str
    status: str
    blocks: frozenset[int] = frozenset()


class Uploads:
    """The upload sessions of a table, or of one partition of it.

    Args:
        connection: The way to the service.
        ref: The table.
        leaf: The partition; empty for a table without.
    """

    def __init__(self, connection: Connection, ref: TableRef, leaf: Partition) -> None:
        self._connection = connection
        self._path = path_of(ref)
        self._spec = spec(leaf)
        self._where = place(ref, leaf)

    def create(self, *, overwrite: bool) -> Upload:
        """Opens a session; a partition that is not there is made, without rows.

        Raises:
            PaiTrainError: It cannot be opened.
        """
        more = {"overwrite": "true"} if overwrite else {}
        more |= {"create_partition": "true"} if self._spec else {}
        return self._ask("post", {"uploads": "1", **more, **self._spec})

    def find(self, session: str) -> Upload:
        """Returns what a session is, whatever it has become."""

        def ask() -> Upload:
            try:
                return self._send("get", {"uploadid": session, **self._spec})
            except Exception as error:
                if kind_of(error) is Kind.NO_SESSION:
                    return Upload(session, "gone")
                raise

        return self._connection.retry(self._where, ask)

    def put(self, session: str, block: int, payload: BinaryIO) -> None:
        """Sends a block, again from its beginning where the transfer fails; it replaces one of the same number.

        Args:
            session: The session.
            block: Its number, from 0.
            payload: Record batches one behind the other, without their schema; can be rewound.

        Raises:
            PaiTrainError: It cannot be sent.
        """
        params = {"uploadid": session, "blockid": str(block), "arrow": "", **self._spec}
        headers = {"Transfer-Encoding": "chunked", "Content-Type": "application/octet-stream"}

        def send() -> None:
            payload.seek(0)
            self._connection.tunnel("put", self._path, params=dict(params), headers=headers, data=framed(payload))

        self._connection.retry(self._where, send)

    def commit(self, session: str) -> None:
        """Shows all blocks of a session; nothing happens where they are shown already.

        Raises:
            TableError: The session has ended.
            PaiTrainError: It cannot be committed.
        """

        def send() -> None:
            try:
                self._send("post", {"uploadid": session, **self._spec})
            except Exception as error:
                # The answer to an earlier try may have been lost.
                status = self._send("get", {"uploadid": session, **self._spec}).status
                if status == "closing":
                    raise CutShort("the commit is under way") from error
                if status != "closed":
                    raise

        self._connection.retry(self._where, send)

    def _ask(self, method: str, params: dict[str, str]) -> Upload:
        return self._connection.retry(self._where, lambda: self._send(method, params))

    def _send(self, method: str, params: dict[str, str]) -> Upload:
        told = self._connection.ask_tunnel(method, self._path, params)
        if "UploadID" not in told:
            raise TableError("what answers is not the tunnel", where=self._where, todo="check tables.tunnel_endpoint")
        blocks = frozenset(int(block["BlockID"]) for block in told.get("UploadedBlockList") or ())
        return Upload(str(told["UploadID"]), str(told.get("Status", "")).lower(), blocks)
