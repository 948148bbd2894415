"""What Hydra's own app prints: looked through for secrets before it is shown, and redacted."""

from __future__ import annotations

import io
import re
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

from pai_train.redact import is_secret_name, redact, secret_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pai_train.errors import Fault

_KEY = re.compile(r"^\s*(?:- )?['\"]?([^\s:'\"][^:'\"]*)['\"]?:(.*)$", re.MULTILINE)
_NO_VALUE = re.compile(r"\s*(?:null|''|\"\"|\?\?\?|\{\}|\[\]|\$\{.*\}|true|false|[-+.\d]+)?\s*")


def secret_faults(overrides: Sequence[str], word: str) -> list[Fault]:
    """Returns the faults of secrets in plain text, in overrides and in the files that they choose."""
    # Composing takes longer than all of --help.
    from pai_train.front import composed

    return composed.secret_faults(overrides, word)


def may_hold_a_secret(text: str) -> bool:
    """Returns whether a printed configuration has to be looked at closely, key by key with its place."""
    named = any(is_secret_name(key) and not _NO_VALUE.fullmatch(value) for key, value in _KEY.findall(text))
    return named or secret_shape(text) is not None or redact(text) != text


@contextmanager
def redacted_output(look: Callable[[str], None]) -> Iterator[None]:
    """Holds back what is printed meanwhile, and prints it redacted.

    Args:
        look: Is shown all of it first; raises where it must not be printed.
    """
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    finally:
        look(out.getvalue() + err.getvalue())
        sys.stdout.write(redact(out.getvalue()))
        sys.stderr.write(redact(err.getvalue()))
