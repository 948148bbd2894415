"""Where log lines go during a run: short ones to the console, all of them with time and traceback to the run's log."""

from __future__ import annotations

import copy
import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pai_train.errors import PaiTrainError
from pai_train.experiment.folder import LOG
from pai_train.redact import Redacting, redact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = "pai_train"
_SPEAK_THEMSELVES = ("absl", "tensorflow")


@contextmanager
def logs(folder: Path, level: int = logging.INFO, *, name: str = LOG, console: bool = True) -> Iterator[Path]:
    """Sends log lines to standard error and to `<folder>/log`; on leaving, everything is as it was.

    Ours are shown from `level` on and written from DEBUG on. Other libraries' are shown and written from WARNING on,
    once, whoever else has handlers: those of TensorFlow and absl rest meanwhile.

    Args:
        folder: The run folder.
        level: Lowest level of ours on the console.
        name: The log's name.
        console: Whether the console is shown anything.

    Yields:
        The log file.
    """
    path = folder / name
    written = _file_handler(path)
    shown = _ConsoleHandler(path)
    shown.setLevel(level if console else logging.CRITICAL + 1)
    others_shown = _ConsoleHandler(path)
    others_written = _Forward(written)
    for handler in (others_shown, others_written):
        handler.setLevel(logging.WARNING)
    added: list[logging.Handler] = [others_written]
    # A root that already shows records, as Hydra's does, must not show them twice.
    if console and not any(_is_console(handler) for handler in logging.root.handlers):
        added.append(others_shown)
    try:
        with _silenced(), _routed(shown, written), _added_to_root(added):
            yield path
    finally:
        written.close()


@contextmanager
def _routed(*handlers: logging.Handler) -> Iterator[None]:
    logger = logging.getLogger(OURS)
    before = (logger.handlers[:], logger.level, logger.propagate)
    logger.handlers[:] = handlers
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield
    finally:
        logger.handlers[:], level, logger.propagate = before
        logger.setLevel(level)


@contextmanager
def _added_to_root(handlers: list[logging.Handler]) -> Iterator[None]:
    for handler in handlers:
        logging.root.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logging.root.removeHandler(handler)


@contextmanager
def _silenced() -> Iterator[None]:
    # Only loggers that exist: absl makes its own of a class of its own, which getLogger here would prevent.
    known = logging.Logger.manager.loggerDict
    loggers = [logger for name in _SPEAK_THEMSELVES if isinstance(logger := known.get(name), logging.Logger)]
    before = [logger.handlers[:] for logger in loggers]
    for logger in loggers:
        logger.handlers.clear()
    try:
        yield
    finally:
        for logger, handlers in zip(loggers, before, strict=True):
            logger.handlers[:] = handlers


def _is_console(handler: logging.Handler) -> bool:
    stream = getattr(handler, "stream", None)
    return stream is not None and stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)


def _file_handler(path: Path) -> logging.FileHandler:
    handler = logging.FileHandler(path, encoding="utf-8")
    form = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"
    formatter = Redacting(form, datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    return handler


class _Forward(logging.Handler):
    """Gives records of one level range to another handler."""

    def __init__(self, to: logging.Handler) -> None:
        super().__init__()
        self._to = to

    def emit(self, record: logging.LogRecord) -> None:
        self._to.handle(record)


class _ConsoleHandler(logging.Handler):
    """Writes to whatever standard error is at that moment, so that a live progress line can step aside."""

    def __init__(self, log_path: Path) -> None:
        super().__init__()
        self.setFormatter(_Short(log_path))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            self.handleError(record)


class _Short(logging.Formatter):
    """The message, led by its level from WARNING on; a traceback is only pointed to."""

    def __init__(self, log_path: Path) -> None:
        super().__init__()
        self._log_path = log_path

    def format(self, record: logging.LogRecord) -> str:
        # A copy, because formatting keeps the traceback's text on the record for the next handler.
        bare = copy.copy(record)
        bare.exc_info = bare.exc_text = bare.stack_info = None
        text = super().format(bare)
        if record.name.partition(".")[0] != OURS:
            text = f"{record.name}: {text}"
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, PaiTrainError):
            text += f" (traceback in {self._log_path})"
        return redact(text)
