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
        Literal["local", "tf_config"],
        Doc(
            "local: this process, or `workers` processes on this machine; tf_config: the processes that the variable"
            " TF_CONFIG names, of which this is one."
        ),
    ] = "local"
    workers: Annotated[
        int, Ge(1), Le(256), Doc("local: processes that share the work, each with `gpus` of its own.")
    ] = 1
    start_timeout_s: Annotated[float, Gt(0), Doc("Seconds in which all workers must have come up.")] = 300.0
    max_restarts: Annotated[
        int, Ge(0), Doc("local: how often all workers start again, from the last checkpoint, when one fails.")
    ] = 3


def cluster_faults(config: JobConfig) -> Iterator[Fault]:
    """Checks the keys of `cluster` against each other."""
    cluster = config.cluster
    if cluster.name == "tf_config" and cluster.workers != 1:
        todo = "leave it out; or choose cluster=local to have workers started"
        yield Fault("TF_CONFIG says how many workers there are", where="cluster.workers", todo=todo)
    if cluster.workers == 1 and cluster.name != "tf_config":
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
