"""`tensorflow.python.keras`, from where scripts imported Keras: the Keras that `tf.keras` is, by the names of old."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_OLD = "tensorflow.python.keras"
PUBLIC = "tf_keras.api._v1.keras"
"""What `tf.keras` is."""
_INNER = "tf_keras.src"
_DIVIDED = {
    "advanced_activations", "convolutional", "convolutional_recurrent", "core", "cudnn_recurrent", "dense_attention",
    "embeddings", "local", "merge", "noise", "normalization", "pooling", "recurrent", "wrappers",
}  # fmt: skip
"""Modules of layers that Keras has divided since."""
_LIBRARIES = {"tensorflow", "tf_keras", "keras", "importlib"}


class Keras(ModuleType):
    """A module inside of Keras: names are looked for where Keras publishes them, then where it keeps them.

    Args:
        inner: Its name within Keras, such as `layers.core`; "" for Keras itself.
        places: The modules that are looked at, in order.
    """

    def __init__(self, inner: str, places: Sequence[ModuleType]) -> None:
        super().__init__(f"{_OLD}.{inner}".rstrip("."))
        self.__path__: list[str] = []
        self._inner, self._places = inner, places

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            for place in self._places:
                if hasattr(place, name):
                    found = getattr(place, name)
                    return found if not isinstance(found, ModuleType) else module(_within(self._inner, name)) or found
            if (found := module(_within(self._inner, name))) is not None:
                return found
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def module(inner: str) -> ModuleType | None:
    """Returns a module inside of Keras, by its name within it; None where there is none."""
    places = [found for top in (PUBLIC, _INNER) if (found := imported(f"{top}.{inner}".rstrip("."))) is not None]
    group, _, part = inner.partition(".")
    if part and (places or (group == "layers" and part in _DIVIDED)):
        # Much of what lay in such a module has gone to others.
        places += [found for found in [imported(f"{PUBLIC}.{group}")] if found is not None]
    return Keras(inner, places) if places else None


class _Shared(ModuleType):
    """Stands for a module of TensorFlow's own Keras, which TensorFlow still is made with: scripts get theirs.

    Args:
        own: TensorFlow's.
        inner: Its name within Keras.
    """

    def __init__(self, own: ModuleType, inner: str) -> None:
        super().__init__(own.__name__)
        self.__dict__.update({name: value for name, value in vars(own).items() if name.startswith("__")})
        self._own, self._inner = own, inner

    def __getattr__(self, name: str) -> Any:
        asking = sys._getframe(1).f_globals.get("__name__", "")
        if asking.partition(".")[0] not in _LIBRARIES and (theirs := module(self._inner)) is not None:
            return getattr(theirs, name)
        return getattr(self._own, name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules that Keras had, and TensorFlow's own has not."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not name.startswith(f"{_OLD}.") or importlib.machinery.PathFinder.find_spec(name, path) is not None:
            return None
        if module(name.removeprefix(f"{_OLD}.")) is None:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return module(spec.name.removeprefix(f"{_OLD}."))

    def exec_module(self, module: ModuleType) -> None:
        """Does nothing: the modules behind it have been executed."""


def install() -> None:
    """Makes imports from `tensorflow.python.keras` give that, but those which TensorFlow makes itself."""
    importlib.import_module(_OLD)
    for name, own in list(sys.modules.items()):
        if name == _OLD or name.startswith(f"{_OLD}."):
            sys.modules[name] = _Shared(own, name.removeprefix(_OLD).lstrip("."))
    python: Any = sys.modules["tensorflow.python"]
    python.keras = sys.modules[_OLD]
    sys.meta_path.insert(0, _Finder())


def _within(inner: str, name: str) -> str:
    return f"{inner}.{name}" if inner else name


def imported(name: str) -> ModuleType | None:
    """Imports a module; None where there is none of that name."""
    for end in range(1, name.count(".") + 2):
        part = ".".join(name.split(".")[:end])
        try:
            if importlib.util.find_spec(part) is None:
                return None
        except ModuleNotFoundError:
            return None
        importlib.import_module(part)
    return sys.modules[name]
