"""`tf.contrib.framework` over `tf.compat.v1`: argument scopes, variables, the step counter, checkpoints, nests."""

from __future__ import annotations

import sys
import types
from typing import Any

from pai_train.pai.contrib.arg_scope import add_arg_scope, arg_scope, arg_scoped_arguments, has_arg_scope
from pai_train.pai.contrib.graph_variables import (
    assign_from_checkpoint,
    assign_from_checkpoint_fn,
    assign_from_values,
    assign_from_values_fn,
    filter_variables,
    get_local_variables,
    get_model_variables,
    get_trainable_variables,
    get_unique_variable,
    get_variables,
    get_variables_by_name,
    get_variables_by_suffix,
    get_variables_to_restore,
    local_variable,
    model_variable,
    variable,
)
from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

__all__ = [
    "add_arg_scope", "arg_scope", "arg_scoped_arguments", "argsort", "assign_from_checkpoint",
    "assign_from_checkpoint_fn", "assign_from_values", "assign_from_values_fn", "filter_variables",
    "get_local_variables", "get_model_variables", "get_trainable_variables", "get_unique_variable", "get_variables",
    "get_variables_by_name", "get_variables_by_suffix", "get_variables_to_restore", "has_arg_scope", "is_tensor",
    "local_variable", "model_variable", "nest", "smart_cond", "smart_constant_value", "sort", "variable",
]  # fmt: skip

_TRAIN = {
    "assert_global_step", "create_global_step", "get_global_step", "get_or_create_global_step", "init_from_checkpoint",
    "list_variables", "load_checkpoint", "load_variable",
}  # fmt: skip

nest = types.ModuleType("tensorflow.contrib.framework.nest", "`tf.nest`, by its names of old.")
_NESTS = {
    "assert_same_structure": "assert_same_structure",
    "flatten": "flatten",
    "is_nested": "is_nested",
    "is_sequence": "is_nested",
    "map_structure": "map_structure",
    "pack_sequence_as": "pack_sequence_as",
}


def _nest(name: str) -> Any:
    return getattr(tf.nest, _NESTS[name]) if name in _NESTS else absent("tf.contrib.framework.nest")(name)


vars(nest)["__getattr__"] = _nest
sys.modules.setdefault(f"{__name__}.nest", nest)


def is_tensor(x: Any) -> bool:
    """Returns whether this is a tensor, a sparse one, or a variable."""
    return bool(tf.is_tensor(x)) or isinstance(x, tf.Variable)


def sort(values: Any, axis: int = -1, direction: str = "ASCENDING", name: str | None = None) -> Any:
    """Returns the values in order along an axis."""
    return tf.sort(values, axis, direction, name)


def argsort(
    values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = False, name: str | None = None
) -> Any:
    """Returns the places of the values in order along an axis."""
    return tf.argsort(values, axis, direction, stable, name)


def smart_constant_value(pred: Any) -> bool | None:
    """Returns what a condition is known to be, or None."""
    value = tf.get_static_value(pred) if tf.is_tensor(pred) else pred
    return None if value is None else bool(value)


def smart_cond(pred: Any, true_fn: Any = None, false_fn: Any = None, name: str | None = None) -> Any:
    """Returns one function's result where the condition is known, else `tf.cond`."""
    known = smart_constant_value(pred)
    if known is None:
        return tf.cond(pred, true_fn, false_fn, name=name)
    return true_fn() if known else false_fn()


_absent = absent("tf.contrib.framework")


def __getattr__(name: str) -> Any:
    return getattr(tf.train, name) if name in _TRAIN else _absent(name)
