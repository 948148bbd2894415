"""The processes of a training: who starts them, and what this one is among them."""

from __future__ import annotations

import logging
import os
import socket
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

from pai_train.errors import Fault, Interrupted, LaunchError, Refused
from pai_train.experiment import folder as run_folder
from pai_train.experiment.environment import packages_known
from pai_train.launch import tf_config
from pai_train.launch.supervisor import RANK, READY, WORKER_LOG, run_gang, supervise
from pai_train.launch.tether import tied
from pai_train.team import FOLDER, Alone, Crew, Team
from pai_train.training.lease import EXPIRES_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pai_train.experiment.record import Record
    from pai_train.front.composed import Composed

logger = logging.getLogger(__name__)

GRACE_S = 60.0
"""Seconds that workers have for saving after a stop was asked for."""


def team_of(composed: Composed) -> Team:
    """Returns with whom this process trains.

    Raises:
        Refused: TF_CONFIG is asked for and cannot be read, or names more workers than can share the rows.
    """
    cluster = composed.config.cluster
    if cluster.name != "tf_config" and (cluster.workers == 1 or RANK not in os.environ):
        return Alone()
    try:
        workers = tf_config.read(os.environ)
    except LaunchError as error:
        raise Refused([error.fault]) from None
    if workers.size == 1:
        return Alone()
    if workers.size > composed.config.engine.lanes:
        got = f"{workers.size} workers in TF_CONFIG, engine.lanes={composed.config.engine.lanes}"
        todo = f"set engine.lanes={workers.size}, which begins another order of rows"
        raise Refused([Fault("there are more workers than lanes to share", "engine.lanes", got, todo=todo)])
    return Crew(workers, {"config": composed.config_hash, "packages": packages_known()}, cluster.start_timeout_s)


def gang_of(composed: Composed, callbacks: Sequence[Any] = ()) -> Callable[[Callable[[], bool]], Record] | None:
    """Returns what starts the workers and waits for them; None where this process is the one that trains.

    Raises:
        Refused: The workers cannot be started from here.
    """
    cluster = composed.config.cluster
    if callbacks and (cluster.name == "tf_config" or cluster.workers > 1):
        todo = "train in one process, or leave them out"
        raise Refused([Fault("callbacks given in Python are called by a single worker only", "cluster", todo=todo)])
    if RANK in os.environ:
        tied(os.environ)
        return None
    if cluster.name == "tf_config" or (cluster.name == "local" and cluster.workers == 1):
        return None
    if not composed.overrides:
        todo = "compose the configuration from a recipe and overrides, or give cluster.workers on the command line"
        raise Refused([Fault("workers are started with a command, and there is none", "cluster.workers", todo=todo)])
    if cluster.name == "ray":
        from pai_train.launch.ray_cluster import installed

        if not installed():
            todo = "pip install 'pai_train[ray]'"
            raise Refused(
                [Fault("workers on a Ray cluster need the extra ray, which is not installed", "cluster", todo=todo)]
            )
        return lambda stop: _ray(composed, stop)
    return lambda stop: _local(composed, stop)


def _local(composed: Composed, stop: Callable[[], bool]) -> Record:
    """Runs the workers as processes of this machine, and again from the last checkpoint when one fails.

    Raises:
        LaunchError: A worker failed once more than it may.
        Interrupted: A stop was asked for, and the chief has saved.
    """
    config = composed.config
    folder = run_folder.create(composed.run_dir)
    command = [sys.executable, "-m", "pai_train", *composed.overrides]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")

    def places() -> list[Mapping[str, str]]:
        addresses = [f"127.0.0.1:{port}" for port in _free_ports(config.cluster.workers)]
        return [
            {
                tf_config.VARIABLE: tf_config.write(addresses, rank),
                FOLDER: str(folder),
                **_gpus(visible, config.gpus, rank),
            }
            for rank in range(config.cluster.workers)
        ]

    with _Echo(folder / WORKER_LOG.format(0)) as echo:
        run_gang(
            [command] * config.cluster.workers,
            logs=folder,
            # The workers end by themselves before, and say who is missing.
            start_timeout_s=config.cluster.start_timeout_s + 60,
            restarts=config.cluster.max_restarts,
            grace_s=GRACE_S,
            places=places,
            stop_requested=lambda: echo() or stop(),
        )
    from pai_train.experiment.record import read

    return read(folder)


def _ray(composed: Composed, stop: Callable[[], bool]) -> Record:
    """Runs the workers on a Ray cluster, and again from the last checkpoint when one fails.

    Raises:
        Refused: This machine, of which the cluster is, has no room.
        LaunchError: There is no cluster, it has no room, or a worker failed once more than it may.
        Interrupted: A stop was asked for, and the chief has saved.
    """
    from pai_train.launch.ray_cluster import cluster
    from pai_train.launch.ray_gang import Asked, RayGang, check_room, gpus_of

    config, asked = composed.config, composed.config.cluster
    with cluster(asked.address, asked.workers, asked.start_timeout_s) as (ray, is_own):
        if stop():
            raise Interrupted("asked to stop before the workers were started", todo="the same command starts anew")
        gpus = gpus_of(ray, int(config.gpus), config.on_missing_gpu)
        wanted = Asked(asked.workers, asked.cpus, gpus, asked.start_timeout_s, asked.heartbeat_s)
        if is_own:
            check_room(ray, wanted)
        folder = run_folder.create(composed.run_dir)
        gang = RayGang(
            ray,
            wanted,
            composed.overrides,
            more={FOLDER: str(folder)},
            logs=folder,
            stop_requested=stop,
            expires_s=EXPIRES_S,
        )
        try:
            with _Echo(folder / WORKER_LOG.format(0)) as echo:
                supervise(
                    gang.attempt,
                    start_timeout_s=asked.start_timeout_s + 60,
                    restarts=asked.max_restarts,
                    grace_s=GRACE_S,
                    stop_requested=lambda: echo() or stop(),
                )
        finally:
            # Where no worker got a place, nothing happened that a folder would tell of.
            with suppress(OSError):
                folder.rmdir()
    from pai_train.experiment.record import read

    return read(folder)


def _free_ports(count: int) -> list[int]:
    """Returns ports of this machine's loopback that nobody uses."""
    with ExitStack() as stack:
        doors = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [door.getsockname()[1] for door in doors]


def _gpus(visible: str | None, gpus: int | str, rank: int) -> dict[str, str]:
    """Returns which GPUs a worker sees: each has `gpus` of its own, where there are any."""
    count = int(gpus)
    if not count:
        return {}
    # Empty, it hides all of them, which no worker may undo.
    ids = [str(number) for number in range(256)] if visible is None else visible.split(",")
    return {"CUDA_VISIBLE_DEVICES": ",".join(ids[rank * count : (rank + 1) * count])}


class _Echo:
    """Shows what a worker writes to its log, as it comes."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._at = 0

    def __call__(self) -> bool:
        """Shows what is new; returns false."""
        with suppress(FileNotFoundError), self._log.open("rb") as file:
            file.seek(self._at)
            text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._at += len(whole)
            lines = whole.decode(errors="replace").splitlines(keepends=True)
            sys.stderr.write("".join(line for line in lines if not line.startswith(READY)))
            sys.stderr.flush()
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: Any) -> None:
        self()
