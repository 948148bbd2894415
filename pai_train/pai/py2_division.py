"""Python 2's division in converted sources: `a / b` becomes a call that rounds whole numbers down, as it did there."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

NAME, NAME_IN_PLACE = "py2_div", "py2_idiv"


def install() -> None:
    """Puts the functions that converted sources call where every module finds them."""
    builtins.__dict__.update({NAME: divided, NAME_IN_PLACE: divided_in_place})


def divided(left: Any, right: Any) -> Any:
    """Returns `left / right` as Python 2 has it: whole numbers, arrays and tensors of them are rounded down."""
    return left // right if _whole(left) and _whole(right) else left / right


def divided_in_place(left: Any, right: Any) -> Any:
    """Does `left /= right` as Python 2 has it, and returns the new left side."""
    if _whole(left) and _whole(right):
        left //= right
    else:
        left /= right
    return left


def _whole(value: Any) -> bool:
    if isinstance(value, int | np.integer):
        return True
    kind = getattr(value, "dtype", None)
    if kind is None:
        return False
    if isinstance(kind, np.dtype):
        return kind.kind in "iub"
    # A tensor or variable of TensorFlow: version 1 divided whole ones so under Python 2.
    return bool(getattr(kind, "is_integer", False))
