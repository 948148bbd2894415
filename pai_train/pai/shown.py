"""Flags and values of a command as they may be shown: without the secrets that are among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pai_train.redact import MASK, is_secret_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def masked(flags: Sequence[str]) -> list[str]:
    """Returns flags without the values of those whose names say that they are secret."""
    shown: list[str] = []
    hides = False
    for flag in flags:
        name, equals, _ = flag.partition("=")
        secret = flag.startswith("-") and is_secret_name(name.lstrip("-"))
        if hides and not flag.startswith("-"):
            shown.append(MASK)
        else:
            shown.append(f"{name}={MASK}" if secret and equals else flag)
        hides = secret and not equals
    return shown


def masked_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """Returns the settings of an environment without the secret ones' values."""
    return {name: MASK if is_secret_name(name) and value else value for name, value in settings.items()}
