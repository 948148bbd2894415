"""A layer's scope and variables, as all layers of contrib name and collect them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def layer_scope(scope: Any, default: str, inputs: Any, reuse: Any) -> Iterator[Any]:
    """Opens a layer's variable scope: the one named, else the default made unique."""
    with tf.variable_scope(scope, default, [inputs], reuse=reuse) as opened:
        yield opened


def model_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    collections: Any = None,
    **kwargs: Any,
) -> Any:
    """Returns a variable of the current scope that is in MODEL_VARIABLES too.

    Args:
        name: Its name in the scope.
        shape: Its shape.
        dtype: Its type, float32 if none.
        initializer: An initializer or a value.
        regularizer: A penalty, put into REGULARIZATION_LOSSES where the variable is made.
        trainable: Whether optimizers change it.
        collections: Further collections: a list, or lists by variable name.
        kwargs: What else `tf.get_variable` takes.
    """
    further = collections.get(name) if isinstance(collections, dict) else collections
    further = [further] if isinstance(further, str) else list(further or ())
    kept = {tf.GraphKeys.GLOBAL_VARIABLES, tf.GraphKeys.MODEL_VARIABLES, *further}
    return tf.get_variable(
        name,
        shape=shape,
        dtype=tf.as_dtype(dtype or "float32").base_dtype,
        initializer=initializer,
        regularizer=regularizer,
        trainable=trainable,
        collections=sorted(kept),
        **{key: value for key, value in kwargs.items() if key != "device"},
    )


def finished(outputs: Any, collections: Any, activation_fn: Any = None) -> Any:
    """Applies the activation and puts a layer's output into the collections that were asked for."""
    if activation_fn is not None:
        outputs = activation_fn(outputs)
    for collection in [collections] if isinstance(collections, str) else collections or ():
        tf.add_to_collection(collection, outputs)
    return outputs


def pair(value: Any, count: int = 2) -> tuple[int, ...]:
    """Returns a size as one number per dimension."""
    return tuple(int(one) for one in value) if isinstance(value, (list, tuple)) else (int(value),) * count
