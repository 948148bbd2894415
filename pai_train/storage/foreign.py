"""What a provider's exception means, read off its class, code and status: no provider's library is imported for it."""

from __future__ import annotations

import errno
import re
import socket
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(Enum):
    """What went wrong, whoever says it."""

    MISSING = auto()
    BUCKET_MISSING = auto()
    EXISTS = auto()
    PRECONDITION = auto()
    CHANGED = auto()
    KEY_UNKNOWN = auto()
    SIGNATURE = auto()
    NO_CREDENTIALS = auto()
    BAD_PROFILE = auto()
    TOKEN = auto()
    DENIED = auto()
    SKEW = auto()
    VERSIONED = auto()
    REGION = auto()
    CERTIFICATE = auto()
    NAME = auto()
    UPLOAD_GONE = auto()
    FOLDER = auto()
    ARCHIVED = auto()
    THROTTLED = auto()
    CUT_SHORT = auto()
    TIMEOUT = auto()
    UNREACHABLE = auto()
    UNAVAILABLE = auto()
    OTHER = auto()


@dataclass(frozen=True)
class Reading:
    """What an exception says.

    Attributes:
        kind: What went wrong.
        code: The provider's own word for it.
        status: The HTTP status.
    """

    kind: Kind
    code: str | None = None
    status: int | None = None


_CODES = {
    Kind.MISSING: "NoSuchKey NoSuchVersion BlobNotFound ResourceNotFound PathNotFound notFound SymlinkTargetNotExist",
    Kind.BUCKET_MISSING: "NoSuchBucket ContainerNotFound ContainerBeingDeleted ContainerDisabled AccountNotFound",
    Kind.EXISTS: "FileAlreadyExists ObjectAlreadyExists BlobAlreadyExists PathAlreadyExists ResourceAlreadyExists",
    Kind.PRECONDITION: "PreconditionFailed ConditionNotMet conditionNotMet TargetConditionNotMet",
    Kind.KEY_UNKNOWN: "InvalidAccessKeyId InvalidClientTokenId UnrecognizedClientException NotSignedUp "
    "InvalidAccessKeyId.NotFound InvalidAccessKeyId.Inactive InvalidAccessKeyId.Disabled",
    Kind.SIGNATURE: "SignatureDoesNotMatch AuthenticationFailed IncompleteSignature InvalidSignature "
    "InvalidAuthenticationInfo authError",
    Kind.NO_CREDENTIALS: "NoAuthenticationInformation CredentialsNotSupported MissingSecurityHeader required",
    Kind.TOKEN: "ExpiredToken ExpiredTokenException TokenRefreshRequired InvalidToken RequestExpired "
    "SecurityTokenExpired InvalidSecurityToken InvalidSecurityToken.Expired InvalidSecurityToken.Malformed "
    "SecurityTokenNotSupported invalid_grant",
    Kind.DENIED: "AccessDenied AccessDeniedException AllAccessDisabled AccountProblem UserDisable AuthorizationFailure "
    "AuthorizationPermissionMismatch InsufficientAccountPermissions AuthorizationSourceIPMismatch "
    "AuthorizationProtocolMismatch AuthorizationServiceMismatch AuthorizationResourceTypeMismatch "
    "PublicAccessNotPermitted AccountIsDisabled FileImmutable NoPermission forbidden Forbidden "
    "insufficientPermissions",
    Kind.SKEW: "RequestTimeTooSkewed RequestTimeSkewed InvalidTimeStamp.Expired",
    Kind.VERSIONED: "VersionedBucket BucketVersioned VersioningEnabled",
    Kind.REGION: "PermanentRedirect TemporaryRedirect Redirect AuthorizationHeaderMalformed InvalidRegion "
    "IllegalLocationConstraintException InvalidLocationConstraint SecondLevelDomainForbidden",
    Kind.ARCHIVED: "InvalidObjectState BlobArchived RestoreAlreadyInProgress",
    Kind.NAME: "InvalidBucketName InvalidObjectName KeyTooLongError InvalidURI InvalidResourceName OutOfRangeInput",
    Kind.UPLOAD_GONE: "NoSuchUpload InvalidPart InvalidBlockList",
    Kind.THROTTLED: "SlowDown Throttling ThrottlingException Throttled RequestLimitExceeded TooManyRequests ServerBusy "
    "QpsLimitExceeded TotalQpsLimitExceeded DownloadTrafficRateLimitExceeded UploadTrafficRateLimitExceeded "
    "BandwidthLimitExceeded rateLimitExceeded userRateLimitExceeded AccountLimitExceeded",
    Kind.CUT_SHORT: "IncompleteBody BadDigest InvalidDigest Md5Mismatch Crc64Mismatch XAmzContentSHA256Mismatch "
    "XAmzContentChecksumMismatch InvalidCRC",
    Kind.TIMEOUT: "RequestTimeout RequestTimeoutException OperationTimedOut",
    Kind.UNAVAILABLE: "InternalError InternalServerError InternalFailure ServiceUnavailable "
    "ServiceUnavailableException OperationAborted ConditionalRequestConflict OperationConflict backendError "
    "internalError ServerUnavailable",
}
_KIND_OF_CODE = {code: kind for kind, codes in _CODES.items() for code in codes.split()}

_KIND_OF_STATUS = {
    301: Kind.REGION, 307: Kind.REGION, 308: Kind.REGION, 401: Kind.SIGNATURE, 403: Kind.DENIED, 404: Kind.MISSING,
    408: Kind.TIMEOUT, 412: Kind.PRECONDITION, 429: Kind.THROTTLED, 500: Kind.UNAVAILABLE, 502: Kind.UNAVAILABLE,
    503: Kind.UNAVAILABLE, 504: Kind.TIMEOUT, 509: Kind.THROTTLED,
}  # fmt: skip

# A class counts for its subclasses, wherever in these libraries it is defined.
_CLASSES = {
    "botocore": {
        Kind.NO_CREDENTIALS: "NoCredentialsError PartialCredentialsError NoAuthTokenError CredentialRetrievalError "
        "MetadataRetrievalError",
        Kind.BAD_PROFILE: "ProfileNotFound ConfigNotFound ConfigParseError",
        Kind.TOKEN: "TokenRetrievalError SSOError LoginError",
        Kind.REGION: "NoRegionError UnknownRegionError InvalidRegionError UnknownEndpointError",
        Kind.CERTIFICATE: "SSLError",
        Kind.NAME: "ParamValidationError InvalidDNSNameError",
        Kind.TIMEOUT: "ConnectTimeoutError ReadTimeoutError",
        Kind.CUT_SHORT: "IncompleteReadError ResponseStreamingError ResponseParserError ChecksumError "
        "FlexibleChecksumError AwsChunkedWrapperError",
        Kind.UNREACHABLE: "EndpointConnectionError ProxyConnectionError ConnectionError ConnectionClosedError "
        "HTTPClientError",
    },
    "aiohttp": {
        Kind.CERTIFICATE: "ClientSSLError",
        Kind.TIMEOUT: "ServerTimeoutError",
        Kind.CUT_SHORT: "ClientPayloadError TransferEncodingError ContentLengthError",
        Kind.UNREACHABLE: "ClientConnectionError",
        Kind.NAME: "InvalidURL NonHttpUrlClientError",
    },
    "requests": {
        Kind.CERTIFICATE: "SSLError",
        Kind.TIMEOUT: "Timeout",
        Kind.CUT_SHORT: "ChunkedEncodingError ContentDecodingError",
        Kind.UNREACHABLE: "ConnectionError",
        Kind.NAME: "InvalidURL MissingSchema InvalidSchema",
    },
    "urllib3": {
        Kind.CERTIFICATE: "SSLError",
        Kind.TIMEOUT: "TimeoutError",
        Kind.CUT_SHORT: "IncompleteRead InvalidChunkLength DecodeError",
        Kind.UNREACHABLE: "NewConnectionError ProtocolError ProxyError MaxRetryError",
    },
    "http": {Kind.CUT_SHORT: "IncompleteRead", Kind.UNREACHABLE: "HTTPException"},
    "gcsfs": {Kind.CUT_SHORT: "ChecksumError"},
    "google": {
        Kind.NO_CREDENTIALS: "DefaultCredentialsError",
        Kind.TOKEN: "RefreshError",
        Kind.TIMEOUT: "TimeoutError",
        Kind.UNREACHABLE: "TransportError",
    },
    "azure": {
        Kind.NO_CREDENTIALS: "CredentialUnavailableError",
        Kind.CUT_SHORT: "IncompleteReadError DecodeError",
        Kind.TIMEOUT: "ServiceRequestTimeoutError ServiceResponseTimeoutError",
        Kind.UNREACHABLE: "ServiceRequestError ServiceResponseError",
    },
    "alibabacloud_oss_v2": {
        Kind.NO_CREDENTIALS: "CredentialsEmptyError CredentialsFetchError",
        Kind.CUT_SHORT: "InconsistentError DeserializationError",
        Kind.UNREACHABLE: "RequestError ResponseError",
        Kind.NAME: "BucketNameInvalidError ObjectNameInvalidError",
        Kind.MISSING: "FileNotExist",
    },
    "alibabacloud_credentials": {Kind.NO_CREDENTIALS: "CredentialException"},
    "Tea": {Kind.UNREACHABLE: "UnretryableException RetryError"},
    "darabonba": {Kind.UNREACHABLE: "UnretryableException RetryError"},
}  # fmt: skip
_KIND_OF_CLASS = {
    (library, name): kind
    for library, kinds in _CLASSES.items()
    for kind, names in kinds.items()
    for name in names.split()
}
# What a class says when nothing more precise is known.
_FALLBACK_CLASSES = {
    ("azure", "ResourceNotFoundError"): Kind.MISSING,
    ("azure", "ResourceExistsError"): Kind.EXISTS,
    ("azure", "ResourceModifiedError"): Kind.PRECONDITION,
    ("azure", "ClientAuthenticationError"): Kind.SIGNATURE,
    ("google", "GoogleAuthError"): Kind.SIGNATURE,
}
_LIBRARIES = {library for library, _ in _KIND_OF_CLASS} | {"aiobotocore", "boto3", "s3fs", "adlfs", "msal"}

_KIND_OF_ERRNO = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), Kind.MISSING),
    **dict.fromkeys((errno.EACCES, errno.EPERM), Kind.DENIED),
    **dict.fromkeys((errno.ETIMEDOUT,), Kind.TIMEOUT),
    **dict.fromkeys((errno.EBUSY, errno.EREMOTEIO, errno.EAGAIN), Kind.UNAVAILABLE),
    **dict.fromkeys(
        (errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE, errno.ENETUNREACH, errno.EHOSTUNREACH,
         errno.ENETDOWN, errno.ENOTCONN), Kind.UNREACHABLE,
    ),
    errno.EEXIST: Kind.EXISTS,
    errno.EISDIR: Kind.FOLDER,
    errno.ESTALE: Kind.CHANGED,
}  # fmt: skip
_KIND_OF_OS_CLASS = [
    (FileExistsError, Kind.EXISTS),
    (FileNotFoundError, Kind.MISSING),
    (NotADirectoryError, Kind.MISSING),
    (IsADirectoryError, Kind.FOLDER),
    (PermissionError, Kind.DENIED),
    (TimeoutError, Kind.TIMEOUT),
    (ConnectionError, Kind.UNREACHABLE),
    (socket.gaierror, Kind.UNREACHABLE),
]
# Where nothing but words tells one case from another.
_WORDS = [
    (re.compile(r"invalid signing region|signing region", re.I), Kind.REGION),
    (re.compile(r"must be addressed using the specified endpoint|region '\S+' is wrong", re.I), Kind.REGION),
    (re.compile(r"date header (is )?too old|time.{0,20}skew", re.I), Kind.SKEW),
    (re.compile(r"certificate[ _]verify[ _]failed", re.I), Kind.CERTIFICATE),
    (re.compile(r"pre-?conditions?\b", re.I), Kind.PRECONDITION),
    (re.compile(r"^Forbidden\b"), Kind.DENIED),
    (re.compile(r"unable to get credentials|could not automatically determine credentials", re.I), Kind.NO_CREDENTIALS),
    (re.compile(r"anonymous (caller|users?) do(es)? not have", re.I), Kind.NO_CREDENTIALS),
    (re.compile(r"token (is|has) expired|invalid_grant", re.I), Kind.TOKEN),
]
# Kinds that a closer look may make more precise.
_VAGUE = {Kind.DENIED, Kind.SIGNATURE, Kind.UNREACHABLE, Kind.NO_CREDENTIALS}
_PLAIN = {Kind.MISSING, Kind.EXISTS, Kind.FOLDER}


def is_foreign(error: BaseException) -> bool:
    """Returns whether an exception is the operating system's or a provider library's, and no mistake of ours.

    Libraries also raise `ValueError` and `RuntimeError` for what a server answers or a setting says; these count
    when one of them raised it, or raised what it stems from. `TypeError` and its like never do.
    """
    if isinstance(error, OSError) or any(library in _LIBRARIES for library, _ in _names(error)):
        return True
    if type(error) not in (ValueError, RuntimeError):
        return False
    if error.__cause__ is not None and is_foreign(error.__cause__):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] in _LIBRARIES


def read(error: BaseException, deep: bool = True) -> Reading:
    """Returns what an exception says and, with `deep`, those that it wraps or stems from."""
    chain = list(_chain(error)) if deep else [error]
    codes = [code for one in chain for code in _codes(one)]
    status = next((found for one in chain if (found := _status(one)) is not None), None)
    name = next((code for code in codes if not code.isdigit()), None)
    return Reading(_kind(chain, codes, status), name, status)


def _kind(chain: list[BaseException], codes: list[str], status: int | None) -> Kind:
    known = next((_KIND_OF_CODE[code] for code in codes if code in _KIND_OF_CODE), None)
    if known is None:
        # The innermost says it best: a refused request because of a read that timed out.
        classes = [kind for one in chain if (kind := _of_class(one, _KIND_OF_CLASS)) is not None]
        known = classes[-1] if classes else None
    if known is None or known in _VAGUE:
        known = _of_system(chain, _PLAIN) or known
    if known is None or known in _VAGUE:
        known = next((kind for one in chain for pattern, kind in _WORDS if pattern.search(str(one))), known)
    if known is None:
        known = next((kind for one in chain if (kind := _of_class(one, _FALLBACK_CLASSES)) is not None), None)
    if any(getattr(one, "retryable", False) is True for one in chain):  # google.auth knows
        known = Kind.UNAVAILABLE
    known = known or _of_system(chain, set(Kind)) or _KIND_OF_STATUS.get(status or 0)
    numbers = [one.errno for one in chain if isinstance(one, OSError)]
    return known or next((_KIND_OF_ERRNO[number] for number in numbers if number in _KIND_OF_ERRNO), Kind.OTHER)


def _of_system(chain: list[BaseException], wanted: set[Kind]) -> Kind | None:
    """Returns what Python's own classes say, where that is among the wanted."""
    for one in chain:
        for family, kind in _KIND_OF_OS_CLASS:
            if isinstance(one, family) and kind in wanted:
                return kind
    return None


def _of_class(error: BaseException, table: dict[tuple[str, str], Kind]) -> Kind | None:
    kinds = [table[name] for name in _names(error) if name in table]
    # A timeout while connecting is both; that it is a timeout says more.
    return next((kind for kind in kinds if kind is not Kind.UNREACHABLE), kinds[0] if kinds else None)


def _names(error: BaseException) -> list[tuple[str, str]]:
    """Lists library and name of an exception's class and of those it is derived from."""
    return [(family.__module__.partition(".")[0], family.__name__) for family in type(error).__mro__]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an exception and what it wraps or was raised from."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        unwrap = getattr(one, "unwrap", None)
        waiting.append(unwrap() if callable(unwrap) else None)
        waiting.append(getattr(one, "inner_exception", None))
        given = getattr(one, "kwargs", None)
        waiting.append(given.get("error") if isinstance(given, dict) else None)
        waiting.append(one.__cause__)
        if isinstance(one, OSError) and one.__cause__ is None and not one.__suppress_context__:
            # A client that turns its exception into an OSError while it handles it may name no cause.
            waiting.append(one.__context__ if one.__context__ is not None and is_foreign(one.__context__) else None)


def _codes(error: BaseException) -> Iterator[str]:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        yield str(response.get("Error", {}).get("Code", ""))
    for name in ("error_code", "code"):
        code = getattr(error, name, None)
        code = getattr(code, "value", code)
        if isinstance(code, (str, int)) and not isinstance(code, bool):
            yield str(code)
    details = getattr(error, "_error_response", None)
    for one in details.get("errors", []) if isinstance(details, dict) else []:
        if isinstance(one, dict) and isinstance(one.get("reason"), str):
            yield one["reason"]


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    found: list[Any] = [getattr(error, name, None) for name in ("status_code", "statusCode", "status")]
    if isinstance(response, dict):
        found.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    elif response is not None:
        found.append(getattr(response, "status_code", None))
    found += [int(code) for code in _codes(error) if code.isdigit()]
    return next((number for number in found if isinstance(number, int) and 100 <= number < 600), None)
