"""A gang on a Ray cluster: a place with the asked resources for each worker, an actor in it, a worker run by that."""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pai_train.errors import Fault, Interrupted, LaunchError, Refused
from pai_train.launch.ray_actor import Host, end
from pai_train.launch.ray_worker import RayWorker
from pai_train.launch.supervisor import RANK, READY, WORKER_LOG
from pai_train.launch.tf_config import VARIABLE, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

POLL_S = 0.2
WORD_S = 10.0
"""Seconds between two words of what is waited for."""
_SHOWN = ("CPU", "GPU")


@dataclass(frozen=True)
class Asked:
    """What is asked of a cluster.

    Attributes:
        workers: How many.
        cpus: Processors that each has.
        gpus: GPUs that each has.
        start_timeout_s: Seconds in which all must have their places.
        heartbeat_s: Seconds without a sign of life after which a worker counts as lost.
    """

    workers: int
    cpus: float
    gpus: int
    start_timeout_s: float
    heartbeat_s: float

    def bundle(self) -> dict[str, float]:
        """Returns the resources of one worker."""
        return {"CPU": self.cpus, **({"GPU": float(self.gpus)} if self.gpus else {})}


def gpus_of(ray: Any, gpus: int, on_missing_gpu: str) -> int:
    """Returns how many GPUs a worker asks for: none of a cluster without any, whose CPUs are to stand for them."""
    here = ray.cluster_resources().get("GPU", 0)
    return gpus if here or on_missing_gpu != "logical_cpu" else 0


def check_room(ray: Any, asked: Asked) -> None:
    """Refuses what a cluster without further nodes to come can never give, however long it is waited for.

    Raises:
        Refused: It has too little of something.
    """
    has = ray.cluster_resources()
    each = asked.bundle()
    if all(asked.workers * count <= has.get(name, 0) for name, count in each.items()):
        return
    fault = Fault(
        f"this machine has no room for {asked.workers} workers",
        where="cluster",
        got=", ".join(f"{name} {has.get(name, 0):g}" for name in each),
        wanted=f"{asked.workers} times {_told(each)}",
        todo="ask for less (cluster.workers, cluster.cpus, gpus), or join a cluster with cluster.address",
    )
    raise Refused([fault])


def _told(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {count:g}" for name, count in resources.items())


class RayGang:
    """Starts the workers of one training, once or again.

    Args:
        ray: The module, connected with a cluster.
        asked: How many workers, and what each needs.
        command: Arguments of `python -m pai_train`, the same for all.
        more: Variables for all workers, beside the environment that the cluster's nodes have.
        logs: Folder of `worker-<rank>.log`, and the chief's run folder.
        stop_requested: Asked continually while places are waited for.
        expires_s: Seconds after which a chief that begins on another node than the one before has its rights.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        ray: Any,
        asked: Asked,
        command: Sequence[str],
        *,
        more: Mapping[str, str],
        logs: Path,
        stop_requested: Callable[[], bool],
        expires_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ray = ray
        self._asked = asked
        self._command = list(command)
        self._more = dict(more)
        self._logs = logs
        self._stop_requested = stop_requested
        self._expires_s = expires_s
        self._clock = clock
        self._chief: str | None = None
        self._processes: list[tuple[str, int]] = []

    @contextmanager
    def attempt(self) -> Iterator[Sequence[RayWorker]]:
        """Starts all workers, each in its place; none of them is left when it is left.

        Raises:
            LaunchError: The cluster has no places for them in time, or a worker cannot be started in its own.
            Interrupted: A stop was requested before all were started.
        """
        from ray.util.placement_group import placement_group, remove_placement_group

        deadline = self._clock() + self._asked.start_timeout_s
        places = placement_group([self._asked.bundle()] * self._asked.workers, strategy="SPREAD")
        try:
            if not self._came([places.ready()], deadline, "room for"):
                raise self._no_places()
            with self._actors(places) as actors:
                yield self._started(actors, deadline)
        finally:
            with suppress(self._ray.exceptions.RayError):
                remove_placement_group(places)

    @contextmanager
    def _actors(self, places: Any) -> Iterator[list[Any]]:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        made: list[Any] = []
        host = self._ray.remote(max_restarts=0)(Host)
        try:
            for rank in range(self._asked.workers):
                place = PlacementGroupSchedulingStrategy(places, placement_group_bundle_index=rank)
                how = {"num_cpus": self._asked.cpus, "num_gpus": self._asked.gpus, "scheduling_strategy": place}
                made.append(host.options(**how).remote())
            yield made
        finally:
            # Whatever happens, interrupts included, nothing that was started stays: a worker ends with its actor.
            self._end(made)

    def _end(self, actors: Sequence[Any]) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ended = [actor.kill.remote() for actor in actors]
        silent = self._ray.wait(ended, num_returns=len(ended), timeout=self._asked.heartbeat_s)[1] if ended else []
        # Ray asks an actor to end, which one that is frozen does not hear: it would keep its place, and its worker run.
        orders = []
        for (node, pid), call in zip(self._processes, ended, strict=False):
            if call in silent:
                there = NodeAffinitySchedulingStrategy(node, soft=False)
                orders.append(
                    self._ray.remote(num_cpus=0, max_retries=0)(end).options(scheduling_strategy=there).remote(pid)
                )
        if orders:
            self._ray.wait(orders, num_returns=len(orders), timeout=self._asked.heartbeat_s)
        for actor in actors:
            self._ray.kill(actor)
        self._processes = []

    def _started(self, actors: Sequence[Any], deadline: float) -> list[RayWorker]:
        found = self._all([actor.place.remote() for actor in actors], deadline, "tell where they are")
        self._processes = [(node, pid) for node, pid, _ in found]
        chief, addresses = found[0][0], [address for _, _, address in found]
        if self._chief not in (None, chief):
            self._pause(self._expires_s)
        self._chief = chief
        orders = []
        for rank, actor in enumerate(actors):
            names = {RANK: str(rank), VARIABLE: write(addresses, rank)}
            folder = str(self._logs) if rank == 0 else None
            orders.append(actor.start.remote(self._command, {**self._more, **names}, os.getcwd(), folder))
        # The others may have waited for a chief that moved.
        deadline = self._clock() + self._asked.start_timeout_s
        for rank, why in enumerate(self._all(orders, deadline, "start")):
            if why is not None:
                todo = "give every node the same folders, as a shared file system does; hydra.run.dir names the latter"
                raise LaunchError(f"worker {rank} cannot be started", where="cluster", got=why, todo=todo)
        return [
            RayWorker(
                self._ray,
                actor,
                self._logs / WORKER_LOG.format(rank),
                ready=READY if len(actors) > 1 else None,
                heartbeat_s=self._asked.heartbeat_s,
                clock=self._clock,
            )
            for rank, actor in enumerate(actors)
        ]

    def _all(self, refs: list[Any], deadline: float, what: str) -> list[Any]:
        if not self._came(refs, deadline, "a sign of life of"):
            raise LaunchError(
                f"{len(refs)} workers did not {what} within {self._asked.start_timeout_s:g} s",
                where="cluster",
                got=self._resources(),
                todo="see Ray's logs of their nodes; cluster.start_timeout_s waits longer",
            )
        try:
            return list(self._ray.get(refs))
        except self._ray.exceptions.RayError as error:
            text = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise LaunchError(
                "a worker's actor could not be started",
                where="cluster",
                got="\n".join(text[-3:]) or type(error).__name__,
                todo="install the same pai_train on every node",
            ) from error

    def _came(self, refs: list[Any], deadline: float, what: str) -> bool:
        """Waits until all are there, and says after a while for what; false when they are not in time."""
        say = self._clock() + WORD_S
        while self._ray.wait(refs, num_returns=len(refs), timeout=POLL_S)[1]:
            self._check_stop()
            now = self._clock()
            if now >= deadline:
                return False
            if now >= say:
                left = deadline - now
                logger.warning(
                    "waiting for %s %d workers, %.0f s more: %s", what, self._asked.workers, left, self._resources()
                )
                say = now + WORD_S
        return True

    def _pause(self, seconds: float) -> None:
        end = self._clock() + seconds
        while self._clock() < end:
            self._check_stop()
            time.sleep(POLL_S)

    def _check_stop(self) -> None:
        if self._stop_requested():
            raise Interrupted("asked to stop while the workers were started", todo="the same command goes on")

    def _no_places(self) -> LaunchError:
        return LaunchError(
            f"the Ray cluster had no room for {self._asked.workers} workers within {self._asked.start_timeout_s:g} s",
            where="cluster",
            got=self._resources(),
            wanted=f"{self._asked.workers} times {_told(self._asked.bundle())}, each on one node",
            todo="ask for less (cluster.workers, cluster.cpus, gpus), add nodes, or wait longer with"
            " cluster.start_timeout_s",
        )

    def _resources(self) -> str:
        has, free = self._ray.cluster_resources(), self._ray.available_resources()
        nodes = sum(bool(node["Alive"]) for node in self._ray.nodes())
        told = [f"{name} {has.get(name, 0):g}, {free.get(name, 0):g} of them free" for name in _SHOWN]
        return f"the cluster has {nodes} node{'s' if nodes > 1 else ''}; {'; '.join(told)}"
