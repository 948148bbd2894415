"""Every fault of a tree: each key by its type, then the keys against each other, as far as they are sound."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pai_train.spec import rules
from pai_train.spec.check import REQUIRED, check, split_key, value_at
from pai_train.spec.checkpoints import checkpoint_faults
from pai_train.spec.config import JobConfig
from pai_train.spec.expiry import expire_faults
from pai_train.spec.secrets import in_places, literals, masked
from pai_train.spec.staging import stage_faults
from pai_train.spec.training import training_faults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.errors import Fault

# What stands for a required key that is broken, while the others are checked against each other.
_STAND_INS: dict[str, Any] = {
    "inputs": {},
    "checkpointDir": "-",
    "storage": {"root": "-"},
    "tables": {"name": "iceberg", "root": "-"},
    "engine": {"name": "tf_data"},
}

# What stands for keys that are left out where only a training cannot do without them.
_LEFT_OUT: dict[str, Any] = {"inputs": {}, "checkpointDir": ""}
_FRUGAL = ("check", "stage", "expire")


def judge(
    tree: dict[str, Any],
    shown: dict[str, Any] | None = None,
    unset: Sequence[Fault] = (),
    *,
    complete: bool = True,
) -> tuple[JobConfig | None, list[Fault]]:
    """Checks a whole configuration; a fault about a secret takes the place of others at its key, which would show it.

    Args:
        tree: The values.
        shown: The values as faults show them, where they differ.
        unset: Faults of keys that are missing from the tree for a reason of their own.
        complete: Whether all that was asked for is in the tree, so that a missing key is a fault.

    Returns:
        The configuration, or None; and its faults, with the dotted key in `where`.
    """
    frugal = deepcopy(_LEFT_OUT) if tree.get("mode") in _FRUGAL else {}
    tree = {**frugal, **tree}
    left_out = {key for key, value in frugal.items() if tree[key] == value}
    unset = [fault for fault in unset if fault.where not in left_out]
    job, faults = check(JobConfig, tree, shown)
    missing = {fault.where: fault for fault in faults if fault.what == REQUIRED}
    reasons = {fault.where for fault in unset}
    found = [_with_wanted(fault, missing) for fault in unset if complete or fault.got is not None]
    found += [fault for fault in faults if fault.where not in reasons and (complete or fault.where not in missing)]
    broken = [str(fault.where) for fault in (*unset, *faults)]
    sound = job if job is not None else _sound(tree, broken)
    if sound is not None:
        # Which store these are for, nobody knows while an option is lost.
        silent = [*broken, *left_out, *(() if complete else (f"storage.{key}" for key in rules.OF_PROVIDERS))]
        asked = (
            *rules.faults(sound),
            *checkpoint_faults(sound),
            *stage_faults(sound),
            *expire_faults(sound),
            *training_faults(sound),
        )
        found += [fault for fault in asked if not any(_touch(str(fault.where), key) for key in silent)]
    found = [fault for fault in found if not _follows(fault, [*found, *unset])]
    return job, _with_secrets(found, tree, tree if shown is None else shown)


def remove(tree: dict[str, Any], key: str) -> None:
    """Takes a dotted key out of a tree, where it is there."""
    around, _, name = key.rpartition(".")
    node = value_at(tree, around) if around else tree
    if isinstance(node, dict):
        node.pop(name, None)


def _with_secrets(found: list[Fault], tree: dict[str, Any], shown: dict[str, Any]) -> list[Fault]:
    plain = list(literals(shown))
    plain += [one for one in in_places(tree) if one.key not in {other.key for other in plain}]
    others = [fault for fault in found if not any(_touch(str(fault.where), one.key) for one in plain)]
    return [*(one.fault() for one in plain), *(masked(fault, [one.value for one in plain]) for fault in others)]


def _with_wanted(fault: Fault, missing: dict[str | None, Fault]) -> Fault:
    same = missing.get(fault.where)
    return fault if same is None else replace(fault, wanted=same.wanted)


def _sound(tree: dict[str, Any], broken: Sequence[str]) -> JobConfig | None:
    """Returns the configuration without the broken keys."""
    job, rest = None, deepcopy(tree)
    doubtful = [key.partition("[")[0] for key in broken]
    while doubtful:
        before = deepcopy(rest)
        for key in doubtful:
            remove(rest, key)
        rest = {**deepcopy(_STAND_INS), **rest}
        if rest == before:
            # A key that cannot be told from others, such as a name with a dot: only its own fault is shown.
            return None
        job, faults = check(JobConfig, rest)
        # What cannot do without a broken key goes with it.
        doubtful = [str(fault.where).rpartition(".")[0] or str(fault.where) for fault in faults]
    return job


def _follows(fault: Fault, others: Sequence[Fault]) -> bool:
    """Tells whether a value only fails because it refers to one that does."""
    causes = [f"${{{other.where}" for other in others if other is not fault]
    return any(f"{cause}{end}" in (fault.got or "") for cause in causes for end in ("}", ".", "["))


def _touch(one: str, other: str) -> bool:
    """Tells whether one of two keys lies in the other."""
    first, second = split_key(one), split_key(other)
    length = min(len(first), len(second))
    return first[:length] == second[:length]
