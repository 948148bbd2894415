"""Faults that a test orders from the MaxCompute server: which requests are spoiled, and how."""

from __future__ import annotations

from dataclasses import dataclass, field

ERROR = "error"  # an error instead of the answer, and nothing is done
DELAY = "delay"  # the request waits first
RESET = "reset"  # the connection is reset, and nothing is done
LOST = "lost"  # it is done, and the connection is reset instead of the answer
EMPTY = "empty"  # it is done, and the answer is 200 without a body
CUT = "cut"  # the connection is reset in the middle of the body
SHORT = "short"  # the body ends in its middle as if that were its end
FEWER = "fewer"  # the body is whole, with rightful sums, but rows are missing at its end
CORRUPT = "corrupt"  # a sum is wrong; where there are none, a byte of the body
KINDS = (ERROR, DELAY, RESET, LOST, EMPTY, CUT, SHORT, FEWER, CORRUPT)


@dataclass
class Fault:
    """What happens to some requests.

    Attributes:
        operation: Whose; `*` for all.
        kind: One of KINDS.
        times: How many requests it still happens to.
        skip: How many requests it first leaves alone.
        above: Only requests for more rows than these are meant; None for any request.
        status: Of an error.
        code: Of an error.
        message: Of an error.
        seconds: Of a delay.
        after: Bytes of the body that still come, for `cut` and `short`; None for half of it, or of its beginning.
        rows: How many are missing.
    """

    operation: str
    kind: str
    times: int = 1
    skip: int = 0
    above: int | None = None
    status: int = 500
    code: str = "InternalServerError"
    message: str = "Service internal error, please try again later."
    seconds: float = 1.0
    after: int | None = None
    rows: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such kind of fault: {self.kind}")


@dataclass
class Faults:
    """The faults that are ordered and have not all happened."""

    _ordered: list[Fault] = field(default_factory=list)

    def order(self, fault: Fault) -> None:
        """Orders one more."""
        self._ordered.append(fault)

    def forget(self) -> int:
        """Takes all orders back, and returns how many requests they would still have spoiled."""
        left = sum(fault.times for fault in self._ordered)
        self._ordered.clear()
        return left

    def next(self, operation: str, rows: int) -> Fault | None:
        """Returns what happens to this request.

        Args:
            operation: Its name.
            rows: How many it asks for.
        """
        for fault in self._ordered:
            if fault.operation not in ("*", operation) or (fault.above is not None and rows <= fault.above):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            if not fault.times:
                self._ordered.remove(fault)
            return fault
        return None
