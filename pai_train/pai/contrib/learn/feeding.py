"""What estimators of `tf.contrib.learn` read: an input function, or rows in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pai_train.pai.estimator.inputs import numpy_input_fn

if TYPE_CHECKING:
    from collections.abc import Callable


def fed(
    x: Any, y: Any, input_fn: Callable[..., Any] | None, batch_size: int | None, *, train: bool
) -> Callable[..., Any]:
    """Returns an input function.

    Args:
        x: Features in memory, an array or a dict of arrays of one length.
        y: Their labels.
        input_fn: In the place of both.
        batch_size: Rows of a batch of x; all of them if none.
        train: Whether rows of x come again and again, in another order each time; else once, as they are.

    Raises:
        ValueError: Both are given, or neither is.
    """
    if input_fn is not None:
        if x is not None or y is not None or batch_size is not None:
            raise ValueError("wanted input_fn, or x with y and batch_size, got both")
        return input_fn
    if x is None:
        raise ValueError("wanted x and y, or input_fn")
    rows = len(next(iter(x.values()))) if isinstance(x, dict) else len(np.asarray(x))
    return numpy_input_fn(x, y, batch_size or rows, None if train else 1, shuffle=train)
