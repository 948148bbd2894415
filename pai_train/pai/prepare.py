"""From a checked command to a script that is ready to run: fetched, unpacked, its processes with their ports."""

from __future__ import annotations

import os
import re
import shutil
import socket
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pai_train.errors import PaiTrainError, StorageError
from pai_train.pai.contracts import ScriptJob, ScriptProcess
from pai_train.pai.fetch import RUNS, environment, fetch_script, look_at, read_hyper_parameters
from pai_train.pai.gpus import VISIBLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.pai.command import Command

HOST = "127.0.0.1"


def processes(command: Command, hyper: Sequence[str], ports: Sequence[int]) -> tuple[ScriptProcess, ...]:
    """Returns the processes of a command.

    Args:
        command: The command.
        hyper: Flags of its file of hyper-parameters.
        ports: One for each process of its cluster; nothing without one.
    """
    after = (*hyper, *command.words)
    if command.cluster is None:
        env = {VISIBLE: command.visible[0]} if command.visible else {}
        return (ScriptProcess("", 0, (*command.flags, *after), env),)
    hosts = [f"{HOST}:{port}" for port in ports]
    return command.cluster.processes(hosts, command.flags, after, command.visible)


def prepare(command: Command, *, py2: bool = False) -> ScriptJob:
    """Fetches what a command names and makes its run folder.

    Raises:
        PaiTrainError: Something is not there, cannot be read, or may not be unpacked, or the store of a bucket cannot
            be reached; the run folder is gone again.
    """
    run_dir = make_run_dir(command.values.get("jobName"))
    try:
        with environment(command.settings):
            hyper = read_hyper_parameters(command.hyper_parameters) if command.hyper_parameters else ()
            used = command.settings.get("PAI_TRAIN_PROJECT")
            entry, folder = fetch_script(command.script, used, run_dir / "code")
            look_at([*command.buckets, *filter(None, [command.checkpoints])])
    except PaiTrainError:
        shutil.rmtree(run_dir, ignore_errors=True)
        raise
    ports = free_ports(0 if command.cluster is None else command.cluster.size)
    return ScriptJob(
        entry=entry,
        folder=folder,
        processes=processes(command, hyper, ports),
        tables=command.tables,
        outputs=command.outputs,
        statements=command.statements,
        run_dir=run_dir,
        settings=command.settings,
        py2=py2,
    )


def make_run_dir(name: str | None) -> Path:
    """Makes a folder of its own for a run, `runs/NAME/<time>` below the working folder.

    Raises:
        StorageError: It cannot be made.
    """
    plain = re.sub(r"[^\w.-]+", "-", name or "").strip("-.") or "pai"
    folder = Path(os.getcwd()) / RUNS / plain / f"{datetime.now():%Y%m%d-%H%M%S-%f}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        todo = "start in a folder that may be written"
        raise StorageError("the run folder cannot be made", where=str(folder), got=str(error), todo=todo) from None
    return folder


def free_ports(count: int) -> list[int]:
    """Returns ports that nobody listens at now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
