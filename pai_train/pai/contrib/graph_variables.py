"""A graph's variables found by scope, name and collection, and given values from a checkpoint or from arrays."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pai_train.pai.contrib.arg_scope import add_arg_scope
from pai_train.pai.contrib.layers.variables import model_variable as _model_variable
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def get_variables(scope: Any = None, suffix: str | None = None, collection: str | None = None) -> list[Any]:
    """Returns a collection's variables below a scope that end with a suffix; the global ones if none is named."""
    collection = collection or tf.GraphKeys.GLOBAL_VARIABLES
    prefix = getattr(scope, "name", scope)
    if suffix is not None:
        suffix = suffix if ":" in suffix else f"{suffix}:0"
        prefix = f"{prefix or ''}.*{suffix}"
    return list(tf.get_collection(collection, prefix))


def get_model_variables(scope: Any = None, suffix: str | None = None) -> list[Any]:
    """Returns the variables that layers made."""
    return get_variables(scope, suffix, tf.GraphKeys.MODEL_VARIABLES)


def get_local_variables(scope: Any = None, suffix: str | None = None) -> list[Any]:
    """Returns the local variables."""
    return get_variables(scope, suffix, tf.GraphKeys.LOCAL_VARIABLES)


def get_trainable_variables(scope: Any = None, suffix: str | None = None) -> list[Any]:
    """Returns the variables that optimizers change."""
    return get_variables(scope, suffix, tf.GraphKeys.TRAINABLE_VARIABLES)


def get_variables_by_suffix(suffix: str, scope: Any = None) -> list[Any]:
    """Returns the global variables whose name ends so."""
    return get_variables(scope, suffix)


def get_variables_by_name(given_name: str, scope: Any = None) -> list[Any]:
    """Returns the global variables of this name, in any scope below the given one."""
    return [one for one in get_variables(scope) if one.op.name.rsplit("/", 1)[-1] == given_name.rsplit("/", 1)[-1]
            and (one.op.name == given_name or one.op.name.endswith(f"/{given_name}"))]  # fmt: skip


def get_unique_variable(var_op_name: str) -> Any:
    """Returns the one variable of a full name.

    Raises:
        ValueError: None, or more than one.
    """
    found = [one for one in get_variables() if one.op.name == var_op_name]
    if len(found) != 1:
        raise ValueError(f"{len(found)} variables are called {var_op_name}")
    return found[0]


def filter_variables(
    var_list: Sequence[Any],
    include_patterns: Sequence[str] | None = None,
    exclude_patterns: Sequence[str] | None = None,
    reg_search: bool = True,
) -> list[Any]:
    """Returns the variables whose name fits one of the patterns and none of the others."""
    fits = re.search if reg_search else re.match
    kept = list(var_list)
    if include_patterns:
        kept = [one for one in kept if any(fits(pattern, one.op.name) for pattern in include_patterns)]
    if exclude_patterns:
        kept = [one for one in kept if not any(fits(pattern, one.op.name) for pattern in exclude_patterns)]
    return kept


def get_variables_to_restore(include: Sequence[str] | None = None, exclude: Sequence[str] | None = None) -> list[Any]:
    """Returns the global variables below the included scopes (all if none), but for those below excluded ones."""
    kept: list[Any] = get_variables() if include is None else []
    for scope in include or ():
        kept += [one for one in get_variables(scope) if not any(one is other for other in kept)]
    return [one for one in kept if not any(one.op.name.startswith(scope) for scope in exclude or ())]


@add_arg_scope
def variable(name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
             trainable: bool = True, collections: Any = None, caching_device: Any = None, device: Any = None,
             partitioner: Any = None, custom_getter: Any = None, use_resource: Any = None) -> Any:  # fmt: skip
    """Returns a variable of the current scope, in GLOBAL_VARIABLES and the given collections."""
    kept = sorted({tf.GraphKeys.GLOBAL_VARIABLES, *(collections or ())})
    with tf.device(device or ""):
        return tf.get_variable(
            name, shape, tf.as_dtype(dtype or "float32"), initializer, regularizer, trainable, kept, caching_device,
            partitioner, custom_getter=custom_getter, use_resource=use_resource,
        )  # fmt: skip


model_variable = add_arg_scope(_model_variable)


def local_variable(initial_value: Any, validate_shape: bool = True, name: str | None = None) -> Any:
    """Returns a variable that is in no checkpoint."""
    return tf.Variable(
        initial_value, trainable=False, collections=[tf.GraphKeys.LOCAL_VARIABLES], validate_shape=validate_shape,
        name=name,
    )  # fmt: skip


def assign_from_values(var_names_to_values: Mapping[str, Any]) -> tuple[Any, dict[Any, Any]]:
    """Returns an operation that gives variables these values, and the feed it needs."""
    operations, feed = [], {}
    for name, value in var_names_to_values.items():
        target = get_unique_variable(name)
        entry = tf.placeholder(target.dtype.base_dtype, target.shape)
        operations.append(target.assign(entry))
        feed[entry] = value.reshape(target.shape.as_list())
    return tf.group(*operations), feed


def assign_from_values_fn(var_names_to_values: Mapping[str, Any]) -> Callable[[Any], None]:
    """Returns a function that gives variables these values in a session."""
    operation, feed = assign_from_values(var_names_to_values)
    return lambda session: session.run(operation, feed)


def assign_from_checkpoint(
    model_path: str, var_list: Any, ignore_missing_vars: bool = False
) -> tuple[Any, dict[Any, Any]]:
    """Returns an operation that gives variables a checkpoint's values, and the feed it needs.

    Args:
        model_path: The checkpoint.
        var_list: Variables, or a dict from names in the checkpoint to variables.
        ignore_missing_vars: Whether variables that are not in the checkpoint keep their values.

    Raises:
        ValueError: A variable is not in the checkpoint, or has another size there.
    """
    reader = tf.train.load_checkpoint(model_path)
    operations, feed = [], {}
    for name, target in _by_name(var_list).items():
        if not reader.has_tensor(name):
            if ignore_missing_vars:
                continue
            raise ValueError(f"checkpoint {model_path} has no variable {name}")
        value, shape = reader.get_tensor(name), target.shape.as_list()
        if value.size != target.shape.num_elements():
            raise ValueError(f"variable {name} is {list(value.shape)} in checkpoint {model_path} and {shape} here")
        entry = tf.placeholder(target.dtype.base_dtype, target.shape)
        operations.append(target.assign(entry))
        feed[entry] = value.reshape(shape)
    return tf.group(*operations), feed


def assign_from_checkpoint_fn(
    model_path: str, var_list: Any, ignore_missing_vars: bool = False, reshape_variables: bool = False
) -> Callable[[Any], None] | None:
    """Returns a function that gives variables a checkpoint's values in a session; None if there is none to give.

    Args:
        model_path: The checkpoint.
        var_list: Variables, or a dict from names in the checkpoint to variables.
        ignore_missing_vars: Whether variables that are not in the checkpoint keep their values.
        reshape_variables: Whether a value of another shape and the same size fits.
    """
    names = _by_name(var_list)
    if ignore_missing_vars:
        reader = tf.train.load_checkpoint(model_path)
        names = {name: target for name, target in names.items() if reader.has_tensor(name)}
        if not names:
            return None
    if reshape_variables:
        operation, feed = assign_from_checkpoint(model_path, names)
        return lambda session: session.run(operation, feed)
    saver = tf.train.Saver(names)
    return lambda session: saver.restore(session, model_path)


def _by_name(var_list: Any) -> dict[str, Any]:
    return dict(var_list) if isinstance(var_list, dict) else {one.op.name: one for one in var_list}
