"""What Hydra's own app prints: looked through for secrets before, and redacted after."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

from pai_train.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pai_train.errors import Fault


def secret_faults(overrides: Sequence[str], word: str) -> list[Fault]:
    """Returns the faults of secrets in plain text, in overrides and in the files that they choose."""
    # Composing takes longer than all of --help.
    from pai_train.front import composed

    return composed.secret_faults(overrides, word)


@contextmanager
def redacted_output() -> Iterator[None]:
    """Holds back what is printed meanwhile, and prints it redacted."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    finally:
        sys.stdout.write(redact(out.getvalue()))
        sys.stderr.write(redact(err.getvalue()))
