"""What weighs a row's loss: its class, and a column of the recipe's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pai_train.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pai_train.models.contracts import ClassValue


def class_weights(
    asked: Literal["balanced"] | Mapping[str, float] | None,
    classes: Sequence[ClassValue],
    count: Callable[[], Sequence[int]],
) -> tuple[float, ...] | None:
    """Returns the weight of each class, in the order of the classes; None where all weigh 1.

    `balanced` gives rows / (classes * rows of the class), as scikit-learn does: the rows' mean weight is 1.

    Args:
        asked: The weights by class as it is written in a recipe, or `balanced`.
        classes: The class values.
        count: Counts the training rows of each class; called for `balanced` alone.

    Raises:
        DataError: A weight is for no class, or a class to balance has no row.
    """
    if asked is None:
        return None
    names = [written(value) for value in classes]
    if asked == "balanced":
        counts = list(count())
        empty = [name for name, rows in zip(names, counts, strict=True) if not rows]
        if empty:
            raise DataError(
                "a class without rows cannot be balanced",
                where="train.class_weight",
                got=", ".join(empty),
                todo="leave it out of label.classes, or give the weights by class",
            )
        return tuple(sum(counts) / (len(counts) * rows) for rows in counts)
    given = {name if name in names else name.lower(): weight for name, weight in asked.items()}
    for name in given:
        if name not in names:
            raise DataError(
                f"no class {name!r}",
                where="train.class_weight",
                wanted=", ".join(names),
                todo=did_you_mean(name, names),
            )
    return tuple(float(given.get(name, 1.0)) for name in names)


def written(value: ClassValue) -> str:
    """Returns a class as the key of a mapping in a recipe."""
    return value if isinstance(value, str) else json.dumps(value)


def refuse_negative(column: str, values: Any) -> DataError:
    """Returns the error for a column of weights of which some are below 0."""
    found = np.asarray(values)
    return DataError(
        f"the weights in column {column!r} hold values below 0",
        where="inputs.train.weight",
        got=f"{int((found < 0).sum())} of {found.size} rows looked at, the least {found.min():g}",
        wanted="0 or more: 0 leaves a row out of the loss, 2 counts it twice",
    )
