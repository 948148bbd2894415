"""The keys of `cluster`: in which processes the replicas run; and what these keys ask of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from pai_train.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pai_train.spec.config import JobConfig


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """In which processes the replicas run."""

    name: Annotated[
        Literal["local", "tf_config", "ray"],
        Doc(
            "local: this process, or `workers` processes on this machine; tf_config: the processes that the variable"
            " TF_CONFIG names, of which this is one; ray: `workers` processes on a Ray cluster."
        ),
    ] = "local"
    workers: Annotated[
        int, Ge(1), Le(256), Doc("local, ray: processes that share the work, each with `gpus` of its own.")
    ] = 1
    start_timeout_s: Annotated[float, Gt(0), Doc("Seconds in which all workers must have come up.")] = 300.0
    max_restarts: Annotated[
        int, Ge(0), Doc("local, ray: how often all workers start again, from the last checkpoint, when one fails.")
    ] = 3
    address: Annotated[
        str | None,
        Doc("ray: `host:port` of a running cluster's head, or auto for this machine's; null starts one for this run."),
    ] = None
    cpus: Annotated[float, Gt(0), Doc("ray: processors that the cluster reserves for each worker.")] = 1.0
    heartbeat_s: Annotated[
        float, Ge(1), Doc("ray: seconds without a sign of life after which a worker counts as lost.")
    ] = 30.0


def cluster_faults(config: JobConfig) -> Iterator[Fault]:
    """Checks the keys of `cluster` against each other."""
    cluster = config.cluster
    if cluster.name == "tf_config" and cluster.workers != 1:
        todo = "leave it out; or choose cluster=local to have workers started"
        yield Fault("TF_CONFIG says how many workers there are", where="cluster.workers", todo=todo)
    yield from _of_ray(cluster)
    if cluster.workers == 1 and cluster.name == "local":
        return
    if cluster.workers > config.engine.lanes:
        yield Fault(
            "there are more workers than lanes to share",
            where="cluster.workers",
            got=f"{cluster.workers} workers, engine.lanes={config.engine.lanes}",
            wanted="a lane for each worker",
            todo=f"set engine.lanes={cluster.workers}, which begins another order of rows",
        )
    if cluster.name != "tf_config" and not isinstance(config.gpus, int):
        todo = "set gpus to the number of GPUs of each worker"
        yield Fault("several workers cannot share a choice of GPUs", where="gpus", got=str(config.gpus), todo=todo)


def _of_ray(cluster: ClusterConfig) -> Iterator[Fault]:
    plain = ClusterConfig()
    for key in ("address", "cpus", "heartbeat_s"):
        if cluster.name != "ray" and getattr(cluster, key) != getattr(plain, key):
            todo = "leave it out, or choose cluster=ray"
            yield Fault("is a key of Ray's clusters", where=f"cluster.{key}", got=f"cluster={cluster.name}", todo=todo)
    if cluster.address is not None and "://" in cluster.address:
        yield Fault(
            "not an address of a cluster",
            where="cluster.address",
            got=cluster.address,
            wanted="host:port of its head, or auto",
            todo="start this command on one of the cluster's nodes",
        )
