"""The cluster of a command as processes of this machine: their flags, and TF_CONFIG."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pai_train.errors import Fault, did_you_mean
from pai_train.pai.contracts import ScriptProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pai_train.pai.contracts import JobName

_JOBS: dict[str, JobName] = {
    "ps": "ps",
    "chief": "chief",
    "master": "chief",
    "worker": "worker",
    "evaluator": "evaluator",
}
_ORDER: tuple[JobName, ...] = ("ps", "chief", "worker", "evaluator")
_SIZES = ("count", "cpu", "gpu", "memory")
_ALONE = ("chief", "evaluator")
_FORM = '{"ps":{"count":1},"worker":{"count":2,"gpu":100}}'


@dataclass(frozen=True)
class Part:
    """The processes of one job of a cluster.

    Attributes:
        count: How many they are.
        gpus: GPUs of each.
    """

    count: int
    gpus: int = 0


@dataclass(frozen=True)
class Cluster:
    """What -Dcluster asks for.

    Attributes:
        parts: By job, in the order in which processes are listed.
        sparse: Whether a worker's TF_CONFIG has only itself and the ps.
    """

    parts: Mapping[JobName, Part]
    sparse: bool = False

    @property
    def size(self) -> int:
        """How many processes it has."""
        return sum(part.count for part in self.parts.values())

    def members(self) -> list[tuple[JobName, int]]:
        """Lists the processes."""
        return [(job, index) for job, part in self.parts.items() for index in range(part.count)]

    def processes(
        self, hosts: Sequence[str], before: Sequence[str], after: Sequence[str], visible: Sequence[str]
    ) -> tuple[ScriptProcess, ...]:
        """Returns the processes.

        A script sees chief and workers as its workers, the chief first, as PAI's flags know no other; in TF_CONFIG
        worker 0 is the chief.

        Args:
            hosts: `host:port` of each of `members()`.
            before: Flags in front of those of the cluster.
            after: Flags behind them.
            visible: CUDA_VISIBLE_DEVICES of each of `members()`.
        """
        places = dict(zip(self.members(), hosts, strict=True))
        ps = [host for (job, _), host in places.items() if job == "ps"]
        workers = [host for (job, _), host in places.items() if job in ("chief", "worker")]
        evaluators = [host for (job, _), host in places.items() if job == "evaluator"]
        made = []
        for (job, index), devices in zip(self.members(), visible, strict=True):
            rank = workers.index(places[job, index]) if job in ("chief", "worker") else index
            name = "worker" if job == "chief" else job
            flags = [f"--job_name={name}", f"--task_index={rank}"]
            flags += [f"--ps_hosts={','.join(ps)}"] if ps else []
            flags += [f"--worker_hosts={','.join(workers)}"]
            config = self._tf_config(name, rank, ps, workers, evaluators)
            env = {"TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": devices}
            made.append(ScriptProcess(job, index, (*before, *flags, *after), env))
        return tuple(made)

    def _tf_config(
        self, job: str, rank: int, ps: Sequence[str], workers: Sequence[str], evaluators: Sequence[str]
    ) -> dict[str, Any]:
        task = {"type": job, "index": rank}
        if job == "worker":
            task = {"type": "chief", "index": 0} if rank == 0 else {"type": "worker", "index": rank - 1}
        cluster: dict[str, Any] = {"chief": list(workers[:1])}
        if workers[1:]:
            cluster["worker"] = list(workers[1:])
        if self.sparse and task["type"] == "worker":
            # A cluster's job may be a mapping of the tasks that are known.
            cluster = {"worker": {str(task["index"]): workers[rank]}}
        if ps:
            cluster["ps"] = list(ps)
        if evaluators and not (self.sparse and job == "worker"):
            cluster["evaluator"] = list(evaluators)
        return {"cluster": cluster, "task": task}


def read_cluster(text: str, where: str, *, sparse: bool = False) -> tuple[Cluster | None, list[Fault], list[str]]:
    """Reads -Dcluster.

    Returns:
        The cluster, what is wrong with it, and warnings.
    """
    try:
        tree = json.loads(text)
    except ValueError as error:
        todo = "keep the quotes from the shell: put the whole value in '…'" if '"' not in text else None
        return None, [Fault(f"not JSON: {error}", where, text, _FORM, todo)], []
    if not isinstance(tree, dict) or not tree:
        return None, [Fault("not a cluster", where, text, _FORM)], []
    faults: list[Fault] = []
    warnings: list[str] = []
    parts: dict[JobName, Part] = {}
    for name, sizes in tree.items():
        job = _JOBS.get(name.lower())
        if job is None:
            faults.append(Fault(f"a cluster has no {name!r}", where, todo=did_you_mean(name, _JOBS)))
        elif job in parts:
            faults.append(Fault("a cluster has one chief, which may be called master", where))
        else:
            part = _part(name, sizes, where, faults, warnings)
            if job in _ALONE and part.count > 1:
                faults.append(Fault(f"a cluster has one {name}", where, got=f"{part.count}"))
            parts[job] = part
    if not faults and not any(parts[job].count for job in ("chief", "worker") if job in parts):
        faults.append(Fault("a cluster needs a worker", where, text, _FORM))
    ordered = {job: parts[job] for job in _ORDER if job in parts and parts[job].count}
    return None if faults else Cluster(ordered, sparse), faults, warnings


def _part(name: str, sizes: Any, where: str, faults: list[Fault], warnings: list[str]) -> Part:
    if not isinstance(sizes, dict):
        faults.append(Fault(f"{name} of the cluster is not an object", where, json.dumps(sizes), '{"count":1}'))
        return Part(1)
    numbers: dict[str, int] = {}
    for size, value in sizes.items():
        if size.lower() not in _SIZES:
            todo = did_you_mean(size, _SIZES)
            warnings.append(f"{where}: {name} of the cluster has no {size!r}" + (f"; {todo}" if todo else ""))
        elif isinstance(value, bool) or not str(value).isdecimal():
            faults.append(Fault(f"{size} of {name} is not a number", where, json.dumps(value), "0 or more"))
        else:
            numbers[size.lower()] = int(value)
    cards = cards_of(numbers.get("gpu", 0), f"{where} {name}", warnings)
    return Part(numbers.get("count", 1), cards)


def cards_of(hundredths: int, where: str, warnings: list[str]) -> int:
    """Returns how many GPUs PAI's hundredths mean; 1 to 99 are taken as a count."""
    if 0 < hundredths < 100:
        warnings.append(f"{where}: {hundredths} is taken as {_gpus(hundredths)}; PAI counts in hundredths, 100 is one")
        return hundredths
    if hundredths % 100:
        warnings.append(f"{where}: {hundredths} hundredths are taken as {_gpus(-(-hundredths // 100))}")
    return -(-hundredths // 100)


def _gpus(count: int) -> str:
    return f"{count} GPU{'' if count == 1 else 's'}"
