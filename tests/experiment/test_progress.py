"""Progress: one live line in a terminal, rare plain lines elsewhere, and next to no cost in between."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import time
from itertools import pairwise

import pytest

from pai_train.experiment.progress import LIVE_EVERY_S, Progress, is_terminal


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


PLAIN = {"TERM": "xterm"}


def update(progress, step, **changed):
    values = {"epoch": 1, "step": step, "rows": step * 32, "loss": 0.5, "metrics": {}, "waited_s": 0.0} | changed
    progress.update(**values)


def test_plain_lines_come_first_after_the_first_call_then_every_ten_seconds():
    stream, clock = io.StringIO(), Clock()
    with Progress(1000, 10, stream, clock, environ=PLAIN) as progress:
        clock.now += 42  # tracing
        update(progress, 1)
        for step in range(2, 242):
            clock.now += 0.125
            update(progress, step, waited_s=(step - 1) * 0.03125)
    assert stream.getvalue().splitlines() == [
        "epoch 1/10  step 1/1,000  loss 0.5",
        "epoch 1/10  step 81/1,000  loss 0.5  256 rows/s  ETA 1:55  waiting 25%",
        "epoch 1/10  step 161/1,000  loss 0.5  256 rows/s  ETA 1:45  waiting 25%",
        "epoch 1/10  step 241/1,000  loss 0.5  256 rows/s  ETA 1:35  waiting 25%",
    ]


def epochs_shown(epochs, seconds_each):
    """Returns the first words of the lines of four short epochs."""
    stream, clock = io.StringIO(), Clock()
    with Progress(None, epochs, stream, clock, environ=PLAIN) as progress:
        for epoch in range(1, 5):
            for step in range(5):
                clock.now += seconds_each / 5
                update(progress, epoch * 5 + step, epoch=epoch)
            progress.epoch_end(
                epoch=epoch, step=epoch * 5 + 4, rows=9, loss=0.25, metrics={"accuracy": 0.987654}, waited_s=0
            )
    lines = stream.getvalue().splitlines()
    assert "step 24  loss 0.25  accuracy 0.988" in lines[-1]
    return [line[:7] for line in lines]


def test_every_epoch_of_a_second_or_more_has_a_plain_line():
    assert epochs_shown(None, 2) == ["epoch 1", "epoch 1", "epoch 2", "epoch 3", "epoch 4"]


def test_short_epochs_do_not_flood_a_log_file_and_the_last_is_always_there():
    assert epochs_shown(4, 0.4) == ["epoch 1", "epoch 3", "epoch 4"]


def test_without_a_total_there_is_no_eta():
    stream, clock = io.StringIO(), Clock()
    with Progress(None, 3, stream, clock, environ=PLAIN) as progress:
        update(progress, 1)
        clock.now += 20
        update(progress, 41)
    last = stream.getvalue().splitlines()[-1]
    assert last == "epoch 1/3  step 41  loss 0.5  64 rows/s  waiting 0%"


def test_eta_of_a_resumed_run_counts_only_what_this_process_did():
    stream, clock = io.StringIO(), Clock()
    with Progress(2000, None, stream, clock, environ=PLAIN) as progress:
        update(progress, 1001, rows=32)
        clock.now += 10
        update(progress, 1011, rows=352)
    assert "step 1,011/2,000  loss 0.5  32 rows/s  ETA 16:29" in stream.getvalue()


def test_rates_are_those_of_the_last_half_minute():
    stream, clock = io.StringIO(), Clock()
    with Progress(None, None, stream, clock, environ=PLAIN) as progress:
        rows = 0
        for step in range(100):
            clock.now += 10
            rows += 100 if step < 50 else 2000
            update(progress, step, rows=rows)
    assert "  200 rows/s" in stream.getvalue().splitlines()[-1]


def test_plain_output_has_no_carriage_return_and_no_escape_code():
    stream, clock = io.StringIO(), Clock()
    with Progress(10, 1, stream, clock, environ=PLAIN) as progress:
        progress.say("\x1b[31mred\x1b[0m\r done\tyes\nnext")
        update(progress, 1, metrics={"a\x1b[2K\rb": 1})
    assert stream.getvalue() == "red done\tyes\nnext\nepoch 1/1  step 1/10  loss 0.5  ab 1\n"


@pytest.mark.parametrize(
    ("environ", "terminal"),
    [({}, True), ({"CI": "true"}, False), ({"CI": "1"}, False), ({"CI": "false"}, True), ({"TERM": "dumb"}, False)],
    ids=str,
)
def test_what_counts_as_a_terminal(environ, terminal):
    assert is_terminal(Terminal(), environ) is terminal
    assert is_terminal(io.StringIO(), environ) is False


def test_a_terminal_has_one_line_redrawn_at_most_ten_times_a_second():
    stream, clock = Terminal(), Clock()
    drawn_at = []
    with Progress(1000, 1, stream, clock, environ=PLAIN) as progress:
        size = len(stream.getvalue())
        for step in range(1, 1001):
            clock.now += 0.003
            update(progress, step)
            if len(stream.getvalue()) > size:
                drawn_at.append(clock.now)
                size = len(stream.getvalue())
    gaps = [later - earlier for earlier, later in pairwise(drawn_at)]
    assert min(gaps) >= 0.1
    assert max(gaps) <= LIVE_EVERY_S + 0.004
    shown = stream.getvalue()
    assert shown.count("\n") == 1
    assert "step 1,000/1,000" in shown[shown.rindex("epoch") :]


def drawn(stream):
    """Returns what was drawn, frame after frame."""
    return re.sub(r"\x1b\[\?\d+[hl]", "", stream.getvalue()).split("\r")


def clean(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_the_live_line_leaves_out_what_matters_least_and_stays_in_full_at_the_end():
    metrics = {f"metric_{number}": 0.5 for number in range(20)}
    stream = Terminal()
    with Progress(1000, 1, stream, Clock(), environ=PLAIN | {"COLUMNS": "40"}) as progress:
        update(progress, 1, metrics=metrics)
        assert clean(stream.getvalue()) == "epoch 1/1  step 1  loss 0.5"
    lines = clean(drawn(stream)[-1] if "metric_19" in drawn(stream)[-1] else stream.getvalue()).splitlines()
    assert max(len(line.rpartition("\r")[2]) for line in lines) <= 40
    assert all(f"{name} 0.5" in " ".join(" ".join(lines).split()) for name in metrics)


def test_classification_fits_in_eighty_columns():
    stream, clock = Terminal(), Clock()
    values = {"accuracy": 0.975, "test accuracy": 0.967}
    with Progress(260, 20, stream, clock, environ=PLAIN | {"COLUMNS": "80"}) as progress:
        update(progress, 1)
        clock.now += 0.25
        update(progress, 77, epoch=20, loss=0.08123, metrics=values)
        line = clean(drawn(stream)[-1])
        assert line == "epoch 20/20  step 77  loss 0.0812  acc 0.975, test 0.967  9.7k rows/s  ETA 0:01"
    assert "accuracy 0.975  test accuracy 0.967" in " ".join(clean(stream.getvalue()).split("\n")).replace("\r", "")


def test_a_rate_is_never_zero_and_nothing_is_said_twice():
    stream, clock = io.StringIO(), Clock()
    with Progress(3, 1, stream, clock, environ=PLAIN) as progress:
        update(progress, 3)
        clock.now += 0.5
        progress.epoch_end(epoch=1, step=3, rows=96, loss=0.5, metrics={}, waited_s=0.0)
        clock.now += 20
        progress.epoch_end(epoch=1, step=3, rows=96, loss=0.5, metrics={"test accuracy": 0.5}, waited_s=0.0)
    assert stream.getvalue().splitlines() == [
        "epoch 1/1  step 3/3  loss 0.5",
        "epoch 1/1  step 3/3  loss 0.5  test accuracy 0.5",
    ]


def test_what_is_said_or_logged_stands_above_the_live_line(monkeypatch, tmp_path):
    import logging

    from pai_train.experiment.logs import logs

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with logs(tmp_path), Progress(10, 1, None, Clock(), environ=PLAIN) as progress:
        update(progress, 1)
        progress.say("[bold]saved[/bold] checkpoint 1")
        logging.getLogger("pai_train.x").info("from the log")
    assert sys.stderr is stream
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", stream.getvalue()).splitlines()
    assert any("[bold]saved[/bold] checkpoint 1" in line for line in lines)
    assert any("from the log" in line for line in lines)
    assert "step 1/10" in lines[-1]


def test_in_a_real_terminal_the_line_is_drawn_in_place():
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as stream:
        clock = Clock()
        with Progress(100, 1, stream, clock, environ=PLAIN) as progress:
            for step in range(1, 101):
                clock.now += 1
                update(progress, step)
        os.set_blocking(leader, False)
        shown = b""
        while True:
            try:
                shown += os.read(leader, 65536)
            except BlockingIOError:
                break
    os.close(leader)
    assert b"\x1b[2K" in shown
    assert shown.count(b"\n") == 1
    assert b"step 100/100" in shown


def test_values_are_fetched_only_when_they_are_shown():
    class Tensor:
        fetched = 0

        def __float__(self):
            Tensor.fetched += 1
            return 0.5

    stream, clock = io.StringIO(), Clock()
    with Progress(100, 1, stream, clock, environ=PLAIN) as progress:
        assert progress.due
        for step in range(1, 101):
            update(progress, step, loss=Tensor(), metrics={"accuracy": Tensor()})
            assert not progress.due
        clock.now += 10
        assert progress.due
    assert Tensor.fetched == 2


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["plain", "terminal"])
def test_an_update_that_draws_nothing_costs_microseconds(stream):
    with Progress(10**9, 1, stream, environ=PLAIN) as progress:
        progress._every_s = 1000.0
        update(progress, 1)
        size = len(stream.getvalue())
        costs = []
        for _ in range(5):
            began = time.thread_time()
            for step in range(10_000):
                progress.update(epoch=1, step=step, rows=step, loss=0.5, metrics={}, waited_s=0.0)
            costs.append((time.thread_time() - began) / 10_000)
        assert len(stream.getvalue()) == size
    assert min(costs) < 3e-6


@pytest.mark.parametrize("kind", [io.StringIO, Terminal], ids=["plain", "terminal"])
def test_a_stream_that_has_gone_away_does_not_end_the_training(kind):
    class Gone(kind):
        gone = False

        def write(self, text):
            if self.gone:
                raise OSError(5, "Input/output error")
            return super().write(text)

    stream, clock = Gone(), Clock()
    with Progress(10, 1, stream, clock, environ=PLAIN) as progress:
        update(progress, 1)
        stream.gone = True
        clock.now += 60
        update(progress, 2)
        update(progress, 3)
        progress.say("nobody hears")
        progress.epoch_end(epoch=1, step=3, rows=1, loss=1, metrics={}, waited_s=0)
    assert "step 1" in stream.getvalue()
    assert "nobody" not in stream.getvalue()


def test_output_that_is_piped_elsewhere_arrives_there(monkeypatch):
    piped, stream = io.StringIO(), Terminal()
    monkeypatch.setattr(sys, "stdout", piped)
    with Progress(10, 1, stream, Clock(), environ=PLAIN) as progress:
        update(progress, 1)
        sys.stdout.write("a model's own words\n")
    assert piped.getvalue() == "a model's own words\n"
