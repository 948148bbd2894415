"""What the layers of a model compute in: Keras's dtype policies, set for the building of one model alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from pai_train.errors import PaiTrainError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pai_train.training.step_plan import Precision


def build_as(build: Callable[[], Any], precision: Precision) -> Any:
    """Builds a model whose layers compute in a precision; variables are float32 in any.

    Raises:
        PaiTrainError: The last layer's output is not float32.
    """
    if precision == "float32":
        return build()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy(before)
    if (found := str(model.outputs[0].dtype)) != "float32":
        raise PaiTrainError(
            f"the last layer of the model gives {found}",
            where="train.precision",
            got=precision,
            wanted="float32: a loss of few bits teaches little",
            todo='give the last layer dtype="float32", or leave train.precision out',
        )
    return model
