"""Default arguments for the layers in a `with` block: what `tf.contrib.framework.arg_scope` was."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Scope = dict[str, dict[str, Any]]

_scopes: list[Scope] = [{}]
_wrapped: set[str] = set()


def _key(function: Any) -> str:
    return getattr(function, "_arg_scope_key", None) or f"{function.__module__}.{function.__qualname__}"


def add_arg_scope(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a function so that `arg_scope` can give it default arguments; what its caller passes wins."""
    key = _key(function)

    @functools.wraps(function)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        defaults = _scopes[-1].get(key)
        if not defaults:
            return function(*args, **kwargs)
        names = function.__code__.co_varnames[: len(args)] if hasattr(function, "__code__") else ()
        given = {name: value for name, value in defaults.items() if name not in names}
        return function(*args, **{**given, **kwargs})

    scoped._arg_scope_key = key  # type: ignore[attr-defined]
    _wrapped.add(key)
    return scoped


def has_arg_scope(function: Any) -> bool:
    """Returns whether `arg_scope` can give this function arguments."""
    return _key(function) in _wrapped


def arg_scoped_arguments(function: Any) -> tuple[str, ...]:
    """Returns the names of a function's arguments that a scope can set."""
    inner = getattr(function, "__wrapped__", function)
    code = inner.__code__
    return tuple(code.co_varnames[code.co_argcount - len(inner.__defaults__ or ()) : code.co_argcount])


@contextlib.contextmanager
def arg_scope(list_ops_or_scope: Sequence[Any] | Scope, **kwargs: Any) -> Iterator[Scope]:
    """Gives arguments to every call of the listed functions inside the block, or brings a stored scope back.

    Args:
        list_ops_or_scope: Functions decorated with `add_arg_scope`, or the value of an earlier `with … as scope`.
        kwargs: The arguments.

    Yields:
        The scope, to be brought back later.

    Raises:
        ValueError: A function is not decorated, or a stored scope comes with arguments.
    """
    if isinstance(list_ops_or_scope, dict):
        if kwargs:
            raise ValueError("arg_scope: a stored scope takes no arguments beside it")
        scope = {key: dict(values) for key, values in list_ops_or_scope.items()}
    elif not isinstance(list_ops_or_scope, (list, tuple)):
        raise TypeError("arg_scope: wanted a list of functions or a stored scope")
    else:
        scope = {key: dict(values) for key, values in _scopes[-1].items()}
        for function in list_ops_or_scope:
            if not has_arg_scope(function):
                raise ValueError(f"arg_scope: {_key(function)} is not decorated with add_arg_scope")
            scope.setdefault(_key(function), {}).update(kwargs)
    _scopes.append(scope)
    try:
        yield scope
    finally:
        _scopes.pop()
