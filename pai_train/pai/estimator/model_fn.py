"""Calls of a user's model function and input function: each gets the arguments that it names."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from pai_train.pai.estimator.spec import EstimatorSpec

if TYPE_CHECKING:
    from collections.abc import Callable


def names_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Returns the names of a function's arguments, but for those that a partial has filled by place."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY))


def check_model_fn(model_fn: Callable[..., Any], params: Any) -> None:
    """Raises where a model function has arguments nobody gives, or none for what is given.

    Raises:
        ValueError: The function has no `features`, parameters come with no `params` to take them, or it has others
            without a default.
    """
    names = names_of(model_fn)
    if "features" not in names:
        raise ValueError(f"model_fn: wanted an argument `features`, got {names}")
    if params is not None and "params" not in names:
        raise ValueError(f"model_fn: there are params and it has no argument `params`: {names}")
    given = {"features", "labels", "mode", "params", "config", "self"}
    filled = set(model_fn.keywords) if isinstance(model_fn, functools.partial) else set()
    signature = inspect.signature(model_fn).parameters
    strange = [name for name in names if name not in given | filled and signature[name].default is inspect._empty]
    if strange:
        raise ValueError(f"model_fn: nobody gives its arguments {', '.join(strange)}")


def call_model_fn(
    model_fn: Callable[..., Any], features: Any, labels: Any, mode: str, params: Any, config: Any
) -> EstimatorSpec:
    """Returns what a model function makes of one batch.

    Raises:
        ValueError: There are labels and it takes none, or it returns something else than an `EstimatorSpec`.
    """
    names = names_of(model_fn)
    offered = {"labels": labels, "mode": mode, "params": params, "config": config}
    if "labels" not in names and labels is not None:
        raise ValueError("model_fn: the input has labels and it has no argument `labels`")
    spec = model_fn(features=features, **{name: value for name, value in offered.items() if name in names})
    if not isinstance(spec, EstimatorSpec):
        raise ValueError(f"model_fn: wanted a tf.estimator.EstimatorSpec, got {spec!r}")
    return spec


def call_input_fn(input_fn: Callable[..., Any], mode: str, params: Any, config: Any) -> Any:
    """Returns what an input function gives."""
    offered = {"mode": mode, "params": params, "config": config}
    names = names_of(input_fn)
    return input_fn(**{name: value for name, value in offered.items() if name in names})
