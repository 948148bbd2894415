"""A Ray cluster: one that runs already, or one of this machine that is started and stopped with the run."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pai_train.errors import Interrupted, LaunchError
from pai_train.launch.native import native_stderr
from pai_train.storage import Scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER_S = 10.0
"""Seconds that a running cluster's head has to take a connection."""
STORE_BYTES = 100 * 2**20
"""Of the memory that actors share; what they tell is small."""


def installed() -> bool:
    """Returns whether Ray is there; does not import it."""
    return find_spec("ray") is not None


@contextmanager
def cluster(address: str | None, cpus: int, timeout_s: float) -> Iterator[tuple[Any, bool]]:
    """Connects this process with a cluster; a connection that is there already is used.

    Gives the module `ray`, and whether the cluster was started here: such a one gets no further nodes.

    Args:
        address: `host:port` of its head, or 'auto' for the one of this machine; None starts one.
        cpus: How many CPUs one that is started has at least.
        timeout_s: Seconds in which the head must answer.

    Raises:
        LaunchError: There is no cluster, or it cannot be started.
        Interrupted: A SIGTERM came meanwhile.
    """
    # Unset, it sends where and how Ray is used to Ray's makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield ray, False
        return
    _check_reached(address, min(timeout_s, ANSWER_S))
    how: dict[str, Any] = {"address": address} if address else _started(cpus)
    folder = None if address else Scratch()
    at = None if folder is None else str(folder.path)
    try:
        with _signals_kept(), native_stderr(lambda text: None):
            try:
                ray.init(
                    log_to_driver=False,
                    logging_level="ERROR",
                    _temp_dir=at,
                    **how,
                )
            # Ray says in many types of errors that nobody answers, or that a process of its own ended.
            except Exception as error:
                raise _fault(address, error) from error
            # Ray's handler of SIGTERM, until ours is back.
            except SystemExit as error:
                raise Interrupted("asked to stop while Ray was started", todo="the same command starts anew") from error
        try:
            yield ray, address is None
        finally:
            with _signals_kept():
                ray.shutdown()
    finally:
        if folder is not None:
            folder.close()


def _check_reached(address: str | None, timeout_s: float) -> None:
    """Raises a LaunchError when nobody answers, which Ray finds out in minutes only."""
    host, colon, port = (address or "").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout_s).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _fault(address, error) from error


def _started(cpus: int) -> dict[str, Any]:
    return {
        "address": "local",
        # Workers that are more than the machine's processors share these.
        "num_cpus": max(cpus, os.cpu_count() or 1),
        "object_store_memory": STORE_BYTES,
        "include_dashboard": False,
    }


def _fault(address: str | None, error: Exception) -> LaunchError:
    text = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if address is None:
        todo = "where it timed out the machine was too busy: start again, or join a cluster with cluster.address"
        return LaunchError("Ray could not be started on this machine", where="cluster", got=text, todo=todo)
    todo = "give host:port of its head, and run this command on one of its nodes; or leave it out for a local one"
    if "AuthenticationError" in _causes(error):
        # Ray shows its token by itself to the cluster that `auto` finds, and to no other.
        text, todo = "it asks for a token", "set RAY_AUTH_MODE=token, with the cluster's token in ~/.ray/auth_token"
    what = "the Ray cluster could not be joined"
    return LaunchError(what, where="cluster.address", got=f"{address}: {text}", todo=todo)


def _causes(error: BaseException) -> str:
    """Returns the types and texts of an error and of what caused it."""
    cause = error.__cause__ or error.__context__
    return f"{type(error).__name__}: {error}\n{_causes(cause) if cause is not None else ''}"


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Puts this process's handlers back, which Ray replaces by those of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
