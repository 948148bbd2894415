"""What can go wrong with an object, and the one place where foreign exceptions become our errors."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pai_train.errors import PaiTrainError, StorageError
from pai_train.storage import foreign
from pai_train.storage.foreign import Kind, Reading
from pai_train.storage.redact import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator


class ObjectMissing(StorageError):
    """There is no such object."""


class BucketMissing(ObjectMissing):
    """There is not even the bucket."""


class ObjectExists(StorageError):
    """An exclusive create found the object already there."""


class ObjectChanged(StorageError):
    """The object was replaced while it was read."""


class AccessRefused(StorageError):
    """The store knows us and says no, or does not know us."""


class StoreUnavailable(StorageError):
    """The store did not answer, or not now: the same request may succeed later."""


CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (for a temporary key AWS_SESSION_TOKEN too), or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, "
    "AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_TENANT_ID, AZURE_STORAGE_CLIENT_ID and AZURE_STORAGE_CLIENT_SECRET",
    "oss": "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET (for a temporary key OSS_SESSION_TOKEN too), or "
    "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or ALIBABA_CLOUD_PROFILE",
}
"""By scheme, the environment variables that let us in."""

_TODO_BY_ERRNO = {
    errno.ENOSPC: "free space there, or name another place",
    errno.EDQUOT: "free space there, or name another place",
    errno.EROFS: "name a place that can be written",
    errno.ENAMETOOLONG: "shorten the name; most file systems allow 255 bytes per part",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}

_MESSAGES: dict[Kind, tuple[type[StorageError], str, str]] = {
    Kind.MISSING: (ObjectMissing, "no such object", "check the name, and storage.root where it is relative"),
    Kind.BUCKET_MISSING: (BucketMissing, "no such bucket", "check the bucket's name and storage.region, or make it"),
    Kind.EXISTS: (ObjectExists, "the object already exists", "choose another name, or delete it first"),
    Kind.PRECONDITION: (ObjectExists, "the object already exists", "choose another name, or delete it first"),
    Kind.CHANGED: (
        ObjectChanged,
        "the object was replaced while it was read",
        "start again, and leave the data alone while they are read",
    ),
    Kind.KEY_UNKNOWN: (AccessRefused, "the store does not know the access key", "check the key in {names}"),
    Kind.SIGNATURE: (
        AccessRefused,
        "the store refuses the key: its secret is wrong, or the key is no longer valid",
        "check both parts of the key in {names}",
    ),
    Kind.NO_CREDENTIALS: (AccessRefused, "no credentials found", "set {names}"),
    Kind.BAD_PROFILE: (AccessRefused, "no such profile", "check storage.profile and the file of credentials"),
    Kind.TOKEN: (
        AccessRefused,
        "the session token is wrong or has expired",
        "get a new temporary key and set {names}; a long run needs a profile or a role that renews itself",
    ),
    Kind.DENIED: (
        AccessRefused,
        "access refused: no permission for this operation",
        "check permissions and credentials: what the policies of bucket and user allow, and whose key is in {names}",
    ),
    Kind.SKEW: (AccessRefused, "this machine's clock differs from the store's", "set the clock, such as by NTP"),
    Kind.VERSIONED: (
        StorageError,
        "the bucket keeps versions, and there the store cannot tell which of two writers was first",
        "name a bucket without versioning, or switch it off",
    ),
    Kind.REGION: (
        StorageError,
        "the bucket is reached at another region or endpoint",
        "set storage.region and storage.endpoint to the bucket's own",
    ),
    Kind.CERTIFICATE: (
        StorageError,
        "the store's certificate cannot be verified, or the endpoint does not speak TLS",
        "check storage.endpoint, http:// for one without TLS, and the certificates of this machine",
    ),
    Kind.NAME: (StorageError, "not a name that the store takes", "check the URL, and storage.endpoint"),
    Kind.UPLOAD_GONE: (
        StorageError,
        "the upload was ended by somebody else",
        "start again; see that no two writers share the object, nor a rule deletes unfinished uploads too soon",
    ),
    Kind.ARCHIVED: (StorageError, "the object is archived", "restore it first, or name another one"),
    Kind.FOLDER: (StorageError, "a folder, not an object", "name an object in it"),
    Kind.THROTTLED: (
        StoreUnavailable,
        "the store asks for fewer requests",
        "start again later, with a smaller storage.parallel",
    ),
    Kind.CUT_SHORT: (StoreUnavailable, "the transfer was cut short or damaged", "check the network and start again"),
    Kind.TIMEOUT: (StoreUnavailable, "no answer in time", "check the network and start again"),
    Kind.UNREACHABLE: (
        StoreUnavailable,
        "the store cannot be reached, or hung up",
        "check the network and storage.endpoint, and start again",
    ),
    Kind.UNAVAILABLE: (StoreUnavailable, "the store fails to answer", "start again later"),
}
_LOCAL = ("/", "file:", "memory:")
_SAYS_ENOUGH = {Kind.KEY_UNKNOWN, Kind.SIGNATURE, Kind.NO_CREDENTIALS, Kind.TOKEN, Kind.DENIED, Kind.SKEW}
"""Kinds of which the provider's own text is kept back: it may quote what was signed."""


@contextmanager
def mapped(url: str, *, reading: bool = False) -> Iterator[None]:
    """Turns every exception of the system or of a provider's library into the StorageError a person can act on.

    Mistakes of the program, such as TypeError, pass.

    Args:
        url: The object or folder the work inside is about; it becomes the error's `where`.
        reading: Whether the work reads one known version, so that a failed condition means it was replaced.

    Raises:
        ObjectMissing: There is no such object.
        ObjectExists: There is one, and it must not be replaced.
        ObjectChanged: It was replaced while it was read.
        AccessRefused: Missing permission or credentials.
        StoreUnavailable: No answer now; it may come later.
        StorageError: Everything else.
    """
    try:
        yield
    except PaiTrainError:
        raise
    except Exception as error:
        if not foreign.is_foreign(error):
            raise
        raise storage_error(url, error, reading=reading) from error


def storage_error(url: str, error: Exception, *, reading: bool = False) -> StorageError:
    """Returns the StorageError that says what `error` says, without anything secret that it may hold."""
    found = foreign.read(error, deep=not url.startswith(_LOCAL))
    kind = _refined(found, url, reading)
    if kind is Kind.OTHER:
        number = error.errno if isinstance(error, OSError) else None
        todo = _TODO_BY_ERRNO.get(number or 0, "check that the place exists and is reachable")
        return StorageError("cannot be read or written", where=url, got=_got(found, url, error, kind), todo=todo)
    family, what, todo = _MESSAGES[kind]
    names = CREDENTIALS.get(url.partition("://")[0], "the provider's environment variables")
    return family(what, where=url, got=_got(found, url, error, kind), todo=todo.format(names=names))


def _refined(found: Reading, url: str, reading: bool) -> Kind:
    if reading and found.kind is Kind.PRECONDITION:
        return Kind.CHANGED
    # An answer to HEAD has no body: a wrong session token shows as a bare 400.
    if url.startswith("s3://") and found.kind is Kind.OTHER and found.status == 400 and found.code is None:
        return Kind.TOKEN
    return found.kind


def _got(found: Reading, url: str, error: Exception, kind: Kind) -> str | None:
    if kind in (Kind.MISSING, Kind.EXISTS):
        return None
    system = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else None
    if url.startswith(_LOCAL):
        return system if kind in _SAYS_ENOUGH and system else getattr(error, "strerror", None) or str(error)
    facts = " ".join(str(fact) for fact in (found.status, found.code) if fact is not None)
    if kind in _SAYS_ENOUGH:
        return facts or system or type(error).__name__
    text = safe_text(error)
    return f"{facts}: {text}" if facts else text
