"""Shows and records how a training goes: the progress line, metrics.jsonl and run.json."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pai_train.storage import display

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pai_train.experiment.metrics import Metrics
    from pai_train.experiment.progress import Progress
    from pai_train.experiment.record import Record
    from pai_train.feed.stats import Stats
    from pai_train.training.loop import Call

STEP_LINES_EVERY_S = 10.0
"""Seconds between two lines of kind `step` in metrics.jsonl."""


class Watch:
    """The watcher of `pai_train.training.fit.Fit`.

    Args:
        record: Gets rates and metrics at each epoch.
        metrics: Gets a line per epoch, per evaluation, and now and then in between.
        progress: Gets everything.
        source_name: What the loop waits for, for people.
        values: Turns running sums into metrics.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        record: Record,
        metrics: Metrics,
        progress: Progress,
        source_name: str,
        values: Callable[[Mapping[str, float]], dict[str, float]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._record = record
        self._metrics = metrics
        self._progress = progress
        self._source_name = source_name
        self._values = values
        self._clock = clock
        self._warm: tuple[float, int] | None = None
        self._line_at = clock()

    def call(self, call: Call, stats: Stats, rows: int) -> None:
        now = self._clock()
        if self._warm is None:
            # The first call carries the tracing of the graph; rates count from its end.
            self._warm = (now, rows)
        # Saved with the end of the epoch, or of the run: an interrupted one ends inside an epoch.
        self._record.epochs = call.epoch + (1 if call.ended else 0)
        self._record.steps = call.step
        self._record.part_of_epoch = not call.ended
        line = now - self._line_at >= STEP_LINES_EVERY_S
        # The last call of an epoch is shown with the epoch.
        if not call.ended and (line or self._progress.due):
            values = self._values(call.running)
            self._progress.update(**self._shown(call, values, stats, rows))
            if line:
                self._line_at = now
                self._metrics.write("step", epoch=call.epoch + 1, step=call.step, values=values)

    def epoch(self, call: Call, values: Mapping[str, Mapping[str, float]], stats: Stats, rows: int) -> None:
        epoch = call.epoch + 1
        self._metrics.write("epoch", epoch=epoch, step=call.step, values=values["train"])
        if "test" in values:
            self._metrics.write("eval", epoch=epoch, step=call.step, values=values["test"])
        shown = dict(values["train"])
        shown |= {f"test {name}": value for name, value in values.get("test", {}).items() if name != "loss"}
        self._progress.epoch_end(**self._shown(call, shown, stats, rows))
        self._record.epoch(
            epochs=epoch if call.ended else call.epoch,
            steps=call.step,
            part_of_epoch=not call.ended,
            metrics=values,
            rows_per_s=self._rate(rows),
            stall_fraction=stats.stall_fraction,
            waited_for=stats.sentence(self._source_name),
            feed=stats.to_json(),
        )

    def evaluated(self, call: Call, values: Mapping[str, Mapping[str, float]]) -> None:
        self._metrics.write("eval", epoch=call.epoch + 1, step=call.step, values=values["test"])

    def saved(self, url: str) -> None:
        self._record.checkpoint = display(url)

    def _rate(self, rows: int) -> float | None:
        if self._warm is None:
            return None
        since, before = self._warm
        seconds = self._clock() - since
        return (rows - before) / seconds if seconds > 0 and rows > before else None

    def _shown(self, call: Call, values: Mapping[str, float], stats: Stats, rows: int) -> dict[str, Any]:
        rest = {name: value for name, value in values.items() if name != "loss"}
        return {
            "epoch": call.epoch + 1,
            "step": call.step,
            "rows": rows,
            "loss": values.get("loss", float("nan")),
            "metrics": rest,
            "waited_s": stats.waited_s,
            "read_bytes": stats.bytes,
        }
