"""A checkpoint as it was published: whether its files are there, and bringing them here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pai_train import storage
from pai_train.errors import StorageError
from pai_train.storage import display, join
from pai_train.training.contracts import TrainState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pai_train.storage import Manifest, Store

STATE = "state"
"""What a manifest keeps the state as."""


def fetch_state(store: Store, manifest: Manifest, to: Path) -> TrainState:
    """Brings a checkpoint's files into a local folder, verified by size and SHA-256, and returns its state.

    Raises:
        CheckpointError: The state cannot be read.
        StorageError: A file is missing or is not what the manifest says.
    """
    to.mkdir(parents=True, exist_ok=True)
    state = TrainState.from_json(manifest.extra.get(STATE, {}))
    storage.fetch(store, manifest, to)
    return state


def check_sizes(manifest: Manifest, sizes: Mapping[str, int]) -> None:
    """Looks whether the files of a checkpoint are there, by their sizes.

    Args:
        manifest: What was published.
        sizes: Of all objects there, by URL.

    Raises:
        StorageError: A file is missing or of another size.
    """
    for name, entry in manifest.files.items():
        url = join(manifest.url, name)
        if sizes.get(url) != entry.size:
            raise StorageError(
                "a file of the checkpoint is not the one that was published",
                where=display(url),
                got="no such object" if url not in sizes else f"{sizes[url]} bytes",
                wanted=f"{entry.size} bytes",
            )
