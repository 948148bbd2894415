"""What a training is asked to begin from: another run's state or another model's weights, found before a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pai_train.errors import Fault, PaiTrainError, did_you_mean
from pai_train.spec.checkpoints import resume_path, warm_start_of
from pai_train.storage import display, is_url, resolve

if TYPE_CHECKING:
    from pai_train.spec.config import JobConfig
    from pai_train.storage import Stores


@dataclass(frozen=True)
class Origins:
    """Checkpoints to begin from, as URLs.

    Attributes:
        resume: Whose state the run takes over; None for none.
        warm: Whose weights the model takes over; None for none.
    """

    resume: str | None = None
    warm: str | None = None


def look(config: JobConfig, stores: Stores) -> tuple[Origins, list[Fault]]:
    """Finds what the recipe names."""
    warm = warm_start_of(config)
    asked = {
        "train.resume": resume_path(config),
        "train.warm_start" if isinstance(config.train.warm_start, str) else "train.warm_start.from": (
            None if warm is None else warm.from_
        ),
    }
    found: list[str | None] = []
    faults = []
    for key, path in asked.items():
        try:
            found.append(None if path is None else _find(key, path, config.storage.root, stores))
        except PaiTrainError as error:
            faults.append(replace(error.fault, where=key, got=error.fault.got or path))
    return (Origins() if faults else Origins(*found)), faults


def _find(key: str, path: str, root: str, stores: Stores) -> str:
    """Returns the checkpoint's folder; a relative path is one below storage.root, or else below the working folder."""
    from pai_train.training.origin import find_checkpoint

    places = dict.fromkeys([resolve(root, path), *([] if is_url(path) else [resolve(".", path)])])
    for url in places:
        found = find_checkpoint(stores, url)
        if found is not None:
            return found
    raise PaiTrainError(
        "there is no checkpoint",
        got=path,
        wanted=f"a checkpoint, a run or a checkpointDir, at {' or '.join(display(url) for url in places)}",
        todo=did_you_mean(path, ["auto", "never"]) if key == "train.resume" and "/" not in path else None,
    )
