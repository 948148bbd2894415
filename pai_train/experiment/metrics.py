"""metrics.jsonl: one line of JSON for every report of a run, appended as it happens."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Literal, Self

from pai_train.experiment.folder import METRICS
from pai_train.experiment.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

Kind = Literal["step", "epoch", "eval"]


class Metrics:
    """Appends to `<run>/metrics.jsonl`; each line is handed to the system at once, so that a kill loses none.

    Args:
        folder: The run folder.
        clock: Seconds since 1970, UTC.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = folder / METRICS
        self._clock = clock
        self._file = self.path.open("a", buffering=1, encoding="utf-8", errors="backslashreplace")

    def write(self, kind: Kind, *, epoch: int, step: int, values: Mapping[str, Any]) -> None:
        """Appends `{kind, epoch, step, time, values}`; non-finite values are written by name."""
        line = {"kind": kind, "epoch": epoch, "step": step, "time": self._clock(), "values": plain(values)}
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")

    def close(self) -> None:
        """Closes the file; a second time does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
