"""Puts `tf.contrib`, `tf.estimator` and `tf.examples` where scripts import them from."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from pai_train.pai.gone import SymbolGone, module_gone

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOTS = {
    "tensorflow.contrib": "pai_train.pai.contrib",
    "tensorflow.estimator": "pai_train.pai.estimator",
    "tensorflow.examples": "pai_train.pai.examples",
    "tensorflow.python.estimator": "pai_train.pai.estimator",
    "tensorflow_estimator": "pai_train.pai.estimator",
}


def install(tensorflow: ModuleType) -> None:
    """Gives a module the attributes `contrib`, `estimator` and `examples`, and makes imports from them work.

    Args:
        tensorflow: The module that scripts get for `import tensorflow`.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name, ours in _ROOTS.items():
        module = importlib.import_module(ours)
        sys.modules[name] = module
        if name.count(".") == 1:
            setattr(tensorflow, name.rpartition(".")[2], module)


class _Finder:
    """Finds `tensorflow.contrib.X` in our package.

    Modules inside of old, `X.python.ops.Y`, are X, or those of X that have such a name.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        root = next((root for root in _ROOTS if fullname.startswith(f"{root}.")), None)
        if root is None:
            return None
        parts = fullname.removeprefix(f"{root}.").split(".")
        names = [*root.split("."), *parts]
        public = max(0, names.index("python") - root.count(".") - 1) if "python" in names else len(parts)
        module: ModuleType = importlib.import_module(_ROOTS[root])
        try:
            for part in parts[:public]:
                module = getattr(module, part)
            for part in parts[public:]:
                inner = getattr(module, part, None)
                # A namespace that scripts know says itself what it lacks; other modules are how ours is made.
                if isinstance(inner, ModuleType) and "__getattr__" in vars(inner):
                    module = inner
        except SymbolGone as gone:
            raise module_gone(fullname.replace("tensorflow", "tf", 1)) from gone
        return importlib.machinery.ModuleSpec(fullname, _Loader(module), is_package=True)


class _Loader(importlib.abc.Loader):
    """Hands a module that exists already to the import system, and takes its own description back."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = getattr(module, "__spec__", None)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        if self._spec is not None:
            module.__spec__ = self._spec
