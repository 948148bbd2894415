"""The run's log: everything in the file, short lines on the console, and nothing left behind."""

from __future__ import annotations

import logging
import re
import subprocess
import sys

import pytest

from pai_train.errors import DataError
from pai_train.experiment.logs import logs

ours = logging.getLogger("pai_train.training.loop")
theirs = logging.getLogger("some.library")


def state():
    ours_top = logging.getLogger("pai_train")
    tensorflow = logging.Logger.manager.loggerDict.get("tensorflow")
    return (
        ours_top.handlers[:],
        ours_top.level,
        ours_top.propagate,
        logging.root.handlers[:],
        getattr(tensorflow, "handlers", [])[:],
    )


def test_the_console_is_short_and_the_file_has_times_levels_and_debug(tmp_path, capsys):
    with logs(tmp_path) as path:
        ours.info("reading %s", "iris")
        ours.debug("details")
        ours.warning("two GPUs asked, none here")
        theirs.info("not of interest")
        theirs.warning("retrying")
    assert capsys.readouterr().err.splitlines() == [
        "reading iris",
        "warning: two GPUs asked, none here",
        "warning: some.library: retrying",
    ]
    lines = path.read_text().splitlines()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
    assert [re.sub(f"^{stamp}", "", line) for line in lines] == [
        "INFO pai_train.training.loop: reading iris",
        "DEBUG pai_train.training.loop: details",
        "WARNING pai_train.training.loop: two GPUs asked, none here",
        "WARNING some.library: retrying",
    ]
    assert all(re.match(stamp, line) for line in lines)


def test_a_traceback_is_in_the_file_and_only_pointed_to_on_the_console(tmp_path, capsys):
    with logs(tmp_path) as path:
        for error in (ZeroDivisionError("by zero"), DataError("bad row", where="a.csv:3")):
            try:
                raise error
            except Exception as caught:
                ours.error("failed: %s", caught, exc_info=caught)
    shown = capsys.readouterr().err
    assert shown.splitlines() == [
        f"error: failed: by zero (traceback in {path})",
        "error: failed: a.csv:3: bad row",
    ]
    assert path.read_text().count("Traceback (most recent call last)") == 2


def test_handlers_are_as_before_when_it_ends_even_by_an_exception(tmp_path):
    logger = logging.getLogger("pai_train")
    mine = logging.NullHandler()
    logger.addHandler(mine)
    try:
        before = state()
        with logs(tmp_path):
            assert state() != before
        assert state() == before
        with pytest.raises(KeyError), logs(tmp_path):
            raise KeyError
        assert state() == before
    finally:
        logger.removeHandler(mine)


def test_runs_in_a_row_log_each_line_once_and_to_their_own_file(tmp_path, capsys):
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        with logs(tmp_path / str(number)):
            ours.info("run %d", number)
    assert capsys.readouterr().err == "run 0\nrun 1\nrun 2\n"
    for number in range(3):
        assert (tmp_path / str(number) / "log").read_text().count("run ") == 1


@pytest.mark.parametrize("hydra_like_root", [False, True], ids=["bare root", "root with console"])
def test_a_library_with_a_handler_of_its_own_is_shown_once(tmp_path, capsys, hydra_like_root):
    tensorflow = logging.getLogger("tensorflow")
    own, root = logging.StreamHandler(sys.stderr), logging.StreamHandler(sys.stderr)
    tensorflow.addHandler(own)
    if hydra_like_root:
        logging.root.addHandler(root)
    try:
        with logs(tmp_path) as path:
            tensorflow.warning("slow op")
            ours.info("once")
        assert own in tensorflow.handlers
    finally:
        tensorflow.removeHandler(own)
        logging.root.removeHandler(root)
    shown = capsys.readouterr().err
    assert shown.count("slow op") == shown.count("once") == 1
    assert path.read_text().count("slow op") == 1


ABSL_LATER = """
import logging, pathlib, sys
from pai_train.experiment.logs import logs
with logs(pathlib.Path(sys.argv[1])):
    from absl import logging as absl_logging
    absl_logging.warning("from absl")
assert type(logging.getLogger("absl")).__name__ == "ABSLLogger"
"""


def test_absl_imported_during_a_run_is_itself_and_shown_once(tmp_path):
    done = subprocess.run([sys.executable, "-c", ABSL_LATER, tmp_path], capture_output=True, text=True, check=True)
    assert done.stderr.count("from absl") == 1
    assert (tmp_path / "log").read_text().count("from absl") == 1


def test_a_console_that_is_replaced_during_the_run_is_followed(tmp_path, capsys, monkeypatch):
    import io

    with logs(tmp_path):
        other = io.StringIO()
        monkeypatch.setattr(sys, "stderr", other)
        ours.info("above the live line")
        monkeypatch.undo()
    assert other.getvalue() == "above the live line\n"
