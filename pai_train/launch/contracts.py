"""What a gang's supervisor asks of a worker, wherever that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pai_train.errors import LaunchError


class Worker(Protocol):
    """A worker under way: a `Child`, or what tells of one on another machine."""

    def poll(self) -> int | None:
        """Returns the exit code, negative for a signal or a loss, or None while it runs."""
        ...

    def is_ready(self) -> bool:
        """Returns whether it has said that it is ready."""
        ...

    def terminate(self) -> None:
        """Asks it to stop, if it still runs."""
        ...

    def end_by(self, deadline: float) -> int:
        """Waits for its end until `deadline` on its clock, then kills it; returns the exit code."""
        ...

    def ending(self, code: int) -> str:
        """Returns how it ended, in words."""
        ...

    def error(self, what: str) -> LaunchError:
        """Returns an error that carries the end of its log."""
        ...
