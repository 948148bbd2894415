"""A composed configuration as plain dicts and lists, with what is open or cannot be resolved as faults."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from pai_train.errors import Fault
from pai_train.spec.secrets import is_secret_key

if TYPE_CHECKING:
    from collections.abc import Iterator


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
            reason = str(error).splitlines()[0].partition(" raised while resolving interpolation: ")
            faults.append(Fault(f"cannot be resolved: {reason[2].strip(chr(34)) or reason[0]}", where=below, got=got))
    return plain if isinstance(node, DictConfig) else list(plain.values())
