"""What can go wrong with MaxCompute: the one place where foreign exceptions become our errors."""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus

import requests
import urllib3
from odps import errors as odps_errors

from pai_train.errors import PaiTrainError, TableError
from pai_train.redact import redact
from pai_train.storage import AccessRefused, StoreUnavailable
from pai_train.tables.maxcompute.account import HOW

_LONGEST = 300


class Kind(Enum):
    """What an exception means for us."""

    KEY = auto()
    SIGNATURE = auto()
    TOKEN = auto()
    DENIED = auto()
    SKEW = auto()
    NO_PROJECT = auto()
    NO_TABLE = auto()
    NO_PARTITION = auto()
    NO_SESSION = auto()
    CHANGED = auto()
    CONFLICT = auto()
    SQL = auto()
    QUOTA = auto()
    UNREACHABLE = auto()
    CERTIFICATE = auto()
    ADDRESS = auto()
    BUSY = auto()
    CUT = auto()
    OTHER = auto()


class CutShort(Exception):
    """An answer that ended early, or is damaged."""


class EmptyAnswer(CutShort):
    """An answer without any row where rows were asked for."""


FOREIGN = (
    CutShort,
    odps_errors.BaseODPSError,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
)
"""What comes from the service or the way to it; anything else is a mistake of ours."""

TRANSIENT = frozenset({Kind.QUOTA, Kind.UNREACHABLE, Kind.BUSY, Kind.CUT})
"""What the same request may not meet again."""

# By a code or the beginning of a message; the first that fits.
_CODES = (
    ("ODPS-0410042", Kind.SIGNATURE),
    ("SignatureNotMatch", Kind.SIGNATURE),
    ("ODPS-0410051", Kind.KEY),
    ("ODPS-0410061", Kind.TOKEN),
    ("InvalidSecurityToken", Kind.TOKEN),
    ("ODPS-0410065", Kind.TOKEN),
    ("AuthenticationRequestExpired", Kind.TOKEN),
    ("RequestTimeTooSkew", Kind.SKEW),
    ("ODPS-0410031", Kind.SKEW),
    ("ODPS-0420095", Kind.DENIED),
    ("ODPS-0130013", Kind.DENIED),
    ("NoPermission", Kind.DENIED),
    ("ODPS-0420111", Kind.NO_PROJECT),
    ("NoSuchProject", Kind.NO_PROJECT),
    ("ODPS-0130131", Kind.NO_TABLE),
    ("NoSuchTable", Kind.NO_TABLE),
    ("NoSuchPartition", Kind.NO_PARTITION),
    ("NoSuchDownload", Kind.NO_SESSION),
    ("NoSuchUpload", Kind.NO_SESSION),
    ("SessionExpired", Kind.NO_SESSION),
    ("TableModified", Kind.CHANGED),
    ("StatusConflict", Kind.CONFLICT),
    ("FlowExceeded", Kind.QUOTA),
    ("QuotaExceeded", Kind.QUOTA),
    ("RequestQuotaExceeded", Kind.QUOTA),
    ("SlotExceeded", Kind.QUOTA),
    ("QPSExceeded", Kind.QUOTA),
    ("CorruptedDataStream", Kind.CUT),
    ("Unauthorized", Kind.KEY),
    ("NoSuchObject", Kind.NO_TABLE),
    ("ODPS-013", Kind.SQL),
)
_BY_STATUS = {401: Kind.KEY, 403: Kind.DENIED, 404: Kind.NO_TABLE, 408: Kind.BUSY, 429: Kind.QUOTA}

_TABLE, _ACCESS, _AWAY = TableError, AccessRefused, StoreUnavailable
_MESSAGES: dict[Kind, tuple[type[PaiTrainError], str, str]] = {
    Kind.KEY: (_ACCESS, "MaxCompute does not know the access key", f"check the key: {HOW}"),
    Kind.SIGNATURE: (_ACCESS, "MaxCompute refuses the key: its secret is wrong", f"check both parts of the key: {HOW}"),
    Kind.TOKEN: (
        _ACCESS,
        "the security token is wrong or has expired",
        "get a new temporary key; a long run needs tables.role_arn, which renews itself",
    ),
    Kind.DENIED: (
        _ACCESS,
        "access refused: no permission for this operation",
        "ask the project's owner to grant it to whose key it is",
    ),
    Kind.SKEW: (_ACCESS, "this machine's clock differs from the service's", "set the clock, such as by NTP"),
    Kind.NO_PROJECT: (_TABLE, "no such project", "check tables.project and tables.endpoint, which has one region"),
    Kind.NO_TABLE: (_TABLE, "no such table", "check its name"),
    Kind.NO_PARTITION: (_TABLE, "no such partition", "check its values"),
    Kind.NO_SESSION: (_TABLE, "the session is gone: it lives for 24 hours", "start again"),
    Kind.CHANGED: (
        _TABLE,
        "the table was changed while it was read",
        "start again, and leave the table alone while it is read; train.resume=never for a run that had begun",
    ),
    Kind.CONFLICT: (_TABLE, "the session does not take that any more", "start again"),
    Kind.SQL: (_TABLE, "MaxCompute refuses the statement", "change the statement"),
    Kind.QUOTA: (
        _AWAY,
        "MaxCompute asks for fewer requests: a quota is used up",
        "start again later, with a smaller engine.parallel, or ask for a larger tunnel quota",
    ),
    Kind.UNREACHABLE: (
        _AWAY,
        "MaxCompute cannot be reached",
        "check tables.endpoint and tables.tunnel_endpoint, which differ inside and outside a VPC, and the network",
    ),
    Kind.CERTIFICATE: (
        _ACCESS,
        "the service's certificate cannot be verified, or it does not speak TLS",
        "check tables.endpoint, http:// for one without TLS, and the certificates of this machine",
    ),
    Kind.ADDRESS: (_TABLE, "not an address of a service", "check tables.endpoint and tables.tunnel_endpoint"),
    Kind.BUSY: (_AWAY, "MaxCompute failed to serve the request", "start again later"),
    Kind.CUT: (_AWAY, "the transfer was cut short or damaged", "check the network and start again"),
    Kind.OTHER: (_TABLE, "MaxCompute refuses the request", "see what it says"),
}


def kind_of(error: BaseException) -> Kind:
    """Returns what an exception of pyodps, or of what it stands on, means."""
    if isinstance(error, CutShort | odps_errors.ChecksumError):
        return Kind.CUT
    if isinstance(error, odps_errors.BaseODPSError):
        return _of_service(error)
    if isinstance(error, requests.exceptions.SSLError):
        return Kind.CERTIFICATE
    if isinstance(error, requests.exceptions.ChunkedEncodingError | urllib3.exceptions.ProtocolError):
        return Kind.CUT
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
        return Kind.ADDRESS
    if isinstance(error, requests.exceptions.RequestException | urllib3.exceptions.HTTPError | OSError):
        return Kind.UNREACHABLE
    return Kind.OTHER


def is_transient(error: BaseException) -> bool:
    """Tells whether the same request may succeed later."""
    if isinstance(error, PaiTrainError):
        return isinstance(error, StoreUnavailable)
    return isinstance(error, FOREIGN) and kind_of(error) in TRANSIENT


def explained(error: BaseException, where: str, *, tries: int = 1, after_s: float = 0.0) -> PaiTrainError:
    """Returns the error that tells a person what an exception means.

    Args:
        error: The exception; one of ours stays as it is.
        where: What was read or written.
        tries: How often it was tried.
        after_s: For how many seconds.
    """
    if isinstance(error, PaiTrainError):
        return error
    kind, what, todo = _MESSAGES[kind_of(error)]
    if tries > 1:
        what = f"{what}, {tries} times in {after_s:.0f} s"
        todo = f"{todo}; storage.deadline_s says how long it is tried"
    return kind(what, where=where, got=words(error), todo=todo)


def words(error: BaseException) -> str:
    """Returns what the service says, for people: no request that was signed, and no more than a few lines."""
    text = str(error.args[0]) if isinstance(error, odps_errors.BaseODPSError) and error.args else str(error)
    if isinstance(error, requests.exceptions.RequestException):
        reason = getattr(error.args[0], "reason", error.args[0]) if error.args else ""
        text = f"{type(error).__name__}: {str(reason).rpartition(': ')[2]}"
    text = redact(" ".join(text.split()))
    code = getattr(error, "code", None)
    text = f"{code}: {text}" if isinstance(code, str) and code not in text else text
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _of_service(error: odps_errors.BaseODPSError) -> Kind:
    if isinstance(error, odps_errors.ConnectTimeout):
        return Kind.UNREACHABLE
    if isinstance(error, odps_errors.NoSuchObject) and error.code is None:
        # A page of something else, which no MaxCompute has written.
        return Kind.ADDRESS
    said = (str(error.args[0]) if error.args else "", str(error.code or ""), type(error).__name__)
    status = error.status_code or 0
    if status >= 500 and status != HTTPStatus.NOT_IMPLEMENTED:
        return Kind.BUSY
    for code, kind in _CODES:
        if any(one.startswith(code) or (code.startswith("ODPS") and code in one) for one in said):
            return kind
    if isinstance(error, odps_errors.InternalServerError):
        return Kind.BUSY
    return _BY_STATUS.get(status, Kind.OTHER)
