"""Python objects that functions of a graph know by a number, and for how long they do."""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_numbers = itertools.count()


def dataset_class() -> Any:
    """Returns tf.data.Dataset; in a graph its older form, whose datasets have make_one_shot_iterator."""
    return tf.data.Dataset if tf.executing_eagerly() else tf.compat.v1.data.Dataset


def as_is(function: Callable[..., Any]) -> Any:
    """Keeps AutoGraph from rewriting a function that has no Python to rewrite."""
    return tf.autograph.experimental.do_not_convert(function)


class Lease(Generic[T]):
    """Holds an object in a registry until the last holder of the lease is gone.

    Args:
        registry: Where the functions look.
        held: What is held.

    Attributes:
        handle: Its number.
    """

    def __init__(self, registry: dict[int, T], held: T) -> None:
        self.held = held
        self.handle = next(_numbers)
        registry[self.handle] = held
        weakref.finalize(self, registry.pop, self.handle, None)

    def keep(self, *holders: Any) -> None:
        """Ties itself to Python objects, and to the graph under construction if there is one."""
        if not tf.executing_eagerly():
            holders = (*holders, tf.compat.v1.get_default_graph())
        for holder in holders:
            leases = getattr(holder, "_paiio_leases", ())
            if self not in leases:
                holder._paiio_leases = (*leases, self)
