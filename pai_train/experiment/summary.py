"""The last words of a run: what came out, how fast, what it waited for, and where everything is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pai_train.experiment.record import OutputRecord, Record

_MOST_METRICS = 6
_MOST_OUTPUTS = 3


def summary(record: Record) -> str:
    """Returns about ten aligned lines without colour; `reproduce` is last, whole, and on one line to be copied."""
    rows = [
        (record.status, _headline(record)),
        *_metrics(record.metrics),
        ("speed", f"{record.rows_per_s:,.0f} rows/s" if record.rows_per_s is not None else None),
        ("input", record.waited_for),
        *_storage(record.storage),
        ("checkpoint", record.checkpoint),
        *_bad_rows(record),
        *_outputs(record.outputs),
        ("run folder", str(record.folder)),
        ("reproduce", record.reproduce),
    ]
    shown = [(title, text) for title, text in rows if text]
    width = max(len(title) for title, _ in shown)
    indent = "\n" + " " * (width + 2)
    return "\n".join(f"{title:<{width}}  {text.replace(chr(10), indent)}" for title, text in shown)


def _headline(record: Record) -> str:
    name = record.recipe or record.run_id or "run"
    steps = f"{record.steps:,} step{'' if record.steps == 1 else 's'}"
    text = f"{name}: {_epochs(record)}, {steps} in {_duration(record.seconds)}"
    return text if record.error is None else f"{text}\n{record.error}"


def _epochs(record: Record) -> str:
    if not record.epochs and record.steps:
        return "part of epoch 1"
    text = f"{record.epochs} epoch{'' if record.epochs == 1 else 's'}"
    return f"{text} and part of epoch {record.epochs + 1}" if record.part_of_epoch else text


def _metrics(metrics: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str | None]]:
    """The held-out rows if there are any, for these are the result; else what is there."""
    parts = {"test": metrics["test"]} if metrics.get("test") else metrics
    return [
        (part, "  ".join(f"{name} {float(value):.4g}" for name, value in list(values.items())[:_MOST_METRICS]))
        for part, values in parts.items()
    ]


def _storage(storage: Mapping[str, Mapping[str, int | float]]) -> list[tuple[str, str | None]]:
    return [
        (
            f"{scheme}://",
            f"{count['requests']:,.0f} requests, {count['retries']:,.0f} repeated; "
            f"{_size(count['bytes_read'])} read, {_size(count['bytes_written'])} written",
        )
        for scheme, count in storage.items()
    ]


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def _bad_rows(record: Record) -> list[tuple[str, str | None]]:
    return [
        (
            "bad rows",
            f"{one.bad_rows:,} of {one.rows_read:,} rows of input {name} left out"
            + (f", see {record.folder / one.quarantine}" if one.quarantine is not None else ""),
        )
        for name, one in record.inputs.items()
        if one.bad_rows
    ]


def _outputs(outputs: Mapping[str, OutputRecord]) -> list[tuple[str, str | None]]:
    lines: list[tuple[str, str | None]] = [
        (name, output.address if output.rows is None else f"{output.address} ({output.rows:,} rows)")
        for name, output in list(outputs.items())[:_MOST_OUTPUTS]
    ]
    more = len(outputs) - _MOST_OUTPUTS
    return [*lines, ("", f"and {more} more")] if more > 0 else lines


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
