"""What an actor of a Ray cluster does: it runs one worker as a child of its own, and tells of it when asked."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pai_train.errors import LaunchError
from pai_train.launch.process import Child, start
from pai_train.storage import Scratch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PIECE = 2**20
"""Bytes of the log that are told at once."""


def end(pid: int) -> None:
    """Kills an actor's process of this node, whose worker then ends too; one that is gone is left alone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Host:
    """Runs one worker. Its methods are called through Ray; none of them waits for the worker.

    When the actor's process is gone, even by SIGKILL, the worker ends.
    """

    def __init__(self) -> None:
        self._child: Child | None = None
        self._folder = Scratch()
        self._log = self._folder.path / "log"

    def place(self) -> tuple[str, int, str]:
        """Returns this node's id, this process's, and an address of the node, `host:port`, that nobody uses."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        # What Ray was told, by which the nodes reach each other; a guess by routes may be another interface.
        host = next(one["NodeManagerAddress"] for one in ray.nodes() if one["NodeID"] == node)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as door:
            door.bind((host, 0))
            port = door.getsockname()[1]
        return node, os.getpid(), f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self, command: Sequence[str], more: Mapping[str, str], cwd: str, folder: str | None) -> str | None:
        """Starts the worker.

        Args:
            command: Arguments of `python -m pai_train`.
            more: Variables beside those of this node.
            cwd: Where it works.
            folder: A folder that must be there; None for a worker that makes its own.

        Returns:
            Why it cannot be started; None when it was.
        """
        for path, key in ((cwd, "the working folder"), (folder, "the run folder")):
            if path is not None and not Path(path).is_dir():
                return f"{key} {path} is not on this node, {socket.gethostname()}"
        try:
            self._child = start(
                [sys.executable, "-m", "pai_train", *command],
                log=self._log,
                env={**os.environ, **more},
                cwd=Path(cwd),
                tied=True,
            )
        except LaunchError as error:
            return str(error)
        return None

    def look(self, at: int) -> tuple[int | None, bytes]:
        """Returns the worker's exit code, None while it runs or more is to be told, and its log from a byte on."""
        if self._child is None:
            return None, b""
        code = self._child.poll()
        with self._log.open("rb") as file:
            file.seek(at)
            piece = file.read(PIECE)
        return (None if len(piece) == PIECE else code), piece

    def terminate(self) -> None:
        """Sends SIGTERM to the worker, if it still runs."""
        if self._child is not None:
            self._child.terminate()

    def kill(self) -> None:
        """Ends the worker at once."""
        if self._child is not None:
            self._child.kill()
        self._folder.close()
