"""The progress of a training: one live line in a terminal, a plain line now and then anywhere else."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Self, SupportsFloat, TextIO

from pai_train.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from rich.live import Live
    from rich.text import Text

log = logging.getLogger(__name__)

LIVE_EVERY_S = 0.125
PLAIN_EVERY_S = 10.0
EPOCH_EVERY_S = 1.0
"""Plain lines of epochs that end sooner after the line before are left out, but for the last epoch's."""
WINDOW_S = 30.0
_SHORTEST_S = 0.05
_SHORT = {"accuracy": "acc"}
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b.|[\x00-\x08\x0b-\x1f\x7f]")


class _Seen(NamedTuple):
    epoch: int
    step: int
    rows: int
    loss: SupportsFloat
    metrics: Mapping[str, SupportsFloat]
    waited_s: float
    read_bytes: int


class _Sample(NamedTuple):
    at: float
    step: int
    rows: int
    waited_s: float
    read_bytes: int


class Progress:
    """Shows epoch, step, loss, metrics, rows per second, time left and the share of waiting for input.

    Rates are those of the last 30 s; the first call, which carries the tracing, is left out of them. A live line
    leaves out what the terminal has no place for, from its end; the last one stays in full.

    Args:
        total_steps: Steps of the whole run; None shows no time left.
        epochs: Epochs of the whole run, where known.
        stream: Where to show it; standard error when left out.
        clock: Seconds, monotonic.
        environ: Environment variables; CI and TERM=dumb ask for plain lines.
    """

    def __init__(
        self,
        total_steps: int | None,
        epochs: int | None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._total = total_steps
        self._epochs = epochs
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._environ = environ
        self._terminal = is_terminal(self._stream, environ)
        self._every_s = LIVE_EVERY_S if self._terminal else PLAIN_EVERY_S
        self._next = -math.inf
        self._seen: _Seen | None = None
        self._drawn: _Seen | None = None
        self._samples: deque[_Sample] = deque()
        self._live: Live | None = None
        self._broken = False

    def __enter__(self) -> Self:
        if self._terminal:
            self._live = _live(self._stream, self._environ)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is None:
            return
        live, self._live = self._live, None
        if self._seen is not None:
            self._draw_last(live, self._seen)
        self._guarded(live.stop)

    @property
    def due(self) -> bool:
        """Whether the next `update` shows something; a caller may fetch loss and metrics from a device only then."""
        return self._clock() >= self._next

    def update(
        self,
        *,
        epoch: int,
        step: int,
        rows: int,
        loss: SupportsFloat,
        metrics: Mapping[str, SupportsFloat],
        waited_s: float,
        read_bytes: int = 0,
    ) -> None:
        """Notes where the training stands. Costs about a microsecond unless a line is due.

        Args:
            epoch: The current epoch, from 1.
            step: Steps done in all, those before a resume included.
            rows: Rows done since this process started.
            loss: Turned into a float only when shown, so a tensor on a device may be given.
            metrics: As `loss`, by name.
            waited_s: Seconds waited for input since this process started.
            read_bytes: Bytes of the input read since then.
        """
        self._seen = _Seen(epoch, step, rows, loss, metrics, waited_s, read_bytes)
        now = self._clock()
        if now >= self._next:
            self._draw(now)

    def epoch_end(
        self,
        *,
        epoch: int,
        step: int,
        rows: int,
        loss: SupportsFloat,
        metrics: Mapping[str, SupportsFloat],
        waited_s: float,
        read_bytes: int = 0,
    ) -> None:
        """As `update`, at the end of an epoch: a plain line is written, unless the last one is quite new."""
        self._seen = _Seen(epoch, step, rows, loss, metrics, waited_s, read_bytes)
        now = self._clock()
        spoken_at = self._next - self._every_s
        ended = not self._terminal and (now - spoken_at >= EPOCH_EVERY_S or epoch == self._epochs)
        if now >= self._next or (ended and not self._said_already):
            self._draw(now)

    @property
    def _said_already(self) -> bool:
        seen, drawn = self._seen, self._drawn
        return (
            seen is not None
            and drawn is not None
            and (seen.step, seen.metrics.keys()) == (drawn.step, drawn.metrics.keys())
        )

    def say(self, text: str) -> None:
        """Writes lines that stay, above the live line."""
        clean = redact(_ESCAPES.sub("", text))
        live = self._live
        if live is None:
            self._guarded(lambda: self._write(clean))
        else:
            self._guarded(lambda: live.console.print(clean, markup=False, highlight=False, soft_wrap=True))

    def _draw(self, now: float) -> None:
        seen = self._seen
        if seen is None or self._broken:
            return
        live = self._live
        words = [_ESCAPES.sub("", word) for word in self._words(seen, now, short=live is not None)]
        self._sample(seen, now)
        self._next = now + self._every_s
        self._drawn = seen
        if live is None:
            self._guarded(lambda: self._write("  ".join(words)))
        else:
            line = _fitting(words, live.console.width)
            self._guarded(lambda: live.update(_one_line(line), refresh=True))

    def _draw_last(self, live: Live, seen: _Seen) -> None:
        """Leaves the whole last line on the terminal, over several lines of it where one is too narrow."""
        from rich.text import Text

        words = [_ESCAPES.sub("", word) for word in self._words(seen, self._clock(), short=False)]
        self._guarded(lambda: live.update(Text("  ".join(words)), refresh=True))

    def _words(self, seen: _Seen, now: float, *, short: bool) -> list[str]:
        """Returns the words of a line, what matters most first; short ones for a line that shares its place."""
        metrics = {name: f"{float(value):.3g}" for name, value in seen.metrics.items()}
        # Epochs tell the whole already, and what is left of the steps is the ETA.
        total = None if short and self._epochs is not None else self._total
        return [
            _of("epoch", seen.epoch, self._epochs),
            _of("step", seen.step, total),
            f"loss {float(seen.loss):.3g}",
            *(_paired(metrics) if short else [f"{name} {value}" for name, value in metrics.items()]),
            *self._rates(seen, now, short=short),
        ]

    def _rates(self, seen: _Seen, now: float, *, short: bool) -> list[str]:
        since = self._samples[0] if self._samples else None
        # Without new rows there is no rate to tell, as where the last steps are shown again with their evaluation.
        if since is None or now - since.at < _SHORTEST_S or seen.rows <= since.rows:
            return []
        seconds = now - since.at
        rate = (seen.rows - since.rows) / seconds
        words = [f"{_rounded(rate) if short else _whole(rate)} rows/s"]
        if self._total and seen.step > since.step:
            words.append(f"ETA {_clock_time((self._total - seen.step) * seconds / (seen.step - since.step))}")
        words.append(f"waiting {min(max((seen.waited_s - since.waited_s) / seconds, 0), 1):.0%}")
        read = (seen.read_bytes - since.read_bytes) / seconds
        return [*words, f"{_rounded(read)}B/s"] if read > 0 else words

    def _sample(self, seen: _Seen, now: float) -> None:
        samples = self._samples
        if not samples or now - samples[-1].at >= LIVE_EVERY_S:
            samples.append(_Sample(now, seen.step, seen.rows, seen.waited_s, seen.read_bytes))
        while len(samples) > 2 and samples[1].at <= now - WINDOW_S:
            samples.popleft()

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    def _guarded(self, show: Callable[[], None]) -> None:
        """A terminal that has gone away must not end the training."""
        if self._broken:
            return
        try:
            show()
        except (OSError, ValueError) as error:
            self._broken = True
            self._next = math.inf
            log.debug("progress is no longer shown: %s", error)


def is_terminal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a line can be redrawn on this stream."""
    wanted = environ.get("CI", "").lower() in ("", "0", "false") and environ.get("TERM") != "dumb"
    return wanted and not stream.closed and stream.isatty()


def _live(stream: TextIO, environ: Mapping[str, str]) -> Live:
    from rich.console import Console
    from rich.live import Live

    return Live(
        console=Console(file=stream, force_terminal=True, force_jupyter=False, _environ=environ),
        # No thread of rich's own: redrawing happens between steps, and costs nothing while one runs.
        auto_refresh=False,
        # What is piped elsewhere must arrive there, and does not disturb the line.
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=sys.stderr.isatty(),
    )


def _one_line(line: str) -> Text:
    from rich.text import Text

    return Text(line, no_wrap=True, overflow="ellipsis")


def _fitting(words: list[str], width: int) -> str:
    """Returns as many of the words as a line has place for, and the first one in any case."""
    line = words[0]
    for word in words[1:]:
        if len(line) + 2 + len(word) > width:
            break
        line = f"{line}  {word}"
    return line


def _paired(metrics: Mapping[str, str]) -> list[str]:
    """Returns metrics with the held-out value behind that of training: `acc 0.97, test 0.93`."""
    words = []
    for name, value in metrics.items():
        own = name.removeprefix("test ")
        if own != name and own in metrics:
            continue
        held_out = metrics.get(f"test {name}")
        words.append(f"{_SHORT.get(name, name)} {value}" + (f", test {held_out}" if held_out is not None else ""))
    return words


def _rounded(rate: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rate >= size:
            return f"{rate / size:.2g}{letter}" if rate < 100 * size else f"{rate / size:.0f}{letter}"
    return _whole(rate)


def _whole(rate: float) -> str:
    # Rows are read: a rate below one is small, and no 0.
    return f"{rate:,.0f}" if rate >= 1 else f"{rate:.1g}"


def _of(title: str, done: int, total: int | None) -> str:
    return f"{title} {done:,}" if total is None else f"{title} {done:,}/{total:,}"


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
