"""The end of a table, as PAI-TF, paiio and common_io name it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

MESSAGE = "No more data to read."


class OutOfRangeException(tf.errors.OutOfRangeError):  # type: ignore[misc]
    """No row is left, or a row behind the end was looked for; also a `tf.errors.OutOfRangeError`."""

    def __init__(self, message: str = MESSAGE) -> None:
        super().__init__(None, None, message)

    def __reduce__(self) -> tuple[Any, ...]:
        return (OutOfRangeException, (self.message,))
