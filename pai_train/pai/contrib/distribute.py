"""`tf.contrib.distribute` over `tf.distribute`: the strategies that a session on one machine can use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.gone import absent, argument_gone
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MirroredStrategy", "OneDeviceStrategy", "ParameterServerStrategy"]


def MirroredStrategy(  # noqa: N802
    devices: Sequence[str] | None = None,
    num_gpus: int | None = None,
    num_gpus_per_worker: int | None = None,
    cross_device_ops: Any = None,
    cross_tower_ops: Any = None,
) -> Any:
    """Returns TensorFlow's strategy over these devices, or over so many GPUs; `tf.estimator` takes none here."""
    count = num_gpus if num_gpus is not None else num_gpus_per_worker
    if devices is None and count is not None:
        devices = [f"/gpu:{number}" for number in range(count)] or ["/cpu:0"]
    return tf.distribute.MirroredStrategy(devices, cross_device_ops or cross_tower_ops)


def OneDeviceStrategy(device: str) -> Any:  # noqa: N802
    """Returns TensorFlow's strategy of one device."""
    return tf.distribute.OneDeviceStrategy(device)


class ParameterServerStrategy:
    """Says that variables are on parameter servers and each worker trains for itself: what estimators do in a cluster.

    Args:
        num_gpus_per_worker: At most 1: a worker has one copy of the model.

    Raises:
        ArgumentGone: More GPUs than one.
    """

    def __init__(self, num_gpus_per_worker: int = 0) -> None:
        if num_gpus_per_worker > 1:
            raise argument_gone(
                "tf.contrib.distribute.ParameterServerStrategy", f"num_gpus_per_worker={num_gpus_per_worker}",
                "run more workers with a GPU each",
            )  # fmt: skip
        self.num_replicas_in_sync = 1


_DISTRIBUTE = {"CrossDeviceOps", "get_loss_reduction", "get_strategy", "has_strategy", "in_cross_replica_context"}
_absent = absent("tf.contrib.distribute")


def __getattr__(name: str) -> Any:
    return getattr(tf.distribute, name) if name in _DISTRIBUTE else _absent(name)
