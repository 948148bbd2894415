"""A composed configuration as plain dicts and lists, with what is open or cannot be resolved as faults."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from pai_train.errors import Fault, PaiTrainError
from pai_train.spec.secrets import is_secret_key

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_FOUND = re.compile(r"Environment variable '(.+)' not found")


def plain(config: DictConfig) -> tuple[dict[str, Any], list[Fault]]:
    """Resolves every value; a key that is `???` or cannot be resolved is left out and becomes a fault."""
    faults: list[Fault] = []
    return _plain(config, "", faults), faults


@contextmanager
def environment_kept() -> Iterator[None]:
    """Makes `${oc.env:NAME}` resolve to its own text, wherever it is referred to."""
    OmegaConf.register_new_resolver("oc.env", lambda *names: f"${{oc.env:{','.join(map(str, names))}}}", replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def _plain(node: Any, key: str, faults: list[Fault]) -> Any:
    """Resolves into dicts and lists; what is open or cannot be resolved is left out and becomes a fault."""
    if not isinstance(node, DictConfig | ListConfig):
        return node
    names = list(node) if isinstance(node, DictConfig) else range(len(node))
    plain: dict[str, Any] = {}
    for name in names:
        below = f"{key}[{name}]" if isinstance(node, ListConfig) else f"{key}.{name}".lstrip(".")
        if OmegaConf.is_missing(node, name):
            faults.append(Fault("is not set", where=below))
            continue
        try:
            plain[str(name)] = _plain(node[name], below, faults)
        except OmegaConfBaseException as error:
            raw = OmegaConf.to_container(node, resolve=False)
            got = None if is_secret_key(below) else str(raw[name])  # type: ignore[index]
            faults.append(_fault(error, below, got))
    return plain if isinstance(node, DictConfig) else list(plain.values())


def _fault(error: OmegaConfBaseException, key: str, got: str | None) -> Fault:
    """Returns the fault of a value that cannot be resolved; ours knows what to do, and so may a missing variable."""
    ours = _ours(error)
    if ours is not None:
        what = ours.what if ours.where in (None, key) else f"{ours.where}: {ours.what}"
        return replace(ours, what=what, where=key)
    reason = str(error).splitlines()[0].partition(" raised while resolving interpolation: ")
    text = reason[2].strip(chr(34)) or reason[0]
    variable = _NOT_FOUND.fullmatch(text)
    todo = f"set {variable[1]} in the environment, or give {key} a value" if variable else None
    return Fault(f"cannot be resolved: {text}", where=key, got=got, todo=todo)


def _ours(error: BaseException | None) -> Fault | None:
    while error is not None:
        if isinstance(error, PaiTrainError):
            return error.fault
        error = error.__cause__ or error.__context__
    return None
