"""Exclusive create: whose object is there when an answer was lost, and whether a store has exclusive create at all."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from pai_train.errors import StorageError
from pai_train.storage import urls
from pai_train.storage.errors import ObjectChanged, ObjectExists, ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Callable

    from pai_train.storage.store import Store

    Create = Callable[[str, bytes], None]


def create_or_recognise(store: Store, create: Create, url: str, data: bytes) -> None:
    """Creates an object, and takes one of exactly this content for its own.

    Both this room and a provider's client repeat a request whose answer was lost, and then find their own object.

    Raises:
        ObjectExists: There is such an object, of other content.
    """
    try:
        create(url, data)
    except ObjectExists as exists:
        if not _holds(store, url, data):
            raise exists from exists.__cause__


def tries_exclusive(store: Store, create: Create, folder_url: str) -> bool:
    """Returns whether a second create of one object is refused; the object is deleted again, whatever happens."""
    probe = urls.join(folder_url, f".pai_train-probe-{secrets.token_hex(8)}")
    try:
        with suppress(ObjectExists):  # repeated after a lost answer it finds itself
            create(probe, b"1")
        is_refused = _is_refused(create, probe)
    except BaseException:
        with suppress(StorageError):  # the first error says more
            store.delete(probe)
        raise
    store.delete(probe)
    return is_refused


def _is_refused(create: Create, url: str) -> bool:
    try:
        create(url, b"2")
    except ObjectExists:
        return True
    return False


def _holds(store: Store, url: str, data: bytes) -> bool:
    try:
        return store.read(url, 0, len(data) + 1) == data
    except (ObjectMissing, ObjectChanged):
        return False
