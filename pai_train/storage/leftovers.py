"""What processes that died left half written, where a store keeps such things as files of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pai_train.storage.errors import mapped

if TYPE_CHECKING:
    from pai_train.storage.store import Store


def discard_unfinished(store: Store, folder_url: str) -> None:
    """Removes from a folder what no living process is writing any more and no reader has ever seen.

    Object stores have nothing of the kind: the parts of an upload that was cut off are theirs to forget.

    Raises:
        StorageError: It cannot be removed.
    """
    discard = getattr(store.filesystem, "discard_unfinished", None)
    if discard is not None:
        with mapped(folder_url):
            discard(store.path(folder_url))
