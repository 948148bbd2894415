"""Workers on any machines that meet before they train: each is connected with the chief."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from pai_train.errors import EXIT_INTERRUPTED, Interrupted, LaunchError, PaiTrainError
from pai_train.launch.frames import BYTES, HEAD, LEFT, PIECE, VALUE, exactly

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from pathlib import Path

EXIT_LEFT = 74
"""A worker ends with this code because another one did; the cause is in that one's log."""

PATIENCE_S = 5.0


class PeerLost(LaunchError):
    """Another worker has ended, or cannot be reached any more."""

    exit_code = EXIT_LEFT


class Star:
    """The gang of workers that have met. All make the same calls in the same order; worker 0 is the chief.

    Connections are TCP and trust the network, as TensorFlow's own between the same machines do.

    Attributes:
        rank: This worker's number, from 0.
        size: How many workers there are.
        hellos: What each worker said of itself when it came, by rank.
    """

    def __init__(
        self, rank: int, size: int, peers: Mapping[int, socket.socket], hellos: list[Mapping[str, Any]]
    ) -> None:
        self.rank = rank
        self.size = size
        self.hellos = hellos
        self._peers = dict(peers)

    def any(self, flag: bool) -> bool:
        """Returns, on every worker the same, whether any worker gave true.

        Raises:
            PeerLost: Another worker has ended.
            Interrupted: Another worker was asked to stop, and has.
        """
        return any(self.gather(flag))

    def barrier(self, name: str, timeout_s: float) -> None:
        """Waits until every worker is here.

        Raises:
            LaunchError: A worker did not come within `timeout_s` seconds, or is somewhere else.
        """
        for peer in self._peers.values():
            peer.settimeout(timeout_s)
        places = self.gather(name)
        for peer in self._peers.values():
            peer.settimeout(None)
        if set(places) != {name}:
            raise LaunchError("the workers are not at the same point", got=", ".join(map(str, places)), wanted=name)

    def gather(self, value: Any) -> list[Any]:
        """Returns what each worker gave, by rank; of JSON types.

        Raises:
            PeerLost: Another worker has ended.
            Interrupted: Another worker was asked to stop, and has.
        """
        if self.rank:
            self.send(0, VALUE, json.dumps(value).encode())
            found: list[Any] = json.loads(self._receive(0, VALUE))
            return found
        found = [value, *(json.loads(self._receive(rank, VALUE)) for rank in range(1, self.size))]
        text = json.dumps(found).encode()
        for rank in self._peers:
            self.send(rank, VALUE, text)
        return found

    def broadcast(self, value: Any = None) -> Any:
        """Returns what the chief gave; of JSON types."""
        if self.rank:
            return json.loads(self._receive(0, VALUE))
        text = json.dumps(value).encode()
        for rank in self._peers:
            self.send(rank, VALUE, text)
        return value

    def share(self, folder: Path) -> None:
        """Brings the files of the chief's folder into every worker's own, which is created when absent."""
        if self.rank:
            self._take(folder)
            return
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.exists() else []
        self.broadcast([[path.relative_to(folder).as_posix(), path.stat().st_size] for path in files])
        for path in files:
            with path.open("rb") as file:
                while piece := file.read(PIECE):
                    for rank in self._peers:
                        self.send(rank, BYTES, piece)

    def _take(self, folder: Path) -> None:
        for name, size in self.broadcast():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                while file.tell() < size:
                    file.write(self._receive(0, BYTES))

    def leave(self, error: BaseException | None = None) -> None:
        """Tells the others why this worker ends, and closes the connections; a second time does nothing."""
        peers, self._peers = self._peers, {}
        for peer in peers.values():
            # Whoever is gone needs no farewell.
            with suppress(OSError):
                if error is not None:
                    code = error.exit_code if isinstance(error, PaiTrainError) else 1
                    text = json.dumps({"rank": self.rank, "code": code, "text": _first_line(error)}).encode()
                    peer.settimeout(PATIENCE_S)
                    peer.sendall(HEAD.pack(LEFT, len(text)) + text)
            peer.close()

    def explain(self, patience_s: float = PATIENCE_S) -> None:
        """Raises what another worker said when it ended, where one says so within a time.

        Raises:
            PeerLost: Another worker has ended.
            Interrupted: Another worker was asked to stop, and has.
        """
        deadline = time.monotonic() + patience_s
        for rank, peer in self._peers.items():
            peer.settimeout(max(0.1, deadline - time.monotonic()))
            # A worker that lives on says nothing, and one that was ahead may have sent what nobody waits for any more.
            with suppress(TimeoutError):
                while True:
                    self._frame(rank)

    def send(self, rank: int, kind: bytes, data: bytes) -> None:
        """Sends one frame to a worker."""
        try:
            self._peers[rank].sendall(HEAD.pack(kind, len(data)) + data)
        except TimeoutError:
            raise self._late(rank) from None
        except OSError as error:
            self.explain(0.5)
            raise self._lost(rank, error) from error

    def _receive(self, rank: int, kind: bytes) -> bytes:
        try:
            found, data = self._frame(rank)
        except TimeoutError:
            raise self._late(rank) from None
        if found != kind:
            raise LaunchError(f"the workers are not at the same point: worker {rank} is elsewhere")
        return data

    def _frame(self, rank: int) -> tuple[bytes, bytes]:
        peer = self._peers[rank]
        try:
            kind, length = HEAD.unpack(exactly(peer, HEAD.size))
            data = exactly(peer, length)
        except TimeoutError:
            raise
        except OSError as error:
            raise self._lost(rank, error) from error
        if kind != LEFT:
            return kind, data
        why = json.loads(data)
        if why["code"] == EXIT_INTERRUPTED:
            raise Interrupted(f"worker {why['rank']} was asked to stop", todo="the same command goes on")
        raise PeerLost(
            f"worker {why['rank']} of {self.size} has failed", got=why["text"], todo="see the log of that worker"
        )

    def _lost(self, rank: int, error: OSError) -> PeerLost:
        return PeerLost(
            f"worker {rank} of {self.size} has ended without a word",
            got=error.strerror or str(error),
            todo="see the log of that worker; the same command goes on from the last checkpoint",
        )

    def _late(self, rank: int) -> LaunchError:
        return LaunchError(f"worker {rank} of {self.size} did not come in time", todo=f"see the log of worker {rank}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.leave(error)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
