"""What native libraries write straight to file descriptor 2 while they are loaded, kept off the screen."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pai_train.errors import PaiTrainError
from pai_train.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def native_stderr(to: Callable[[str], object]) -> Iterator[None]:
    """Hands what is written to file descriptor 2 meanwhile to `to`; shows it after all at an error that is not ours.

    TensorFlow announces CPU features and missing CUDA libraries at import, before any log level is heeded.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        failed = False
        try:
            yield
        except BaseException as error:
            failed = not isinstance(error, PaiTrainError)
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            text = redact(file.read().decode(errors="replace"))
            if failed:
                sys.stderr.write(text)
            elif text:
                to(text)
