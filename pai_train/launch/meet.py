"""How workers find each other: all come to the chief's address, within a time, with the same configuration."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

from pai_train.errors import LaunchError
from pai_train.launch.frames import HEAD, VALUE, exactly, tune
from pai_train.launch.star import PATIENCE_S, Star

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pai_train.launch.tf_config import Workers

POLL_S = 0.1
_LONGEST = 2**20


def meet(
    workers: Workers,
    hello: Mapping[str, Any],
    timeout_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Star:
    """Waits for all workers at the chief's address, which is free again for TensorFlow's server afterwards.

    Args:
        workers: Where they are.
        hello: What this worker says of itself, of JSON types. `same` in it must be the same for all.
        timeout_s: Seconds in which all must have come.
        clock: Seconds, monotonic.
        sleep: Sleeps seconds.

    Raises:
        LaunchError: A worker did not come, or was started with another configuration.
    """
    deadline = clock() + timeout_s
    greeting = {**hello, "rank": workers.rank, "size": workers.size}
    if workers.rank == 0:
        return _host(workers, greeting, timeout_s, deadline, clock)
    return _visit(workers, greeting, timeout_s, deadline, clock, sleep)


def _host(
    workers: Workers, hello: Mapping[str, Any], timeout_s: float, deadline: float, clock: Callable[[], float]
) -> Star:
    _, port = workers.endpoint(0)
    peers: dict[int, socket.socket] = {}
    hellos: dict[int, Mapping[str, Any]] = {0: hello}
    try:
        with _listen(port, workers.addresses[0]) as door:
            while len(hellos) < workers.size:
                if clock() >= deadline:
                    missing = [rank for rank in range(workers.size) if rank not in hellos]
                    raise LaunchError(
                        f"{_named(missing)} did not come within {timeout_s:g} s",
                        got=f"{len(hellos)} of {workers.size} workers",
                        wanted=", ".join(f"worker {rank} at {workers.addresses[rank]}" for rank in missing),
                        todo="see the logs of these workers; cluster.start_timeout_s waits longer",
                    )
                found = _answer(door)
                if found is not None:
                    peer, said = found
                    rank = int(said["rank"])
                    if not 0 < rank < workers.size:
                        peer.close()
                        continue
                    if rank in peers:
                        # It was started again meanwhile; nobody is at the old connection's end.
                        peers[rank].close()
                    peers[rank], hellos[rank] = peer, said
        star = Star(0, workers.size, dict(sorted(peers.items())), [hellos[rank] for rank in range(workers.size)])
    except BaseException as error:
        Star(0, workers.size, peers, []).leave(error)
        raise
    try:
        _check(star.hellos)
        star.broadcast(star.hellos)
    except BaseException as error:
        star.leave(error)
        raise
    return star


def _visit(
    workers: Workers,
    hello: Mapping[str, Any],
    timeout_s: float,
    deadline: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Star:
    refusal = "nobody answers"
    while clock() < deadline:
        try:
            peer = socket.create_connection(workers.endpoint(0), timeout=PATIENCE_S)
        except OSError as error:
            refusal = error.strerror or str(error)
            sleep(POLL_S)
            continue
        tune(peer)
        star = Star(workers.rank, workers.size, {0: peer}, [])
        try:
            # The chief waits for the others as long as this worker for the chief, and then says who is missing.
            peer.settimeout(timeout_s + PATIENCE_S)
            star.send(0, VALUE, json.dumps(hello).encode())
            star.hellos = star.broadcast()
            peer.settimeout(None)
        except BaseException as error:
            star.leave(error)
            raise
        return star
    raise LaunchError(
        f"the chief did not answer within {timeout_s:g} s",
        where=workers.addresses[0],
        got=refusal,
        todo="see the log of worker 0; cluster.start_timeout_s waits longer",
    )


def _listen(port: int, address: str) -> socket.socket:
    # Its name may stand for an address of either kind, and of another one for each worker.
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        door = socket.create_server(("", port), family=family, backlog=512, dualstack_ipv6=both)
    except OSError as error:
        raise LaunchError(
            "the chief's port cannot be opened",
            where=address,
            got=error.strerror or str(error),
            todo="choose a port that is free on the chief's machine",
        ) from error
    door.settimeout(POLL_S)
    return door


def _answer(door: socket.socket) -> tuple[socket.socket, Mapping[str, Any]] | None:
    try:
        peer, _ = door.accept()
    except TimeoutError:
        return None
    tune(peer)
    peer.settimeout(PATIENCE_S)
    try:
        kind, length = HEAD.unpack(exactly(peer, HEAD.size))
        said = json.loads(exactly(peer, length)) if kind == VALUE and length < _LONGEST else None
    except (OSError, ValueError):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("rank"), int):
        # Somebody else who looks for open doors.
        peer.close()
        return None
    peer.settimeout(None)
    return peer, said


def _check(hellos: list[Mapping[str, Any]]) -> None:
    for key in ("size", "same"):
        values = [hello.get(key) for hello in hellos]
        other = next((rank for rank, value in enumerate(values) if value != values[0]), None)
        if other is not None:
            raise LaunchError(
                f"worker {other} was started with another configuration than worker 0",
                got=str(values[other]),
                wanted=str(values[0]),
                todo="start all workers with the same command, code and TF_CONFIG",
            )


def _named(ranks: list[int]) -> str:
    return ("worker " if len(ranks) == 1 else "workers ") + ", ".join(map(str, ranks))
