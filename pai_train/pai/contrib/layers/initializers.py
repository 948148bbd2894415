"""Initial values scaled by a layer's width: `xavier_initializer` and `variance_scaling_initializer`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable

# The variance that cutting a normal at two standard deviations leaves is about 1 / 1.3 of what it was.
_CUT = 1.3


def variance_scaling_initializer(
    factor: float = 2.0, mode: str = "FAN_IN", uniform: bool = False, seed: int | None = None, dtype: Any = None
) -> Callable[..., Any]:
    """Returns an initializer whose values have the variance `factor / n`.

    Args:
        factor: The factor; 2.0 suits relu.
        mode: What `n` is: FAN_IN (inputs of a unit), FAN_OUT (outputs) or FAN_AVG (their mean).
        uniform: A uniform distribution, else a normal one cut at two standard deviations.
        seed: The operation's seed.
        dtype: The values' floating type, float32 if none.

    Raises:
        ValueError: An unknown mode.
        TypeError: A type that is not a floating one.
    """
    wanted = tf.as_dtype(dtype or "float32")
    if not wanted.is_floating:
        raise TypeError(f"variance_scaling_initializer: wanted a floating type, got {wanted.name}")
    if mode not in ("FAN_IN", "FAN_OUT", "FAN_AVG"):
        raise ValueError(f"variance_scaling_initializer: wanted FAN_IN, FAN_OUT or FAN_AVG as mode, got {mode}")

    def initializer(shape: Any, dtype: Any = wanted, partition_info: Any = None) -> Any:
        sizes = [int(size) for size in (partition_info.full_shape if partition_info else shape)]
        fan_in = float(sizes[-2]) if len(sizes) > 1 else float(sizes[-1] if sizes else 1)
        fan_out = float(sizes[-1]) if sizes else 1.0
        field = math.prod(sizes[:-2])
        n = {"FAN_IN": fan_in, "FAN_OUT": fan_out, "FAN_AVG": (fan_in + fan_out) / 2}[mode] * field
        if uniform:
            limit = math.sqrt(3 * factor / n)
            return tf.random_uniform(shape, -limit, limit, dtype, seed=seed)
        return tf.truncated_normal(shape, 0.0, math.sqrt(_CUT * factor / n), dtype, seed=seed)

    return initializer


def xavier_initializer(uniform: bool = True, seed: int | None = None, dtype: Any = None) -> Callable[..., Any]:
    """Returns Glorot's initializer: the variance is one over the mean of a layer's inputs and outputs."""
    return variance_scaling_initializer(1.0, "FAN_AVG", uniform, seed, dtype)


xavier_initializer_conv2d = xavier_initializer
