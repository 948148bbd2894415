"""Names of variables that are unique in a model and the same in every process that builds it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Keras numbers unnamed layers per process: the second model of a notebook starts at dense_2.
_NUMBER = re.compile(r"(_\d+)+$")


class _Scope:
    """Hands out names below one parent, numbered anew in the order of their first use."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}
        self.known: dict[str, tuple[str, _Scope]] = {}

    def fresh(self, name: str) -> str:
        base = _NUMBER.sub("", name) or name
        count = self.used.get(base, 0)
        self.used[base] = count + 1
        return f"{base}_{count}" if count else base

    def folder(self, name: str) -> tuple[str, _Scope]:
        if name not in self.known:
            self.known[name] = (self.fresh(name), _Scope())
        return self.known[name]


def model_names(paths: Sequence[str]) -> list[str]:
    """Returns a unique name per variable path, with numbers that depend on this model alone.

    Args:
        paths: `variable.path` of the model's variables, in the model's order.
    """
    root = _Scope()
    names = []
    for path in paths:
        *folders, leaf = path.split("/")
        parts, scope = [], root
        for folder in folders:
            part, scope = scope.folder(folder)
            parts.append(part)
        names.append("/".join([*parts, scope.fresh(leaf)]))
    return names


def optimizer_names(paths: Sequence[str], owners: Sequence[tuple[str, str]]) -> list[str]:
    """Returns a unique name per optimizer variable: `momentum/<variable>` for a slot, else its own.

    Args:
        paths: `variable.path` of the optimizer's variables, such as `adam/dense_2_kernel_momentum`.
        owners: Path and name of each trainable variable.
    """
    prefixes = sorted(((path.replace("/", "_") + "_", name) for path, name in owners), key=lambda owner: -len(owner[0]))
    used: dict[str, int] = {}
    names = []
    for path in paths:
        own = path.split("/", 1)[-1]
        found = next(((prefix, name) for prefix, name in prefixes if own.startswith(prefix)), None)
        base = f"{own[len(found[0]) :]}/{found[1]}" if found else own
        count = used.get(base, 0)
        used[base] = count + 1
        names.append(f"{base}#{count}" if count else base)
    return names
