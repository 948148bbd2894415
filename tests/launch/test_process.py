"""Real children: ready lines, logs, exit codes, children that do not want to end, grandchildren."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from pai_train.errors import LaunchError
from pai_train.launch.process import Child, describe_exit, start, stop_all
from tests.suites.processes import alive, gone_soon


def python(code: str, log: Path, ready: str | None = None, **kwargs) -> Child:
    return start([sys.executable, "-S", "-u", "-c", code], log=log, ready=ready, **kwargs)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "child.log"


SLEEP = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)"


def test_output_of_both_streams_is_in_the_log(log):
    with python("import os; os.write(1, b'out\\n'); os.write(2, b'err\\n')", log) as child:
        assert child.wait(10) == 0
    assert log.read_text() == "out\nerr\n"


@pytest.mark.parametrize("code", [0, 1, 75])
def test_exit_code(log, code):
    with python(f"raise SystemExit({code})", log) as child:
        assert child.wait(10) == code


def test_environment_and_folder_are_the_given_ones(log, tmp_path):
    code = "import os; print(os.environ['GREETING'], os.getcwd())"
    with python(code, log, env={**os.environ, "GREETING": "hello"}, cwd=tmp_path) as child:
        child.wait(10)
    assert log.read_text() == f"hello {tmp_path}\n"


def test_the_child_reads_no_stdin_of_ours(log):
    with python("import sys; print(repr(sys.stdin.read()))", log) as child:
        child.wait(10)
    assert log.read_text() == "''\n"


def test_a_log_is_appended_to_and_an_old_ready_line_does_not_count(log):
    log.parent.mkdir()
    log.write_text("ready\n")
    with (
        python("print('second')", log, ready="ready") as child,
        pytest.raises(LaunchError, match="before it was ready"),
    ):
        child.wait_ready(10)
    assert log.read_text() == "ready\nsecond\n"
    assert child.tail() == "second"


def test_ready_is_a_line_that_starts_with_the_text(log):
    code = f"print('not ready'); print('ready: 3 workers'); {SLEEP}"
    with python(code, log, ready="ready") as child:
        child.wait_ready(10)
        assert child.poll() is None


def test_a_ready_line_written_in_pieces_counts(log):
    code = "import os, time; os.write(1, b'rea'); time.sleep(0.2); os.write(1, b'dy'); time.sleep(600)"
    with python(code, log, ready="ready") as child:
        child.wait_ready(10)


def test_the_text_inside_a_line_is_not_ready(log):
    with python(f"print('it is ready'); {SLEEP}", log, ready="ready") as child:
        with pytest.raises(LaunchError, match=r"was not ready after 0\.3 s") as caught:
            child.wait_ready(0.3)
        assert caught.value.fault.got == "it is ready"
        assert caught.value.fault.where == str(log)


def test_a_child_that_ends_before_it_is_ready_is_named_with_its_last_words(log):
    code = "print('x' * 9000); raise ValueError('the cause')"
    with python(code, log, ready="ready") as child, pytest.raises(LaunchError, match="exit code 1 before") as caught:
        child.wait_ready(10)
    assert caught.value.fault.got is not None
    assert caught.value.fault.got.endswith("ValueError: the cause")
    assert len(caught.value.fault.got) <= 4000


def test_a_child_that_is_ready_and_ends_at_once_was_ready(log):
    with python("print('ready')", log, ready="ready") as child:
        child.wait(10)
        child.wait_ready(0)


def test_wait_gives_up_and_leaves_the_child_running(log):
    with python(SLEEP, log) as child:
        with pytest.raises(LaunchError, match="still runs"):
            child.wait(0.1)
        assert alive(child.pid)
    assert not alive(child.pid)


def test_stop_ends_with_sigterm_and_waits_for_a_clean_end(log):
    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(75)); print('up'); time.sleep(600)"
    with python(code, log, ready="up") as child:
        child.wait_ready(10)
        assert child.stop(10) == 75


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(log):
    with python(DEAF, log, ready="up") as child:
        child.wait_ready(10)
        begun = time.monotonic()
        assert child.stop(0.3) == -9
        assert 0.3 <= time.monotonic() - begun < 5


@pytest.mark.parametrize("end", ["stop", "kill", "itself"])
def test_a_grandchild_does_not_outlive_the_child(log, end):
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-S', '-u', '-c', {DEAF!r}], stdout=-1);"
    code += "p.stdout.readline(); print('grandchild', p.pid);"
    with python(code + ("" if end == "itself" else SLEEP), log, ready="grandchild") as child:
        child.wait_ready(10)
        pid = int(log.read_text().split()[1])
        if end == "stop":
            child.stop(0.2)
        elif end == "kill":
            child.kill()
        else:
            child.wait(10)
        assert gone_soon(pid)


def test_stop_and_kill_may_be_repeated(log):
    with python(SLEEP, log) as child:
        assert child.kill() == -9
        assert child.kill() == -9
        assert child.stop(1) == -9


def test_an_error_inside_the_context_ends_the_child(log):
    with pytest.raises(RuntimeError), python(SLEEP, log) as child:
        raise RuntimeError
    assert not alive(child.pid)


def test_children_are_stopped_side_by_side(tmp_path):
    children = [python(DEAF, tmp_path / f"{i}.log", ready="up") for i in range(3)]
    for child in children:
        child.wait_ready(10)
    begun = time.monotonic()
    stop_all(children, 0.4)
    assert time.monotonic() - begun < 1.0
    assert [child.poll() for child in children] == [-9, -9, -9]


def test_a_program_that_does_not_exist(log):
    with pytest.raises(LaunchError, match="could not be started") as caught:
        start(["/no/such program"], log=log)
    assert caught.value.fault.where == "'/no/such program'"


@pytest.mark.parametrize(("code", "text"), [(0, "code 0"), (2, "code 2"), (-9, "SIGKILL"), (-63, "signal 63")])
def test_exit_codes_in_words(code, text):
    assert describe_exit(code).endswith(text)
