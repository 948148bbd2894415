"""How a command ends: its error as text, and its exit code; the same for every command of this package."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pai_train.errors import EXIT_DONE, Interrupted, PaiTrainError, Refused, told
from pai_train.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXIT_KEYBOARD = 130


def ended(command: Callable[[], int]) -> int:
    """Runs a command and returns its exit code; an error that a person can act on is printed without a traceback."""
    try:
        return command()
    except PaiTrainError as error:
        sys.stderr.write(f"{redact(told(error))}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_KEYBOARD
    except BrokenPipeError:
        # Whoever read the output has enough of it; Python's last flush must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE


@contextmanager
def refusing() -> Iterator[None]:
    """Makes a refusal of whatever error comes while nothing has been touched yet.

    Raises:
        Refused: An error came.
    """
    try:
        yield
    except (Refused, Interrupted):
        raise
    except PaiTrainError as error:
        raise Refused([error.fault]) from None
