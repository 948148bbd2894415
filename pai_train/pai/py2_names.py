"""Names of Python 2 and its modules that converted sources still call, since no converter knows them."""

from __future__ import annotations

import builtins
import string
import sys
from typing import Any

_STRING: dict[str, Any] = {
    "letters": string.ascii_letters, "lowercase": string.ascii_lowercase, "uppercase": string.ascii_uppercase,
    "maketrans": str.maketrans, "lower": str.lower, "upper": str.upper, "strip": str.strip, "split": str.split,
    "replace": str.replace, "find": str.find, "zfill": str.zfill, "atoi": int, "atol": int, "atof": float,
    "join": lambda words, sep=" ": sep.join(words),
}  # fmt: skip


def install() -> None:
    """Puts the names where they were, in this process from now on."""
    for name, value in _STRING.items():
        setattr(string, name, value)
    builtins.__dict__["cmp"] = lambda left, right: (left > right) - (left < right)
    # Text is UTF-8 already; scripts ask for it after `reload(sys)`, which had this function then.
    sys.__dict__["setdefaultencoding"] = lambda name: None
