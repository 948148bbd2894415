"""Runs a script: its tables are made, its processes started and watched, and what they wrote published at the end."""

from __future__ import annotations

import os
import shutil
import signal
import site
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pai_train
from pai_train.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED
from pai_train.launch.process import Child, describe_exit, start, stop_all
from pai_train.pai.script import Orders
from pai_train.pai.script_tables import prepare, publish
from pai_train.pai.terminal import Follower
from pai_train.paiio.settings import DEFAULT_ROOT, ROOT_VARIABLE
from pai_train.paiio.writer import JOB_VARIABLE, SLICES_VARIABLE
from pai_train.storage import resolve
from pai_train.training.signals import StopSignals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pai_train.pai.contracts import ScriptJob, ScriptProcess

POLL_S = 0.05
GRACE_S = 30.0
_OUTLASTED = ("ps", "evaluator")
"""Parts of a cluster that are ended when its workers are done; an evaluator gets time to finish by itself."""
_EVALUATOR_S = 60.0


class Starter(Protocol):
    """What starts a process: `launch.process.start`, or what behaves like it."""

    def __call__(self, argv: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path) -> Child: ...


def run(job: ScriptJob, *, starter: Starter = start) -> int:
    """Runs a script to its end.

    What the first process of its kind prints (the only one, the chief, or worker 0) goes to standard output; the rest
    is in `run_dir/logs`. Its outputs are published when every process has ended well, all of them or, where
    publishing itself fails, those that an error does not name.

    Args:
        job: What is run.
        starter: Starts its processes.

    Returns:
        0 when it is done, 1 when the script failed, 75 when it was asked to stop.

    Raises:
        PaiTrainError: A table is not there, or cannot be made or published.
    """
    token = f"pai-{uuid.uuid4().hex}"
    work = job.run_dir.absolute()
    records, mirror = work / "written", work / "mirror"
    records.mkdir(parents=True, exist_ok=True)
    with _environment({**job.settings, JOB_VARIABLE: token}) as env:
        prepare(job)
        try:
            entry = _entry(job, work)
            code = _processes(job, entry, env, work, records, mirror, starter)
            if code == EXIT_DONE:
                publish(job, token, records)
        finally:
            shutil.rmtree(mirror, ignore_errors=True)
            shutil.rmtree(records, ignore_errors=True)
    return code


def _entry(job: ScriptJob, work: Path) -> tuple[Path, Path]:
    """Returns the file that runs and its folder; those of a converted copy where Python 2 is asked for."""
    if not job.py2:
        return job.entry.absolute(), job.folder.absolute()
    from pai_train.pai.py2 import converted

    entry = job.entry.absolute()
    folder = converted(job.folder.absolute(), work / "py3", sys.stderr, entry)
    return folder / entry.relative_to(job.folder.absolute()), folder


def _processes(
    job: ScriptJob,
    entry: tuple[Path, Path],
    env: Mapping[str, str],
    work: Path,
    records: Path,
    mirror: Path,
    starter: Starter,
) -> int:
    cwd, ended = job.folder.absolute(), work / "ended"
    shutil.rmtree(ended, ignore_errors=True)
    ended.mkdir()
    children: list[Child] = []
    begins: list[int] = []
    with StopSignals() as signals:
        try:
            for process in job.processes:
                name = name_of(process)
                orders = Orders(
                    entry=str(entry[0]),
                    folder=str(entry[1]),
                    cwd=str(cwd),
                    outputs=job.outputs,
                    record=str(records / name),
                    mirror=str(mirror),
                    done=str(ended / name) if len(job.processes) > 1 else "",
                )
                argv = [sys.executable, "-P", "-m", "pai_train.pai.script", orders.to_text(), *process.flags]
                log = work / "logs" / f"{name}.log"
                begins.append(log.stat().st_size if log.exists() else 0)
                children.append(starter(argv, log=log, env={**env, **process.env}, cwd=cwd))
            shown = shown_of(job.processes)
            with Follower(children[shown].log, begins[shown], sys.stdout) as follower:
                return _watch(job.processes, children, follower, ended, lambda: signals.requested)
        finally:
            for child in children:
                child.kill()
            shutil.rmtree(ended, ignore_errors=True)


def _watch(
    processes: Sequence[ScriptProcess],
    children: Sequence[Child],
    follower: Follower,
    ended: Path,
    stop_requested: Callable[[], bool],
) -> int:
    """Waits until the workers are done; ends everything when one process fails."""
    done_at: float | None = None
    while True:
        follower.show()
        codes = [child.poll() for child in children]
        failed = next((at for at, code in enumerate(codes) if code not in (None, EXIT_DONE)), None)
        if failed is not None:
            _stop(processes, children)
            follower.show()
            return _failure(processes[failed], children[failed], codes[failed] or 0, follower)
        if stop_requested():
            _stop(processes, children)
            follower.show()
            sys.stderr.write("the script was asked to stop; nothing is published\n")
            return EXIT_INTERRUPTED
        running = [process for process, code in zip(processes, codes, strict=True) if code is None]
        left = [process.job_name for process in running if not (ended / name_of(process)).exists()]
        if all(name in _OUTLASTED for name in left):
            done_at = done_at or time.monotonic()
            late = "evaluator" in left
            if not late or time.monotonic() - done_at > _EVALUATOR_S:
                if late:
                    sys.stderr.write(f"the evaluator was ended {_EVALUATOR_S:.0f} s after the workers were done\n")
                _stop(processes, children)
                return EXIT_DONE
        time.sleep(POLL_S)


def _stop(processes: Sequence[ScriptProcess], children: Sequence[Child]) -> None:
    """Ends all; parameter servers last and at once: inside `server.join()` no Python runs that could heed a signal."""
    servers = [child for process, child in zip(processes, children, strict=True) if process.job_name == "ps"]
    stop_all([child for child in children if child not in servers], GRACE_S)
    for child in servers:
        child.kill()


def _failure(process: ScriptProcess, child: Child, code: int, follower: Follower) -> int:
    name = name_of(process)
    if code in (EXIT_INTERRUPTED, -signal.SIGTERM):
        sys.stderr.write(f"{name} was asked to stop; nothing is published\n")
        return EXIT_INTERRUPTED
    if child.log == follower.log:
        sys.stderr.write(f"the script {describe_exit(code)}; nothing is published; log: {child.log}\n")
    else:
        sys.stderr.write(f"{child.error(f'{name} of the script {describe_exit(code)}; nothing is published')}\n")
    return EXIT_FAILED


def name_of(process: ScriptProcess) -> str:
    """Returns the name of a process, as its log has it."""
    return f"{process.job_name}-{process.task_index}" if process.job_name else "script"


def shown_of(processes: Sequence[ScriptProcess]) -> int:
    """Returns which process's output is shown: the chief's, else the first worker's, else the first one's."""
    for part in ("", "chief", "worker"):
        for at, process in enumerate(processes):
            if process.job_name == part:
                return at
    return 0


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Puts what the command asks for into this process's environment, and returns what its children get."""
    before = dict(os.environ)
    os.environ.update(settings)
    # Children run in another folder: what is relative here must not be relative there.
    os.environ[ROOT_VARIABLE] = resolve(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT, ".")
    os.environ.pop(SLICES_VARIABLE, None)
    env = dict(os.environ)
    home = str(Path(pai_train.__file__).parents[1])
    if home not in site.getsitepackages():
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [home, env.get("PYTHONPATH")]))
    env["PYTHONUNBUFFERED"] = "1"
    try:
        yield env
    finally:
        os.environ.clear()
        os.environ.update(before)
