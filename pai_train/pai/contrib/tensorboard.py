"""`tf.contrib.tensorboard`: the projector's settings, by the tensorboard package where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from pai_train.errors import LaunchError
from pai_train.pai.gone import absent, user_line

plugins: Any = ModuleType("tensorflow.contrib.tensorboard.plugins", "What TensorBoard shows beside curves.")
plugins.__path__ = []
_absent = absent("tf.contrib.tensorboard.plugins")


def _plugin(name: str) -> Any:
    if name != "projector":
        return _absent(name)
    if importlib.util.find_spec("tensorboard") is None:
        raise LaunchError(
            "tf.contrib.tensorboard.plugins.projector is of the package tensorboard, which is not installed",
            where=user_line(),
            todo="pip install tensorboard",
        )
    return importlib.import_module("tensorboard.plugins.projector")


plugins.__getattr__ = _plugin
sys.modules.setdefault(f"{__name__}.plugins", plugins)

__getattr__ = absent("tf.contrib.tensorboard")
