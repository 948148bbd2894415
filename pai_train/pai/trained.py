"""How an evaluator hears that the other processes of its cluster are done, and says that it evaluates a last time."""

from __future__ import annotations

import os
import time
from pathlib import Path

VARIABLE = "PAI_TRAIN_TRAINED"
"""Names a file that is there when training is over."""
_LOOKS_EVERY_S = 0.5


def heard(trained: Path) -> Path:
    """Returns the file that an evaluator makes when it has heard."""
    return trained.with_name(f"{trained.name}-heard")


def wait(seconds: float) -> bool:
    """Waits, at most until training is over; returns whether it is.

    Where nobody tells, as outside of a cluster that we started, it is never over.
    """
    told = os.environ.get(VARIABLE)
    until = time.monotonic() + seconds
    while True:
        if told and os.path.exists(told):
            heard(Path(told)).touch()
            return True
        left = until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, _LOOKS_EVERY_S) if told else left)
