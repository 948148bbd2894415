"""What an answer of Google Cloud Storage means, and whether the same request may succeed later."""

from __future__ import annotations

import errno
import json

import aiohttp
from google.auth.exceptions import TransportError

_TRANSIENT = {408, 429, 500, 502, 503, 504}
_LONGEST = 500  # characters of a service's text that are kept


class ServiceError(OSError):
    """An answer that says neither missing, nor refused, nor already there.

    Attributes:
        code: The HTTP status.
    """

    def __init__(self, code: int, message: str, path: str) -> None:
        super().__init__(errno.EIO, message, path)
        self.code = code


def answered(status: int, content: bytes, path: str) -> OSError:
    """Returns the exception for an answer with a status of 400 or more.

    Args:
        status: The HTTP status.
        content: The body.
        path: What was asked for.
    """
    try:
        said = json.loads(content)["error"]
        message = said if isinstance(said, str) else str(said["message"])
    except (ValueError, LookupError, TypeError):
        message = content.decode(errors="replace")
    message = message.strip()[:_LONGEST] or f"status {status}"
    if status == 404:
        return FileNotFoundError(errno.ENOENT, message, path)
    if status in (401, 403):
        return PermissionError(errno.EACCES, message, path)
    if status == 412:
        return FileExistsError(errno.EEXIST, message, path)
    return ServiceError(status, message, path)


def is_transient(error: BaseException) -> bool:
    """Returns whether the same request may succeed when it is sent again."""
    if isinstance(error, ServiceError):
        return error.code in _TRANSIENT
    if isinstance(error, aiohttp.InvalidURL):
        return False
    return isinstance(error, (aiohttp.ClientError, TimeoutError, TransportError))
