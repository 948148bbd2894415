"""TF_CONFIG: the addresses of all workers and this one's place among them, as Kubernetes and others give it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pai_train.errors import LaunchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VARIABLE = "TF_CONFIG"

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:/\s\[\]]+):(\d{1,5})")
_FORM = '{"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Workers:
    """All workers, the chief first.

    Attributes:
        addresses: `host:port` of each, by rank.
        rank: This worker's number, from 0; worker 0 is the chief.
    """

    addresses: tuple[str, ...]
    rank: int

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self.addresses)

    def endpoint(self, rank: int) -> tuple[str, int]:
        """Returns host and port of a worker."""
        host, _, port = self.addresses[rank].rpartition(":")
        return host.strip("[]"), int(port)


def read(environ: Mapping[str, str]) -> Workers:
    """Returns the workers that TF_CONFIG names.

    A task `chief` is the chief, and the workers follow it; without one, worker 0 is.

    Raises:
        LaunchError: It is not set, cannot be read, or asks for parameter servers or an evaluator.
    """
    text = environ.get(VARIABLE)
    if not text:
        raise _fault("TF_CONFIG is not set", None)
    try:
        given = json.loads(text)
        cluster, task = given["cluster"], given["task"]
        chiefs, workers = list(cluster.get("chief", [])), list(cluster.get("worker", []))
        kind, index = str(task["type"]), int(task["index"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _fault("TF_CONFIG cannot be read", text) from error
    others = sorted(name for name in cluster if name not in ("chief", "worker") and cluster[name])
    if others or kind not in ("chief", "worker"):
        raise _fault(f"a training has no task {(others or [kind])[0]!r}", text)
    _check(chiefs, workers, text)
    own = chiefs if kind == "chief" else workers
    if not 0 <= index < len(own):
        raise _fault(f"TF_CONFIG names no {kind} {index}", text)
    return Workers((*chiefs, *workers), index + (len(chiefs) if kind == "worker" else 0))


def _check(chiefs: Sequence[Any], workers: Sequence[Any], text: str) -> None:
    addresses = [*chiefs, *workers]
    wrong = [address for address in addresses if not _is_address(address)]
    if wrong:
        raise _fault("an address in TF_CONFIG is not host:port", str(wrong[0]))
    if len(chiefs) > 1 or not addresses:
        raise _fault("TF_CONFIG names " + ("several chiefs" if chiefs else "no worker"), text)
    if len(set(addresses)) != len(addresses):
        raise _fault("TF_CONFIG names an address twice", text)


def _is_address(given: Any) -> bool:
    found = _ADDRESS.fullmatch(given) if isinstance(given, str) else None
    return found is not None and 0 < int(found[2]) < 2**16


def write(addresses: Sequence[str], rank: int) -> str:
    """Returns the TF_CONFIG of a worker."""
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": rank}})


def _fault(what: str, got: str | None) -> LaunchError:
    return LaunchError(
        what,
        where=f"the environment variable {VARIABLE}",
        got=got,
        wanted=_FORM,
        todo="let the scheduler set it, or choose cluster=local",
    )
