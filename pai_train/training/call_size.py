"""How many steps one call into TensorFlow runs."""

from __future__ import annotations

SUPERBATCH_BYTES = 32 * 2**20
"""Bytes of the images of a superbatch, unless one batch alone takes more."""


def auto_steps(parameters: int, batch_size: int, image_bytes: int = 0) -> int:
    """Returns how many steps one call into TensorFlow should run for `train.steps_per_call: auto`.

    Enough that a call's fixed cost vanishes beside its work, few enough that it stays short and its rows small.

    Args:
        parameters: Trainable parameters of the model.
        batch_size: Rows of a global batch.
        image_bytes: Bytes of a row's images.
    """
    # About a tenth of a second on two cores, where a step costs as much as some million products whatever its size.
    by_work = 2_000_000_000 // (parameters * batch_size + 5_000_000)
    by_rows = 65_536 // batch_size
    # What is evaluated comes in batches of 256 rows at least.
    by_bytes = SUPERBATCH_BYTES // (max(batch_size, 256) * max(1, image_bytes))
    return max(1, min(256, by_work, by_rows, by_bytes))
