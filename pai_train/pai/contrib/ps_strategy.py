"""Which parameter server holds a variable, by its size: strategies for `tf.train.replica_device_setter`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable

_HANDLE = "VarHandleOp"


def byte_size_load_fn(op: Any) -> int:
    """Returns the size of a variable in bytes.

    Raises:
        ValueError: Its shape is not known.
    """
    if op.type == _HANDLE:
        dtype, shape = tf.as_dtype(op.get_attr("dtype")), tf.TensorShape(op.get_attr("shape"))
    else:
        dtype, shape = op.outputs[0].dtype, op.outputs[0].shape
    count = shape.num_elements()
    if count is None:
        raise ValueError(f"byte_size_load_fn: the shape of {op.name} is not known: {shape}")
    return int(dtype.base_dtype.size * count)


class GreedyLoadBalancingStrategy:
    """Gives each variable to the server that holds least so far, the first of several.

    Args:
        num_tasks: How many servers there are.
        load_fn: From a variable's operation to what it weighs, such as `byte_size_load_fn`.
    """

    def __init__(self, num_tasks: int, load_fn: Callable[[Any], float]) -> None:
        self._loads: list[float] = [0] * num_tasks
        self._load_fn = load_fn

    def __call__(self, op: Any) -> int:
        """Returns the server's number."""
        task = self._loads.index(min(self._loads))
        self._loads[task] += self._load_fn(op)
        return task
