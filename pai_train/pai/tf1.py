"""`import tensorflow` as scripts for TensorFlow 1 mean it: compat.v1 and its behaviour, under the plain names."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pai_train.errors import LaunchError
from pai_train.pai import old_keras

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_OURS = {
    "contrib": "pai_train.pai.contrib",
    "estimator": "pai_train.pai.estimator",
    "examples": "pai_train.pai.examples",
}
"""What TensorFlow no longer has, and where it is made anew; each is there or not."""

_LONG_WAIT_S, _WAIT_S = 30, 1
_INSTALLED = "pai_train.pai.installed"
"""Puts those packages where scripts import them from; there with them."""


class MissingSymbolError(AttributeError):
    """A name that `tensorflow` of today has not; `hasattr` and `getattr` with a default work as ever."""


class TensorFlow(ModuleType):
    """What a script gets as `tensorflow`.

    Args:
        real: TensorFlow itself, as it was imported.
    """

    def __init__(self, real: ModuleType) -> None:
        super().__init__("tensorflow", "TensorFlow 1, as pai_train gives it to scripts")
        self._v1: Any = real.compat.v1
        self.__dict__.update(
            __path__=list(real.__path__),
            __version__=real.__version__,
            __file__=real.__file__,
            __spec__=real.__spec__,
            python=sys.modules["tensorflow.python"],
            compat=real.compat,
            VERSION=real.__version__,
        )

    def __getattr__(self, name: str) -> Any:
        if name in _OURS:
            found = _ours(f"tensorflow.{name}")
            if found is None:
                raise MissingSymbolError(name=name, obj=self)
            return found
        if name == "keras":
            return importlib.import_module("tensorflow.keras")
        try:
            return getattr(self._v1, name)
        except AttributeError:
            raise MissingSymbolError(f"module 'tensorflow' has no attribute {name!r}", name=name, obj=self) from None

    def __dir__(self) -> list[str]:
        return sorted({*dir(self._v1), *self.__dict__})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `tensorflow.x` where version 1 has it as an attribute, and what is made by us."""

    def __init__(self, made: dict[str, Callable[[], ModuleType]]) -> None:
        self._made = made

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if self._find(name) is None:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._find(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Does nothing: what is found has been executed under its own name."""

    def _find(self, name: str) -> ModuleType | None:
        if name in self._made:
            return self._made[name]()
        top, _, inner = name.partition(".")
        if top != "tensorflow" or inner.split(".")[0] in ("python", "core", "tsl", "compiler", "lite", ""):
            return None
        first, _, rest = inner.partition(".")
        if first in _OURS:
            return _ours(name)
        if first == "keras":
            return old_keras.imported(f"{old_keras.PUBLIC}.{rest}".rstrip(".")) or old_keras.module(rest)
        if first == "compat":
            return None
        found: Any = sys.modules["tensorflow"]
        for part in inner.split("."):
            found = getattr(found, part, None)
        return found if isinstance(found, ModuleType) else None


def _ours(name: str) -> ModuleType | None:
    """Imports what we make of a module that is gone; None where we do not."""
    _, first, *rest = name.split(".")
    return old_keras.imported(".".join([_OURS[first], *rest]))


def check() -> None:
    """Looks whether the extra is installed; imports nothing.

    Raises:
        LaunchError: It is not.
    """
    if importlib.util.find_spec("tf_keras") is None:
        raise LaunchError(
            "scripts for TensorFlow 1 need tf_keras, which is not installed",
            todo="pip install 'pai_train[tf1]'",
        )


def load() -> ModuleType:
    """Imports TensorFlow with the Keras of version 1 behind it, and changes nothing yet.

    Raises:
        LaunchError: The extra is not installed.
    """
    check()
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return importlib.import_module("tensorflow")


def install(real: ModuleType, made: dict[str, Callable[[], ModuleType]]) -> None:
    """Makes `import tensorflow` give version 1, in this process from now on.

    Args:
        real: What `load` returned.
        made: Further modules by name, and what makes them when they are imported.
    """
    from tensorflow.python.util import deprecation

    # Whoever runs an old script knows that it is old.
    deprecation._PRINT_DEPRECATION_WARNINGS = False
    warnings.filterwarnings("ignore", r"`tf\.[\w.]+` is deprecated and will be removed", UserWarning)
    _short_waits()
    _old_protocols(real.compat.v1.train)
    real.compat.v1.disable_v2_behavior()
    shim: Any = TensorFlow(real)
    sys.modules["tensorflow"] = shim
    sys.meta_path.insert(0, _Finder(made))
    if importlib.util.find_spec(_INSTALLED) is not None:
        importlib.import_module(_INSTALLED).install(shim)
    _old_flags(real.compat.v1.flags)
    _one_log()
    _old_cells()
    old_keras.install()


def _old_protocols(train: Any) -> None:
    """Lets servers take the names of PAI's own protocols, which are over TensorFlow's here."""
    from pai_train.pai.protocols import plain

    class Server(train.Server):  # type: ignore[misc]
        """A server of one task."""

        def __init__(
            self,
            server_or_cluster_def: Any,
            job_name: str | None = None,
            task_index: int | None = None,
            protocol: str | None = None,
            config: Any = None,
            start: bool = True,
        ) -> None:
            super().__init__(server_or_cluster_def, job_name, task_index, plain(protocol), config, start)

    train.Server = Server


def _short_waits() -> None:
    """Lets a worker look each second, not each half minute, whether the chief has made the variables."""
    from tensorflow.python.training.session_manager import SessionManager

    init = SessionManager.__init__
    init.__defaults__ = tuple(_WAIT_S if value == _LONG_WAIT_S else value for value in init.__defaults__)


def _one_log() -> None:
    """Lets a message of TensorFlow be shown once: absl, whose `app.run` scripts call, would show it again."""
    from absl import logging

    logging.get_absl_handler().addFilter(lambda record: record.name != "tensorflow")


def _old_cells() -> None:
    """Lets scripts with cells of their own import what those of old were made with."""
    from pai_train.pai.contrib.rnn_linear import Linear, linear

    cells = importlib.import_module("tensorflow.python.ops.rnn_cell_impl")
    vars(cells).update(_Linear=Linear, _linear=linear)


def _old_flags(flags: Any) -> None:
    """Lets scripts define flags whose names absl has taken since, and read them as they did."""
    known = flags.FLAGS
    for name in list(known):
        known[name].allow_override = True
    values = type(known.__dict__["__wrapped"])
    # PAI gives each script the same flags, and version 1.4 left alone those that a script does not define.
    values._parse_flags = lambda self, args=None: self(
        sys.argv if args is None else [sys.argv[0], *args], known_only=True
    )
    # `FLAGS.__flags` held values, and holds flags now: they print as their values.
    _flag_class().__str__ = lambda self: str(self.value)
    wrapper = type(known)
    read = wrapper.__getattr__

    def read_parsed(self: Any, name: str) -> Any:
        if not self.is_parsed():
            self(sys.argv, known_only=True)
        return read(self, name)

    wrapper.__getattr__ = read_parsed


def _flag_class() -> Any:
    from absl.flags import Flag

    return Flag
