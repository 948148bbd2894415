"""Which GPUs each process of a command sees; finds out without TensorFlow."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"
_ANSWER_S = 20


def present(environ: Mapping[str, str]) -> list[str]:
    """Lists the GPUs of this machine that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if VISIBLE in environ:
        named = [name.strip() for name in environ[VISIBLE].split(",")]
        # CUDA reads the list up to the first that cannot be.
        end = next((at for at, name in enumerate(named) if not name or name.startswith("-")), len(named))
        return named[:end]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        told = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=_ANSWER_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r"^GPU (\d+):", told, re.MULTILINE)


def dealt(wanted: Sequence[int], there: Sequence[str]) -> tuple[list[str], int]:
    """Deals GPUs out, each to one process.

    Args:
        wanted: How many each process asks for.
        there: The GPUs.

    Returns:
        CUDA_VISIBLE_DEVICES of each process, and how many GPUs are missing.
    """
    rest = list(there)
    given = []
    for count in wanted:
        given.append(",".join(rest[:count]))
        rest = rest[count:]
    return given, max(0, sum(wanted) - len(there))
