"""The most recently used results of slow calls."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class Recent:
    """The most recently used results of slow calls, up to a total weight; each is computed once, also by threads."""

    def __init__(self, limit: int, weight: Callable[[Any], int]) -> None:
        self._limit = limit
        self._weight = weight
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._weights: dict[Hashable, int] = {}

    def get(self, key: Hashable, compute: Callable[[], Any], *, displaces: bool = True) -> Any:
        """Returns the result for `key`, computing it where it is not held; a failure is not kept.

        Args:
            key: What it is known by.
            compute: Makes it.
            displaces: Whether it is kept in the place of those not used for longest, or only where there is room.
        """
        with self._lock:
            future = self._held.get(key)
            mine = future is None
            if future is None:
                future = self._held[key] = Future()
            self._held.move_to_end(key)
        if mine:
            self._fill(key, future, compute, displaces=displaces)
        return future.result()

    def _fill(self, key: Hashable, future: Future[Any], compute: Callable[[], Any], *, displaces: bool) -> None:
        try:
            result = compute()
        except BaseException as fault:
            with self._lock:
                del self._held[key]
            future.set_exception(fault)
            return
        future.set_result(result)
        with self._lock:
            self._weights[key] = self._weight(result)
            if not displaces and sum(self._weights.values()) > self._limit:
                del self._held[key], self._weights[key]
            while sum(self._weights.values()) > self._limit:
                oldest = next(held for held in self._held if held in self._weights)
                del self._held[oldest], self._weights[oldest]
