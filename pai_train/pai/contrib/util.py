"""`tf.contrib.util` over `tf`: constants out of and into protocol messages."""

from __future__ import annotations

from typing import Any

from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

_NAMES = {
    "constant_value": "get_static_value",
    "make_ndarray": "make_ndarray",
    "make_tensor_proto": "make_tensor_proto",
}
_absent = absent("tf.contrib.util")


def __getattr__(name: str) -> Any:
    return getattr(tf, _NAMES[name]) if name in _NAMES else _absent(name)
