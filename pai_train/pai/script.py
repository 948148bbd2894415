"""The process of a script: TensorFlow 1 under its old name, PAI's tables, remote files; then the script itself."""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pai_train.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, PaiTrainError
from pai_train.redact import guard, redact

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Orders:
    """What a process of a script is told beside its flags.

    Attributes:
        entry: The file that runs as `__main__`.
        folder: First on its path: its own folder, or a converted copy.
        cwd: Where it runs.
        outputs: Addresses of the tables that it may write.
        record: Gets a line for each table that it opens for writing.
        done: In a cluster, a file that says that the script has ended well. The process then stays until it is told to
            end: its server may be needed by others, which wait for ever where it is gone.
        mirror: Where copies of remote files lie, shared by all processes of the script.
    """

    entry: str
    folder: str
    cwd: str
    outputs: tuple[str, ...]
    record: str
    mirror: str
    done: str = ""

    def to_text(self) -> str:
        """Returns the orders as an argument of a command line."""
        return json.dumps(asdict(self))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a script to its end and returns the exit code: 0, 1 for a failure, 75 when it was asked to stop."""
    given = list(sys.argv[1:] if argv is None else argv)
    guard()
    orders = Orders(**json.loads(given[0]))
    signal.signal(signal.SIGTERM, _stop)
    try:
        return _run(orders, given[1:])
    except PaiTrainError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code


def _stop(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(EXIT_INTERRUPTED)


def _run(orders: Orders, flags: list[str]) -> int:
    from pai_train.launch.native import native_stderr
    from pai_train.pai import tf1

    with native_stderr(lambda text: None):
        real = tf1.load()
        from pai_train.pai import names, old_python, remote_checkpoints, remote_files, remote_names
        from pai_train.pai.mirror import Mirror

    outputs = names.Outputs(orders.outputs, Path(orders.record))
    modules = names.install(real, outputs)
    tf1.install(real, modules)
    old_python.install()
    if orders.folder != orders.cwd:
        _python2(real)
    mirror = Mirror(Path(orders.mirror))
    for part in (remote_files, remote_names, remote_checkpoints):
        part.install(mirror)
    os.chdir(orders.cwd)
    sys.argv = [orders.entry, *flags]
    # Python looks beside the file that runs, and PAI has the archive's root on the path as well.
    beside = str(Path(orders.entry).parent)
    sys.path[:0] = [beside] if beside == orders.folder else [beside, orders.folder]
    code = _script(orders)
    if code == EXIT_DONE:
        mirror.finish()
        names.close_all(outputs)
        if orders.done:
            _stay(Path(orders.done))
    return code


def _python2(real: Any) -> None:
    """Lets a converted copy find text and division as they were; the script's own folder is where it runs."""
    from pai_train import paiio
    from pai_train.pai import py2_division, py2_names, py2_pickle, py2_text

    py2_division.install()
    py2_text.install(real, paiio.TableReader)
    py2_names.install()
    py2_pickle.install()


def _stay(done: Path) -> None:
    """Says that all is done, and waits to be ended."""
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(EXIT_DONE))
    done.touch()
    while True:
        signal.pause()


def _script(orders: Orders) -> int:
    """Runs the file; a failure is shown with the script's own lines only."""
    from pai_train.pai.missing import explain, may_be_python2

    try:
        runpy.run_path(orders.entry, run_name="__main__")
    except SystemExit as ended:
        return _code(ended.code)
    except PaiTrainError as fault:
        sys.stderr.write(f"{redact(_trace(fault, orders))}\n{fault}\n")
        return fault.exit_code
    except BaseException as error:
        said: object = explain(error, Path(orders.folder))
        if said is None and orders.folder == orders.cwd and may_be_python2(error, Path(orders.folder)):
            said = "    to do: where this is Python 2, run it with --py2"
        sys.stderr.write(redact(_trace(error, orders)) + (f"{said}\n" if said is not None else ""))
        return EXIT_FAILED
    return EXIT_DONE


def _trace(error: BaseException, orders: Orders) -> str:
    """Returns a traceback that begins in the script; of our own errors, which say all, the script's lines alone."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != orders.entry:
        trace = trace.tb_next
    if isinstance(error, PaiTrainError):
        frames = [one for one in traceback.extract_tb(trace) if Path(one.filename).is_relative_to(orders.folder)]
        return "".join(["Traceback (most recent call last):\n", *traceback.format_list(frames)]).rstrip()
    return "".join(traceback.format_exception(type(error), error, trace or error.__traceback__))


def _code(code: Any) -> int:
    if code is None or code == EXIT_DONE:
        return EXIT_DONE
    if code == EXIT_INTERRUPTED:
        return EXIT_INTERRUPTED
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    return EXIT_FAILED


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main())
