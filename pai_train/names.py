"""Names of inputs and outputs as files and stores take them."""

from __future__ import annotations

import hashlib
import re

_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")


def token(run_id: str, name: str) -> str:
    """Names a run's write into an output, by letters that every store takes."""
    return f"{run_id}-{plain_name(name)}"


def plain_name(name: str) -> str:
    """Returns an input's or output's name as files and stores take it."""
    return name if _PLAIN.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()[:16]
