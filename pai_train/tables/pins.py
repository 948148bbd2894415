"""What an unfinished run holds on to in a table: the snapshots that it reads, and the writes that it has begun.

A pin is the object `<table>/pins/<run_id>.json`. A run writes it when it begins to read and removes it when it is
finished; a run that is killed leaves it, and so finds its snapshot again when it goes on. It cannot leak for ever: it
carries the time at which it ends, PIN_DAYS after it was last written. A run that lives writes it anew every hour; one
that is interrupted for longer than PIN_DAYS may find its snapshot gone, which resuming then says.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pai_train.errors import TableError
from pai_train.storage import ObjectMissing, join

if TYPE_CHECKING:
    from pai_train.storage import Store

PIN_DAYS = 30

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Pin:
    """What one run holds on to.

    Attributes:
        run_id: The run.
        until: When the pin ends, in seconds since 1970.
        snapshots: Ids of the snapshots that it reads.
        tokens: Names of the writes that it has begun: staged files of theirs, and the snapshot that one has published,
            by which a repeated commit is recognised.
    """

    run_id: str
    until: float
    snapshots: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()


def write_pin(store: Store, location: str, pin: Pin) -> None:
    """Puts or replaces the pin of a run.

    Args:
        store: Where the table lies.
        location: The table's folder.
        pin: What is held.

    Raises:
        TableError: The run's id cannot name an object.
    """
    store.put(_url(location, pin.run_id), json.dumps(asdict(pin), indent=1).encode())


def remove_pin(store: Store, location: str, run_id: str) -> None:
    """Removes the pin of a run; a missing one is fine."""
    store.delete(_url(location, run_id))


def read_pins(store: Store, location: str, now: float) -> list[Pin]:
    """Returns the pins that have not ended.

    Raises:
        TableError: A pin cannot be read; then nobody knows what it holds.
    """
    pins = []
    for info in store.list(join(location, "pins")):
        try:
            value: dict[str, Any] = json.loads(store.read(info.url))
            pin = Pin(
                str(value["run_id"]),
                float(value["until"]),
                tuple(map(str, value["snapshots"])),
                tuple(map(str, value["tokens"])),
            )
        except ObjectMissing:
            # Its run has just finished.
            continue
        except (ValueError, KeyError, TypeError) as error:
            raise TableError(
                "the pin of a run cannot be read",
                where=info.url,
                got=repr(error),
                todo="delete it when that run is over",
            ) from error
        if pin.until > now:
            pins.append(pin)
    return pins


def _url(location: str, run_id: str) -> str:
    if _NAME.fullmatch(run_id) is None:
        raise TableError("the id of a run names an object", got=repr(run_id))
    return join(location, "pins", f"{run_id}.json")
