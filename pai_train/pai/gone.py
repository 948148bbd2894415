"""Names that TensorFlow lost and nobody gives: what a script that uses one is told."""

from __future__ import annotations

import dis
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pai_train.errors import PaiTrainError
from pai_train.pai.replacements import replacement

if TYPE_CHECKING:
    from collections.abc import Callable

_OURS = str(Path(__file__).parents[1])
_IMPORT_FROM = dis.opmap["IMPORT_FROM"]

# Modules inside of old, `tf.contrib.layers.python.layers`: their names are the namespace's own.
_INSIDE = {"core_rnn", "core_rnn_cell", "layers", "learn", "ops", "python", "training", "variables"}


class SymbolGone(PaiTrainError, AttributeError):
    """A name of `tf.contrib` or `tf.estimator` that is not given here; `hasattr` is false for it."""


class ModuleGone(PaiTrainError, ImportError):
    """A module of `tensorflow.contrib` or `tensorflow.estimator` that is not given here."""


class ArgumentGone(PaiTrainError, ValueError):
    """An argument, or a value of one, that a given function of old had and has not here."""


def symbol_gone(symbol: str) -> SymbolGone:
    """Returns the error for a name, with the line of the script that used it and what stands in its place."""
    return SymbolGone(
        f"{symbol} is gone from TensorFlow and is not among the names given here",
        where=user_line(),
        todo=replacement(symbol),
    )


def module_gone(symbol: str) -> ModuleGone:
    """Returns the error for an import, with the line of the script that made it and what stands in its place."""
    return ModuleGone(
        f"{symbol} is gone from TensorFlow and is not among the modules and names given here",
        where=user_line(),
        todo=replacement(symbol),
    )


def argument_gone(symbol: str, got: str, todo: str) -> ArgumentGone:
    """Returns the error for an argument, with the line of the script that gave it."""
    return ArgumentGone(f"{symbol} does not take this here", where=user_line(), got=got, todo=todo)


def absent(namespace: str, *submodules: str, package: str = "") -> Callable[[str], Any]:
    """Returns a module's `__getattr__`: submodules imported on first use, an error that helps for every other name.

    Args:
        namespace: What scripts call the module: `tf.contrib.layers`.
        submodules: Names of modules of `package` to import when they are first asked for.
        package: The package that holds them.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name in submodules:
            return importlib.import_module(f"{package}.{name}")
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _INSIDE and namespace != "tf.contrib":
            return sys.modules[f"pai_train.pai.{namespace.removeprefix('tf.')}"]
        caller = sys._getframe(1)
        while caller.f_code.co_name == "__getattr__" and caller.f_back is not None:
            # A module that gives more names of its own than its submodules' asks for the others here.
            caller = caller.f_back
        if caller.f_code.co_code[caller.f_lasti] == _IMPORT_FROM:
            # `from … import name` would swallow an AttributeError and its text.
            raise module_gone(f"{namespace}.{name}")
        raise symbol_gone(f"{namespace}.{name}")

    return __getattr__


def user_line() -> str | None:
    """Returns `file:line` of the innermost frame that belongs neither to a library nor to this package."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not (name.startswith(("<frozen", _OURS)) or "site-packages" in name or "/lib/python3" in name):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return None
