"""The token that names a write, and with it the folder of its staged parts."""

from __future__ import annotations

import re

from pai_train.errors import TableError

_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_token(token: str) -> None:
    """Refuses a token that cannot name a folder on every store.

    Raises:
        TableError: It holds other characters, or too many.
    """
    if not _FORM.fullmatch(token):
        raise TableError(
            "the token of a write names a folder",
            got=repr(token),
            wanted="1 to 128 letters, digits, '.', '_' or '-', a letter or digit first",
        )
