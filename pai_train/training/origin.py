"""Checkpoints that a run begins from and that are not its own: found in any store, taken over under the run's name."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pai_train import storage
from pai_train.errors import CheckpointError
from pai_train.storage import Manifest, ObjectMissing, Store, Stores, display, join, resolve
from pai_train.training.checkpoints import FOLDER, Checkpoints
from pai_train.training.generations import RUN
from pai_train.training.published import STATE, check_sizes, fetch_state
from pai_train.training.retention import Retention
from pai_train.training.state import FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pai_train.training.contracts import TrainState

RATE = "optimizer/learning_rate"

_GENERATION = re.compile(r"g(\d{4,})-.+")


def find_checkpoint(stores: Stores, url: str) -> str | None:
    """Returns the folder of the checkpoint that a path stands for; None where there is none.

    Args:
        stores: How stores are reached.
        url: A checkpoint; the folder of a run in a checkpointDir, of which the newest sound one is meant; a
            checkpointDir, of its newest run that has one; or a run folder on this machine, of the run it tells of.

    Raises:
        CheckpointError: There are checkpoints, and none is sound; or something else was published there.
        StorageError: The store failed, or a file of the checkpoint itself is missing or of another size.
    """
    store = stores.open(url)
    try:
        manifest = storage.read_manifest(store, url)
    except storage.NotAManifest as error:
        raise _foreign(url, error.fault.got) from error
    if manifest is not None:
        check_sizes(_checked(manifest), {info.url: info.size for info in store.list(url)})
        return manifest.url
    folder = _newest_run(url, (info.url for info in store.list(url)))
    if folder is None:
        recorded = _recorded(store, url)
        return None if recorded is None or recorded == url else find_checkpoint(stores, recorded)
    latest = Checkpoints(store, folder, keep=Retention(1)).latest()
    return None if latest is None else latest.url


def take_over(stores: Stores, url: str, to: Path, run_id: str) -> TrainState:
    """Brings a checkpoint of another run into an empty local folder, verified, and returns its state under a new name.

    The tokens of that run's writes stay behind: this run writes rows of its own.

    Raises:
        CheckpointError: It is gone, or its state cannot be read.
        StorageError: A file is missing or is not what the manifest says.
    """
    return replace(fetch_weights(stores, url, to), run_id=run_id, tokens={})


def fetch_weights(stores: Stores, url: str, to: Path) -> TrainState:
    """Brings a checkpoint of another model into an empty local folder, verified, and returns its state.

    Raises:
        CheckpointError: It is gone, or its state cannot be read.
        StorageError: A file is missing or is not what the manifest says.
    """
    return fetch_state(stores.open(url), _manifest(stores, url), to)


def fetch_names(stores: Stores, url: str, to: Path) -> TrainState:
    """Brings that file of a checkpoint that tells its variables' names, dtypes and shapes, and returns its state.

    Raises:
        CheckpointError: It is gone, or its state cannot be read.
        StorageError: The file is missing or is not what the manifest says.
    """
    manifest = _manifest(stores, url)
    names = {name: entry for name, entry in manifest.files.items() if name == f"{FILES}.index"}
    return fetch_state(stores.open(url), replace(manifest, files=names), to)


def _manifest(stores: Stores, url: str) -> Manifest:
    manifest = storage.read_manifest(stores.open(url), url)
    if manifest is None:
        raise CheckpointError(
            "the checkpoint to begin from is gone",
            where=display(url),
            todo="restore it, name another one, or start anew with train.resume=never",
        )
    return _checked(manifest)


def keeping_rate(variables: Mapping[str, Any], read: Any) -> None:
    """Reads variables by `read`, and leaves the learning rate as the recipe has it."""
    rate = variables.get(RATE)
    value = None if rate is None else rate.numpy()
    read()
    if rate is not None:
        rate.assign(value)


def _checked(manifest: Manifest) -> Manifest:
    if STATE in manifest.extra:
        return manifest
    raise _foreign(manifest.url, ", ".join(list(manifest.files)[:3]))


def _foreign(url: str, got: str | None) -> CheckpointError:
    return CheckpointError(
        "what was published there is no checkpoint",
        where=display(url),
        got=got,
        wanted="a folder such as step-000000120, or the run that it belongs to",
    )


def _newest_run(url: str, found: Iterable[str]) -> str | None:
    """Returns the folder that holds checkpoints: `url`, or the one of the highest generation below it."""
    runs: dict[int, str] = {}
    for one in found:
        first, _, rest = one.removeprefix(f"{url}/").partition("/")
        if FOLDER.fullmatch(first):
            return url
        generation = _GENERATION.fullmatch(first)
        if generation is not None and FOLDER.fullmatch(rest.partition("/")[0]):
            runs[int(generation[1])] = join(url, first)
    return runs[max(runs)] if runs else None


def _recorded(store: Store, url: str) -> str | None:
    """Returns the checkpoint that the run.json of a run folder tells of."""
    try:
        record = json.loads(store.read(join(url, RUN)))
        return resolve(record["cwd"], record["checkpoint"])
    except (ObjectMissing, ValueError, KeyError, TypeError, AttributeError):
        return None
